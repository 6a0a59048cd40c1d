//! Sets of MySQL GTIDs: `uuid[:tag]:interval[:interval]…`, with all intervals and tags.
//!
//! Must not collapse intervals to their maximum: holes are transactions that are still needed.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A set of GTIDs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GtidSet {
    /// Intervals, both ends included, sorted and disjoint, by source (`uuid` or `uuid:tag`).
    intervals: BTreeMap<String, Vec<(u64, u64)>>,
}
