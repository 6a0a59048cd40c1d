//! What Elasticsearch does to requests that no port makes: why Towpath never makes them.

use anyhow::{Result, ensure};
use serde_json::Value;

macro_rules! http_bodies {
    ($($id:literal => $body:path,)+) => {
        /// This file's behaviours by id.
        pub const BODIES: &[(&str, crate::lab::Body)] =
            &[$(($id, crate::lab::Body::Http(|url| Box::pin($body(url)))),)+];
    };
}

http_bodies! {
    "es-create-with-external-version-rejects-request" => create_rejects,
    "es-update-with-external-version-rejects-request" => update_rejects,
    "es-unversioned-delete-blocks-later-versioned" => unversioned_delete,
}

async fn bulk(url: &str, body: &str) -> Result<(u16, Value)> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let request = client.post(format!("{url}/_bulk")).header("content-type", "application/x-ndjson");
    let response = request.body(body.to_string()).send().await?;
    Ok((response.status().as_u16(), response.json().await?))
}

const INDEX: &str = r#"{"index":{"_index":"conformance-http","_id":"n","version":5,"version_type":"external_gte"}}"#;

async fn create_rejects(url: &str) -> Result<()> {
    let create = r#"{"create":{"_index":"conformance-http","_id":"c","version":5,"version_type":"external_gte"}}"#;
    let (status, answer) = bulk(url, &format!("{INDEX}\n{{}}\n{create}\n{{}}\n")).await?;
    ensure!(status == 400 && answer.get("items").is_none(), "{status}: {answer}");
    Ok(())
}

async fn update_rejects(url: &str) -> Result<()> {
    let update = r#"{"update":{"_index":"conformance-http","_id":"c","version":5,"version_type":"external_gte"}}"#;
    let (status, answer) = bulk(url, &format!("{INDEX}\n{{}}\n{update}\n{{\"doc\":{{}}}}\n")).await?;
    ensure!(status == 400 && answer.get("items").is_none(), "{status}: {answer}");
    Ok(())
}

async fn unversioned_delete(url: &str) -> Result<()> {
    let (status, answer) = bulk(url, &format!("{}\n{{}}\n", INDEX.replace("\"n\"", "\"u\""))).await?;
    ensure!(status == 200 && answer["errors"] == false, "{status}: {answer}");
    let (_, answer) = bulk(url, "{\"delete\":{\"_index\":\"conformance-http\",\"_id\":\"u\"}}\n").await?;
    ensure!(answer["items"][0]["delete"]["_version"] == 6, "{answer}");
    let (_, answer) = bulk(url, &format!("{}\n{{}}\n", INDEX.replace("\"n\"", "\"u\""))).await?;
    ensure!(answer["items"][0]["index"]["status"] == 409, "{answer}");
    Ok(())
}
