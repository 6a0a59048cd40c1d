//! How far new orders have come: in Kafka, acknowledged by the cluster, found by a search.
//!
//! A sample of the orders is looked for from outside, so that asking does not become the load.

use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

use crate::meter::{Figure, Shared};
use crate::target::Index;
use crate::writes::lock;

/// Orders looked for at once.
const AT_ONCE: usize = 48;
/// Between two looks: the resolution of these figures.
const EVERY: Duration = Duration::from_millis(40);

#[derive(Debug, Default)]
struct Waiting {
    kafka: BTreeMap<i64, Instant>,
    acknowledged: BTreeMap<i64, Instant>,
    searchable: BTreeMap<i64, Instant>,
    watch_kafka: bool,
    watch_index: bool,
}

/// Orders that are looked for.
#[derive(Debug, Clone)]
pub struct Probes {
    waiting: Arc<Mutex<Waiting>>,
    meter: Shared,
}

#[derive(Deserialize)]
struct Found {
    #[serde(rename = "_id")]
    id: String,
    /// Only answers by id have it.
    #[serde(default)]
    found: bool,
}

#[derive(Deserialize)]
struct ById {
    docs: Vec<Found>,
}

#[derive(Deserialize)]
struct Searched {
    hits: Hits,
}

#[derive(Deserialize)]
struct Hits {
    hits: Vec<Found>,
}

impl Probes {
    /// Nobody is looked for yet; figures go to `meter`.
    pub fn new(meter: Shared, watch_kafka: bool, watch_index: bool) -> Self {
        let waiting = Waiting { watch_kafka, watch_index, ..Waiting::default() };
        Self { waiting: Arc::new(Mutex::new(waiting)), meter }
    }

    /// An order came.
    pub fn committed(&self, order: i64, at: Instant) {
        let mut waiting = lock(&self.waiting);
        if waiting.watch_kafka && waiting.kafka.len() < AT_ONCE {
            waiting.kafka.insert(order, at);
        }
        if waiting.watch_index && waiting.searchable.len() < AT_ONCE {
            waiting.acknowledged.insert(order, at);
            waiting.searchable.insert(order, at);
        }
    }

    /// An order went: nobody can say any more when it should be found.
    pub fn archived(&self, order: i64) {
        let mut waiting = lock(&self.waiting);
        waiting.acknowledged.remove(&order);
        waiting.searchable.remove(&order);
    }

    /// A record with this order was read from Kafka.
    pub fn in_kafka(&self, order: i64, at: Instant) {
        if let Some(since) = lock(&self.waiting).kafka.remove(&order) {
            self.meter.took(Figure::Kafka, since, at);
        }
    }

    /// The age of the oldest order that no search finds.
    pub fn oldest(&self, now: Instant) -> Duration {
        let waiting = lock(&self.waiting);
        waiting.searchable.values().min().map_or(Duration::ZERO, |since| now.duration_since(*since))
    }

    /// Asks one cluster until aborted: by id, which shows what it has acknowledged, and by search.
    pub async fn look(self, client: reqwest::Client, index: Index) {
        let base = format!("{}/{}", index.url.trim_end_matches('/'), index.alias);
        loop {
            sleep(EVERY).await;
            let ids = |of: &BTreeMap<i64, Instant>| of.keys().map(i64::to_string).collect::<Vec<String>>();
            let (by_id, by_search) = {
                let waiting = lock(&self.waiting);
                (ids(&waiting.acknowledged), ids(&waiting.searchable))
            };
            if !by_id.is_empty() {
                let url = format!("{base}/_mget?_source=false");
                if let Some(answer) = ask::<ById>(&client, url, json!({ "ids": by_id })).await {
                    let found = answer.docs.iter().filter(|document| document.found);
                    self.found(Figure::Acknowledged, found);
                }
            }
            if !by_search.is_empty() {
                let query = json!({ "size": AT_ONCE, "_source": false, "query": { "ids": { "values": by_search } } });
                if let Some(answer) = ask::<Searched>(&client, format!("{base}/_search"), query).await {
                    self.found(Figure::Searchable, answer.hits.hits.iter());
                }
            }
        }
    }

    fn found<'a>(&self, figure: Figure, found: impl Iterator<Item = &'a Found>) {
        let now = Instant::now();
        let mut waiting = lock(&self.waiting);
        for order in found.filter_map(|document| document.id.parse::<i64>().ok()) {
            let of = match figure {
                Figure::Acknowledged => &mut waiting.acknowledged,
                _ => &mut waiting.searchable,
            };
            if let Some(since) = of.remove(&order) {
                self.meter.took(figure, since, now);
            }
        }
    }
}

/// A cluster that does not answer now shows nothing now.
async fn ask<T: for<'de> Deserialize<'de>>(
    client: &reqwest::Client,
    url: String,
    body: serde_json::Value,
) -> Option<T> {
    client.post(url).json(&body).send().await.ok()?.json().await.ok()
}
