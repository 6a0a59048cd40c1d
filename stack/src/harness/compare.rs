//! Every row by SELECT against every document by search: the judgement on real services.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use towpath_scenarios::oracle::documents::{Document, Verdict, compare};
use towpath_scenarios::workload::Table;

use super::config::Sink;
use super::orders::Orders;

const PAGE: usize = 5000;

/// All documents that a search through the alias returns, at one moment (a scroll: pages do not shift under writes).
pub async fn documents(client: &reqwest::Client, url: &str, alias: &str) -> Result<Vec<Document>> {
    refresh(client, url, alias).await?;
    let first = json!({ "size": PAGE, "query": { "match_all": {} }, "sort": ["_doc"] });
    let mut answer = ask(client, format!("{url}/{alias}/_search?scroll=1m"), &first).await?;
    let mut found = Vec::new();
    loop {
        let hits = match answer["hits"]["hits"].take() {
            Value::Array(hits) => hits,
            other => bail!("searching {alias}: no hits in the answer but {other}"),
        };
        let scroll = answer["_scroll_id"].take();
        if hits.is_empty() {
            client.delete(format!("{url}/_search/scroll")).json(&json!({ "scroll_id": scroll })).send().await?;
            return Ok(found);
        }
        found.extend(hits.into_iter().map(|mut hit| Document {
            id: hit["_id"].as_str().unwrap_or_default().to_owned(),
            source: hit["_source"].take(),
        }));
        let next = json!({ "scroll": "1m", "scroll_id": scroll });
        answer = ask(client, format!("{url}/_search/scroll"), &next).await?;
    }
}

async fn ask(client: &reqwest::Client, url: String, body: &Value) -> Result<Value> {
    let response = client.post(&url).json(body).send().await?;
    if !response.status().is_success() {
        bail!("{url}: {}", response.text().await?);
    }
    Ok(response.json().await?)
}

async fn refresh(client: &reqwest::Client, url: &str, alias: &str) -> Result<()> {
    let response = client.post(format!("{url}/{alias}/_refresh")).send().await?;
    if !response.status().is_success() {
        bail!("refreshing {alias}: {}", response.text().await?);
    }
    Ok(())
}

/// One look: all rows and all documents as they are now.
pub async fn look(orders: &mut Orders, sinks: &[Sink]) -> Result<Verdict> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
    let mut found = BTreeMap::new();
    for sink in sinks {
        let documents =
            documents(&client, &sink.elasticsearch, &sink.index).await.with_context(|| sink.name.clone())?;
        found.insert(sink.name.as_str(), documents);
    }
    Ok(compare(orders.rows(Table::Orders).await?, &found))
}

/// Looks until nothing differs any more; gives the last verdict, good or not, after `patience`.
///
/// Only for a source that is at rest: rows are read after documents.
pub async fn settle(orders: &mut Orders, sinks: &[Sink], patience: Duration) -> Result<Verdict> {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        let verdict = look(orders, sinks).await;
        let late = tokio::time::Instant::now() >= deadline;
        match verdict {
            Ok(verdict) if verdict.good() || late => return Ok(verdict),
            // An index may not exist yet.
            Err(error) if late => return Err(error),
            _ => tokio::time::sleep(Duration::from_millis(300)).await,
        }
    }
}
