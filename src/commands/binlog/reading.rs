//! Events in the order of the binlog, decoded, counted and filtered, on their way to one output.
//!
//! Must not know where events come from, nor how they are printed.

use bytes::Bytes;
use towpath_engine::binlog::unpack::{Unpacker, is_packed};
use towpath_engine::binlog::{Decoder, Event, EventHeader, EventType, FLAG_ARTIFICIAL, QueryKind, RowsEvent};
use towpath_engine::cause::{Cause, Stop};
use towpath_engine::deployer::count::{Counter, Step, TransactionId};
use towpath_engine::ports::source::EventBatch;
use towpath_engine::position::FilePosition;

use super::Halt;
use super::selection::Selection;

/// Where an event is.
#[derive(Debug)]
pub(super) struct At<'a> {
    /// The event's header, as it lies in the file or in the payload that holds it.
    pub header: EventHeader,
    /// The event's first byte in its file; of an event in a payload, the payload's.
    pub offset: u64,
    /// The event lies in a payload.
    pub nested: bool,
    /// The open transaction's GTID; empty without.
    pub gtid: &'a str,
    /// The open transaction's first byte, or the place between transactions.
    pub start: &'a FilePosition,
    /// The offset that versions carry: counted bytes up to the event. `None` within a prepared XA group: its rows are
    /// counted at its COMMIT, which is another transaction.
    pub version: Option<u64>,
}

/// What prints the events that passed the filters. Unless it says otherwise it prints rows only.
pub(super) trait Output {
    /// Rows. Returns how many there were.
    fn rows(&mut self, at: &At<'_>, rows: RowsEvent<'_>) -> Result<u64, Halt>;

    /// Any other event.
    fn other(&mut self, _: &At<'_>, _: Shown<'_>) -> Result<(), Halt> {
        Ok(())
    }

    /// Whether an event that is not decoded is only shown. Outputs of rows stop there: rows would be missing.
    fn goes_on(&self) -> bool {
        false
    }

    /// What was printed so far is to be seen: nothing more may come for a while.
    fn flush(&mut self) -> Result<(), Halt>;

    /// Reading has ended, or failed.
    fn finish(&mut self, tally: &Tally) -> Result<(), Halt>;
}

/// An event without rows as an output gets it.
pub(super) enum Shown<'a> {
    /// Decoded.
    Plain(Event<'a>),
    /// Holds other events, which follow (of MariaDB's compressed events, nothing but their rows follow).
    Packed,
    /// Not decoded, and why.
    Undecoded(&'a Stop),
}

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Events, those in payloads included.
    pub events: u64,
    /// Transactions read to their end.
    pub transactions: u64,
    /// Rows that passed the filters.
    pub rows: u64,
    /// Events that could not be decoded, and why the first could not.
    pub undecoded: Option<(u64, Stop)>,
}

/// Reads events in order.
pub(super) struct Reading<'o> {
    selection: Selection,
    decoder: Decoder,
    counter: Counter,
    output: Box<dyn Output + 'o>,
    tally: Tally,
    gtid: String,
    start: FilePosition,
    /// The open transaction passes the filters.
    chosen: bool,
    /// The open transaction is an XA group.
    xa: bool,
}

impl<'o> Reading<'o> {
    /// At the start; versions are counted from `offset` on.
    pub fn new(selection: Selection, offset: u64, output: Box<dyn Output + 'o>) -> Self {
        Self {
            decoder: Decoder::new(selection.tables()).naming_by_place(),
            counter: Counter::new(offset),
            chosen: selection.transaction(None),
            selection,
            output,
            tally: Tally::default(),
            gtid: String::new(),
            xa: false,
            start: FilePosition::new("", 0),
        }
    }

    /// What was read so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Lets what was printed so far be seen.
    pub fn flush(&mut self) -> Result<(), Halt> {
        self.output.flush()
    }

    /// A file begins. Servers say so by an artificial event; files do not.
    pub fn file(&mut self, name: &str) -> Result<(), Stop> {
        let header = EventHeader {
            timestamp: 0,
            event_type: EventType::ROTATE,
            server_id: 0,
            size: 0,
            log_pos: 0,
            flags: FLAG_ARTIFICIAL,
        };
        self.start = FilePosition::new(name, 4);
        self.counter.step(&header, &[], &Event::Rotate { file: name, position: 4 }).map(drop)
    }

