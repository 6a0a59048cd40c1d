//! What the oracles are shown: the log's records, the state, the index's history and searches, as they come.
//!
//! Looks at the models directly, past the network: an observer is not part of what it observes. Must not judge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::Value as Json;
use towpath_engine::deployer::tail::{WITNESS, read_witness};
use towpath_engine::format::{ChangeKind, ChangeRecord, Incoming, Reader};
use towpath_engine::gtid::GtidSet;
use towpath_engine::ports::index::SearchIndex;
use towpath_engine::ports::log::ConsumedRecord;
use towpath_engine::state;
use towpath_engine::version::Version;
use towpath_models::mysql::Commit;
use towpath_models::orders;
use towpath_scenarios::calendar::iso;
use towpath_scenarios::oracle::checkpoint::Checkpoints;
use towpath_scenarios::oracle::delivery::Delivery;
use towpath_scenarios::oracle::documents::{Document, SINKS, Verdict};
use towpath_scenarios::oracle::freshness::{self, Freshness};
use towpath_scenarios::oracle::history::{Accepted, History};
use towpath_scenarios::oracle::identity::Identity;
use towpath_scenarios::oracle::order::Order;
use towpath_scenarios::oracle::search::Searches;
use towpath_scenarios::oracle::{LogChange, Violation};
use towpath_scenarios::scenario::{Deletes, Expect, Fencing, Topology, sinks};
use towpath_scenarios::workload::{ARCHIVE, Change, DATABASE, Row, Table, Transaction, Value, key_of, order_columns};

use crate::application::planned;
use crate::faults::group;
use crate::world::{ARCHIVED_IN, NAME, World};

