//! The highest epoch where the documents are: `_meta.towpath.epoch.<pipeline>` of each index' mapping (protocol §2), so
//! that a new coordinator cannot begin an epoch that every index would refuse as old.
//!
//! Must not lower it.

use serde_json::{Value, json};

use super::EpochIndex;
use crate::ports::index::IndexError;

/// The epoch that a mapping's `_meta` holds for a pipeline; 0 if none.
pub fn epoch_in(meta: &Value, pipeline: &str) -> u16 {
    let epoch = meta.get("towpath").and_then(|own| own.get("epoch")).and_then(|epochs| epochs.get(pipeline));
    epoch.and_then(Value::as_u64).and_then(|epoch| u16::try_from(epoch).ok()).unwrap_or(0)
}

/// The `_meta` with the pipeline's epoch raised; `None` if it holds as high a one already.
pub fn raised(meta: &Value, pipeline: &str, epoch: u16) -> Option<Value> {
    if epoch_in(meta, pipeline) >= epoch {
        return None;
    }
    let mut meta = if meta.is_object() { meta.clone() } else { json!({}) };
    if !meta["towpath"].is_object() {
        meta["towpath"] = json!({});
    }
    if !meta["towpath"]["epoch"].is_object() {
        meta["towpath"]["epoch"] = json!({});
    }
    meta["towpath"]["epoch"][pipeline] = json!(epoch);
    Some(meta)
}

/// The highest epoch of the pipeline in any of the indexes; absent indexes hold none.
pub async fn highest(indexes: &[EpochIndex], pipeline: &str) -> Result<u16, IndexError> {
    let mut highest = 0;
    for place in indexes {
        if let Some(meta) = place.cluster.meta(&place.index).await? {
            highest = highest.max(epoch_in(&meta, pipeline));
        }
    }
    Ok(highest)
}

/// Raises the epoch in every index that exists. Whoever creates an index later writes the epoch then.
pub async fn raise(indexes: &[EpochIndex], pipeline: &str, epoch: u16) -> Result<(), IndexError> {
    for place in indexes {
        if let Some(meta) = place.cluster.meta(&place.index).await?
            && let Some(meta) = raised(&meta, pipeline, epoch)
        {
            place.cluster.put_meta(&place.index, &meta).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_raised_beside_what_is_there_and_never_lowered() {
        let meta = raised(&Value::Null, "orders", 3).unwrap();
        let meta = raised(&meta, "cold", 9).unwrap();
        assert_eq!((epoch_in(&meta, "orders"), epoch_in(&meta, "cold"), epoch_in(&meta, "x")), (3, 9, 0));
        assert_eq!(raised(&meta, "cold", 9), None);
        assert_eq!(raised(&meta, "cold", 8), None);
        let other = raised(&json!({"owner": "shop", "towpath": 7}), "orders", 1).unwrap();
        assert_eq!((other["owner"].as_str(), epoch_in(&other, "orders")), (Some("shop"), 1));
    }
}
