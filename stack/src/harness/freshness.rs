//! How long it takes from an order's commit to the first search that shows it, in the index of the prompt sound.
//!
//! Asks as a merchant's device does: by searching through the alias.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use towpath_scenarios::summary::Freshness;
use towpath_scenarios::workload::{Change, Table, Transaction};

use super::writer::Observer;

/// Orders looked for at once; of others no note is taken, so that asking does not become the load.
const AT_ONCE: usize = 64;
/// Between two searches.
const EVERY: Duration = Duration::from_millis(10);

/// Orders that are looked for, and how long others took. Takes note only while it searches.
#[derive(Debug, Clone, Default)]
pub struct Probes(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    searching: bool,
    waiting: BTreeMap<i64, Instant>,
    /// When it was committed, and after how many milliseconds it was found.
    took: Vec<(Instant, u64)>,
}

impl Probes {
    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Told of each transaction when it was committed.
    pub fn observer(&self) -> Observer {
        let probes = self.clone();
        Arc::new(move |transaction: &Transaction, at: Instant| probes.committed(transaction, at))
    }

    fn committed(&self, transaction: &Transaction, at: Instant) {
        self.with(|inner| {
            for op in transaction.ops.iter().filter(|op| inner.searching && op.table == Table::Orders) {
                match &op.change {
                    // A new order rings.
                    Change::Insert(_) if inner.waiting.len() < AT_ONCE => drop(inner.waiting.insert(op.key(), at)),
                    Change::Insert(_) => {}
                    // It may have left the index again, so that nobody can say when it should be seen.
                    Change::Update { .. } | Change::Delete(_) => drop(inner.waiting.remove(&op.key())),
                }
            }
        });
    }

    /// Orders committed since then are looked for no more: their server has lost them.
    pub fn forget_since(&self, moment: Instant) {
        self.with(|inner| inner.waiting.retain(|_, committed| *committed < moment));
    }

    /// Searches until aborted.
    pub async fn search(self, url: String, alias: String) {
        let Ok(client) = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build() else { return };
        self.with(|inner| inner.searching = true);
        loop {
            sleep(EVERY).await;
            let wanted: Vec<String> = self.with(|inner| inner.waiting.keys().map(i64::to_string).collect());
            if wanted.is_empty() {
                continue;
            }
            let query = json!({ "size": AT_ONCE, "_source": false, "query": { "ids": { "values": wanted } } });
            // A cluster that does not answer now shows nothing now.
            let Ok(answer) = client.post(format!("{url}/{alias}/_search")).json(&query).send().await else { continue };
            let Ok(answer) = answer.json::<Value>().await else { continue };
            let now = Instant::now();
            let hits = answer["hits"]["hits"].as_array().map_or(&[][..], Vec::as_slice);
            let found = hits.iter().filter_map(|hit| hit["_id"].as_str()?.parse::<i64>().ok());
            self.with(|inner| {
                for since in found.filter_map(|id| inner.waiting.remove(&id)) {
                    inner.took.push((since, now.duration_since(since).as_millis() as u64));
                }
            });
        }
    }

    /// How long orders took to be found: those whose commit is at a moment that counts.
    pub fn freshness(&self, counts: impl Fn(Instant) -> bool) -> Freshness {
        let counted = |inner: &mut Inner| {
            let counted = inner.took.iter().filter(|(committed, _)| counts(*committed));
            counted.map(|(_, took)| *took).collect()
        };
        Freshness::of(self.with(counted))
    }

    /// Each order that was found: its commit, and the milliseconds it took.
    pub fn found(&self) -> Vec<(Instant, u64)> {
        self.with(|inner| inner.took.clone())
    }

    /// Milliseconds from `moment` until every order that was committed before it was found; none if no such order was
    /// looked for.
    pub fn caught_up(&self, moment: Instant) -> Option<u64> {
        self.with(|inner| {
            let found = inner.took.iter().filter(|(committed, _)| *committed <= moment);
            let last = found.map(|(committed, took)| *committed + Duration::from_millis(*took)).max()?;
            Some(last.saturating_duration_since(moment).as_millis() as u64)
        })
    }

    /// The commit of the oldest order that is looked for and was not found yet.
    pub fn oldest_missing(&self) -> Option<Instant> {
        self.with(|inner| inner.waiting.values().min().copied())
    }
}
