//! How long it takes from an order's commit to the first search that shows it, in the index of the prompt sound.
//!
//! Asks as a merchant's device does: by searching, through the alias.

use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use towpath_engine::ports::index::SearchIndex;

use crate::Freshness;

/// Orders looked for at once; of others no note is taken, so that asking does not become the load.
const AT_ONCE: usize = 32;
/// How often the index is asked.
const EVERY: Duration = Duration::from_millis(10);

/// Orders that are looked for, and how long others took.
#[derive(Debug, Clone, Default)]
pub struct Probes(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    waiting: BTreeMap<i64, Instant>,
    /// Milliseconds.
    took: Vec<u64>,
}

impl Probes {
    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An order was committed at `at` and must appear.
    pub fn committed(&self, order: i64, at: Instant) {
        self.with(|inner| {
            if inner.waiting.len() < AT_ONCE {
                inner.waiting.insert(order, at);
            }
        });
    }

    /// An order has changed: it may have left the index again, so that nobody can say when it should be seen.
    pub fn changed(&self, order: i64) {
        self.with(|inner| inner.waiting.remove(&order));
    }

    /// Searches until dropped.
    pub async fn search(self, index: Arc<dyn SearchIndex>, alias: &'static str) {
        loop {
            tokio::time::sleep(EVERY).await;
            let wanted: Vec<String> = self.with(|inner| inner.waiting.keys().map(i64::to_string).collect());
            if wanted.is_empty() {
                continue;
            }
            let query = json!({ "ids": { "values": wanted } });
            // An index that cannot be asked now shows nothing now.
            let found = index.scan(alias, &query, None, AT_ONCE).await.unwrap_or_default();
            let now = Instant::now();
            self.with(|inner| {
                for since in found.iter().filter_map(|(id, _)| inner.waiting.remove(&id.parse().ok()?)) {
                    inner.took.push(now.duration_since(since).as_millis() as u64);
                }
            });
        }
    }

    /// How long orders took to be found.
    pub fn freshness(&self) -> Freshness {
        Freshness::of(self.with(|inner| inner.took.clone()))
    }
}
