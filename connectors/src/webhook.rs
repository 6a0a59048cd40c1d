//! A webhook: one JSON body by POST, with a deadline. Not a port of the engine; whoever calls decides about repeating.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use towpath_engine::causes::with_causes;

use crate::{ConfigError, Secret};

/// Where notifications are posted.
#[derive(Debug, Clone)]
pub struct Webhook {
    client: reqwest::Client,
    url: Secret,
    headers: HeaderMap,
}

impl Webhook {
    /// `url` is `http://…` or `https://…`; it and the headers' values may hold secrets and are never shown.
    pub fn new(url: Secret, headers: &[(String, Secret)], deadline: Duration) -> Result<Self, ConfigError> {
        let parsed = reqwest::Url::parse(url.reveal()).map_err(|error| ConfigError(format!("is no URL: {error}")))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(ConfigError(format!("must start with http:// or https://, not {}:", parsed.scheme())));
        }
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let parsed = HeaderName::try_from(name.as_str());
            let parsed = parsed.map_err(|_| ConfigError(format!("\"{name}\" cannot be the name of a header")))?;
            let mut value = HeaderValue::try_from(value.reveal())
                .map_err(|_| ConfigError(format!("the value of \"{name}\" cannot stand in a header")))?;
            value.set_sensitive(true);
            map.insert(parsed, value);
        }
        let client = reqwest::Client::builder().timeout(deadline).build();
        let client = client.map_err(|error| ConfigError(format!("no HTTP client can be made: {error}")))?;
        Ok(Self { client, url, headers: map })
    }

    /// Posts once. `Ok` only for a status of 2xx; else what went wrong, in one sentence without the URL.
    pub async fn post(&self, body: &Value) -> Result<(), String> {
        let request = self.client.post(self.url.reveal()).headers(self.headers.clone()).json(body);
        let answer = request.send().await.map_err(|error| with_causes(&error.without_url()))?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("the webhook answered {status}")) }
    }
}
