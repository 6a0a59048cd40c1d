//! Answers as a whole: what status and body mean to the engine.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use towpath_engine::ports::index::{IndexError, StoredDocument};

/// How much of a foreign answer is shown.
const SHOWN: usize = 80;

/// A whole answer.
pub(super) struct Answer {
    pub url: String,
    pub status: u16,
    pub body: Bytes,
}

/// A page of a search.
pub(super) struct Page {
    /// Id and source; `null` where none was asked for.
    pub documents: Vec<(String, Bytes)>,
    /// Where the next page is to be had.
    pub scroll: Option<String>,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorField,
}

/// An object with type and reason, or a plain text (for example from 404 routes and security plug-ins).
#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorField {
    Object {
        #[serde(rename = "type")]
        kind: Option<String>,
        reason: Option<String>,
    },
    Text(String),
}

#[derive(Deserialize)]
struct Found<'a> {
    found: bool,
    #[serde(rename = "_version", default)]
    version: i64,
    #[serde(rename = "_source", borrow, default)]
    source: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Search<'a> {
    #[serde(borrow)]
    hits: Hits<'a>,
    #[serde(rename = "_scroll_id", default)]
    scroll: Option<String>,
}

#[derive(Deserialize)]
struct Hits<'a> {
    #[serde(borrow)]
    hits: Vec<Hit<'a>>,
}

#[derive(Deserialize)]
struct Hit<'a> {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_source", borrow, default)]
    source: Option<&'a RawValue>,
}

impl Answer {
    /// A successful answer's body; otherwise the error that status and body mean.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, IndexError> {
        if !(200..300).contains(&self.status) {
            return Err(self.error());
        }
        serde_json::from_slice(&self.body).map_err(|_| self.foreign())
    }

    /// The error's type, if the body is an error of Elasticsearch.
    pub(super) fn error_type(&self) -> Option<String> {
        match self.error_field()? {
            ErrorField::Object { kind, .. } => kind,
            ErrorField::Text(_) => None,
        }
    }

    fn error_field(&self) -> Option<ErrorField> {
        serde_json::from_slice::<ErrorBody>(&self.body).ok().map(|body| body.error)
    }

    /// What an unsuccessful answer means.
    pub(super) fn error(&self) -> IndexError {
        let status = self.status;
        let reason = match self.error_field() {
            Some(ErrorField::Object { kind, reason }) => {
                let parts: Vec<String> = [kind, reason].into_iter().flatten().collect();
                format!("{}: {}", self.url, shortened(&parts.join(": "), 300))
            }
            Some(ErrorField::Text(text)) => format!("{}: {}", self.url, shortened(&text, 300)),
            // Overload and missing backends are often told by a proxy, in HTML.
            None if matches!(status, 429 | 502 | 503 | 504) => format!("{}: status {status}", self.url),
            None if self.body.is_empty() => format!("{}: status {status} without a body", self.url),
            None => return self.foreign(),
        };
        match status {
            400 | 413 => IndexError::Rejected { status, reason },
            401 | 403 => IndexError::Denied { status, reason },
            429 | 502 | 503 | 504 => IndexError::Unavailable(reason),
            _ => IndexError::Other { status, reason },
        }
    }

    fn foreign(&self) -> IndexError {
        let text = String::from_utf8_lossy(&self.body);
        IndexError::NotElasticsearch(format!("{} says ({}): {}", self.url, self.status, shortened(&text, SHOWN)))
    }

    /// An administrative change that the whole cluster has taken.
    pub(super) fn acknowledged(&self) -> Result<(), IndexError> {
        #[derive(Deserialize)]
        struct Acknowledged {
            acknowledged: bool,
        }
        match self.json::<Acknowledged>()?.acknowledged {
            true => Ok(()),
            false => Err(IndexError::Unavailable(format!("{}: not all nodes have taken the change yet", self.url))),
        }
    }

    /// The answer to a get.
    pub(super) fn document(&self) -> Result<Option<StoredDocument>, IndexError> {
        if self.status != 200 && self.status != 404 {
            return Err(self.error());
        }
        // An absent index answers 404 too, but with an error.
        if self.error_type().is_some() {
            return Err(self.error());
        }
        let found: Found<'_> = serde_json::from_slice(&self.body).map_err(|_| self.foreign())?;
        let source = found.source.map_or(&b"null"[..], |source| source.get().as_bytes());
        Ok(found.found.then(|| StoredDocument { version: found.version, source: Bytes::copy_from_slice(source) }))
    }

    /// The answer to a search.
    pub(super) fn hits(&self) -> Result<Page, IndexError> {
        if !(200..300).contains(&self.status) {
            return Err(self.error());
        }
        let search: Search<'_> = serde_json::from_slice(&self.body).map_err(|_| self.foreign())?;
        let documents = search.hits.hits.into_iter().map(|hit| {
            let source = hit.source.map_or(&b"null"[..], |source| source.get().as_bytes());
            (hit.id, Bytes::copy_from_slice(source))
        });
        Ok(Page { documents: documents.collect(), scroll: search.scroll })
    }
}

/// At most `limit` characters, on one line.
pub(super) fn shortened(text: &str, limit: usize) -> String {
    let mut out: String = text.chars().take(limit).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(limit).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { url: "http://es:9200".into(), status, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    #[test]
    fn html_is_named_and_shown_in_part() {
        let page = format!("<html>\n<body>{}</body></html>", "x".repeat(500));
        for status in [200, 400, 404, 500] {
            let err = answer(status, &page).json::<serde_json::Value>().unwrap_err();
            assert!(
                matches!(&err, IndexError::NotElasticsearch(text)
                if text.contains("<html> <body>") && text.chars().count() < 120),
                "{err}"
            );
        }
        assert!(matches!(answer(503, &page).error(), IndexError::Unavailable(_)));
    }

    #[test]
    fn statuses_have_their_meaning() {
        let body = r#"{"error":{"type":"some_exception","reason":"because"},"status":1}"#;
        let class = |status| answer(status, body).error();
        assert!(matches!(class(400), IndexError::Rejected { status: 400, reason } if reason.contains("because")));
        assert!(matches!(class(413), IndexError::Rejected { status: 413, .. }));
        assert!(matches!(class(401), IndexError::Denied { status: 401, .. }));
        assert!(matches!(class(403), IndexError::Denied { status: 403, .. }));
        for status in [429, 502, 503, 504] {
            assert!(matches!(class(status), IndexError::Unavailable(_)));
        }
        assert!(matches!(class(404), IndexError::Other { status: 404, .. }));
        assert!(matches!(class(500), IndexError::Other { status: 500, .. }));
    }

    #[test]
    fn an_absent_document_is_none_and_an_absent_index_an_error() {
        let absent = r#"{"_index":"a","_id":"1","found":false}"#;
        assert_eq!(answer(404, absent).document().unwrap(), None);
        let no_index = r#"{"error":{"type":"index_not_found_exception","reason":"no such index [a]"},"status":404}"#;
        assert!(matches!(answer(404, no_index).document(), Err(IndexError::Other { status: 404, .. })));
        let there = r#"{"_version":7,"found":true,"_source":{"b":1,"a":2.50}}"#;
        let found = answer(200, there).document().unwrap().unwrap();
        assert_eq!((found.version, &found.source[..]), (7, &br#"{"b":1,"a":2.50}"#[..]));
    }
}
