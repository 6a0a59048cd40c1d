//! A running dump: what the server sends, event by event, and when it falls silent.

use super::encode::{self, CHECKSUM};
use super::source::batch;
use super::{Gtids, Inner, MySqlFault};
use crate::faults::lock;
use async_trait::async_trait;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use towpath_engine::ports::source::{BinlogStream, DumpRequest, EventBatch, SourceError};
use towpath_engine::position::FilePosition;

/// A batch is closed when it reaches this size.
const BATCH_BYTES: usize = 1 << 20;

/// A dump over one model connection.
pub(crate) struct ModelStream {
    inner: Arc<Mutex<Inner>>,
    changed: watch::Receiver<u64>,
    connection: u64,
    server_id: u32,
    heartbeat: Duration,
    read_deadline: Duration,
    semi_sync: bool,
    file: u64,
    position: u64,
    /// Transactions not to be sent (dump by set).
    exclude: Option<Gtids>,
    skipping: bool,
    /// Something was skipped since the last event sent: a heartbeat tells the replica how far.
    skipped: bool,
    /// The artificial ROTATE and the file's FORMAT_DESCRIPTION are still to be sent.
    fresh: bool,
    /// Where reading begins once the FORMAT_DESCRIPTION is sent (`position` is 0 until then).
    resume_at: u64,
    last_sent: Instant,
}

impl ModelStream {
    pub fn new(
        inner: Arc<Mutex<Inner>>,
        changed: watch::Receiver<u64>,
        connection: u64,
        request: &DumpRequest,
        (file, position): (u64, u64),
        exclude: Option<Gtids>,
    ) -> Self {
        Self {
            inner,
            changed,
            connection,
            server_id: request.server_id,
            heartbeat: request.heartbeat,
            read_deadline: request.read_deadline,
            semi_sync: request.semi_sync,
            file,
            position,
            exclude,
            skipping: false,
            skipped: false,
            fresh: true,
            resume_at: 4,
            last_sent: Instant::now(),
        }
    }

    /// What can be sent now; an empty batch if nothing.
    fn collect(&mut self) -> Result<EventBatch, SourceError> {
        let shared = Arc::clone(&self.inner);
        let mut inner = lock(&shared);
        self.check(&mut inner)?;
        let checksummed = inner.server.binlog.settings.checksum;
        let mut events = Vec::new();
        if !inner.silent {
            let mut size = 0;
            while size < BATCH_BYTES {
                let Some(event) = self.step(&inner)? else { break };
                size += event.len();
                if !event.is_empty() {
                    events.push(event);
                }
            }
            if events.is_empty() && self.last_sent.elapsed() >= self.heartbeat && !self.heartbeat.is_zero() {
                events.push(self.heartbeat_event(&inner));
            }
        }
        Ok(batch(&events, checksummed))
    }

    fn check(&self, inner: &mut Inner) -> Result<(), SourceError> {
        if !inner.dumps.contains_key(&self.connection) {
            let replaced = inner.dumps.values().any(|&id| id == Some(self.server_id));
            return Err(if replaced {
                SourceError::Refused("1236: a replica with the same server_id has connected to the source".into())
            } else {
                SourceError::Unavailable("the connection to the source was lost".into())
            });
        }
        let fault = inner.faults.take(|f| matches!(f, MySqlFault::StreamBreaks | MySqlFault::Checksum));
        if let Some(fault) = fault {
            inner.dumps.remove(&self.connection);
            return Err(match fault {
                MySqlFault::Checksum => SourceError::Checksum(format!("{}:{}", self.file, self.position)),
                _ => SourceError::Unavailable("the connection was reset".into()),
            });
        }
        Ok(())
    }

