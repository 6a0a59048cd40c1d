//! A semi-synchronous replica's side of the protocol, which the client library does not know: a relay within the
//! process, between the library and the server.
//!
//! A source that was told `@rpl_semi_sync_replica` puts two bytes before each event of a dump, 0xef and whether it
//! waits for an answer, and takes answers on the same connection (MySQL internals, "Semi-Sync Replication"; the same in
//! MariaDB). The library would take the two bytes for the event's header, and lets nobody write on a dump's connection.
//! So its connection goes through here: bytes pass as they are until the dump is asked for; from then on the two bytes
//! are taken out of each packet, and answers put in. Must not decide what is safe: it is told. Never holds more than
//! two frames, and reads on only as the library does. What it passes must not be encrypted.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use mysql_async::Conn;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use towpath_engine::ports::source::SourceError;
use towpath_engine::position::FilePosition;

use super::{MySqlSource, TlsMode};

/// Bytes before each frame: its length, 24 bits, and its number in the exchange.
const HEADER: usize = 4;
/// A packet that is longer, or exactly as long, goes on in another frame.
const FULL: usize = 0xff_ffff;
/// The first byte of a packet with an event.
const OK: u8 = 0;
/// The byte behind it where the source treats us as a semi-synchronous replica, and the first one of an answer.
const MAGIC: u8 = 0xef;
/// The flag behind that where the source waits for an answer.
const WAITS: u8 = 1;
const COM_BINLOG_DUMP: u8 = 0x12;
const COM_BINLOG_DUMP_GTID: u8 = 0x1e;
const BUFFER: usize = 64 << 10;

/// Makes the server's dumps on a connection ask for answers.
pub(super) const REGISTER: &str = "SET @rpl_semi_sync_replica = 1, @rpl_semi_sync_slave = 1";

/// What passes the bytes of one connection on. Dropping it closes the connection.
pub(super) struct Relay {
    safe: watch::Sender<Option<FilePosition>>,
    _task: JoinSet<()>,
}

impl Relay {
    /// All up to this place is safe. The server is told if it ever waited for that.
    pub(super) fn acknowledge(&self, to: &FilePosition) {
        self.safe.send_replace(Some(to.clone()));
    }
}

/// A connection whose dump can be acknowledged.
pub(super) async fn connect(source: &MySqlSource) -> Result<(Conn, Relay), SourceError> {
    let config = &source.config;
    if config.tls != TlsMode::Disabled {
        return Err(SourceError::Refused("a semi-synchronous replica's connection cannot be encrypted here".into()));
    }
    let place = format!("{}:{}", config.host, config.port);
    let unavailable = |error: io::Error| SourceError::Unavailable(format!("{place}: {error}"));
    let connecting = TcpStream::connect((config.host.as_str(), config.port));
    let server = tokio::time::timeout(config.connect_timeout, connecting).await;
    let server = server.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(unavailable)?;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.map_err(unavailable)?;
    let here = listener.local_addr().map_err(unavailable)?;
    let (safe, told) = watch::channel(None);
    let mut task = JoinSet::new();
    task.spawn(async move {
        if let Err(error) = relay(listener, server, told).await {
            tracing::warn!("the connection to the source, as its semi-synchronous replica: {error}");
        }
    });
    let conn = source.connect_at(here.ip().to_string(), here.port()).await?;
    Ok((conn, Relay { safe, _task: task }))
}

/// Passes on until either side ends.
async fn relay(
    listener: TcpListener,
    server: TcpStream,
    told: watch::Receiver<Option<FilePosition>>,
) -> io::Result<()> {
    let (client, _) = listener.accept().await?;
    drop(listener);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut from_client = BufReader::new(from_client);
    let dump = tokio::select! {
        biased;
        dump = pass_commands(&mut from_client, &mut to_server) => dump?,
        answers = tokio::io::copy(&mut from_server, &mut to_client) => return answers.map(|_| ()),
    };
    let Some(dump) = dump else { return Ok(()) };
    // The client asks only once it has the answers to all before: what the server sends from here on is the dump.
    to_server.write_all(&dump).await?;
    let from_server = BufReader::with_capacity(BUFFER, from_server);
    let to_client = BufWriter::with_capacity(BUFFER, to_client);
    let (waits, mut nowhere) = (AtomicBool::new(false), tokio::io::sink());
    tokio::select! {
        passed = pass_events(from_server, to_client, &waits) => passed,
        answered = answer(to_server, told, &waits) => answered,
        // The client says nothing more but its goodbye.
        ended = tokio::io::copy(&mut from_client, &mut nowhere) => ended.map(|_| ()),
    }
}

