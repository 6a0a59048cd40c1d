//! The rules that the leadership model can leave out.

use super::{CHECKPOINT, DEPOSED, DOCUMENTS, TERMS};
use crate::explore::Planted;

/// The rules that can be left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    OwnNode,
    GuardEveryInit,
    GuardAfterInit,
    FenceBeforeState,
    FenceBeforeTail,
    FenceRecord,
    NumberedProducers,
    ContiguousAck,
    CheckpointAfterAck,
    TermBase,
    TermMargin,
    EpochAboveAll,
}

/// Each rule left out, and the claim that falls then.
pub const PLANTED: &[Planted<Rule>] = &[
    Planted {
        rule: Rule::OwnNode,
        name: "fixed-election-path",
        instead: "the check is on a path that every leader uses",
        breaks: Some(DEPOSED),
    },
    Planted {
        rule: Rule::GuardEveryInit,
        name: "guard-first-init-only",
        instead: "a new producer within a term is not followed by a guarded write",
        breaks: Some(TERMS),
    },
    Planted {
        rule: Rule::GuardAfterInit,
        name: "no-guarded-write",
        instead: "no guarded write between fencing and producing",
        breaks: Some(TERMS),
    },
    Planted {
        rule: Rule::FenceBeforeState,
        name: "state-before-fence",
        instead: "the guarded write comes before the fencing",
        breaks: Some(TERMS),
    },
    Planted {
        rule: Rule::FenceBeforeTail,
        name: "tail-before-fence",
        instead: "the log is scanned before it is fenced",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::FenceRecord,
        name: "no-fence-record",
        instead: "under `versions` no fence record is written",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::NumberedProducers,
        name: "unnumbered-producers",
        instead: "a new producer within a term writes the same fence as the one before",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::ContiguousAck,
        name: "highest-ack",
        instead: "the highest acknowledged record counts, not the contiguous prefix",
        breaks: Some(CHECKPOINT),
    },
    Planted {
        rule: Rule::CheckpointAfterAck,
        name: "checkpoint-before-ack",
        instead: "the checkpoint follows what was sent",
        breaks: Some(CHECKPOINT),
    },
    Planted {
        rule: Rule::TermBase,
        name: "no-term-base",
        instead: "terms count from low again in a new ensemble",
        breaks: Some(CHECKPOINT),
    },
    Planted {
        rule: Rule::TermMargin,
        name: "term-base-without-margin",
        instead: "in a new ensemble terms go on right above the highest in the log",
        breaks: Some(CHECKPOINT),
    },
    Planted {
        rule: Rule::EpochAboveAll,
        name: "epoch-from-zero",
        instead: "a restored state goes on with its own epoch",
        breaks: Some(DOCUMENTS),
    },
];
