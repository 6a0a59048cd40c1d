//! The two queries of a shop, as HTTP: the device's poll and the order list.
//!
//! Bodies are put together as text and of answers only what is needed is read, so that the generator stays cheap.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::time::Duration;
use towpath_scenarios::load::{listed, sounding};

use crate::target::Index;

/// Orders on a list.
const LIST: usize = 20;
/// An answer that takes longer is an error.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Sends queries to one cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    client: reqwest::Client,
    search: String,
    count: String,
}

#[derive(Deserialize)]
struct Answer {
    hits: Hits,
}

#[derive(Deserialize)]
struct Hits {
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_id")]
    id: String,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

/// One client for all clusters: connections are kept, proxies ignored.
///
/// # Errors
/// TLS cannot be set up.
pub fn client() -> Result<reqwest::Client> {
    let builder =
        reqwest::Client::builder().no_proxy().timeout(DEADLINE).pool_max_idle_per_host(1024).tcp_nodelay(true);
    builder.build().context("the HTTP client")
}

impl Cluster {
    /// Queries go to `index`.
    pub fn new(client: &reqwest::Client, index: &Index) -> Self {
        let base = format!("{}/{}", index.url.trim_end_matches('/'), index.alias);
        Self { client: client.clone(), search: format!("{base}/_search"), count: format!("{base}/_count") }
    }

    /// Which orders of this merchant must ring, newest first, at most `page`.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses.
    pub async fn poll(&self, merchant: u32, page: u32) -> Result<Vec<i64>> {
        let body = format!(
            "{{\"size\":{page},\"_source\":false,\"track_total_hits\":false,\"query\":{},\
             \"sort\":[{{\"created_at\":\"desc\"}}]}}",
            sounding(merchant)
        );
        let answer: Answer = serde_json::from_slice(&self.ask(body).await?).context("the poll's answer")?;
        Ok(answer.hits.hits.iter().filter_map(|hit| hit.id.parse().ok()).collect())
    }

    /// The newest orders of this merchant, whole; returns the answer's bytes.
    ///
    /// # Errors
    /// As [`Cluster::poll`].
    pub async fn list(&self, merchant: u32) -> Result<usize> {
        let body = format!(
            "{{\"size\":{LIST},\"track_total_hits\":false,\"query\":{},\
             \"sort\":[{{\"created_at\":\"desc\"}}]}}",
            listed(merchant)
        );
        Ok(self.ask(body).await?.len())
    }

    /// Documents that a search would find now.
    ///
    /// # Errors
    /// As [`Cluster::poll`].
    pub async fn count(&self) -> Result<u64> {
        let response = self.client.get(&self.count).send().await?.error_for_status()?;
        Ok(serde_json::from_slice::<Count>(&response.bytes().await?)?.count)
    }

    async fn ask(&self, body: String) -> Result<Vec<u8>> {
        let request = self.client.post(&self.search).header("content-type", "application/json").body(body);
        let response = request.send().await?;
        let status = response.status();
        let bytes = response.bytes().await?;
        if !status.is_success() {
            let text: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
            bail!("{} answers {status}: {text}", self.search);
        }
        Ok(bytes.into())
    }
}
