//! The traffic of a load profile: orders through their life by the planner's schedule, devices that poll for sounds and
//! acknowledge what they hear, people who look at lists.
//!
//! The plan is the one that real load is made of; queries are searches of the sinks. Must not judge what they show.

use anyhow::Result;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use towpath_engine::ports::index::SearchIndex;
use towpath_scenarios::load::{Poll, Profile, StepKind, Traffic as Plan, What, Write, listed, sounding};
use towpath_scenarios::workload::{Change, Row, RowOp, Table, Transaction, Value, key_of, order_columns as at};

use crate::observe::Observer;
use crate::world::World;

/// What a search has shown: whose device or list, when it was sent, and documents by id.
struct Answer {
    merchant: u32,
    sent: Duration,
    /// A device's poll; else a list.
    poll: bool,
    documents: Vec<(String, bytes::Bytes)>,
}

/// Answers as they come.
type Answers = Arc<Mutex<Vec<Answer>>>;

/// All that a profile's people and devices do.
pub struct Traffic {
    plan: Peekable<Plan>,
    sounds: String,
    lists: String,
    answers: Answers,
    /// The orders as they stand at the source: the plan knows nothing of acknowledgements.
    orders: BTreeMap<i64, Row>,
}

impl Traffic {
    /// The traffic of this profile from a seed.
    pub fn new(profile: &Profile, seed: u64) -> Self {
        let cluster = |name: Option<&String>| name.cloned().unwrap_or_default();
        Self {
            plan: Plan::new(profile, seed, 1).peekable(),
            sounds: cluster(profile.sounds.as_ref().map(|sounds| &sounds.cluster)),
            lists: cluster(profile.lists.as_ref().map(|lists| &lists.cluster)),
            answers: Answers::default(),
            orders: BTreeMap::new(),
        }
    }

    /// What is due now: searches are sent, and transactions returned; first those that follow from answers.
    ///
    /// # Errors
    /// A search has shown what cannot be read.
    pub fn due(&mut self, now: Duration, world: &World, observer: &mut Observer) -> Result<Vec<Transaction>> {
        let mut transactions = self.acknowledge(now, observer)?;
        while let Some(planned) = self.plan.next_if(|planned| Duration::from_micros(planned.at_us) <= now) {
            match planned.what {
                What::Write(write) => {
                    tell(&write, now, observer);
                    transactions.push(self.step(*write));
                }
                What::Poll { merchant } => {
                    self.search(world, (merchant, now, true), serde_json::from_str(&sounding(merchant))?);
                }
                What::List { merchant } => {
                    self.search(world, (merchant, now, false), serde_json::from_str(&listed(merchant))?);
                }
            }
        }
        Ok(transactions)
    }

    /// Asks on the services' clock; the answer is there after the next step, or never.
    fn search(&self, world: &World, (merchant, sent, poll): (u32, Duration, bool), query: serde_json::Value) {
        let alias = if poll { self.sounds.clone() } else { self.lists.clone() };
        let (cluster, answers) = (world.elasticsearch.clone(), Arc::clone(&self.answers));
        world.at_services(move || {
            if let Some(Ok(documents)) = cluster.scan(&alias, &query, None, 100_000).now_or_never() {
                let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                answers.push(Answer { merchant, sent, poll, documents });
            }
        });
    }

    /// Devices acknowledge what they hear for the first time.
    fn acknowledge(&mut self, now: Duration, observer: &mut Observer) -> Result<Vec<Transaction>> {
        let answers = std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner));
        let mut transactions = Vec::new();
        for Answer { merchant, sent, poll, documents } in answers {
            if !poll {
                observer.listed(&self.lists, &documents);
                continue;
            }
            let orders = documents.iter().map(|(id, _)| Ok(id.parse()?)).collect::<Result<Vec<i64>>>()?;
            let heard = observer.polled(Poll { merchant, sent, answered: now, whole: true }, &orders);
            let ops: Vec<RowOp> = heard.into_iter().filter_map(|order| self.silenced(order)).collect();
            if !ops.is_empty() {
                transactions.push(Transaction { ops });
            }
        }
        Ok(transactions)
    }

    /// `prompt_flag = 0`, if the order is there and rings.
    fn silenced(&mut self, order: i64) -> Option<RowOp> {
        let row = self.orders.get_mut(&order).filter(|row| row[at::PROMPT_FLAG] == Value::Int(1))?;
        let before = row.clone();
        row[at::PROMPT_FLAG] = Value::Int(0);
        Some(RowOp { table: Table::Orders, change: Change::Update { before, after: row.clone() } })
    }

    /// A planned step changes the columns that it is about, and no other.
    fn step(&mut self, write: Write) -> Transaction {
        let mut transaction = write.transaction;
        for op in transaction.ops.iter_mut().filter(|op| op.table == Table::Orders) {
            match &mut op.change {
                Change::Insert(row) => {
                    self.orders.insert(key_of(row), row.clone());
                }
                Change::Update { before, after } => {
                    let Some(row) = self.orders.get_mut(&key_of(before)) else { continue };
                    for (column, value) in after.iter_mut().enumerate() {
                        if before.get(column) == Some(value) {
                            value.clone_from(&row[column]);
                        }
                    }
                    *before = std::mem::replace(row, after.clone());
                }
                Change::Delete(row) => *row = self.orders.remove(&key_of(row)).unwrap_or_else(|| row.clone()),
            }
        }
        transaction
    }
}

/// What a planned step means to devices.
fn tell(write: &Write, now: Duration, observer: &mut Observer) {
    if write.kind == StepKind::Created {
        observer.rings(write.order, now);
    } else if write.kind.silences() {
        observer.is_silent(write.order);
    }
}