/// Passes on what the client says up to the request for a dump, and returns that; `None` if the client ends before.
async fn pass_commands(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<Option<Vec<u8>>> {
    loop {
        let mut header = [0; HEADER];
        match from.read_exact(&mut header).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        };
        let mut frame = header.to_vec();
        frame.resize(HEADER + length(header), 0);
        from.read_exact(&mut frame[HEADER..]).await?;
        // Commands have the number 0; while the client logs in, its packets are answers and have others.
        let command = frame.get(HEADER).filter(|_| header[3] == 0);
        if matches!(command, Some(&(COM_BINLOG_DUMP | COM_BINLOG_DUMP_GTID))) {
            return Ok(Some(frame));
        }
        to.write_all(&frame).await?;
    }
}

/// Passes events on without the two bytes. `waits` becomes true with the first event whose answer is waited for.
async fn pass_events(
    mut from: BufReader<impl AsyncRead + Unpin>,
    mut to: BufWriter<impl AsyncWrite + Unpin>,
    waits: &AtomicBool,
) -> io::Result<()> {
    // The server counts anew after each event that it waits for; the library expects one count.
    let mut number = 0;
    let mut marked = None;
    let mut packet = Vec::new();
    loop {
        packet.clear();
        packet.shrink_to(BUFFER);
        let Some(mut more) = read_frame(&mut from, &mut to, &mut packet).await? else { return Ok(()) };
        if packet.first() == Some(&OK) {
            // The first event is an artificial ROTATE, whose time is 0: without the two bytes a 0 stands here.
            let first = marked.is_none();
            if *marked.get_or_insert(packet.get(1) == Some(&MAGIC)) {
                take_mark(&mut packet, waits)?;
            } else if first {
                tracing::warn!(
                    "the source has no semi-synchronous replication that is on: its commits wait for nobody"
                );
            }
        }
        while more {
            // A frame of no packet ends it: only a server that breaks off sends none.
            let Some(again) = read_frame(&mut from, &mut to, &mut packet).await? else { return Ok(()) };
            more = again;
            if packet.len() >= FULL {
                write_frame(&mut to, &packet[..FULL], &mut number).await?;
                packet.drain(..FULL);
            }
        }
        write_frame(&mut to, &packet, &mut number).await?;
    }
}

/// Takes the two bytes out of an event's packet.
fn take_mark(packet: &mut Vec<u8>, waits: &AtomicBool) -> io::Result<()> {
    let &[_, MAGIC, flag, ..] = packet.as_slice() else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an event without the mark that all before it have"));
    };
    if flag & WAITS != 0 && !waits.swap(true, Relaxed) {
        tracing::info!("the source's commits wait for this replica");
    }
    packet.drain(1..3);
    Ok(())
}

/// Appends a frame's content to `packet`; whether another belongs to the packet. `None` at the end.
async fn read_frame(
    from: &mut BufReader<impl AsyncRead + Unpin>,
    to: &mut BufWriter<impl AsyncWrite + Unpin>,
    packet: &mut Vec<u8>,
) -> io::Result<Option<bool>> {
    // What is complete does not wait for what has not come.
    if from.buffer().len() < HEADER {
        to.flush().await?;
    }
    let mut header = [0; HEADER];
    match from.read_exact(&mut header).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let length = length(header);
    if from.buffer().len() < length {
        to.flush().await?;
    }
    let start = packet.len();
    packet.resize(start + length, 0);
    from.read_exact(&mut packet[start..]).await?;
    Ok(Some(length == FULL))
}

async fn write_frame(to: &mut (impl AsyncWrite + Unpin), content: &[u8], number: &mut u8) -> io::Result<()> {
    *number = number.wrapping_add(1);
    to.write_all(&header(content.len(), *number)).await?;
    to.write_all(content).await
}

/// Tells the server what is safe, once it has waited for something.
async fn answer(
    mut to: impl AsyncWrite + Unpin,
    mut told: watch::Receiver<Option<FilePosition>>,
    waits: &AtomicBool,
) -> io::Result<()> {
    while told.changed().await.is_ok() {
        let safe = told.borrow_and_update().clone();
        if let Some(safe) = safe.filter(|_| waits.load(Relaxed)) {
            to.write_all(&reply(&safe)).await?;
        }
    }
    Ok(())
}

/// An answer: the server compares it with the ends of the transactions that wait, first the file, then the position.
fn reply(safe: &FilePosition) -> Vec<u8> {
    let mut content = vec![MAGIC];
    content.extend_from_slice(&safe.position.to_le_bytes());
    content.extend_from_slice(safe.file.as_bytes());
    let mut frame = header(content.len(), 0).to_vec();
    frame.append(&mut content);
    frame
}

/// `length` is at most [`FULL`].
fn header(length: usize, number: u8) -> [u8; HEADER] {
    let [low, middle, high, ..] = length.to_le_bytes();
    [low, middle, high, number]
}

