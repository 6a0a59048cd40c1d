//! What the oracles are shown of one source: its topic's records and its state, as they come.
//!
//! Looks at the models directly, past the network: an observer is not part of what it observes. Must not judge.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value as Json;
use towpath_engine::deployer::tail::{WITNESS, read_witness};
use towpath_engine::format::{ChangeKind, ChangeRecord, Incoming, Reader};
use towpath_engine::gtid::GtidSet;
use towpath_engine::ports::log::ConsumedRecord;
use towpath_engine::position::Position;
use towpath_engine::state::{self, PipelineState};
use towpath_engine::version::Version;
use towpath_models::mysql::Commit;
use towpath_models::orders;
use towpath_scenarios::calendar::iso;
use towpath_scenarios::oracle::checkpoint::Checkpoints;
use towpath_scenarios::oracle::delivery::Delivery;
use towpath_scenarios::oracle::freshness::Freshness;
use towpath_scenarios::oracle::identity::Identity;
use towpath_scenarios::oracle::order::Order;
use towpath_scenarios::oracle::{LogChange, Violation};
use towpath_scenarios::scenario::{Expect, Fencing, Topology};
use towpath_scenarios::workload::{Change, Row, Table, Transaction, Value, key_of, order_columns};

use crate::application::planned;
use crate::world::{Pipeline, World};

/// What is remembered of one source, and the oracles that judge it.
pub struct OfSource {
    pipeline: Pipeline,
    reader: Reader,
    next: BTreeMap<u32, i64>,
    state_version: Option<i32>,
    order: Order,
    identity: Identity,
    delivery: Delivery,
    checkpoints: Checkpoints,
    /// While it is judged.
    freshness: Option<Freshness>,
    /// Its link is cut: nobody expects fresh documents of it.
    cut: bool,
    /// Rows may rightly show older states again: the source lost some, or all is read once more.
    turned_back: bool,
    /// Transactions with rows of captured tables, in order of their commits.
    commits: Vec<String>,
    /// Keys of rows that are dead letters.
    dead: BTreeSet<i64>,
    /// The terms that the state has shown.
    terms: BTreeSet<i64>,
    /// The runs of the fallback path that the state has shown: term and number.
    runs: BTreeSet<(i64, u32)>,
}

impl OfSource {
    /// For a run of this topology.
    pub(super) fn new(pipeline: &Pipeline, topology: &Topology, expect: &Expect) -> Self {
        Self {
            pipeline: pipeline.clone(),
            reader: Reader::new(),
            next: BTreeMap::new(),
            state_version: None,
            order: Order::new(topology.fencing == Fencing::Transactions),
            identity: Identity::default(),
            delivery: Delivery::default(),
            checkpoints: Checkpoints::default(),
            freshness: expect.fresh_within.map(|within| Freshness::new(within.duration())),
            cut: false,
            turned_back: false,
            commits: Vec::new(),
            dead: BTreeSet::new(),
            terms: BTreeSet::new(),
            runs: BTreeSet::new(),
        }
    }

    /// A transaction with so many rows was committed at the source.
    pub fn committed(&mut self, commit: Commit, rows: usize) {
        self.delivery.committed(&commit.gtid, rows, format!("{}:{}", commit.at.file, commit.at.position));
        self.commits.push(commit.gtid);
    }

    /// Orders that a transaction has changed are to be shown before long, where that is expected.
    pub fn expect_shown(&mut self, gtid: &str, transaction: &Transaction, now: Duration) {
        let Some(freshness) = &mut self.freshness else { return };
        for op in transaction.ops.iter().filter(|op| op.table == Table::Orders) {
            let (gone, row) = match &op.change {
                Change::Insert(row) => (None, Some(row)),
                Change::Update { before, after } => (Some(key_of(before)), Some(after)),
                Change::Delete(row) => (Some(key_of(row)), None),
            };
            // A number that an order no longer has is that of no order.
            if let Some(gone) = gone.filter(|gone| row.is_none_or(|row| key_of(row) != *gone)) {
                freshness.changed(gone.to_string(), gtid, None, now);
            }
            if let Some(row) = row {
                freshness.changed(key_of(row).to_string(), gtid, updated(row), now);
            }
        }
    }

    /// If the source's history is another one since the last look: what it no longer has is owed to nobody.
    pub(super) fn look_back(&mut self) {
        if !self.pipeline.sources.has_turned_back() {
            return;
        }
        let executed = self.pipeline.executed();
        self.turned_back = true;
        let epoch = self.checkpoints.epoch();
        let gone = |gtid: &String| gtid.parse::<GtidSet>().is_ok_and(|one| !one.is_subset(&executed));
        let (lost, kept) = std::mem::take(&mut self.commits).into_iter().partition(gone);
        self.commits = kept;
        let lost: Vec<String> = lost;
        tracing::info!(source = self.pipeline.name(), transactions = lost.len(), "the source has lost");
        for gtid in lost {
            self.delivery.lost(&gtid, epoch);
            self.freshness.iter_mut().for_each(|freshness| freshness.lost(&gtid));
            if let Ok(one) = gtid.parse() {
                self.checkpoints.lost(&one);
            }
        }
    }

