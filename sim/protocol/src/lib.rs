//! Exhaustive models of the delivery protocol: every interleaving of a few transactions, crashes, failovers and
//! zombies, so that a rule is tried here before it is built.
//!
//! Each model is a small state machine whose head maps its variables to the paragraphs of docs/protocol.md. It
//! checks claims, and it can leave out one rule at a time: then a claim must fall, with a shortest trace. Nothing
//! here uses the engine; that the engine keeps the rules is the simulation's matter.

mod delivery;
pub mod explore;
mod fallback;
mod few;
mod history;
mod leadership;
pub mod report;

use report::Entry;

/// Every model, in the order of the document.
pub fn models() -> Vec<Entry> {
    vec![
        Entry::of::<leadership::Leadership>(),
        Entry::of::<history::History>(),
        Entry::of::<fallback::Fallback>(),
        Entry::of::<delivery::Delivery>(),
    ]
}