/// What a search of a sink shows: id and source.
type Page = (&'static str, Vec<(String, bytes::Bytes)>);
/// Documents of all aliases, as searches show them.
type Shown = Arc<Mutex<Option<Vec<Page>>>>;

/// All oracles with what they have seen.
pub struct Observer {
    reader: Reader,
    next: BTreeMap<u32, i64>,
    state_version: Option<i32>,
    operations: usize,
    order: Order,
    identity: Identity,
    delivery: Delivery,
    checkpoints: Checkpoints,
    history: History,
    searches: Searches,
    /// While it is judged.
    freshness: Option<Freshness>,
    /// When the last search was asked for.
    searched: Duration,
    soft: bool,
    /// Rows may rightly show older states again: the source lost some, or all is read once more.
    turned_back: bool,
    /// Transactions with rows of captured tables, in order of their commits.
    commits: Vec<String>,
    /// Keys of rows that are dead letters.
    dead: BTreeSet<i64>,
    shown: Shown,
    /// The terms that the state has shown.
    pub terms: BTreeSet<i64>,
    /// The runs of the fallback path that the state has shown: term and number.
    pub runs: BTreeSet<(i64, u32)>,
}

impl Observer {
    /// For a run of this topology.
    pub fn new(topology: &Topology, expect: &Expect) -> Self {
        Self {
            reader: Reader::new(),
            next: BTreeMap::new(),
            state_version: None,
            operations: 0,
            order: Order::new(topology.fencing == Fencing::Transactions),
            identity: Identity::default(),
            delivery: Delivery::default(),
            checkpoints: Checkpoints::default(),
            history: History::default(),
            searches: Searches::default(),
            freshness: expect.fresh_within.map(|within| Freshness::new(within.duration())),
            searched: Duration::ZERO,
            soft: topology.deletes == Deletes::Soft,
            turned_back: false,
            commits: Vec::new(),
            dead: BTreeSet::new(),
            shown: Shown::default(),
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

    /// The source's history is another one: what it no longer has is owed to nobody.
    pub fn turned_back(&mut self, executed: &GtidSet) {
        self.turned_back = true;
        let epoch = self.checkpoints.epoch();
        let gone = |gtid: &String| gtid.parse::<GtidSet>().is_ok_and(|one| !one.is_subset(executed));
        let (lost, kept) = std::mem::take(&mut self.commits).into_iter().partition(gone);
        self.commits = kept;
        let lost: Vec<String> = lost;
        tracing::info!(transactions = lost.len(), "the source has lost");
        for gtid in lost {
            self.delivery.lost(&gtid, epoch);
            self.freshness.iter_mut().for_each(|freshness| freshness.lost(&gtid));
            if let Ok(one) = gtid.parse() {
                self.checkpoints.lost(&one);
            }
        }
    }

    /// Faults end: documents may take their time from now on.
    pub fn calm(&mut self) {
        self.freshness = None;
    }

    /// Whether it was another one before.
    pub fn has_turned_back(&self) -> bool {
        self.turned_back
    }

    /// Epochs after the first.
    pub fn epochs(&self) -> u16 {
        self.checkpoints.epoch().saturating_sub(1)
    }

    /// Rows found in the log.
    pub fn rows(&self) -> usize {
        self.delivery.rows()
    }

    /// Transactions committed so far.
    pub fn transactions(&self) -> usize {
        self.commits.len()
    }

    /// The rows among the deployers' dead letters.
    pub fn dead_letters(&self) -> usize {
        self.dead.len()
    }

    /// After a step: the state, and the log if the state says something new about it.
    ///
    /// # Errors
    /// An oracle's verdict.
    pub fn step(&mut self, world: &World) -> Result<(), Violation> {
        let Some((bytes, version)) = world.zookeeper.node(&format!("/towpath/{NAME}/{}", state::NODE)) else {
            return Ok(());
        };
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

    /// From time to time: the log, what the index accepted, and what searches show.
    ///
    /// # Errors
    /// An oracle's verdict.
    pub fn look(&mut self, world: &World) -> Result<(), Violation> {
        self.log(world)?;
        if self.soft {
            self.index(world)?;
        }
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.is_fresh(shown.as_deref())?;
        for (alias, documents) in shown.iter().flatten().filter(|_| self.soft && !self.turned_back) {
            for (id, source) in documents {
                if let Ok(source) = serde_json::from_slice::<Json>(source) {
                    self.searches.shows(alias, id, &source)?;
                }
            }
        }
        Ok(())
    }

    /// Judges what the last search has shown of the orders.
    fn is_fresh(&mut self, shown: Option<&[Page]>) -> Result<(), Violation> {
        let (Some(freshness), Some(shown)) = (&mut self.freshness, shown) else { return Ok(()) };
        let Some((_, orders)) = shown.iter().find(|(sink, _)| *sink == freshness::SINK) else { return Ok(()) };
        let updated = |(id, source): &(String, bytes::Bytes)| {
            let source: Json = serde_json::from_slice(source).ok()?;
            Some((id.clone(), source["updated_at"].as_str()?.to_owned()))
        };
        freshness.shows(&orders.iter().filter_map(updated).collect(), self.searched)
    }

    /// Asks for a search of every sink, on the services' clock; [`Observer::look`] finds it after the next step.
    pub fn search(&mut self, world: &World, now: Duration) {
        self.searched = now;
        let (cluster, shown) = (world.elasticsearch.clone(), Arc::clone(&self.shown));
        world.at_services(move || {
            let all = serde_json::json!({ "match_all": {} });
            let found = sinks().filter_map(|sink| {
                let page = cluster.scan(sink, &all, None, 100_000).now_or_never()?.ok()?;
                Some((sink, page))
            });
            *shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.collect());
        });
    }

    fn log(&mut self, world: &World) -> Result<(), Violation> {
        for record in world.kafka.records_since(NAME, &mut self.next) {
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

    fn index(&mut self, world: &World) -> Result<(), Violation> {
        for operation in world.elasticsearch.history_since(self.operations) {
            self.operations += 1;
            let source = operation.source.map(|source| String::from_utf8_lossy(&source).into_owned());
            let source = source.filter(|source| !source.contains("_towpath_deleted"));
            let (index, id, version) = (operation.index, operation.id, operation.version);
            let identity = &self.identity;
            self.history.accepted(Accepted { index, id, version, source }, |version| is_streamed(identity, version))?;
        }
        Ok(())
    }

    /// Says where everything stands, for a picture of the run.
    pub fn sample(&self, world: &World) {
        let node = world.zookeeper.node(&format!("/towpath/{NAME}/{}", state::NODE));
        let state = node.and_then(|(bytes, _)| state::decode(&bytes).ok());
        let carried = match state.as_ref().map(|state| &state.checkpoint.resume) {
            Some(towpath_engine::position::Position::Gtid(set)) => set.count() as u64,
            _ => 0,
        };
        let lag = sinks().map(|sink| lag(world, sink)).max().unwrap_or(0);
        let (source, epoch) = (world.executed().count() as u64, state.map_or(0, |state| state.epoch.number));
        let leader = world.leader().unwrap_or_default();
        tracing::info!(target: "sample", leader, source, carried, lag, epoch);
    }

    /// Whether nothing is under way: the checkpoint holds all, and every sink's group has read all.
    pub fn is_quiet(&self, world: &World) -> bool {
        let Some((bytes, _)) = world.zookeeper.node(&format!("/towpath/{NAME}/{}", state::NODE)) else { return false };
        let Ok(state) = state::decode(&bytes) else { return false };
        let towpath_engine::position::Position::Gtid(carried) = &state.checkpoint.resume else { return false };
        world.executed().is_subset(carried) && state.pending.is_empty() && sinks().all(|sink| lag(world, sink) == 0)
    }

    /// At rest: everything is in the log, and documents equal rows.
    ///
    /// # Errors
    /// An oracle's verdict.
    pub fn at_rest(&mut self, world: &World) -> Result<(), Violation> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default();
        self.look(world)?;
        self.dead_records(world)?;
        self.delivery.at_rest()?;
        self.order.at_rest()?;
        self.history.at_rest(|version| is_streamed(&self.identity, version))?;
        let rows = |database| -> Result<BTreeMap<i64, Row>, Violation> {
            let mut rows = BTreeMap::new();
            for row in planned(world.source(), database, Table::Orders) {
                let row = orders::from_model(&row).map_err(|error| Violation::new("documents", error.to_string()))?;
                rows.insert(key_of(&row), row);
            }
            rows.retain(|key, _| !self.dead.contains(key));
            Ok(rows)
        };
        let (hot, mut all) = (rows(DATABASE)?, rows(ARCHIVE)?);
        // A row in both is on its way, and the archive's counts.
        for (key, row) in &hot {
            all.entry(*key).or_insert_with(|| row.clone());
        }
        let documents: BTreeMap<&str, Vec<Document>> = shown
            .iter()
            .map(|(alias, page)| {
                let document = |(id, source): &(String, bytes::Bytes)| {
                    Some(Document { id: id.clone(), source: serde_json::from_slice(source).ok()? })
                };
                (*alias, page.iter().filter_map(document).collect())
            })
            .collect();
        let mut verdict = Verdict { rows: all.len() as u64, ..Verdict::default() };
        for sink in SINKS {
            let rows = if sink.name == ARCHIVED_IN { &all } else { &hot };
            verdict.add_sink(sink, rows, documents.get(sink.name).map_or(&[], Vec::as_slice));
        }
        if verdict.good() { Ok(()) } else { Err(Violation::new("documents", format!("{verdict:?}"))) }
    }

    /// The deployers' dead letters: each names its transaction and its row.
    fn dead_records(&mut self, world: &World) -> Result<(), Violation> {
        let mut rows: BTreeMap<String, BTreeSet<(u64, u64)>> = BTreeMap::new();
        for record in world.kafka.records(&format!("{NAME}.dead-letter")) {
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

/// Records that a sink's group has not committed.
pub fn lag(world: &World, sink: &str) -> i64 {
    let committed: BTreeMap<u32, i64> = world.kafka.committed(NAME, &group(sink)).into_iter().collect();
    let mut next = committed;
    world.kafka.records_since(NAME, &mut next).len() as i64
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

/// Whether the log has a streamed row of a document's version.
fn is_streamed(identity: &Identity, version: u64) -> bool {
    let version = i64::try_from(version).ok().and_then(Version::from_number);
    version.is_some_and(|version| identity.is_streamed(version.epoch(), version.offset()))
}
