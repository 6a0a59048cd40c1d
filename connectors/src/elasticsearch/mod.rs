//! Port `SearchIndex` on Elasticsearch 7.17 to 9.x and OpenSearch, by the `elasticsearch` crate's transport.
//!
//! Only the transport is used (connections, TLS, credentials); requests and answers are ours, because a bulk body is
//! written once into one buffer and of its answer only status and error are read. Must not retry: the engine knows
//! what a repeated write means.

mod answer;
mod bulk;
mod scan;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use elasticsearch::auth::Credentials;
use elasticsearch::cert::{Certificate, CertificateValidation};
use elasticsearch::http::Method;
use elasticsearch::http::Url;
use elasticsearch::http::headers::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use elasticsearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use serde_json::{Value, json};
use towpath_engine::causes::with_causes;
use towpath_engine::ports::index::{AliasSpec, BulkOp, IndexError, ItemResult, SearchIndex, StoredDocument};

use crate::{ConfigError, Secret};
use answer::Answer;

/// One cluster, with the account to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElasticsearchConfig {
    /// `http://host:9200`; requests take turns.
    pub urls: Vec<String>,
    /// The account, if any.
    pub user: Option<String>,
    /// Its password.
    pub password: Secret,
    /// An API key as Elasticsearch hands it out (base64), instead of an account.
    pub api_key: Option<Secret>,
    /// PEM file of the authorities to trust beside the system's.
    pub ca: Option<PathBuf>,
    /// The deadline of one request.
    pub timeout: Duration,
}

impl Default for ElasticsearchConfig {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            user: None,
            password: Secret::default(),
            api_key: None,
            ca: None,
            timeout: Duration::from_secs(30),
        }
    }
}

/// A cluster.
pub struct ElasticsearchIndex {
    nodes: Vec<(String, Transport)>,
    turn: AtomicUsize,
    timeout: Duration,
    scan: scan::Scan,
}

impl std::fmt::Debug for ElasticsearchIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let urls: Vec<&str> = self.nodes.iter().map(|(url, _)| url.as_str()).collect();
        f.debug_struct("ElasticsearchIndex").field("urls", &urls).finish_non_exhaustive()
    }
}

impl ElasticsearchIndex {
    /// Checks the configuration and reads the authorities' file; connects to nothing yet.
    pub fn new(config: ElasticsearchConfig) -> Result<Self, ConfigError> {
        if config.urls.is_empty() {
            return Err(ConfigError(
                "`elasticsearch` names no url: write for example [\"http://127.0.0.1:9200\"]".into(),
            ));
        }
        let pem = match &config.ca {
            None => None,
            Some(path) => Some(std::fs::read(path).map_err(|err| {
                ConfigError(format!("the authorities' file {} cannot be read: {err}", path.display()))
            })?),
        };
        let nodes = config
            .urls
            .iter()
            .map(|url| Ok((url.clone(), transport(url, &config, pem.as_deref())?)))
            .collect::<Result<_, ConfigError>>()?;
        Ok(Self { nodes, turn: AtomicUsize::new(0), timeout: config.timeout, scan: scan::Scan::default() })
    }

    /// One request to the node whose turn it is, with the whole answer.
    async fn ask(&self, request: Request<'_>) -> Result<Answer, IndexError> {
        // `new` refuses an empty list.
        let (url, transport) = &self.nodes[self.turn.fetch_add(1, Ordering::Relaxed) % self.nodes.len()];
        let mut headers = HeaderMap::new();
        // Without this the HTTP library asks for compressed answers, which cost both sides more than they save.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if request.lines {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        }
        let sending = async {
            let response = transport
                .send(request.method, &request.path, headers, request.query, request.body, Some(self.timeout))
                .await
                .map_err(|err| IndexError::Unavailable(format!("{url}: {}", with_causes(&err))))?;
            let status = response.status_code().as_u16();
            let body = response.bytes().await;
            let body = body.map_err(|err| IndexError::Unavailable(format!("{url}: {}", with_causes(&err))))?;
            Ok(Answer { url: url.clone(), status, body })
        };
        match tokio::time::timeout(self.timeout, sending).await {
            Ok(answer) => answer,
            Err(_) => Err(IndexError::Unavailable(format!("{url}: no answer within {} s", self.timeout.as_secs_f32()))),
        }
    }

    async fn ask_json(&self, method: Method, path: String, body: &Value) -> Result<Answer, IndexError> {
        let body = Some(Bytes::from(body.to_string()));
        self.ask(Request { method, path, query: None, body, lines: false }).await
    }
}

/// What is asked of a node.
struct Request<'a> {
    method: Method,
    path: String,
    query: Option<&'a [(&'a str, &'a str)]>,
    body: Option<Bytes>,
    /// The body is a line per JSON document.
    lines: bool,
}

impl Request<'_> {
    fn new(method: Method, path: String) -> Self {
        Self { method, path, query: None, body: None, lines: false }
    }
}

