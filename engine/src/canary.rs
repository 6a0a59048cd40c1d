//! Deliberately broken decisions, for the proof that the simulator notices them.
//!
//! Only a build with feature `canary` contains any, and only one package turns it on; everywhere else [`on`] is a
//! constant `false` and the broken branch is not compiled in. Must not be used for anything but that proof.

/// A decision that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canary {
    /// The checkpoint is written for what was handed to the log, acknowledged or not.
    CheckpointBeforeAck,
    /// The leader opens a producer that fences nobody.
    SkippedFencing,
    /// Offsets are committed for what was read, whatever became of it.
    CommitBeforeOutcome,
    /// A row whose key changed is written under its new key alone.
    KeyAfterChange,
    /// Deletes leave no tombstone.
    ForgottenDeletes,
    /// A delivery that failed counts as acknowledged.
    FailedDeliveryCounts,
    /// Versions do not grow: each write carries the epoch's first.
    FlatVersions,
}

impl Canary {
    /// All of them: the canary, its name, and the oracle that is expected to object.
    pub const ALL: &[(Self, &str, &str)] = &[
        (Self::CheckpointBeforeAck, "checkpoint-before-ack", "checkpoint"),
        (Self::SkippedFencing, "skipped-fencing", "order"),
        (Self::CommitBeforeOutcome, "commit-before-outcome", "documents"),
        (Self::KeyAfterChange, "key-after-change", "documents"),
        (Self::ForgottenDeletes, "forgotten-deletes", "history"),
        (Self::FailedDeliveryCounts, "failed-delivery-counts", "checkpoint"),
        (Self::FlatVersions, "flat-versions", "history"),
    ];
}

#[cfg(feature = "canary")]
static CHOSEN: std::sync::OnceLock<Canary> = std::sync::OnceLock::new();

/// Breaks one decision for the rest of the process; whether it was the first choice.
#[cfg(feature = "canary")]
pub fn choose(canary: Canary) -> bool {
    CHOSEN.set(canary).is_ok()
}

/// Whether the decision is broken.
#[cfg(feature = "canary")]
pub fn on(canary: Canary) -> bool {
    CHOSEN.get() == Some(&canary)
}

/// Whether the decision is broken: never, in this build.
#[cfg(not(feature = "canary"))]
pub const fn on(_canary: Canary) -> bool {
    false
}
