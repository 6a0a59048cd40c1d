//! All documents of a query in the order of their ids, in pages.
//!
//! Elasticsearch 9 refuses to sort by `_id`. So the ids are gathered once, by a scroll, and sorted here; each page then
//! asks for the documents of the next ids. For checks and tools: the ids of one scan are held in memory.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use elasticsearch::http::Method;
use serde_json::{Value, json};
use towpath_engine::ports::index::IndexError;

use super::{ElasticsearchIndex, part};

/// Ids a request; 10,000 is the default limit of a result window.
const GATHER: usize = 5_000;

/// The ids that a scan goes through.
#[derive(Default)]
pub(super) struct Scan {
    current: Mutex<Option<Ids>>,
}

#[derive(Clone)]
struct Ids {
    index: String,
    query: Value,
    sorted: std::sync::Arc<[String]>,
}

impl Scan {
    /// The ids of this very scan, if it is the one begun last.
    fn known(&self, index: &str, query: &Value) -> Option<Ids> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().filter(|ids| ids.index == index && ids.query == *query).cloned()
    }

    fn keep(&self, ids: Option<Ids>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = ids;
    }
}

/// One page; without `after` a new scan begins.
pub(super) async fn page(
    es: &ElasticsearchIndex,
    index: &str,
    query: &Value,
    after: Option<&str>,
    size: usize,
) -> Result<Vec<(String, Bytes)>, IndexError> {
    let known = if after.is_some() { es.scan.known(index, query) } else { None };
    let ids = match known {
        Some(ids) => ids,
        None => {
            let sorted = gather(es, index, query).await?.into();
            let ids = Ids { index: index.to_string(), query: query.clone(), sorted };
            es.scan.keep(Some(ids.clone()));
            ids
        }
    };
    let from = after.map_or(0, |after| ids.sorted.partition_point(|id| id.as_str() <= after));
    // A page that has become empty since the scan began is not its end.
    for slice in ids.sorted[from..].chunks(size.clamp(1, GATHER)) {
        let body = json!({
            "query": { "bool": { "filter": [query, { "ids": { "values": slice } }] } },
            "size": slice.len(),
            "track_total_hits": false,
        });
        let mut page = es.ask_json(Method::Post, format!("/{}/_search", part(index)), &body).await?.hits()?.documents;
        if !page.is_empty() {
            page.sort();
            return Ok(page);
        }
    }
    es.scan.keep(None);
    Ok(Vec::new())
}

async fn gather(es: &ElasticsearchIndex, index: &str, query: &Value) -> Result<Vec<String>, IndexError> {
    let body = json!({ "query": query, "size": GATHER, "sort": ["_doc"], "_source": false });
    let mut answer = es.ask_json(Method::Post, format!("/{}/_search?scroll=1m", part(index)), &body).await?.hits()?;
    let mut ids = Vec::new();
    loop {
        let any = !answer.documents.is_empty();
        ids.extend(answer.documents.into_iter().map(|(id, _)| id));
        let Some(scroll) = answer.scroll else { break };
        if !any {
            // Costs nobody anything if it fails: the cluster forgets it after the minute.
            drop(es.ask_json(Method::Delete, "/_search/scroll".into(), &json!({ "scroll_id": scroll })).await);
            break;
        }
        let body = json!({ "scroll": "1m", "scroll_id": scroll });
        answer = es.ask_json(Method::Post, "/_search/scroll".into(), &body).await?.hits()?;
    }
    ids.sort();
    // Several indexes behind one alias can hold the same id.
    ids.dedup();
    Ok(ids)
}
