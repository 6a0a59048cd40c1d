//! One event in, records and transaction marks out: decoding, counting and writing put together. No I/O.
//!
//! Must not deliver, nor decide how to go on after a stop.

use std::sync::Arc;

use super::config::{DeployerConfig, TableFilter};
use super::count::{Counter, Step, TransactionEnd, TransactionId, carry};
use super::follow::{Followed, Follower, Place};
use super::meters::Meters;
use super::outbox::Outbox;
use super::statement::{self, Effect};
use super::xa::{GroupNeed, Groups};
use crate::binlog::{Decoder, Event, EventHeader, Query, QueryKind, RowsEvent};
use crate::cause::{Cause, Stop};
use crate::env::Env;
use crate::format::{DeadRow, EventContext, FlatConfig, FlatWriter, RecordBuffer, RecordFormat};
use crate::position::{FilePosition, Position};
use crate::routing::Router;
use crate::state::PreparedXa;

/// The highest position that was handed on, with the header text that proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Highest {
    /// Offset of the event's first byte.
    pub offset: u64,
    /// The witness' header text.
    pub witness: Arc<str>,
    /// The transaction's GTID; empty without.
    pub gtid: String,
}

/// A row that no record can take, with the place to find it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The row.
    pub row: DeadRow,
    /// Its transaction's GTID; empty without.
    pub gtid: String,
    /// Its transaction: `FILE:START:LENGTH:CRC32`, up to and with its event.
    pub witness: Arc<str>,
}

/// What does not change while one stream is read.
pub struct EncoderContext {
    /// The leader's term.
    pub term: u64,
    /// The epoch.
    pub epoch: u16,
    /// The identity of the server being read.
    pub server: String,
    /// The server writes column names (`binlog_row_metadata=FULL`).
    pub names_in_binlog: bool,
    /// Transactions before this place come out of order: see [`Encoder::take_stray`].
    pub in_order_from: Option<FilePosition>,
}

/// A transaction that lies before some that were carried: its rows are to be read at its end.
#[derive(Debug)]
pub struct Stray {
    /// Its end, which is not in the outbox yet.
    pub end: TransactionEnd,
    /// Its records once more, for their keys.
    pub records: RecordBuffer,
    /// The witness' header text for what is read.
    pub witness: Arc<str>,
}

/// Encodes the events of one stream, from a transaction's start on.
pub struct Encoder {
    context: EncoderContext,
    filter: TableFilter,
    /// Where the binlog does not name columns.
    follower: Option<Follower>,
    decoder: Decoder,
    counter: Counter,
    writer: FlatWriter,
    env: Env,
    meters: Meters,
    /// All that was read so far, the open transaction included once it has written a record.
    read: Position,
    gtid: String,
    /// The set as FlatMessage shows it; empty until the open transaction's first rows.
    executed: String,
    batch: u64,
    now_ms: u64,
    highest: Option<Highest>,
    dead: Vec<DeadLetter>,
    groups: Groups,
    /// Records of the open transaction where it comes out of order.
    echo: RecordBuffer,
    stray: Option<Stray>,
}

/// What part of the budget recent XA groups may take, so that they need not be read again.
const GROUPS_SHARE: usize = 8;

/// Where a stream resumes.
pub struct Resume {
    /// What is carried.
    pub position: Position,
    /// Its offset in the epoch: the end of the last transaction.
    pub offset: u64,
    /// XA groups that are prepared there.
    pub prepared: Vec<PreparedXa>,
}

impl Encoder {
    /// For a stream that resumes there.
    pub fn new(
        config: &DeployerConfig,
        context: EncoderContext,
        follower: Option<Follower>,
        resume: Resume,
        (env, meters): (Env, Meters),
    ) -> Self {
        let filter = config.tables.clone();
        let mut decoder = Decoder::new({
            let filter = filter.clone();
            move |database, table| filter.accepts(database, table)
        });
        if let Some(follower) = &follower {
            follower.prepare(&mut decoder);
        }
        let writer = FlatWriter::new(FlatConfig {
            pipeline: config.pipeline.clone(),
            router: Router::new(config.partition_by.clone(), config.partitions),
            mode: config.record,
            canal_quirks: config.canal_quirks,
            geometry: config.geometry,
            max_record_bytes: config.max_record_bytes,
        });
        Self {
            context,
            filter,
            follower,
            decoder,
            counter: Counter::new(resume.offset),
            writer,
            env,
            meters,
            read: resume.position,
            gtid: String::new(),
            executed: String::new(),
            batch: 0,
            now_ms: 0,
            highest: None,
            dead: Vec::new(),
            groups: Groups::new(resume.prepared, config.budget_bytes / GROUPS_SHARE),
            echo: RecordBuffer::new(),
            stray: None,
        }
    }

    /// A batch of events begins: its time and number go into its records.
    pub fn begin_batch(&mut self) {
        self.batch += 1;
        self.now_ms = self.env.wall_ms();
    }