    /// Faults end: documents may take their time from now on.
    pub(super) fn calm(&mut self) {
        self.freshness = None;
    }

    /// The link to the source is cut, or whole again: its time stands still meanwhile.
    pub fn link_is_cut(&mut self, cut: bool, now: Duration) {
        self.cut = cut;
        self.freshness.iter_mut().for_each(|freshness| freshness.begin_anew(now));
    }

    /// Whether it was another one before.
    pub fn has_turned_back(&self) -> bool {
        self.turned_back
    }

    /// Epochs after the first.
    pub fn epochs(&self) -> usize {
        usize::from(self.checkpoints.epoch().saturating_sub(1))
    }

    /// Rows found in the log.
    pub fn rows(&self) -> usize {
        self.delivery.rows()
    }

    /// Leaders after the first.
    pub fn takeovers(&self) -> usize {
        self.terms.len().saturating_sub(1)
    }

    /// Runs of the fallback path.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Transactions committed so far.
    pub fn transactions(&self) -> usize {
        self.commits.len()
    }

    /// The rows among the deployers' dead letters.
    pub fn dead_letters(&self) -> usize {
        self.dead.len()
    }

    fn state(&self, world: &World) -> Option<(Vec<u8>, i32)> {
        world.zookeeper.node(&format!("{}/{}", self.pipeline.folder(), state::NODE))
    }

    fn decoded(&self, world: &World) -> Option<PipelineState> {
        state::decode(&self.state(world)?.0).ok()
    }

    /// After a step: the state, and the log if the state says something new about it.
    ///
    /// # Errors
    /// An oracle's verdict.
    pub(super) fn step(&mut self, world: &World) -> Result<(), Violation> {
        let Some((bytes, version)) = self.state(world) else { return Ok(()) };
        if self.state_version == Some(version) {
            return Ok(());
        }
        self.state_version = Some(version);
        self.log(world)?;
        self.dead_records(world)?;
        let state = state::decode(&bytes).map_err(|stop| Violation::new("checkpoint", stop.to_string()))?;
        self.terms.insert(state.leader.term);
        self.runs.extend(state.fallback.iter().map(|run| (run.term, run.number)));
        self.checkpoints.state(&state, &self.commits, &self.delivery)
    }

    /// Judges what a search made at `now` has shown of the orders: `updated_at` by order.
    ///
    /// # Errors
    /// An oracle's verdict.
    pub(super) fn is_fresh(&mut self, orders: &BTreeMap<String, String>, now: Duration) -> Result<(), Violation> {
        match &mut self.freshness {
            Some(freshness) if !self.cut => freshness.shows(orders, now),
            _ => Ok(()),
        }
    }