fn transport(url: &str, config: &ElasticsearchConfig, pem: Option<&[u8]>) -> Result<Transport, ConfigError> {
    let wrong = |why: String| ConfigError(format!("elasticsearch `{url}`: {why}"));
    let parsed = Url::parse(url).map_err(|err| wrong(format!("not a URL: {err}")))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
        return Err(wrong("write http://HOST:PORT or https://HOST:PORT".into()));
    }
    // A cluster's address is where we were told it is, whatever the environment says about proxies.
    let mut builder = TransportBuilder::new(SingleNodeConnectionPool::new(parsed)).disable_proxy();
    builder = match (&config.api_key, &config.user) {
        (Some(key), _) => builder.auth(Credentials::EncodedApiKey(key.reveal().to_string())),
        (None, Some(user)) => builder.auth(Credentials::Basic(user.clone(), config.password.reveal().to_string())),
        (None, None) => builder,
    };
    if let Some(pem) = pem {
        let authorities = Certificate::from_pem(pem).map_err(|err| wrong(format!("the authorities' file: {err}")))?;
        builder = builder.cert_validation(CertificateValidation::Full(authorities));
    }
    builder.build().map_err(|err| wrong(err.to_string()))
}

/// A part of a path: everything but unreserved characters is encoded (RFC 3986).
fn part(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[async_trait]
impl SearchIndex for ElasticsearchIndex {
    async fn bulk(&self, operations: &[BulkOp]) -> Result<Vec<ItemResult>, IndexError> {
        if operations.is_empty() {
            return Ok(Vec::new());
        }
        let request = Request {
            method: Method::Post,
            path: "/_bulk".into(),
            query: None,
            body: Some(bulk::body(operations)),
            lines: true,
        };
        bulk::results(&self.ask(request).await?, operations.len())
    }

    async fn get(&self, index: &str, id: &str, routing: Option<&str>) -> Result<Option<StoredDocument>, IndexError> {
        let query = routing.map(|routing| [("routing", routing)]);
        let request = Request {
            query: query.as_ref().map(|query| &query[..]),
            ..Request::new(Method::Get, format!("/{}/_doc/{}", part(index), part(id)))
        };
        self.ask(request).await?.document()
    }

    async fn create_index(&self, index: &str, body: &Value) -> Result<bool, IndexError> {
        if self.meta(index).await?.is_some() {
            return Ok(false);
        }
        let answer = self.ask_json(Method::Put, format!("/{}", part(index)), body).await?;
        if answer.error_type().as_deref() == Some("resource_already_exists_exception") {
            return Ok(false);
        }
        answer.json::<Value>().map(|_| true)
    }

    async fn meta(&self, index: &str) -> Result<Option<Value>, IndexError> {
        let answer = self.ask(Request::new(Method::Get, format!("/{}/_mapping", part(index)))).await?;
        if answer.error_type().as_deref() == Some("index_not_found_exception") {
            return Ok(None);
        }
        let mut indexes: std::collections::BTreeMap<String, Value> = answer.json()?;
        if indexes.len() > 1 {
            return Err(IndexError::Other { status: 200, reason: format!("\"{index}\" stands for several indexes") });
        }
        Ok(indexes.pop_first().map(|(_, mut found)| found["mappings"]["_meta"].take()))
    }

    async fn put_meta(&self, index: &str, meta: &Value) -> Result<(), IndexError> {
        let body = json!({ "_meta": meta });
        self.ask_json(Method::Put, format!("/{}/_mapping", part(index)), &body).await?.acknowledged()
    }

    async fn put_alias(&self, alias: &AliasSpec) -> Result<(), IndexError> {
        let mut add = json!({ "index": alias.index, "alias": alias.alias });
        if let Some(filter) = &alias.filter {
            add["filter"] = filter.clone();
        }
        // One request is atomic: the alias never points nowhere or to two indexes.
        let remove = json!({ "remove": { "index": "*", "alias": alias.alias, "must_exist": false } });
        let body = json!({ "actions": [remove, { "add": add }] });
        self.ask_json(Method::Post, "/_aliases".into(), &body).await?.acknowledged()
    }

    async fn block_writes(&self, index: &str) -> Result<(), IndexError> {
        // This request, unlike the setting of the same name, returns when no write is under way any more.
        let request = Request::new(Method::Put, format!("/{}/_block/write", part(index)));
        self.ask(request).await?.acknowledged()
    }

    async fn delete_index(&self, index: &str) -> Result<(), IndexError> {
        let answer = self.ask(Request::new(Method::Delete, format!("/{}", part(index)))).await?;
        match answer.error_type().as_deref() {
            Some("index_not_found_exception") => Ok(()),
            _ => answer.acknowledged(),
        }
    }

    async fn refresh(&self, index: &str) -> Result<(), IndexError> {
        let answer = self.ask(Request::new(Method::Post, format!("/{}/_refresh", part(index)))).await?;
        answer.json::<Value>().map(drop)
    }

    async fn scan(
        &self,
        index: &str,
        query: &Value,
        after: Option<&str>,
        size: usize,
    ) -> Result<Vec<(String, Bytes)>, IndexError> {
        scan::page(self, index, query, after, size).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_paths_cannot_leave_their_place() {
        assert_eq!(part("orders-v1"), "orders-v1");
        assert_eq!(part("a/../b?c#d%é"), "a%2F..%2Fb%3Fc%23d%25%C3%A9");
    }

    #[test]
    fn urls_are_checked() {
        let with = |urls: &[&str]| {
            let urls = urls.iter().map(ToString::to_string).collect();
            ElasticsearchIndex::new(ElasticsearchConfig { urls, ..ElasticsearchConfig::default() }).map(drop)
        };
        with(&["http://127.0.0.1:9200", "https://es:9200"]).unwrap();
        assert!(with(&[]).unwrap_err().0.contains("names no url"));
        assert!(with(&["127.0.0.1:9200"]).is_err());
        assert!(with(&["ftp://es"]).unwrap_err().0.contains("http://HOST:PORT"));
    }
}