    /// The next event to send, checksum cut; an empty one if it was skipped; `None` if there is nothing more.
    fn step(&mut self, inner: &Inner) -> Result<Option<Vec<u8>>, SourceError> {
        let binlog = &inner.server.binlog;
        let checksummed = binlog.settings.checksum;
        let Some(file) = binlog.file(self.file) else {
            return Err(SourceError::Purged(format!("1236: could not find binlog file number {}", self.file)));
        };
        if self.fresh {
            self.fresh = false;
            return Ok(Some(self.artificial_rotate(inner, &file.name())));
        }
        // Behind the artificial ROTATE always comes the file's own FORMAT_DESCRIPTION, wherever the dump starts.
        if self.position == 0 {
            let description = file.event_at(4).unwrap_or_default();
            self.position = self.resume_at;
            if self.position > 4 {
                return Ok(Some(cut(&encode::without_end_position(description), true).to_vec()));
            }
            self.position += description.len() as u64;
            return Ok(Some(cut(description, true).to_vec()));
        }
        let Some(event) = file.event_at(self.position) else {
            if self.skipped {
                self.skipped = false;
                return Ok(Some(self.heartbeat_event(inner)));
            }
            if binlog.file(self.file + 1).is_none() {
                return Ok(None);
            }
            (self.file, self.position, self.fresh) = (self.file + 1, 4, true);
            return Ok(Some(Vec::new()));
        };
        if self.is_skipped(event) {
            self.position += event.len() as u64;
            self.skipped = true;
            return Ok(Some(Vec::new()));
        }
        if self.skipped {
            self.skipped = false;
            return Ok(Some(self.heartbeat_event(inner)));
        }
        self.position += event.len() as u64;
        Ok(Some(cut(event, checksummed).to_vec()))
    }

    /// Whether the event belongs to a transaction of the excluded set.
    fn is_skipped(&mut self, event: &[u8]) -> bool {
        let Some(exclude) = &self.exclude else { return false };
        match event[4] {
            encode::GTID_EVENT => {
                let hex = |range: std::ops::Range<usize>| event[range].iter().map(|b| format!("{b:02x}")).collect();
                let parts: [String; 5] = [hex(20..24), hex(24..26), hex(26..28), hex(28..30), hex(30..36)];
                let number = event[36..44].iter().rev().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
                self.skipping = exclude.contains(&parts.join("-"), number);
            }
            encode::ANONYMOUS_GTID_EVENT
            | encode::ROTATE_EVENT
            | encode::STOP_EVENT
            | encode::FORMAT_DESCRIPTION_EVENT
            | encode::PREVIOUS_GTIDS_EVENT => self.skipping = false,
            _ => {}
        }
        self.skipping
    }

    fn artificial_rotate(&mut self, inner: &Inner, name: &str) -> Vec<u8> {
        let settings = &inner.server.binlog.settings;
        let stamp = encode::Stamp { timestamp: 0, server_id: settings.server_id, checksum: settings.checksum };
        let body = encode::rotate_body(self.position, name);
        let event = encode::event(stamp, encode::ROTATE_EVENT, encode::FLAG_ARTIFICIAL, None, &body);
        self.resume_at = std::mem::take(&mut self.position);
        cut(&event, settings.checksum).to_vec()
    }

    fn heartbeat_event(&self, inner: &Inner) -> Vec<u8> {
        let settings = &inner.server.binlog.settings;
        let name = super::binlog::file_name(self.file);
        let event = encode::heartbeat(settings.server_id, settings.checksum, &name, self.position);
        cut(&event, settings.checksum).to_vec()
    }
}

#[async_trait]
impl BinlogStream for ModelStream {
    async fn next(&mut self) -> Result<EventBatch, SourceError> {
        let deadline = Instant::now() + self.read_deadline;
        loop {
            self.changed.mark_unchanged();
            let events = self.collect()?;
            if !events.ends.is_empty() {
                self.last_sent = Instant::now();
                return Ok(events);
            }
            let beat = if self.heartbeat.is_zero() { deadline } else { self.last_sent + self.heartbeat };
            // While the server is silent the heartbeat's time has passed without one: wait for the deadline then.
            let wake = if beat > Instant::now() { beat.min(deadline) } else { deadline };
            // A closed channel means that the server is gone with all its handles: silence until the deadline.
            let closed = matches!(timeout_at(wake, self.changed.changed()).await, Ok(Err(_)));
            if closed || Instant::now() >= deadline {
                return Err(SourceError::Unavailable("no event and no heartbeat within the read deadline".into()));
            }
        }
    }

    fn acknowledge(&mut self, to: &FilePosition) {
        let mut inner = lock(&self.inner);
        // What is said on a connection that is gone arrives nowhere.
        if self.semi_sync && inner.dumps.contains_key(&self.connection) {
            inner.semi_sync.acknowledged.push(to.clone());
        }
    }
}

impl Drop for ModelStream {
    fn drop(&mut self) {
        lock(&self.inner).dumps.remove(&self.connection);
    }
}

/// An event without its checksum.
pub(crate) fn cut(event: &[u8], checksummed: bool) -> &[u8] {
    if checksummed { event.get(..event.len().saturating_sub(CHECKSUM)).unwrap_or_default() } else { event }
}
