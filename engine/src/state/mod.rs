//! The state of a pipeline: the one znode document (protocol §2), what it holds and how it is written.
//!
//! One document, one compare-and-set, so that no two facts can disagree. Must not talk to the coordinator: that is
//! [`crate::deployer`]'s part. What grows without bound does not live here.

mod codec;
mod document;
mod ring;
mod schemas;

pub use codec::{FORMAT, MAX_BYTES, decode, encode};
pub use document::{
    Anchor, AuditEntry, Checkpoint, EpochRecord, FallbackRun, LeaderMark, MAX_AUDIT, PendingRepair, PipelineState,
    PositionOrder, PreparedXa, RingEntry, SCHEME, Witness,
};
pub use ring::Ring;
pub use schemas::{EpochHistory, HistoryRef, Quarantine, SchemaOrder, SchemaState};

/// The name of the node that holds the state.
pub const NODE: &str = "state";
/// The name of the node that holds the value before the last change of importance, or before the last checkpoint.
pub const PREVIOUS: &str = "previous";