    /// Takes in the topic's new records.
    ///
    /// # Errors
    /// An oracle's verdict.
    pub(super) fn log(&mut self, world: &World) -> Result<(), Violation> {
        for record in world.kafka.records_since(self.pipeline.name(), &mut self.next) {
            let unreadable = |error: String| Violation::new("order", format!("a record cannot be read: {error}"));
            match self.reader.read(&record).map_err(|error| unreadable(error.to_string()))? {
                Incoming::Control(control) => self.order.control(record.partition, control.term),
                Incoming::Foreign(why) => return Err(unreadable(why)),
                Incoming::Change(change) => {
                    for row in rows(&change, &record) {
                        if self.order.change(&row)? {
                            self.identity.change(&row)?;
                            self.delivery.change(&row);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the log has a streamed row of a document's version, which is one of this source.
    pub(super) fn has_streamed(&self, version: Version) -> bool {
        self.identity.is_streamed(version.epoch(), version.offset())
    }

    /// Says where everything stands, for a picture of the run.
    pub(super) fn sample(&self, world: &World) {
        let state = self.decoded(world);
        let carried = match state.as_ref().map(|state| &state.checkpoint.resume) {
            Some(Position::Gtid(set)) => set.count() as u64,
            _ => 0,
        };
        let pipeline = &self.pipeline;
        let lag = pipeline.sinks().map(|sink| pipeline.lag(&world.kafka, sink.name)).max().unwrap_or(0);
        let (source, epoch) = (pipeline.executed().count() as u64, state.map_or(0, |state| state.epoch.number));
        let (name, leader) = (pipeline.name(), world.leader(pipeline).unwrap_or_default());
        tracing::info!(target: "sample", name, leader, source, carried, lag, epoch);
    }

    /// Whether nothing is under way: the checkpoint holds all, every sink's group has read all, and somebody leads who
    /// waits for nothing. (Whoever cannot reach the source does not know yet what it has lost, and its checkpoint may
    /// hold names that other transactions have by now.)
    pub(super) fn is_quiet(&self, world: &World) -> bool {
        let Some(state) = self.decoded(world) else { return false };
        let Position::Gtid(carried) = &state.checkpoint.resume else { return false };
        let pipeline = &self.pipeline;
        pipeline.executed().is_subset(carried)
            && state.pending.is_empty()
            && pipeline.sinks().all(|sink| pipeline.lag(&world.kafka, sink.name) == 0)
            && world.processes.somebody_streams(&pipeline.plan.deployers)
    }

    /// At rest: everything is in the log.
    ///
    /// # Errors
    /// An oracle's verdict.
    pub(super) fn at_rest(&mut self, world: &World) -> Result<(), Violation> {
        self.dead_records(world)?;
        self.delivery.at_rest()?;
        self.order.at_rest()
    }

    /// The orders in one of the source's databases, without those that are dead letters.
    ///
    /// # Errors
    /// A row is not as the workload writes rows.
    pub(super) fn orders(&self, database: &str) -> Result<BTreeMap<i64, Row>, Violation> {
        let mut rows = BTreeMap::new();
        for row in planned(self.pipeline.source(), database, Table::Orders) {
            let row = orders::from_model(&row).map_err(|error| Violation::new("documents", error.to_string()))?;
            rows.insert(key_of(&row), row);
        }
        rows.retain(|key, _| !self.dead.contains(key));
        Ok(rows)
    }

    /// The deployers' dead letters: each names its transaction and its row.
    fn dead_records(&mut self, world: &World) -> Result<(), Violation> {
        let mut rows: BTreeMap<String, BTreeSet<(u64, u64)>> = BTreeMap::new();
        for record in world.kafka.records(&format!("{}.dead-letter", self.pipeline.name())) {
            let unreadable = |what: &str| Violation::new("delivery", format!("a dead letter has no {what}"));
            let value: Json =
                serde_json::from_slice(record.value.as_deref().unwrap_or_default()).map_err(|_| unreadable("JSON"))?;
            let gtid = value["gtid"].as_str().ok_or_else(|| unreadable("gtid"))?;
            let place = (value["offset"].as_u64().unwrap_or(0), value["row"].as_u64().unwrap_or(0));
            rows.entry(gtid.to_owned()).or_default().insert(place);
            let key: String = value["key"].to_string().chars().filter(char::is_ascii_digit).collect();
            self.dead.insert(key.parse().map_err(|_| unreadable("key"))?);
        }
        rows.iter().for_each(|(gtid, rows)| self.delivery.dead_letter(gtid, rows.len()));
        Ok(())
    }
}

fn rows(change: &ChangeRecord, record: &ConsumedRecord) -> Vec<LogChange> {
    let shape = &change.shape;
    let witness = record.headers.iter().find(|(name, _)| name == WITNESS);
    let witness = witness.map(|(_, text)| String::from_utf8_lossy(text)).unwrap_or_default();
    let witness = read_witness(&witness, "");
    let one = |row: towpath_engine::format::RowRef<'_>| {
        let text = |column: usize| row.data(column).text().unwrap_or("NULL").to_owned();
        let columns: Vec<String> = (0..shape.columns.len()).map(text).collect();
        let kind = match change.kind {
            ChangeKind::Insert => "insert",
            ChangeKind::Update => "update",
            ChangeKind::Delete => "delete",
        };
        LogChange {
            partition: record.partition,
            place: record.offset,
            term: change.headers.term,
            epoch: change.headers.epoch,
            offset: row.offset(),
            gtid: change.headers.gtid.clone().filter(|gtid| !gtid.is_empty()),
            at: witness.as_ref().map(|witness| format!("{}:{}", witness.file, witness.start)).unwrap_or_default(),
            table: shape.table.clone(),
            key: shape.primary_key.iter().map(|&column| text(column)).collect::<Vec<_>>().join(","),
            content: format!("{kind} {}", columns.join("|")),
            copy: change.headers.copy.is_some(),
        }
    };
    change.rows().map(one).collect()
}

/// When an order was changed, as documents have it.
fn updated(row: &Row) -> Option<String> {
    match row.get(order_columns::UPDATED_AT) {
        Some(Value::Timestamp(ms)) => Some(iso(*ms)),
        _ => None,
    }
}
