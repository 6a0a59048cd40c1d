//! A loopback proxy: the link between one process and one service, which can be cut, held, or made to answer 429.
//!
//! It knows nothing of what it carries, but for HTTP, whose requests it can tell apart.

use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

/// What a link does with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It passes.
    Open,
    /// Connections break, and new ones break at once.
    Cut,
    /// Nothing passes, connections stand; what came meanwhile passes when the link is open again.
    Held,
}

/// A link. Dropping it ends it and its connections.
#[derive(Debug)]
pub struct Link {
    port: u16,
    mode: watch::Sender<Mode>,
    busy: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

/// What every connection of a link shares.
#[derive(Clone)]
struct Shared {
    target: u16,
    http: bool,
    mode: watch::Receiver<Mode>,
    busy: Arc<AtomicU32>,
}

impl Link {
    /// Listens on a free port of 127.0.0.1 and carries to `target` there. Of `http`, bulks can be refused.
    pub async fn to(target: u16, http: bool) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port for a link")?;
        let port = listener.local_addr()?.port();
        let (mode, seen) = watch::channel(Mode::Open);
        let busy = Arc::new(AtomicU32::new(0));
        let shared = Shared { target, http, mode: seen, busy: Arc::clone(&busy) };
        let task = tokio::spawn(accept(listener, shared));
        Ok(Self { port, mode, busy, task })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes what it does, for connections that stand too.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// The next so many bulks are refused with 429.
    pub fn refuse_bulks(&self, times: u32) {
        self.busy.store(times, Ordering::Relaxed);
    }

    /// Bulks still to be refused.
    #[cfg(test)]
    fn to_refuse(&self) -> u32 {
        self.busy.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
        self.set(Mode::Cut);
    }
}

async fn accept(listener: TcpListener, shared: Shared) {
    // An error of accept is one connection's, or the end of file handles: both pass.
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        if *shared.mode.borrow() == Mode::Cut {
            continue;
        }
        tokio::spawn(carry(client, shared.clone()));
    }
}

async fn carry(client: TcpStream, shared: Shared) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", shared.target)).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (mut cut, mode) = (shared.mode.clone(), shared.mode.clone());
    // An answer of the link's own goes between those of the server.
    let (to_client, to_server) = (Mutex::new(to_client), Mutex::new(to_server));
    let there = async {
        if shared.http {
            requests(from_client, &to_server, &to_client, &shared).await
        } else {
            pump(from_client, &to_server, mode.clone()).await
        }
    };
    let back = pump(from_server, &to_client, mode.clone());
    // Whichever side ends, or the link's cut, ends both; an error of a connection is what a link is for.
    tokio::select! {
        _ = there => {}
        _ = back => {}
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

/// Waits while the link is held.
async fn open(mode: &mut watch::Receiver<Mode>) {
    // The sender is gone: the link is, and with it this connection.
    let _ = mode.wait_for(|mode| *mode != Mode::Held).await;
}

async fn pump(
    mut from: OwnedReadHalf,
    to: &Mutex<OwnedWriteHalf>,
    mut mode: watch::Receiver<Mode>,
) -> std::io::Result<()> {
    let mut buffer = vec![0u8; 1 << 16];
    loop {
        let read = from.read(&mut buffer).await?;
        open(&mut mode).await;
        if read == 0 {
            return Ok(());
        }
        to.lock().await.write_all(&buffer[..read]).await?;
    }
}

const TOO_MANY: &str =
    "{\"error\":{\"type\":\"es_rejected_execution_exception\",\"reason\":\"a scenario's fault\"},\"status\":429}";
/// A head longer than this is no request.
const LONGEST_HEAD: usize = 1 << 16;

/// HTTP from the client, a request at a time; a bulk is answered here while some are to be refused.
async fn requests(
    mut from: OwnedReadHalf,
    to: &Mutex<OwnedWriteHalf>,
    back: &Mutex<OwnedWriteHalf>,
    shared: &Shared,
) -> std::io::Result<()> {
    let mut mode = shared.mode.clone();
    let mut held: Vec<u8> = Vec::new();
    let mut buffer = vec![0u8; 1 << 16];
    loop {
        let head = loop {
            if let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let read = from.read(&mut buffer).await?;
            if read == 0 || held.len() > LONGEST_HEAD {
                return Ok(());
            }
            held.extend_from_slice(&buffer[..read]);
        };
        let text = String::from_utf8_lossy(&held[..head]).to_ascii_lowercase();
        let Some(length) = body_length(&text) else {
            // Without a length there is no telling where the next request begins: from here on it is bytes.
            open(&mut mode).await;
            to.lock().await.write_all(&held).await?;
            return pump(from, to, mode).await;
        };
        while held.len() < head + length {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            held.extend_from_slice(&buffer[..read]);
        }
        open(&mut mode).await;
        let request = held.drain(..head + length).collect::<Vec<_>>();
        let is_bulk = text.lines().next().is_some_and(|line| line.contains("_bulk"));
        let refuse = |left: u32| left.checked_sub(1);
        if is_bulk && shared.busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, refuse).is_ok() {
            // The header by which clients know that Elasticsearch answers.
            let answer = format!(
                "HTTP/1.1 429 Too Many Requests\r\nX-elastic-product: Elasticsearch\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{TOO_MANY}",
                TOO_MANY.len()
            );
            back.lock().await.write_all(answer.as_bytes()).await?;
        } else {
            to.lock().await.write_all(&request).await?;
        }
    }
}

/// The length of the body that follows a head (in lower case); none if the head does not say.
fn body_length(head: &str) -> Option<usize> {
    if head.contains("\r\ntransfer-encoding:") {
        return None;
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.map_or(Some(0), |text| text.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn echo() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        port
    }

    #[tokio::test]
    async fn a_held_link_keeps_what_came_and_a_cut_one_breaks() {
        let link = Link::to(echo().await, false).await.unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", link.port())).await.unwrap();
        let mut four = [0u8; 4];
        client.write_all(b"one.").await.unwrap();
        client.read_exact(&mut four).await.unwrap();
        assert_eq!(&four, b"one.");
        link.set(Mode::Held);
        client.write_all(b"two.").await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(100), client.read_exact(&mut four)).await;
        assert!(waited.is_err(), "a held link carried {four:?}");
        link.set(Mode::Open);
        client.read_exact(&mut four).await.unwrap();
        assert_eq!(&four, b"two.");
        link.set(Mode::Cut);
        assert!(matches!(client.read(&mut four).await, Ok(0) | Err(_)));
    }

    #[tokio::test]
    async fn so_many_bulks_are_refused_and_no_other_request() {
        let link = Link::to(echo().await, true).await.unwrap();
        link.refuse_bulks(1);
        let mut client = TcpStream::connect(("127.0.0.1", link.port())).await.unwrap();
        let search = b"POST /_search HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}";
        let bulk = b"POST /_bulk HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}";
        let mut echoed = vec![0u8; search.len()];
        client.write_all(search).await.unwrap();
        client.read_exact(&mut echoed).await.unwrap();
        assert_eq!(echoed, search);
        client.write_all(bulk).await.unwrap();
        let mut answer = [0u8; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 429");
        assert_eq!(link.to_refuse(), 0);
    }

    #[test]
    fn lengths_of_bodies() {
        assert_eq!(body_length("post / http/1.1\r\ncontent-length: 12\r\n\r\n"), Some(12));
        assert_eq!(body_length("get / http/1.1\r\n\r\n"), Some(0));
        assert_eq!(body_length("post / http/1.1\r\ntransfer-encoding: chunked\r\n\r\n"), None);
    }
}
