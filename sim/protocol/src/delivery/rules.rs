//! The rules that the delivery model can leave out.

use super::{DOCUMENT, NO_REGRESS, OUTCOME};
use crate::explore::Planted;

/// The rules that can be left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    SoftDeletes,
    VersionedDelete,
    PurgeAtVersion,
    PurgeAfterWriters,
    CommitAfterOutcome,
    AwaitOnRevoke,
    FoldByVersion,
    NextLowerOnRefusal,
    GenerationChecked,
    OneBatchADocument,
}

/// Each rule left out, and the claim that falls then.
pub const PLANTED: &[Planted<Rule>] = &[
    Planted {
        rule: Rule::SoftDeletes,
        name: "hard-deletes",
        instead: "a delete leaves nothing but a version that the cluster forgets",
        breaks: Some(NO_REGRESS),
    },
    Planted {
        rule: Rule::VersionedDelete,
        name: "unversioned-delete",
        instead: "deletes are sent without a version",
        breaks: Some(NO_REGRESS),
    },
    Planted {
        rule: Rule::PurgeAtVersion,
        name: "unversioned-purge",
        instead: "a tombstone is purged without its version",
        breaks: Some(DOCUMENT),
    },
    Planted {
        rule: Rule::PurgeAfterWriters,
        name: "purge-while-writers-live",
        instead: "a tombstone is purged while an older write may still be under way",
        breaks: Some(NO_REGRESS),
    },
    Planted {
        rule: Rule::CommitAfterOutcome,
        name: "commit-before-outcome",
        instead: "the offset is committed when the bulk is sent",
        breaks: Some(OUTCOME),
    },
    Planted {
        rule: Rule::AwaitOnRevoke,
        name: "revoke-without-await",
        instead: "on revoke what was fetched is committed and its bulk abandoned",
        breaks: Some(OUTCOME),
    },
    Planted {
        rule: Rule::FoldByVersion,
        name: "fold-by-arrival",
        instead: "of a batch's operations on a document the last one is sent",
        breaks: Some(OUTCOME),
    },
    Planted {
        rule: Rule::NextLowerOnRefusal,
        name: "folded-away-with-refused",
        instead: "when the sent operation is refused, those folded into it are not sent",
        breaks: Some(OUTCOME),
    },
    Planted {
        rule: Rule::GenerationChecked,
        name: "commit-of-an-old-owner",
        instead: "a commit of an adapter that lost the partition is accepted",
        breaks: None,
    },
    Planted {
        rule: Rule::OneBatchADocument,
        name: "two-batches-on-a-document",
        instead: "two batches that share a document are in flight at once",
        breaks: None,
    },
];