    /// The next event, without its checksum. `offset` is its first byte in its file.
    pub fn event(&mut self, raw: &[u8], offset: u64, checksummed: bool) -> Result<(), Halt> {
        if !is_packed(raw) {
            return self.plain(raw, offset, None, false);
        }
        let header = EventHeader::parse(raw)?;
        let payload = header.event_type == EventType::TRANSACTION_PAYLOAD;
        if payload {
            self.tally.events += 1;
            if self.chosen && self.selection.time(&header) {
                let version = Some(self.counter.offset());
                let at = At { header, offset, nested: false, gtid: &self.gtid, start: &self.start, version };
                self.output.other(&at, Shown::Packed)?;
            }
        }
        let mut unpacker = Unpacker::default();
        let end = u32::try_from(raw.len()).map_err(|_| Stop::new(Cause::Corrupt, "an event of more than 4 GiB"))?;
        unpacker.push(EventBatch { bytes: Bytes::copy_from_slice(raw), ends: vec![end], checksummed });
        while let Some(batch) = unpacker.next()? {
            for event in batch.events() {
                self.plain(event, offset, (!payload).then_some(header), payload)?;
            }
        }
        Ok(())
    }

    /// A plain event. `lies_as` is the header in the file, where that of `raw` is another.
    fn plain(&mut self, raw: &[u8], offset: u64, lies_as: Option<EventHeader>, nested: bool) -> Result<(), Halt> {
        let header = EventHeader::parse(raw)?;
        let decoded = self.decoder.decode(raw);
        let undecoded = match &decoded {
            Err(stop) if self.may_pass(stop) => Some(stop.clone()),
            _ => None,
        };
        let event = match decoded {
            Ok(event) => event,
            Err(_) if undecoded.is_some() => Event::Ignored(header.event_type),
            Err(stop) => return Err(stop.into()),
        };
        let step = self.counter.step(&header, raw, &event)?;
        self.tally.events += 1;
        if let Event::Query(query) = &event {
            self.xa |= query.kind() == QueryKind::Xa;
        }
        if let Step::Begin = step {
            self.xa = false;
            let id = self.counter.open_id();
            self.chosen = self.selection.transaction(id.as_ref());
            self.gtid = id.as_ref().map(TransactionId::text).unwrap_or_default();
            self.start = self.counter.open_start();
        }
        if let Event::Rotate { file, position } = &event
            && header.is_artificial()
        {
            self.start = FilePosition::new(*file, *position);
        }
        if let Some(stop) = &undecoded {
            self.tally.undecoded.get_or_insert_with(|| (0, stop.clone())).0 += 1;
        }
        if self.chosen && self.selection.time(&header) && Selection::table(&event) {
            let version = (!self.xa).then(|| self.counter.event_offset());
            let header = lies_as.unwrap_or(header);
            let at = At { header, offset, nested, gtid: &self.gtid, start: &self.start, version };
            match (event, &undecoded) {
                (_, Some(stop)) => self.output.other(&at, Shown::Undecoded(stop))?,
                (Event::Rows(rows), None) => self.tally.rows += self.output.rows(&at, rows)?,
                (event, None) => self.output.other(&at, Shown::Plain(event))?,
            }
        }
        if let Step::End(_) = step {
            self.xa = false;
            self.tally.transactions += 1;
            self.chosen = self.selection.transaction(None);
            self.gtid.clear();
        }
        Ok(())
    }

    /// Whether the output goes on after an event that stops a pipeline. Damaged bytes stop all.
    fn may_pass(&self, stop: &Stop) -> bool {
        self.output.goes_on() && stop.cause != Cause::Corrupt
    }

    /// Ends the output; what could not be decoded is the failure, if reading itself did not fail.
    pub fn finish(mut self) -> Result<(), Halt> {
        self.output.finish(&self.tally)?;
        match self.tally.undecoded {
            Some((count, stop)) => {
                let detail = format!("{} (events not decoded: {count})", stop.detail);
                Err(Stop::new(stop.cause, detail).into())
            }
            None => Ok(()),
        }
    }
}