    /// Takes the next event. Its records, and its transaction's end, go into the outbox.
    ///
    /// An event that an XA group takes effect at is not taken at first: the group's events are to be given to
    /// [`Encoder::group_event`] up to [`Encoder::group_is_complete`], then the same event again.
    pub fn event(&mut self, raw: &[u8], outbox: &mut Outbox) -> Result<Option<GroupNeed>, Stop> {
        let header = EventHeader::parse(raw)?;
        if self.groups.withholds() && Groups::is_content(header.event_type) {
            self.counter.step(&header, raw, &Event::Ignored(header.event_type))?;
            self.meters.binlog_bytes.add(raw.len() as u64);
            self.groups.keep(raw);
            return Ok(None);
        }
        let event = self.decoder.decode(raw).map_err(|stop| self.placed(stop))?;
        let own = || self.counter.so_far();
        if let Some(need) = self.groups.need(&event, raw, own).map_err(|stop| self.placed(stop))? {
            self.counter.release();
            return Ok(Some(need));
        }
        let step = self.counter.step(&header, raw, &event)?;
        self.meters.binlog_bytes.add(raw.len() as u64);
        if let Step::Begin = step {
            self.gtid = self.counter.open_id().as_ref().map(TransactionId::text).unwrap_or_default();
            self.executed.clear();
            self.groups.begin(raw);
            self.follow(&step, |follower, place, decoder| follower.begin(place, decoder));
        }
        if self.groups.take(&event, raw).map_err(|stop| self.placed(stop))? {
            self.counter.withhold();
        }
        self.look_at(&event, &step)?;
        let mut end_of_group = None;
        match event {
            Event::Rows(rows) => self.rows(rows, &header, outbox)?,
            Event::Query(ref query) if query.kind() == QueryKind::Statement && !self.groups.withholds() => {
                self.statement(query)?;
                self.follow(&step, |follower, place, decoder| follower.statement(query, place, decoder));
            }
            Event::Ignored(kind) if kind.is_padding() => self.meters.events_skipped.add(1),
            ref other => end_of_group = self.groups.end(other),
        }
        if let Step::End(mut end) = step {
            if self.groups.withholds() && end_of_group.is_none() {
                return Err(self.placed(Stop::new(Cause::Corrupt, "an XA group ends without being prepared")));
            }
            end.xa = end_of_group.map(Arc::new);
            if !carry(&mut self.read, &end) {
                return Err(self.placed(Stop::new(
                    Cause::NoGtid,
                    "a transaction without a GTID follows a position that is a GTID set: set gtid_mode=ON",
                )));
            }
            self.groups.carry(&end);
            self.meters.xa_prepared.set(self.groups.waiting() as i64);
            self.meters.transactions.add(1);
            if self.echo.is_empty() {
                outbox.end(end);
            } else {
                let witness = self.highest.as_ref().map_or_else(|| "".into(), |highest| Arc::clone(&highest.witness));
                self.stray = Some(Stray { end, records: std::mem::take(&mut self.echo), witness });
            }
        }
        Ok(None)
    }

    /// Takes the next event of the XA group that [`Encoder::event`] asked for.
    pub fn group_event(&mut self, raw: &[u8], outbox: &mut Outbox) -> Result<(), Stop> {
        let header = EventHeader::parse(raw)?;
        if !self.groups.give(&header, raw).map_err(|stop| self.placed(stop))? {
            return Ok(());
        }
        let event = self.decoder.decode(raw).map_err(|stop| self.placed(stop))?;
        self.counter.insert(&header, raw)?;
        self.look_at(&event, &Step::Inside)?;
        match event {
            Event::Rows(rows) => self.rows(rows, &header, outbox),
            Event::Query(query) if query.kind() == QueryKind::Statement => self.statement(&query),
            _ => Ok(()),
        }
    }

    /// Whether the group asked for has been given in full.
    pub fn group_is_complete(&self) -> bool {
        self.groups.is_given()
    }

    /// Bytes of XA groups that are kept for their COMMIT.
    pub fn group_bytes(&self) -> usize {
        self.groups.bytes()
    }

    fn rows(&mut self, rows: RowsEvent<'_>, header: &EventHeader, outbox: &mut Outbox) -> Result<(), Stop> {
        let name = || format!("{}.{}", rows.table.database, rows.table.table);
        if rows.table.primary_key.is_empty() {
            let detail = format!("table {} has no primary key: its rows could not be told apart", name());
            return Err(self.placed(Stop::new(Cause::NoPrimaryKey, detail)));
        }
        if self.executed.is_empty() {
            self.executed = self.executed_with_open();
        }
        let offset = self.counter.event_offset();
        let context = EventContext {
            epoch: self.context.epoch,
            offset,
            term: self.context.term,
            gtid: &self.gtid,
            server: &self.context.server,
            executed: &self.executed,
            id: self.batch,
            es_ms: u64::from(header.timestamp) * 1000,
            ts_ms: self.now_ms,
        };
        if self.out_of_order() {
            self.writer.write(rows.clone(), &context, &mut self.echo)?;
        }
        let buffer = outbox.buffer();
        let dead_before = buffer.dead().len();
        let written = self.writer.write(rows, &context, buffer);
        written.map_err(|stop| self.placed(stop))?;
        let witness: Arc<str> = self.counter.so_far_text().into();
        for row in &buffer.dead()[dead_before..] {
            self.dead.push(DeadLetter { row: row.clone(), gtid: self.gtid.clone(), witness: Arc::clone(&witness) });
        }
        outbox.wrote(Arc::clone(&witness));
        self.highest = Some(Highest { offset, witness, gtid: self.gtid.clone() });
        Ok(())
    }

