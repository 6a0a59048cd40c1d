//! The rules that the fallback model can leave out.

use super::{DEAD_LETTERS, DOCUMENTS, ONE_VERSION};
use crate::explore::Planted;

/// The rules that can be left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    LowerBound,
    JournalFirst,
    Seal,
    SealUnmade,
    RepairJournalled,
    DeadLetterUnresolved,
    SkipSameEpochOnly,
    NeverSkipReads,
    CursorAfterOutcome,
    OneAnchor,
    Skip,
}

/// Each rule left out, and the claim that falls then.
pub const PLANTED: &[Planted<Rule>] = &[
    Planted {
        rule: Rule::LowerBound,
        name: "no-lower-bound",
        instead: "adapters skip everything up to the cursor, also what lies before the run's start",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::JournalFirst,
        name: "journal-after-write",
        instead: "the journal is written when the bulk was answered",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::Seal,
        name: "journal-not-sealed",
        instead: "a successor reads the journals and seals none",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::SealUnmade,
        name: "seal-only-what-exists",
        instead: "a journal that is named in the state and not made yet is not made and sealed",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::RepairJournalled,
        name: "journalled-keys-not-repaired",
        instead: "an epoch rise repairs the keys in the log alone",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::DeadLetterUnresolved,
        name: "dead-letter-as-outcome",
        instead: "what the cluster refused while Kafka was down counts as done",
        breaks: Some(DEAD_LETTERS),
    },
    Planted {
        rule: Rule::SkipSameEpochOnly,
        name: "skip-any-epoch",
        instead: "adapters compare offsets without the epoch",
        breaks: Some(DEAD_LETTERS),
    },
    Planted {
        rule: Rule::NeverSkipReads,
        name: "skip-read-rows",
        instead: "read rows of the run's epoch are skipped too",
        breaks: None,
    },
    Planted {
        rule: Rule::CursorAfterOutcome,
        name: "cursor-before-outcome",
        instead: "the cursor in the state passes a bulk that is not answered",
        breaks: Some(DEAD_LETTERS),
    },
    Planted {
        rule: Rule::OneAnchor,
        name: "an-anchor-each",
        instead: "at an epoch rise the two cursors count from where each of them is",
        breaks: Some(ONE_VERSION),
    },
    Planted {
        rule: Rule::Skip,
        name: "skip-nothing",
        instead: "adapters take in again all that was written directly",
        breaks: None,
    },
];
