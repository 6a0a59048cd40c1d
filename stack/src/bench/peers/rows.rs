//! How many row changes the records of a topic hold.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::IgnoredAny;
use towpath_engine::ports::log::EventLog;

/// Records read at once.
const PIECE: usize = 50_000;

/// What the records look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Canal's FlatMessage: rows are the elements of `data`. Towpath writes it too.
    Flat,
    /// Debezium's envelope: one row each.
    Envelope,
}

#[derive(Deserialize)]
struct Flat {
    #[serde(rename = "isDdl", default)]
    is_ddl: bool,
    data: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
struct Envelope {
    op: Option<String>,
}

impl Form {
    /// The row changes of one record; control records, DDL and heartbeats have none.
    fn rows(self, value: &[u8]) -> Result<u64> {
        Ok(match self {
            Self::Flat => {
                let flat: Flat = serde_json::from_slice(value).context("a record is no FlatMessage")?;
                if flat.is_ddl { 0 } else { flat.data.map_or(0, |rows| rows.len() as u64) }
            }
            Self::Envelope => {
                let envelope: Envelope = serde_json::from_slice(value).context("a record is no envelope")?;
                u64::from(envelope.op.is_some_and(|op| matches!(op.as_str(), "c" | "u" | "d")))
            }
        })
    }
}

/// Counts the rows of all records of some topics.
///
/// # Errors
/// A topic cannot be read, or a record is not of that form.
pub async fn count(log: &dyn EventLog, topics: &[String], form: Form) -> Result<u64> {
    let mut rows = 0;
    for topic in topics {
        let info = log.topic(topic).await.with_context(|| topic.clone())?;
        for (partition, (mut next, end)) in (0..).zip(info.watermarks) {
            while next < end {
                let piece = log.read(topic, partition, next, end, PIECE).await;
                let (records, reached) = piece.with_context(|| topic.clone())?;
                anyhow::ensure!(reached > next, "{topic}-{partition} ends at {next}, below {end}");
                next = reached;
                for record in &records {
                    if let Some(value) = record.value.as_deref().filter(|value| !value.is_empty()) {
                        rows += form.rows(value)?;
                    }
                }
            }
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_and_nothing_else() {
        let flat = |text: &str| Form::Flat.rows(text.as_bytes()).unwrap();
        assert_eq!(flat(r#"{"type":"INSERT","isDdl":false,"data":[{"a":"1"},{"a":"2"}]}"#), 2);
        assert_eq!(flat(r#"{"type":"ALTER","isDdl":true,"data":null,"sql":"x"}"#), 0);
        let envelope = |text: &str| Form::Envelope.rows(text.as_bytes()).unwrap();
        assert_eq!(envelope(r#"{"before":null,"after":{"a":1},"op":"c"}"#), 1);
        assert_eq!(envelope(r#"{"status":"BEGIN"}"#), 0);
        assert!(Form::Envelope.rows(b"no").is_err());
    }
}
