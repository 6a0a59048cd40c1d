//! The stream of events: how it is asked for, and how what has arrived is handed up.
//!
//! Must not decode, skip or reorder events.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::Stream;
use mysql_async::binlog::events::Event;
use mysql_async::{BinlogStreamRequest, Conn, Error, GnoInterval, Sid};
use towpath_engine::gtid::GtidSet;
use towpath_engine::ports::source::{BinlogStream, DumpRequest, EventBatch, Flavor, SourceError};
use towpath_engine::position::{FilePosition, Position};

use super::events::{Gather, Raw, Verifier};
use super::semi_sync::{self, Relay};
use super::{MySqlSource, error, identify};

/// A server stops a dump whose client does not read for so long (`net_write_timeout`, default 60 s). While Kafka is
/// down we do not read: that is backpressure, not a dead client.
const NET_WRITE_TIMEOUT_S: u32 = 86_400;

/// Opens a connection and asks for the stream.
pub(super) async fn start(source: &MySqlSource, request: DumpRequest) -> Result<Dump, SourceError> {
    let (mut conn, relay) = if request.semi_sync {
        let (conn, relay) = semi_sync::connect(source).await?;
        (conn, Some(relay))
    } else {
        (source.connect().await?, None)
    };
    let flavor = identify::flavor(source, &mut conn).await?;
    if let Some(wanted) = &request.server {
        let found = identify::server_uuid(source, &mut conn, flavor).await?;
        if found != *wanted {
            let what = format!("{found} instead of {wanted}; does one address lead to several servers?");
            return Err(SourceError::OtherServer(what));
        }
    }
    announce(source, &mut conn, flavor, Some(request.heartbeat)).await?;
    if request.beside {
        stand_beside(source, &mut conn, flavor).await?;
    }
    if relay.is_some() {
        source.execute(&mut conn, semi_sync::REGISTER).await?;
    }
    let events = match &request.from {
        Position::Gtid(set) => by_gtid(source, conn, flavor, set, request.server_id).await?,
        Position::MariaDb(list) => by_domains(source, conn, flavor, list, request.server_id).await?,
        Position::File(at) => {
            within_log(source, &mut conn, at).await?;
            by_file(source, conn, flavor, at, request.server_id, false).await?
        }
    };
    let mut dump = Dump::new(events, source.config.user.clone(), request.read_deadline);
    dump.relay = relay;
    // Refusals arrive in place of the first event: wait for it, so that the caller sees them here.
    let first = tokio::time::timeout(source.config.query_timeout, dump.wait()).await;
    first.unwrap_or_else(|_| Err(SourceError::Unavailable("the source starts no stream".into())))?;
    Ok(dump)
}

/// What a replica tells the server before it asks for events.
async fn announce(
    source: &MySqlSource,
    conn: &mut Conn,
    flavor: Flavor,
    heartbeat: Option<Duration>,
) -> Result<(), SourceError> {
    let mut settings = vec![
        format!("SET SESSION net_write_timeout = {NET_WRITE_TIMEOUT_S}"),
        // The older name and the newer one (MySQL 8.0.26); each server reads the one that it knows.
        "SET @master_binlog_checksum = 'CRC32', @source_binlog_checksum = 'CRC32'".to_string(),
    ];
    if let Some(period) = heartbeat {
        let nanos = period.as_nanos().max(1_000_000);
        settings.push(format!("SET @master_heartbeat_period = {nanos}, @source_heartbeat_period = {nanos}"));
    }
    if flavor == Flavor::MariaDb {
        // 4 = understands GTID events; with less the server rewrites them and their sizes.
        settings.push("SET @mariadb_slave_capability = 4".to_string());
    }
    for setting in settings {
        source.execute(conn, &setting).await?;
    }
    Ok(())
}

async fn by_gtid(
    source: &MySqlSource,
    conn: Conn,
    flavor: Flavor,
    set: &GtidSet,
    server_id: u32,
) -> Result<mysql_async::BinlogStream, SourceError> {
    if flavor == Flavor::MariaDb {
        return Err(SourceError::Refused("the position is a MySQL GTID set, but the source is MariaDB".into()));
    }
    let request = BinlogStreamRequest::new(server_id).with_gtid().with_gtid_set(blocks(set)?);
    source.with_deadline("the request for events", conn.get_binlog_stream(request)).await
}

