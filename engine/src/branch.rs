//! Branches of the engine that only faults reach, counted in the simulator's build: a fault model that never reaches
//! one of them proves nothing about it.
//!
//! Only a build with feature `canary` counts; everywhere else [`reached`] does nothing. Must not change what the engine
//! does.

macro_rules! branches {
    ($($name:ident $text:literal,)*) => {
        /// A marked branch.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Branch {
            $(#[doc = $text] $name,)*
        }

        impl Branch {
            /// All of them, with what happens there.
            pub const ALL: &[(Self, &str)] = &[$((Self::$name, $text),)*];
        }
    };
}

branches! {
    StateDoubtful "a write of the state has an unknown outcome",
    StateOurs "a write of unknown outcome had taken effect",
    TailAhead "a new leader finds records beyond the checkpoint",
    Rewind "a stream rewinds to the last acknowledged transaction",
    DeliveryFailed "the delivery of a record fails",
    ServerSilent "another server is asked because one is silent",
    ServerBehind "a replica lacks what was carried and is waited for",
    EpochRises "a new epoch begins on another history",
    Repair "keys in the log are read again",
    RowGone "a row that is read again is not there any more",
    RecordSplit "an event's rows need more than one record",
    RowTooLarge "a row that no record can hold becomes a dead letter",
    RowMovesPartition "a row's key changes its partition, and the old one gets a copy",
    XaWithheld "an XA group is prepared and its rows wait",
    XaReadAgain "a prepared group is read again at its commit",
    XaRolledBack "a prepared group is rolled back",
    DefinitionChanges "a statement changes a definition that is followed",
    DefinitionReadAgain "a change of a definition is read again after a rewind",
    LowerTerm "an adapter drops a record of a deposed leader",
    CommitRefused "a group refuses offsets of an old generation",
    Revoked "partitions are given up in order",
    Folded "operations on one document meet in a batch",
    Superseded "a write meets a newer version",
    EpochAsked "a newer version is of an epoch that the adapter has to ask for",
    ItemRetried "one operation of a request is sent again",
    RequestRetried "a whole request is sent again",
    Tombstone "a delete leaves a tombstone",
}

#[cfg(feature = "canary")]
static COUNTS: [std::sync::atomic::AtomicU32; Branch::ALL.len()] =
    [const { std::sync::atomic::AtomicU32::new(0) }; Branch::ALL.len()];

/// Notes that a branch was reached.
#[cfg(feature = "canary")]
pub fn reached(branch: Branch) {
    COUNTS[branch as usize].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

/// How often each branch was reached in this process.
#[cfg(feature = "canary")]
pub fn counts() -> impl Iterator<Item = (Branch, u32)> {
    Branch::ALL
        .iter()
        .zip(&COUNTS)
        .map(|((branch, _), count)| (*branch, count.load(std::sync::atomic::Ordering::Relaxed)))
}

/// Nothing, in this build.
#[cfg(not(feature = "canary"))]
pub const fn reached(_branch: Branch) {}
