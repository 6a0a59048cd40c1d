//! A sink's index, its alias, and the epochs kept in its mapping's `_meta` (protocol §2).
//!
//! Used by the adapter before its first write, and by the leader before the first record of an epoch: then no write
//! under an epoch can precede the note of it. Must not retry: the caller knows how long it may wait.

use serde_json::{Map, Value, json};

use super::config::{Deletes, SinkConfig};
use super::mapping::{alias_filter, index_body};
use super::shape::Shape;
use crate::ports::index::{AliasSpec, IndexError, SearchIndex};

/// Creates the sink's index and alias where they are absent, and notes the pipeline's epoch in `_meta`.
/// Repeating it changes nothing. `shapes` are the tables that feed the sink, as far as they are known.
pub async fn prepare(
    index: &dyn SearchIndex,
    sink: &SinkConfig,
    shapes: &[&Shape],
    pipeline: &str,
    epoch: u16,
) -> Result<(), IndexError> {
    let concrete = sink.concrete_index();
    index.create_index(&concrete, &index_body(sink, shapes)).await?;
    let meta = index.meta(&concrete).await?.unwrap_or(Value::Null);
    // The mark is set after the alias: a crash between the two repeats the alias, and one that was moved to another
    // index since then is left alone.
    if meta.pointer("/towpath/alias").is_none() {
        let filter = (sink.deletes == Deletes::Soft).then(alias_filter);
        index.put_alias(&AliasSpec { alias: sink.index.clone(), index: concrete.clone(), filter }).await?;
        note(index, &concrete, |towpath| {
            towpath.insert("alias".into(), Value::String(sink.index.clone()));
        })
        .await?;
    }
    raise_epoch(index, &concrete, pipeline, epoch).await
}

/// Notes that `pipeline` writes under `epoch`; never lowers it. `concrete` is the index, not the alias.
///
/// `_meta` has no compare-and-set: two pipelines that share an index and note an epoch in the same moment can
/// overwrite each other. Each therefore reads back what it wrote, and every adapter notes the epoch again at its start
/// and at every rise.
pub async fn raise_epoch(
    index: &dyn SearchIndex,
    concrete: &str,
    pipeline: &str,
    epoch: u16,
) -> Result<(), IndexError> {
    for _ in 0..5 {
        if read_epoch(index, concrete, pipeline).await?.is_some_and(|known| known >= epoch) {
            return Ok(());
        }
        note(index, concrete, |towpath| {
            let epochs = towpath.entry("epoch").or_insert_with(|| json!({}));
            if let Some(epochs) = epochs.as_object_mut() {
                epochs.insert(pipeline.to_owned(), json!(epoch));
            }
        })
        .await?;
    }
    Err(IndexError::Unavailable(format!("the epoch noted in _meta of {concrete} is overwritten again and again")))
}

/// The highest epoch noted for a pipeline; `None` if the index is absent or holds no note of it.
pub async fn read_epoch(index: &dyn SearchIndex, concrete: &str, pipeline: &str) -> Result<Option<u16>, IndexError> {
    let meta = index.meta(concrete).await?.unwrap_or(Value::Null);
    let noted = meta.pointer("/towpath/epoch").and_then(|epochs| epochs.get(pipeline));
    Ok(noted.and_then(Value::as_u64).and_then(|epoch| u16::try_from(epoch).ok()))
}

/// Changes our part of `_meta`, keeping everything else in it.
async fn note(
    index: &dyn SearchIndex,
    concrete: &str,
    change: impl FnOnce(&mut Map<String, Value>) + Send,
) -> Result<(), IndexError> {
    let mut meta = match index.meta(concrete).await? {
        Some(Value::Object(meta)) => meta,
        _ => Map::new(),
    };
    let towpath = meta.entry("towpath").or_insert_with(|| json!({}));
    if !towpath.is_object() {
        *towpath = json!({});
    }
    if let Some(towpath) = towpath.as_object_mut() {
        change(towpath);
    }
    index.put_meta(concrete, &Value::Object(meta)).await
}