async fn by_domains(
    source: &MySqlSource,
    mut conn: Conn,
    flavor: Flavor,
    list: &str,
    server_id: u32,
) -> Result<mysql_async::BinlogStream, SourceError> {
    if flavor != Flavor::MariaDb {
        return Err(SourceError::Refused("the position is MariaDB's, but the source is MySQL".into()));
    }
    if !list.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b',')) {
        return Err(SourceError::Refused(format!("\"{list}\" is no list of domain-server-sequence")));
    }
    source.execute(&mut conn, &format!("SET @slave_connect_state = '{list}'")).await?;
    source.execute(&mut conn, "SET @slave_gtid_strict_mode = 1, @slave_gtid_ignore_duplicates = 0").await?;
    let request = BinlogStreamRequest::new(server_id);
    source.with_deadline("the request for events", conn.get_binlog_stream(request)).await
}

/// Asks for events from a byte on. `to_end` makes the server end the stream where its binlog ends.
pub(super) async fn by_file(
    source: &MySqlSource,
    conn: Conn,
    flavor: Flavor,
    at: &FilePosition,
    server_id: u32,
    to_end: bool,
) -> Result<mysql_async::BinlogStream, SourceError> {
    let mut request = BinlogStreamRequest::new(server_id).with_filename(at.file.as_bytes()).with_pos(at.position);
    if at.position > u64::from(u32::MAX) {
        // The plain request holds 32 bits. MySQL's GTID request holds 64, and with a file name and an empty set it
        // means the same; it needs gtid_mode=ON. MariaDB has no other.
        if flavor == Flavor::MariaDb {
            return Err(SourceError::Refused(format!("MariaDB cannot be asked for a position beyond 4 GiB ({at})")));
        }
        request = request.with_gtid();
    }
    if to_end {
        request = request.with_non_blocking();
    }
    source.with_deadline("the request for events", conn.get_binlog_stream(request)).await
}

/// Readies a connection for a dump by position that is no standing replica's.
pub(super) async fn open_at(source: &MySqlSource, at: &FilePosition, server_id: u32) -> Result<Dump, SourceError> {
    let mut conn = source.connect().await?;
    let flavor = identify::flavor(source, &mut conn).await?;
    announce(source, &mut conn, flavor, None).await?;
    within_log(source, &mut conn, at).await?;
    stand_beside(source, &mut conn, flavor).await?;
    let events = by_file(source, conn, flavor, at, server_id, true).await?;
    Ok(Dump::new(events, source.config.user.clone(), source.config.query_timeout))
}

/// With an identity of its own a dump ends no other (a server ends dumps of the same replica).
async fn stand_beside(source: &MySqlSource, conn: &mut Conn, flavor: Flavor) -> Result<(), SourceError> {
    if flavor == Flavor::MySql {
        source.execute(conn, "SET @uuid = UUID()").await?;
        source.execute(conn, "SET @slave_uuid = @uuid, @replica_uuid = @uuid").await?;
    }
    Ok(())
}

/// Tells a purged file and a place beyond the end from each other, which the server's own text does not.
async fn within_log(source: &MySqlSource, conn: &mut Conn, at: &FilePosition) -> Result<(), SourceError> {
    let files = identify::binlog_files(source, conn).await?;
    let (Some((oldest, _)), Some((newest, _))) = (files.first(), files.last()) else { return Ok(()) };
    if let Some((_, size)) = files.iter().find(|(name, _)| *name == at.file) {
        if at.position > *size {
            return Err(SourceError::Ahead(format!("{at} is beyond the file's end at {size}")));
        }
        return Ok(());
    }
    let number = |name: &str| FilePosition::new(name, 4).file_number();
    match (at.file_number(), number(oldest), number(newest)) {
        (Some(wanted), Some(first), _) if wanted < first => {
            Err(SourceError::Purged(format!("{at}: the oldest file is {oldest}")))
        }
        (Some(wanted), _, Some(last)) if wanted > last => {
            Err(SourceError::Ahead(format!("{at}: the newest file is {newest}")))
        }
        _ => Err(SourceError::NoEvent(format!("the source has no file {}", at.file))),
    }
}

/// A set as the request's blocks; intervals end exclusively there.
fn blocks(set: &GtidSet) -> Result<Vec<Sid<'static>>, SourceError> {
    let mut blocks = Vec::new();
    for (source, tag, intervals) in set.sources() {
        // The library makes tagged blocks from text only.
        let head = if tag.is_none() { format!("{source}") } else { format!("{source}:{}", tag.as_str()) };
        let Some((first, last)) = intervals.first() else { continue };
        let block: Sid<'static> = format!("{head}:{first}-{last}")
            .parse()
            .map_err(|err| SourceError::Refused(format!("the GTID set cannot be sent: {err}")))?;
        let intervals = intervals.iter().map(|(first, last)| GnoInterval::new(*first, last + 1)).collect();
        blocks.push(block.with_intervals(intervals));
    }
    Ok(blocks)
}

