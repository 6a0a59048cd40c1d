//! What the generator itself costs: polls against a responder that does nothing, all of the sending on one thread.

use anyhow::{Context, Result};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::queries::{Cluster, client};
use crate::target::Index;

/// Polls that wait for an answer at once.
const AT_ONCE: usize = 64;

/// What was counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OwnCost {
    /// Polls answered.
    pub queries: u64,
    /// A second of the clock; the responder has a thread of its own.
    pub queries_per_s: f64,
    /// A second of CPU of the sending thread.
    pub queries_per_cpu_s: f64,
}

/// Polls for so long.
///
/// # Errors
/// A thread or a socket cannot be made, or the responder is not understood.
pub fn measure(length: Duration) -> Result<OwnCost> {
    let (told, hears) = std::sync::mpsc::channel();
    // The thread ends with the process: it serves until nobody asks.
    std::thread::spawn(move || drop(respond(&told)));
    let port = hears.recv().context("the responder did not start")?;
    let sending = std::thread::spawn(move || send(port, length));
    sending.join().map_err(|_| anyhow::anyhow!("the sending thread ended in the middle"))?
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")
}

fn send(port: u16, length: Duration) -> Result<OwnCost> {
    runtime()?.block_on(async {
        let index = Index { url: format!("http://127.0.0.1:{port}"), alias: "remind".to_owned() };
        let cluster = Cluster::new(&client()?, &index);
        anyhow::ensure!(cluster.poll(1, 50).await? == [7, 8], "the responder's answer is misread");
        let answered = Arc::new(AtomicU64::new(0));
        let (begun, cpu) = (Instant::now(), thread_cpu()?);
        let mut tasks = tokio::task::JoinSet::new();
        for merchant in 0..AT_ONCE as u32 {
            let (cluster, answered) = (cluster.clone(), Arc::clone(&answered));
            tasks.spawn(async move {
                while begun.elapsed() < length {
                    cluster.poll(merchant, 50).await?;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<(), anyhow::Error>(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        let queries = answered.load(Ordering::Relaxed);
        let per = |seconds: f64| (queries as f64 / seconds.max(1e-9)).round();
        Ok(OwnCost {
            queries,
            queries_per_s: per(begun.elapsed().as_secs_f64()),
            queries_per_cpu_s: per(thread_cpu()? - cpu),
        })
    })
}

/// Seconds of CPU that this thread has used, from the kernel's accounting.
fn thread_cpu() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = stat.split_whitespace().next().and_then(|text| text.parse::<f64>().ok());
    Ok(nanoseconds.context("/proc/thread-self/schedstat is not understood")? / 1e9)
}

fn respond(told: &std::sync::mpsc::Sender<u16>) -> Result<()> {
    runtime()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        told.send(listener.local_addr()?.port())?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream));
        }
    })
}

/// Answers each request with the same two orders, until the connection ends.
async fn serve(mut stream: TcpStream) {
    const BODY: &str = "{\"hits\":{\"hits\":[{\"_id\":\"7\"},{\"_id\":\"8\"}]}}";
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", BODY.len());
    let answer = [head.as_bytes(), BODY.as_bytes()].concat();
    let mut buffer = Vec::with_capacity(4096);
    while let Ok(1..) = stream.read_buf(&mut buffer).await {
        while let Some(length) = request_length(&buffer) {
            buffer.drain(..length);
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}

/// The bytes of the first request in the buffer, if it is there as a whole.
fn request_length(buffer: &[u8]) -> Option<usize> {
    let head = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&buffer[..head]).ok()?;
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    };
    let whole = head + text.lines().find_map(field).unwrap_or(0);
    (buffer.len() >= whole).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_cut_where_they_end() {
        let one = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(request_length(one), Some(one.len()));
        assert_eq!(request_length(&one[..one.len() - 1]), None);
        assert_eq!(request_length(&[&one[..], b"POST"].concat()), Some(one.len()));
    }

    #[test]
    fn polls_are_sent_and_understood() {
        let cost = measure(Duration::from_millis(200)).unwrap();
        assert!(cost.queries > 0 && cost.queries_per_cpu_s > 0.0, "{cost:?}");
    }
}