    /// Lets whoever follows definitions see which server wrote the events, and tables whose columns are not known.
    fn look_at(&mut self, event: &Event<'_>, step: &Step) -> Result<(), Stop> {
        match event {
            Event::FormatDescription(format) => {
                self.follow(step, |follower, _, _| follower.server(format.server_version));
            }
            Event::TableMap(map) if map.captured && !map.known => {
                let held = self.follow(step, |follower, place, decoder| follower.unknown(map, place, decoder));
                if let Some(Err(stop)) = held {
                    return Err(self.placed(stop));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Lets whoever follows definitions see where the stream is.
    fn follow<T>(&mut self, step: &Step, act: impl FnOnce(&mut Follower, &Place, &mut Decoder) -> T) -> Option<T> {
        let follower = self.follower.as_mut()?;
        let offset = self.counter.event_offset();
        let place = match step {
            // A statement by itself: its transaction has ended with it.
            Step::End(end) => {
                Place { offset, id: Some(end.id), start: FilePosition::new(end.file.as_ref(), end.start) }
            }
            _ => Place { offset, id: self.counter.open_id(), start: self.counter.open_start() },
        };
        Some(act(follower, &place, &mut self.decoder))
    }

    fn executed_with_open(&self) -> String {
        match (&self.read, self.counter.open_id()) {
            (Position::Gtid(set), Some(TransactionId::Gtid(gtid))) => {
                let mut set = set.clone();
                set.insert(gtid);
                set.to_string()
            }
            (Position::MariaDb(list), _) => list.clone(),
            _ => String::new(),
        }
    }

    fn statement(&mut self, query: &Query<'_>) -> Result<(), Stop> {
        let sql: String = query.sql.chars().take(200).collect();
        let stop = |cause, what: String| Err(self.placed(Stop::new(cause, format!("{what}: {sql}"))));
        match statement::effect(&query.sql, query.database, &self.filter) {
            Effect::Nothing => Ok(()),
            Effect::Rows(table) => stop(Cause::StatementEvent, format!("a statement changed rows of {table}")),
            // What is held is read again, and this with it.
            Effect::Truncate(table) if self.holds(&table) => Ok(()),
            Effect::Truncate(table) => stop(Cause::StatementEvent, format!("{table} was emptied without row events")),
            Effect::Drop(table) => {
                // What is in the log and the sinks stays; that is said, and it is no reason to stop all other tables.
                tracing::error!(table, sql, "a captured table was dropped: its documents stay until a repair");
                self.meters.tables_dropped.add(1);
                Ok(())
            }
            Effect::Definition(table) if !self.context.names_in_binlog && self.follower.is_none() => {
                stop(Cause::SchemaChanged, format!("a statement changed {table}, and the binlog does not name columns"))
            }
            Effect::Definition(table) => {
                tracing::info!(table, sql, "a captured table's definition changes");
                Ok(())
            }
        }
    }

    fn holds(&self, name: &str) -> bool {
        let holds = |(database, table)| self.follower.as_ref().is_some_and(|follower| follower.holds(database, table));
        name.split_once('.').is_some_and(holds)
    }

    fn placed(&self, stop: Stop) -> Stop {
        let transaction = if self.gtid.is_empty() { String::new() } else { format!(", transaction {}", self.gtid) };
        Stop::new(stop.cause, format!("{} (at {}{transaction})", stop.detail, self.counter.describe()))
    }

    /// The highest position handed on so far, if any was.
    pub fn highest(&self) -> Option<&Highest> {
        self.highest.as_ref()
    }

    /// Whether the open transaction lies before some that were carried.
    fn out_of_order(&self) -> bool {
        let start = self.counter.open_start();
        let before = |from: &FilePosition| (start.file_number(), start.position) < (from.file_number(), from.position);
        self.context.in_order_from.as_ref().is_some_and(before)
    }

    /// Takes the transaction that ended with the last event and came out of order: before the next event its rows must
    /// be read, and its end put into the outbox.
    pub fn take_stray(&mut self) -> Option<Stray> {
        self.stray.take()
    }

    /// All that was read so far: at a transaction's end, the boundary there.
    pub fn read(&self) -> &Position {
        &self.read
    }

    /// Takes what became of definitions; `None` if nothing did.
    pub fn take_followed(&mut self) -> Option<Followed> {
        self.follower.as_mut()?.take()
    }

    /// Takes the rows that no record could take.
    pub fn take_dead(&mut self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.dead)
    }
}