fn length(header: [u8; HEADER]) -> usize {
    usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet in frames as a server sends it.
    fn frames(mut packet: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        while packet.len() >= FULL {
            out.extend_from_slice(&header(FULL, 9));
            out.extend_from_slice(&packet[..FULL]);
            packet = &packet[FULL..];
        }
        out.extend_from_slice(&header(packet.len(), 9));
        out.extend_from_slice(packet);
        out
    }

    /// The packets in what was passed on, whose frames must be numbered from 1.
    fn packets(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let (mut out, mut open, mut number) = (Vec::new(), Vec::new(), 0u8);
        while let Some((head, rest)) = bytes.split_first_chunk::<HEADER>() {
            number = number.wrapping_add(1);
            assert_eq!(head[3], number);
            let (content, rest) = rest.split_at(length(*head));
            open.extend_from_slice(content);
            if content.len() < FULL {
                out.push(std::mem::take(&mut open));
            }
            bytes = rest;
        }
        assert!(open.is_empty() && bytes.is_empty());
        out
    }

    fn event(mark: &[u8], size: usize) -> Vec<u8> {
        let body = (0..size).map(|at| (at % 251) as u8);
        [OK].into_iter().chain(mark.iter().copied()).chain(body).collect()
    }

    async fn passed(sent: &[Vec<u8>]) -> (io::Result<()>, Vec<Vec<u8>>, bool) {
        let bytes: Vec<u8> = sent.iter().flat_map(|packet| frames(packet)).collect();
        let waits = AtomicBool::new(false);
        let mut out = Vec::new();
        let result = pass_events(BufReader::new(bytes.as_slice()), BufWriter::new(&mut out), &waits).await;
        (result, packets(&out), waits.load(Relaxed))
    }

    #[tokio::test]
    async fn events_come_out_without_their_marks_whatever_their_size() {
        let sizes = [40, 0, FULL - 4, FULL - 3, FULL - 2, FULL - 1, FULL, 2 * FULL - 3, 2 * FULL - 1, 2 * FULL, 41];
        let sent: Vec<_> = sizes.iter().map(|&size| event(&[MAGIC, 0], size)).collect();
        let (result, got, waits) = passed(&sent).await;
        result.unwrap();
        let expected: Vec<_> = sizes.iter().map(|&size| event(&[], size)).collect();
        assert!(got == expected, "lengths {:?}", got.iter().map(Vec::len).collect::<Vec<_>>());
        assert!(!waits);
    }

    #[tokio::test]
    async fn a_flag_says_that_the_source_waits_and_errors_have_no_mark() {
        let refused = b"\xff\x01\x02#HY000no".to_vec();
        let (result, got, waits) = passed(&[event(&[MAGIC, 0], 30), event(&[MAGIC, 1], 30), refused.clone()]).await;
        result.unwrap();
        assert_eq!(got, [event(&[], 30), event(&[], 30), refused]);
        assert!(waits);
    }

    #[tokio::test]
    async fn a_source_without_semi_synchronous_replication_is_passed_on_as_it_is() {
        let mut rotate = event(&[], 50);
        rotate[1] = 0;
        // A time whose lowest byte looks like the mark.
        let sent = [rotate, event(&[MAGIC, 1], 70), event(&[], 2 * FULL - 1), event(&[], FULL)];
        let (result, got, waits) = passed(&sent).await;
        result.unwrap();
        assert!(got == sent && !waits);
    }

    #[tokio::test]
    async fn an_event_without_the_mark_among_others_is_refused() {
        let (result, got, _) = passed(&[event(&[MAGIC, 0], 30), event(&[], 30)]).await;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(got.len(), 0, "what was not flushed is given up with the connection");
    }

    #[tokio::test]
    async fn only_a_command_that_asks_for_a_dump_ends_the_passing_on() {
        let login = [&header(2, 1)[..], &[COM_BINLOG_DUMP, 7]].concat();
        let query = [&header(2, 0)[..], &[3, COM_BINLOG_DUMP]].concat();
        let dump = [&header(3, 0)[..], &[COM_BINLOG_DUMP_GTID, 1, 2]].concat();
        let mut out = Vec::new();
        let said = [login.clone(), query.clone(), dump.clone()].concat();
        assert_eq!(pass_commands(&mut said.as_slice(), &mut out).await.unwrap(), Some(dump));
        assert_eq!(out, [login, query].concat());
        assert_eq!(pass_commands(&mut &[][..], &mut out).await.unwrap(), None);
    }

    #[tokio::test]
    async fn nothing_is_answered_that_nobody_waits_for() {
        let (safe, told) = watch::channel(None);
        let waits = AtomicBool::new(false);
        let mut out = Vec::new();
        let tell = async {
            for position in [100, 200, 1 << 40] {
                waits.store(position > 100, Relaxed);
                safe.send_replace(Some(FilePosition::new("b.000007", position)));
                tokio::task::yield_now().await;
            }
            drop(safe);
        };
        let (result, ()) = tokio::join!(answer(&mut out, told, &waits), tell);
        result.unwrap();
        let expected = |position| reply(&FilePosition::new("b.000007", position));
        assert_eq!(out, [expected(200), expected(1 << 40)].concat());
        assert_eq!(expected(200), b"\x11\0\0\0\xef\xc8\0\0\0\0\0\0\0b.000007");
    }
}
