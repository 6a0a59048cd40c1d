//! One event, one version (protocol §9, oracle 5; guards Rule 2).
//!
//! Over all writers: within an epoch one version is one row of one transaction, and one row of one transaction has
//! one version. Rows that were read instead of streamed have no transaction and are left out. A copy in the partition
//! that a row left counts as the row itself.

use std::collections::BTreeMap;

use super::{LogChange, Violation};

const NAME: &str = "identity";

/// The oracle's memory.
#[derive(Debug, Default)]
pub struct Identity {
    by_version: BTreeMap<(u16, u64), (String, String)>,
    by_row: BTreeMap<(u16, String, String), u64>,
}

impl Identity {
    /// Whether the log has a streamed row of this version.
    pub fn is_streamed(&self, epoch: u16, offset: u64) -> bool {
        self.by_version.contains_key(&(epoch, offset))
    }

    /// A change in the log, in whatever order.
    ///
    /// # Errors
    /// It breaks the rule.
    pub fn change(&mut self, change: &LogChange) -> Result<(), Violation> {
        let Some(gtid) = &change.gtid else { return Ok(()) };
        let row = format!("{} {} {}", change.table, change.key, change.content);
        let one = (gtid.clone(), row.clone());
        let known = self.by_version.entry(change.version()).or_insert_with(|| one.clone());
        if *known != one {
            let text = format!("version {:?} is {known:?} and {one:?}", change.version());
            return Err(Violation::new(NAME, text));
        }
        let offset = *self.by_row.entry((change.epoch, gtid.clone(), row)).or_insert(change.offset);
        if offset != change.offset {
            let text = format!("transaction {gtid} has a row at offsets {offset} and {}", change.offset);
            return Err(Violation::new(NAME, text));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::change;
    use super::*;

    #[test]
    fn one_version_has_one_content_and_one_content_one_version() {
        let mut identity = Identity::default();
        let first = change("1", 10, "a");
        identity.change(&first).unwrap();
        identity.change(&LogChange { term: 2, place: 99, ..first.clone() }).unwrap();
        assert!(identity.change(&LogChange { content: "b".into(), ..first.clone() }).is_err());
        assert!(identity.change(&LogChange { offset: 11, ..first.clone() }).is_err());
        identity.change(&LogChange { epoch: 2, offset: 11, ..first }).unwrap();
    }
}
