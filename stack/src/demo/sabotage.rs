//! Breaks documents behind the pipeline's back, as a defect of it would have left them.
//!
//! Must not touch the pipeline: what is shown is that the comparison sees it.

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::time::Duration;

use crate::harness::compare::documents;
use crate::harness::config::Sink;

/// Ways to break a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Sabotage {
    /// A document is missing.
    Drop,
    /// A document has an older state.
    Stale,
    /// A document is there under a second id too.
    Double,
}

impl Sabotage {
    /// Breaks one document of the index that holds all orders.
    pub async fn commit(self, sinks: &[Sink]) -> Result<()> {
        let sink = sinks.iter().find(|sink| sink.name == "full").context("there is no sink full")?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        let url = &sink.elasticsearch;
        let mut found = documents(&client, url, &sink.index).await?;
        found.sort_by(|a, b| a.id.cmp(&b.id));
        // Each way breaks a document of its own, so that several can be told apart in one verdict.
        let place = match self {
            Self::Drop => 0,
            Self::Stale => found.len() / 3,
            Self::Double => found.len() * 2 / 3,
        };
        ensure!(place < found.len(), "there is no document to break");
        let victim = found.swap_remove(place);
        let place = |id: &str| format!("{url}/{}-v1/_doc/{id}", sink.index);
        let request = match self {
            Self::Drop => client.delete(place(&victim.id)),
            Self::Stale => {
                let mut older = victim.source.clone();
                older["status"] = json!(older["status"].as_i64().unwrap_or_default() - 1);
                client.put(place(&victim.id)).json(&older)
            }
            Self::Double => client.put(place(&format!("{}-again", victim.id))).json(&victim.source),
        };
        let answer = request.send().await?;
        if !answer.status().is_success() {
            bail!("the sabotage was refused: {}", answer.text().await?);
        }
        Ok(())
    }
}
