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
    /// What was delivered counts, its transaction in the log committed or not.
    UncommittedCounts,
    /// After a takeover offsets are counted from elsewhere.
    OffsetsShift,
    /// The binlog's transactions go under the old epoch although another history begins.
    EpochStays,
    /// What a dead primary took with it is not read again.
    SkippedRepair,
    /// Another transaction at the place of the last emitted one is taken for it.
    SkippedWitness,
    /// A row that no record can hold is left out without a word.
    DroppedDeadLetter,
    /// An operation that a busy cluster refused counts as done.
    BusyIsApplied,
    /// A request that the cluster refused or never answered counts as done.
    RequestLost,
    /// A conflict with a newer version is tried again, for ever.
    ConflictRetried,
    /// A row that leaves a sink's condition keeps its document.
    LeftBehind,
    /// Deletes carry the epoch's first version.
    UnversionedDelete,
    /// Of two operations on a document in one batch the older is sent.
    FoldsToTheOldest,
    /// A state that is gone while log and indices know its epochs is begun anew.
    StateForgotten,
    /// At a failover all that was carried counts as read, what the new server lacks too.
    WholeSetCarried,
    /// A repair reads the log from its end at the rise on.
    RepairFromTheEnd,
    /// The checkpoint does not know of prepared XA transactions.
    PreparedForgotten,
    /// After a rewind rows are read by the definitions that were reached before it.
    DefinitionsStay,
    /// Documents are written directly before the journal knows of it.
    JournalAfterWrite,
    /// Writes of all sources are taken for equal: the later epoch or offset wins, whoever's it is.
    RankIgnored,
    /// An epoch's rise reads no journal: what was written directly and is lost stays.
    JournalUnrepaired,
}

impl Canary {
    /// All of them: the canary, its name, the oracle that is expected to object, and the scenario it is shown to.
    pub const ALL: &[(Self, &str, &str, &str)] = &[
        (Self::CheckpointBeforeAck, "checkpoint-before-ack", "checkpoint", "swarm"),
        (Self::UncommittedCounts, "uncommitted-counts", "checkpoint", "swarm"),
        (Self::FailedDeliveryCounts, "failed-delivery-counts", "checkpoint", "kafka-lost-answers"),
        (Self::SkippedFencing, "skipped-fencing", "order", "paused-zombie"),
        (Self::OffsetsShift, "offsets-shift", "identity", "deployer-crash"),
        (Self::EpochStays, "epoch-stays", "order", "lost-tail-failover"),
        (Self::SkippedRepair, "skipped-repair", "documents", "lost-tail-failover"),
        (Self::SkippedWitness, "skipped-witness", "delivery", "gtid-reuse-after-crash"),
        (Self::DroppedDeadLetter, "dropped-dead-letter", "checkpoint", "poison-row"),
        (Self::CommitBeforeOutcome, "commit-before-outcome", "documents", "elasticsearch-429-storm"),
        (Self::BusyIsApplied, "busy-is-applied", "documents", "elasticsearch-429-storm"),
        (Self::RequestLost, "request-lost", "documents", "elasticsearch-429-storm"),
        (Self::ConflictRetried, "conflict-retried", "bounds", "deployer-crash"),
        (Self::KeyAfterChange, "key-after-change", "documents", "swarm"),
        (Self::LeftBehind, "left-behind", "documents", "swarm"),
        (Self::ForgottenDeletes, "forgotten-deletes", "history", "elasticsearch-restart-after-deletes"),
        (Self::UnversionedDelete, "unversioned-delete", "documents", "swarm"),
        (Self::FlatVersions, "flat-versions", "history", "swarm"),
        (Self::FoldsToTheOldest, "folds-to-the-oldest", "documents", "kafka-down"),
        (Self::StateForgotten, "state-forgotten", "checkpoint", "zookeeper-new-ensemble"),
        (Self::WholeSetCarried, "whole-set-carried", "delivery", "gtid-reuse-after-crash"),
        (Self::RepairFromTheEnd, "repair-from-the-end", "documents", "lost-tail-failover"),
        (Self::PreparedForgotten, "prepared-forgotten", "bounds", "xa-across-crash"),
        (Self::DefinitionsStay, "definitions-stay", "checkpoint", "ddl-in-flight"),
        (Self::JournalAfterWrite, "journal-after-write", "documents", "mysql-failover-in-fallback"),
        (Self::RankIgnored, "rank-ignored", "documents", "hot-to-cold-archive"),
        (Self::JournalUnrepaired, "journal-unrepaired", "documents", "mysql-failover-in-fallback"),
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
