//! The rules that the history model can leave out.

use super::{CARRIED, DOCUMENTS, ONE_VERSION};
use crate::explore::Planted;

/// The rules that can be left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    Witness,
    WitnessPlace,
    WitnessOfTail,
    WitnessOfReads,
    CommonPointCompared,
    CompareWitnesses,
    CompareEveryGtid,
    WaitWhileBehind,
    AnchorIsIntersection,
    ReadOutOfOrder,
    RepairAlways,
    RepairPending,
    ReadsPending,
    PendingInherited,
    RiseKeepsLowWater,
    PendingUntilCarried,
    LowWater,
}

/// Each rule left out, and the claim that falls then.
pub const PLANTED: &[Planted<Rule>] = &[
    Planted {
        rule: Rule::Witness,
        name: "no-witness",
        instead: "the same server is trusted by its GTID set alone",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::WitnessPlace,
        name: "witness-without-place",
        instead: "on the same server a witness may lie at any place",
        breaks: Some(ONE_VERSION),
    },
    Planted {
        rule: Rule::WitnessOfTail,
        name: "witness-of-checkpoint-only",
        instead: "only the checkpoint's witness is checked, not the log's tail",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::WitnessOfReads,
        name: "no-witness-of-reads",
        instead: "what pending reads showed is not checked on the same server",
        breaks: Some(CARRIED),
    },
    Planted {
        rule: Rule::CommonPointCompared,
        name: "common-point-by-witness",
        instead: "after a rewritten history an entry counts by its witness alone, wherever that was read",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::CompareWitnesses,
        name: "gtid-reuse-unseen",
        instead: "on another server no GTID is compared with what it stood for",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::CompareEveryGtid,
        name: "ring-witnesses-only",
        instead: "on another server only the witnesses of ring and tail are compared, not every GTID in the log",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::WaitWhileBehind,
        name: "behind-taken-for-short",
        instead: "a replica that still applies what it received is read at once",
        breaks: None,
    },
    Planted {
        rule: Rule::AnchorIsIntersection,
        name: "full-carried-set",
        instead: "the resume set at an epoch rise is all that was carried",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::ReadOutOfOrder,
        name: "errant-without-read-row",
        instead: "a transaction that lies before a carried one is an ordinary event",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::RepairAlways,
        name: "repair-only-if-short",
        instead: "no repair when the new server has all that was carried",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::RepairPending,
        name: "repair-not-pending",
        instead: "the repair is in the leader's memory alone",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::ReadsPending,
        name: "reads-not-noted",
        instead: "what a read may have shown is not written down",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::PendingInherited,
        name: "pending-not-inherited",
        instead: "a new repair does not start at the pending one's start; the ring still knows it",
        breaks: None,
    },
    Planted {
        rule: Rule::RiseKeepsLowWater,
        name: "second-rise-drops-pending",
        instead: "neither the pending entry nor the ring tells a second rise where the first repair began",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::PendingUntilCarried,
        name: "pending-until-acknowledged",
        instead: "a pending read is cleared as soon as it is acknowledged",
        breaks: Some(DOCUMENTS),
    },
    Planted {
        rule: Rule::LowWater,
        name: "ring-by-end-offset",
        instead: "the ring keeps the log's end instead of the low-water offset",
        breaks: Some(DOCUMENTS),
    },
];
