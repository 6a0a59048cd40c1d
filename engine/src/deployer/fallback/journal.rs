//! The journal: what is about to be written to a sink's documents directly, written ahead into an index of the same
//! cluster, one per sink, term and run (protocol §8).
//!
//! A successor makes and seals it before reading: whoever cannot write its journal writes no document. An entry is a
//! record as Kafka would have had it, so that a repair gathers its keys, old and new, in the same way. Must not decide
//! when it is written or read.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

use crate::deployer::repair::Piece;
use crate::ports::index::{BulkOp, IndexError, SearchIndex};
use crate::ports::log::ConsumedRecord;
use crate::version::Version;

/// One sink's journal of one run.
#[derive(Clone)]
pub struct Journal {
    cluster: Arc<dyn SearchIndex>,
    index: String,
}

/// An entry as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    /// The partition that the record has in Kafka.
    partition: u32,
    value: String,
    headers: Vec<(String, String)>,
}

impl Journal {
    /// The journal of a sink in its cluster.
    pub fn new(cluster: Arc<dyn SearchIndex>, pipeline: &str, sink: &str, (term, number): (i64, u32)) -> Self {
        // Names of indices are lower case, those of pipelines and sinks need not be: the sum tells them apart.
        let sum = crc32fast::hash(format!("{pipeline}/{sink}").as_bytes());
        let (pipeline, sink) = (pipeline.to_lowercase(), sink.to_lowercase());
        let index = format!("towpath-journal-{pipeline}-{sink}-{sum:08x}-{term}-{number}");
        Self { cluster, index }
    }

    /// The index' name.
    pub fn index(&self) -> &str {
        &self.index
    }

    /// Makes the index if it is absent.
    pub async fn make(&self) -> Result<(), IndexError> {
        // Nothing is searched for: entries are read whole, in the order of their ids.
        let body = json!({
            "settings": { "number_of_shards": 1 },
            "mappings": { "dynamic": false },
        });
        self.cluster.create_index(&self.index, &body).await.map(drop)
    }

    /// Writes entries. `Ok`: all are there. After an error the same entries may be written again.
    pub async fn write(&self, entries: &[(String, Arc<ConsumedRecord>)]) -> Result<(), IndexError> {
        let mut operations = Vec::with_capacity(entries.len());
        for (id, record) in entries {
            operations.push(BulkOp {
                index: self.index.clone(),
                id: id.clone(),
                routing: None,
                version: first_version()?,
                source: Some(source(record)?),
            });
        }
        let results = self.cluster.bulk(&operations).await?;
        match results.into_iter().find(|result| result.error_type.is_some()) {
            None => Ok(()),
            Some(item) => {
                let kind = item.error_type.unwrap_or_default();
                let reason = format!("journal {}: {kind}: {}", self.index, item.reason.unwrap_or_default());
                Err(IndexError::Other { status: item.status, reason })
            }
        }
    }

    /// Makes it if it is absent, and refuses every later write. A journal that its leader has named and not made yet
    /// is sealed too: otherwise it could be made, and used, after its seal.
    pub async fn seal(&self) -> Result<(), IndexError> {
        self.make().await?;
        self.cluster.block_writes(&self.index).await
    }

    /// Makes what was written readable; `false`: there is no such journal.
    pub async fn open(&self) -> Result<bool, IndexError> {
        if self.cluster.meta(&self.index).await?.is_none() {
            return Ok(false);
        }
        self.cluster.refresh(&self.index).await?;
        Ok(true)
    }

    /// What was written, piece by piece; entries from the id `before` on are left out.
    pub fn pages(&self, before: Option<String>) -> Pages<'_> {
        Pages { journal: self, before, after: None, piece: Piece::first(), ended: false }
    }

    /// Deletes it.
    pub async fn delete(&self) -> Result<(), IndexError> {
        self.cluster.delete_index(&self.index).await
    }
}

/// A journal that is being read.
pub struct Pages<'a> {
    journal: &'a Journal,
    before: Option<String>,
    /// The id of the last entry so far.
    after: Option<String>,
    piece: Piece,
    ended: bool,
}

impl Pages<'_> {
    /// The next entries as records; `None`: that was the end.
    pub async fn next(&mut self) -> Result<Option<Vec<ConsumedRecord>>, IndexError> {
        if self.ended {
            return Ok(None);
        }
        let Journal { cluster, index } = self.journal;
        let wanted = self.piece.records;
        let found = cluster.scan(index, &json!({ "match_all": {} }), self.after.as_deref(), wanted).await?;
        self.ended = found.len() < wanted;
        let mut records = Vec::with_capacity(found.len());
        for (id, source) in found {
            if self.before.as_ref().is_some_and(|before| id >= *before) {
                self.ended = true;
                break;
            }
            let entry: Written = serde_json::from_slice(&source).map_err(|error| IndexError::Other {
                status: 200,
                reason: format!("journal {index}, entry {id}: {error}"),
            })?;
            records.push(ConsumedRecord {
                partition: entry.partition,
                offset: 0,
                key: None,
                value: Some(entry.value.into_bytes()),
                headers: entry.headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect(),
                timestamp_ms: 0,
            });
            self.after = Some(id);
        }
        self.piece.came(&records);
        Ok(Some(records))
    }
}

/// The id of a log's entry: entries are read in the order of logs, and within a log of offsets.
pub fn entry_id(serial: u32, offset: i64) -> String {
    format!("{serial:010}-{offset:020}")
}

/// Entries have ids of their own and are never changed: one version for all.
fn first_version() -> Result<Version, IndexError> {
    Version::new(0, 1, 1).ok_or_else(|| other("there is no version 1".to_owned()))
}

fn source(record: &ConsumedRecord) -> Result<Bytes, IndexError> {
    let text = |bytes: &[u8]| {
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| other(format!("a record is not text: {error}")))
    };
    let mut headers = Vec::with_capacity(record.headers.len());
    for (name, value) in &record.headers {
        headers.push((name.clone(), text(value)?));
    }
    let value = text(record.value.as_deref().unwrap_or_default())?;
    let entry = Written { partition: record.partition, value, headers };
    serde_json::to_vec(&entry).map(Bytes::from).map_err(|error| other(error.to_string()))
}

fn other(reason: String) -> IndexError {
    IndexError::Other { status: 0, reason }
}
