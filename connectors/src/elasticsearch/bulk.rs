//! The bulk request's body and its answer.
//!
//! Body: two lines an operation (one for a delete), written once into one buffer. Answer: of each item only the status
//! and the error's type and reason are kept. The order of items is the order of operations.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;
use towpath_engine::ports::index::{BulkOp, IndexError, ItemResult};

use super::answer::{Answer, shortened};

/// Bytes of an action line without its texts.
const ACTION: usize = 120;

/// The body as lines of JSON.
pub(super) fn body(operations: &[BulkOp]) -> Bytes {
    let size =
        operations.iter().map(|op| ACTION + op.index.len() + op.id.len() + op.source.as_ref().map_or(0, Bytes::len));
    let mut out = BytesMut::with_capacity(size.sum());
    for op in operations {
        out.put_slice(if op.source.is_some() { b"{\"index\":{\"_index\":" } else { b"{\"delete\":{\"_index\":" });
        put_text(&mut out, &op.index);
        out.put_slice(b",\"_id\":");
        put_text(&mut out, &op.id);
        if let Some(routing) = &op.routing {
            out.put_slice(b",\"routing\":");
            put_text(&mut out, routing);
        }
        out.put_slice(b",\"version\":");
        out.put_slice(op.version.number().to_string().as_bytes());
        out.put_slice(b",\"version_type\":\"external_gte\"}}\n");
        if let Some(source) = &op.source {
            out.put_slice(source);
            out.put_u8(b'\n');
        }
    }
    out.freeze()
}

/// A JSON string.
fn put_text(out: &mut BytesMut, text: &str) {
    // A string always serialises, and a BytesMut always takes it.
    if serde_json::to_writer(out.writer(), text).is_err() {
        tracing::error!("a text could not be written as JSON");
    }
}

/// The results, one for each operation.
pub(super) fn results(answer: &Answer, operations: usize) -> Result<Vec<ItemResult>, IndexError> {
    let parsed: BulkAnswer = answer.json()?;
    if parsed.items.len() != operations {
        return Err(IndexError::NotElasticsearch(format!(
            "{}: {} results for {operations} operations",
            answer.url,
            parsed.items.len()
        )));
    }
    Ok(parsed.items.into_iter().map(|item| item.0).collect())
}

#[derive(Deserialize)]
struct BulkAnswer {
    items: Vec<Item>,
}

/// `{"index":{"status":…,"error":{…}}}`: the one value, whatever the key.
struct Item(ItemResult);

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    #[serde(default)]
    error: Option<Failure>,
}

/// An error is an object; very old servers wrote a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Failure {
    Object {
        #[serde(rename = "type")]
        kind: Option<String>,
        reason: Option<String>,
        #[serde(default)]
        caused_by: Option<Cause>,
    },
    Text(String),
}

#[derive(Deserialize)]
struct Cause {
    reason: Option<String>,
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = Item;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the result of one operation")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
                use serde::de::Error;
                let found: Option<(IgnoredAny, Outcome)> = map.next_entry()?;
                let (_, outcome) = found.ok_or_else(|| A::Error::custom("an item without a result"))?;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Item(outcome.into()))
            }
        }
        deserializer.deserialize_map(One)
    }
}

impl From<Outcome> for ItemResult {
    fn from(outcome: Outcome) -> Self {
        let (error_type, reason) = match outcome.error {
            None => (None, None),
            Some(Failure::Text(text)) => (Some("unknown".to_string()), Some(text)),
            Some(Failure::Object { kind, reason, caused_by }) => {
                let inner = caused_by.and_then(|cause| cause.reason);
                let reason = match (reason, inner) {
                    (Some(outer), Some(inner)) => Some(format!("{outer}: {inner}")),
                    (outer, inner) => outer.or(inner),
                };
                (Some(kind.unwrap_or_else(|| "unknown".into())), reason)
            }
        };
        ItemResult { status: outcome.status, error_type, reason: reason.map(|reason| shortened(&reason, 300)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_engine::version::Version;

    fn op(id: &str, routing: Option<&str>, source: Option<&str>) -> BulkOp {
        BulkOp {
            index: "remind-v1".into(),
            id: id.into(),
            routing: routing.map(Into::into),
            version: Version::new(0, 1, 42).unwrap(),
            source: source.map(|text| Bytes::copy_from_slice(text.as_bytes())),
        }
    }

    #[test]
    fn every_operation_is_versioned_deletes_included() {
        let body = body(&[op("7", None, Some("{\"a\":1}")), op("a\"\n", Some("m"), None)]);
        let version = Version::new(0, 1, 42).unwrap().number();
        let expected = format!(
            "{{\"index\":{{\"_index\":\"remind-v1\",\"_id\":\"7\",\"version\":{version},\
             \"version_type\":\"external_gte\"}}}}\n{{\"a\":1}}\n\
             {{\"delete\":{{\"_index\":\"remind-v1\",\"_id\":\"a\\\"\\n\",\"routing\":\"m\",\"version\":{version},\
             \"version_type\":\"external_gte\"}}}}\n"
        );
        assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
        for line in expected.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }

    fn answer(body: &str) -> Answer {
        Answer { url: "http://es".into(), status: 200, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    #[test]
    fn of_each_item_status_type_and_reason_are_kept() {
        let text = r#"{"took":3,"errors":true,"items":[
            {"index":{"_index":"a","_id":"1","_version":5,"result":"created","status":201,"_seq_no":0}},
            {"delete":{"_index":"a","_id":"2","status":404,"result":"not_found"}},
            {"index":{"_index":"a","_id":"3","status":409,"error":{"type":"version_conflict_engine_exception",
             "reason":"[3]: version conflict","index":"a","shard":"0"}}},
            {"index":{"status":400,"error":{"type":"document_parsing_exception","reason":"failed to parse",
             "caused_by":{"type":"x","reason":"For input string"}}}}]}"#;
        let items = results(&answer(text), 4).unwrap();
        assert_eq!((items[0].status, &items[0].error_type), (201, &None));
        assert_eq!((items[1].status, &items[1].error_type), (404, &None));
        assert_eq!(items[2].error_type.as_deref(), Some("version_conflict_engine_exception"));
        assert_eq!(items[3].reason.as_deref(), Some("failed to parse: For input string"));
    }

    #[test]
    fn fewer_results_than_operations_are_no_answer() {
        let short = r#"{"errors":false,"items":[]}"#;
        assert!(matches!(results(&answer(short), 1), Err(IndexError::NotElasticsearch(_))));
        assert!(matches!(results(&answer("<html>busy</html>"), 1), Err(IndexError::NotElasticsearch(_))));
    }
}