/// A running dump.
pub(super) struct Dump {
    events: mysql_async::BinlogStream,
    /// Where the source may wait for our acknowledgements.
    relay: Option<Relay>,
    verifier: Verifier,
    gather: Gather,
    /// An event that did not fit the batch before it.
    held: Option<Raw>,
    /// Why the stream ended; said once all that came before has been handed up, and ever after.
    ended: Option<SourceError>,
    user: String,
    read_deadline: Duration,
}

impl Dump {
    fn new(events: mysql_async::BinlogStream, user: String, read_deadline: Duration) -> Self {
        Self {
            events,
            relay: None,
            verifier: Verifier::default(),
            gather: Gather::default(),
            held: None,
            ended: None,
            user,
            read_deadline,
        }
    }

    /// The next event of the library. Its reader panics on an event whose size contradicts its packet: data from
    /// outside must not end the process, so that is an error of this stream.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, Error>>> {
        let events = &mut self.events;
        match catch_unwind(AssertUnwindSafe(|| Pin::new(events).poll_next(cx))) {
            Ok(poll) => poll,
            Err(_) => Poll::Ready(Some(Err(Error::Other("an event's size contradicts its packet".into())))),
        }
    }

    /// The next event of the server; `Ok(None)` at the stream's end. Polling only: cancelling loses nothing.
    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Raw>, SourceError>> {
        loop {
            let event = match self.poll_event(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Ready(Some(Err(err))) => return Poll::Ready(Err(error::classify_logged_in(&err, &self.user))),
                Poll::Ready(Some(Ok(event))) => event,
            };
            match self.verifier.verify(event) {
                Ok(None) => continue,
                Ok(raw) => return Poll::Ready(Ok(raw)),
                Err(err) => return Poll::Ready(Err(err)),
            }
        }
    }

    /// The next event, for readers of single transactions; `Ok(None)` at the stream's end.
    pub(super) async fn next_raw(&mut self) -> Result<Option<Raw>, SourceError> {
        std::future::poll_fn(|cx| self.poll_raw(cx)).await
    }

    /// Waits until there is an event to hand up.
    async fn wait(&mut self) -> Result<(), SourceError> {
        if self.held.is_none() && self.gather.is_empty() {
            if let Some(ended) = &self.ended {
                return Err(ended.clone());
            }
            match self.next_raw().await {
                Ok(Some(raw)) => self.held = Some(raw),
                Ok(None) => return Err(self.end(SourceError::Unavailable("the source ended the stream".into()))),
                Err(err) => return Err(self.end(err)),
            }
        }
        Ok(())
    }

    fn end(&mut self, why: SourceError) -> SourceError {
        self.ended = Some(why.clone());
        why
    }

    /// Gathers what has already arrived. Never waits.
    fn gather_ready(&mut self, cx: &mut Context<'_>) {
        while !self.gather.is_full() && self.ended.is_none() {
            let raw = match self.held.take() {
                Some(raw) => raw,
                None => match self.poll_raw(cx) {
                    Poll::Pending => return,
                    Poll::Ready(Ok(Some(raw))) => raw,
                    Poll::Ready(Ok(None)) => {
                        self.end(SourceError::Unavailable("the source ended the stream".into()));
                        return;
                    }
                    Poll::Ready(Err(err)) => {
                        self.end(err);
                        return;
                    }
                },
            };
            if !self.gather.takes(&raw) {
                self.held = Some(raw);
                return;
            }
            self.gather.push(&raw);
        }
    }
}

#[async_trait]
impl BinlogStream for Dump {
    async fn next(&mut self) -> Result<EventBatch, SourceError> {
        let limit = self.read_deadline;
        if tokio::time::timeout(limit, self.wait()).await.map_err(|_| silent(limit))?.is_err() {
            return Err(self.ended.clone().unwrap_or_else(|| silent(limit)));
        }
        std::future::poll_fn(|cx| {
            self.gather_ready(cx);
            Poll::Ready(())
        })
        .await;
        Ok(self.gather.take())
    }

    fn acknowledge(&mut self, to: &FilePosition) {
        if let Some(relay) = &self.relay {
            relay.acknowledge(to);
        }
    }
}

fn silent(limit: Duration) -> SourceError {
    SourceError::Unavailable(format!("no event and no heartbeat for {} s", limit.as_secs_f32()))
}
