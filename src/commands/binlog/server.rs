//! A live server as input: its events from a position to its present end, or for ever.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use towpath_engine::binlog::{Decoder, Event, EventHeader, EventType};
use towpath_engine::cause::{Cause, Stop};
use towpath_engine::deployer::Start;
use towpath_engine::deployer::count::whole_place;
use towpath_engine::ports::source::{DumpRequest, Flavor, ServerIdentity, SourceError};
use towpath_engine::position::{FilePosition, Position};

use super::Halt;
use super::reading::Reading;
use crate::cli::BinlogArgs;
use crate::commands::own_server_id;
use crate::exit::Failure;
use crate::services;

/// How often the server says that it has nothing more. The end is recognised by it when the last transactions are left
/// out, so it is also how long that takes.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence longer than this is a dead connection.
const READ_DEADLINE: Duration = Duration::from_secs(30);

/// Reads the server's events.
pub(super) fn read(url: &str, args: &BinlogArgs, reading: &mut Reading<'_>) -> Result<(), Halt> {
    let source = services::server(url, std::env::var("MYSQL_PWD").ok())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Other(format!("the async runtime cannot start: {error}")))?;
    runtime.block_on(async {
        let server = source.identify().await.map_err(failed)?;
        let request = DumpRequest {
            from: start(args, &server)?,
            server_id: args.server_id.unwrap_or_else(own_server_id),
            heartbeat: HEARTBEAT,
            read_deadline: READ_DEADLINE,
            beside: false,
            semi_sync: false,
            server: None,
        };
        let mut end = End::new(server.end);
        let mut ended = std::pin::pin!(ended()?);
        let mut stream = source.dump(request).await.map_err(failed)?;
        while args.stop_never || !end.reached {
            let batch = tokio::select! {
                // What was read so far is told: counts above all.
                () = &mut ended => break,
                batch = stream.next() => batch.map_err(failed)?,
            };
            for raw in batch.events() {
                let offset = end.follow(&EventHeader::parse(raw)?, raw);
                reading.event(raw, offset, batch.checksummed)?;
            }
            reading.flush()?;
        }
        Ok(())
    })
}

/// Returns when the user has seen enough: at Ctrl-C, or SIGTERM.
fn ended() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::Other(format!("cannot listen for signals: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Where to start. Without an option, at the oldest event there is.
fn start(args: &BinlogArgs, server: &ServerIdentity) -> Result<Position, Failure> {
    if let Some(text) = &args.start {
        return match text.parse() {
            Ok(Start::File(at)) => Ok(Position::File(at)),
            _ => Err(Failure::Usage(format!("--start {text} is not FILE:POSITION"))),
        };
    }
    match (&args.start_gtid, server.flavor) {
        (None, _) => Ok(Position::File(server.oldest.clone())),
        (Some(list), Flavor::MariaDb) => Ok(Position::MariaDb(list.clone())),
        (Some(text), Flavor::MySql) => {
            text.parse().map(Position::Gtid).map_err(|error| Failure::Usage(format!("--start-gtid: {error}")))
        }
    }
}

/// Watches for the place that was the binlog's end at the start.
struct End {
    /// Looks into events of place only.
    decoder: Decoder,
    at: FilePosition,
    end: FilePosition,
    reached: bool,
}

impl End {
    fn new(end: FilePosition) -> Self {
        Self { decoder: Decoder::new(|_, _| false), at: FilePosition::new("", 0), end, reached: false }
    }

    /// Takes an event; gives its first byte's place, 0 for one that stands in no file.
    fn follow(&mut self, header: &EventHeader, raw: &[u8]) -> u64 {
        let of_place = matches!(header.event_type, EventType::ROTATE | EventType::HEARTBEAT | EventType::HEARTBEAT_V2);
        let mut start = 0;
        if !header.is_artificial()
            && header.log_pos != 0
            && !matches!(header.event_type, EventType::HEARTBEAT | EventType::HEARTBEAT_V2)
        {
            self.at.position = whole_place(self.at.position, header.log_pos);
            start = self.at.position.saturating_sub(u64::from(header.size));
        }
        match of_place.then(|| self.decoder.decode(raw)) {
            Some(Ok(Event::Rotate { file, position })) => self.at = FilePosition::new(file, position),
            // The older form has 32 bits: it tells nothing of places beyond.
            Some(Ok(Event::Heartbeat { file, position })) if *file == *self.at.file => {
                self.at.position = self.at.position.max(position);
            }
            Some(Ok(Event::Heartbeat { file, position })) => self.at = FilePosition::new(file, position),
            _ => {}
        }
        let place = |at: &FilePosition| (at.file_number(), at.position);
        self.reached |= place(&self.at) >= place(&self.end);
        start
    }
}

fn failed(error: SourceError) -> Halt {
    let cause = match &error {
        SourceError::Denied(_) => Cause::SourceDenied,
        SourceError::Purged(_) => Cause::Purged,
        SourceError::Checksum(_) => Cause::Corrupt,
        SourceError::Unavailable(_) => Cause::SourceUnavailable,
        SourceError::OtherServer(_) => Cause::OtherServer,
        SourceError::Ahead(_) | SourceError::NoEvent(_) | SourceError::Refused(_) => {
            return Failure::Other(error.to_string()).into();
        }
    };
    Stop::new(cause, error.to_string()).into()
}
