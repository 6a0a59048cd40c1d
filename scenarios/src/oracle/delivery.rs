//! Every committed change is in the log (protocol §9, oracle 2; guards Rule 1, "nothing is lost").
//!
//! At least once, row by row, or it is a dead letter. Counted are rows of the captured tables; judged at rest.

use std::collections::{BTreeMap, BTreeSet};

use super::{LogChange, Violation};

const NAME: &str = "delivery";

/// The oracle's memory.
#[derive(Debug, Default)]
pub struct Delivery {
    committed: BTreeMap<String, usize>,
    found: BTreeMap<String, BTreeSet<(u16, u64)>>,
    dead: BTreeMap<String, usize>,
    /// Transactions that the source lost, and the epoch until which records of their name tell of the lost ones.
    lost: BTreeMap<String, u16>,
}

impl Delivery {
    /// A transaction was committed with so many rows.
    pub fn committed(&mut self, gtid: &str, rows: usize) {
        self.committed.insert(gtid.to_owned(), rows);
    }

    /// The source lost a transaction in this epoch. If its name comes again it is another one, and in a later epoch.
    pub fn lost(&mut self, gtid: &str, epoch: u16) {
        self.committed.remove(gtid);
        self.found.remove(gtid);
        self.lost.insert(gtid.to_owned(), epoch);
    }

    /// Whether a checkpoint of this epoch that holds the transaction means one that the source lost.
    pub fn means_lost(&self, gtid: &str, epoch: u16) -> bool {
        self.lost.get(gtid).is_some_and(|&until| epoch <= until)
    }

    /// A change is in the log.
    pub fn change(&mut self, change: &LogChange) {
        if let Some(gtid) = change.gtid.as_ref().filter(|gtid| !self.means_lost(gtid, change.epoch)) {
            self.found.entry(gtid.clone()).or_default().insert(change.version());
        }
    }

    /// A row is a dead letter. The same row may come again after a rewind.
    pub fn dead_letter(&mut self, gtid: &str, rows: usize) {
        self.dead.insert(gtid.to_owned(), rows);
    }

    /// How many rows of a transaction are not in the log.
    pub fn missing(&self, gtid: &str) -> usize {
        let wanted = self.committed.get(gtid).copied().unwrap_or(0);
        let found = self.found.get(gtid).map_or(0, BTreeSet::len);
        wanted.saturating_sub(found + self.dead.get(gtid).copied().unwrap_or(0))
    }

    /// Rows found in the log.
    pub fn rows(&self) -> usize {
        self.found.values().map(BTreeSet::len).sum()
    }

    /// At rest.
    ///
    /// # Errors
    /// A transaction is not there, or not whole.
    pub fn at_rest(&self) -> Result<(), Violation> {
        match self.committed.keys().find(|gtid| self.missing(gtid) > 0) {
            None => Ok(()),
            Some(gtid) => {
                let text =
                    format!("{} of {} rows of {gtid} are not in the log", self.missing(gtid), self.committed[gtid]);
                Err(Violation::new(NAME, text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::change;
    use super::*;

    #[test]
    fn a_missing_row_is_found_and_a_repeat_does_not_stand_for_it() {
        let mut delivery = Delivery::default();
        delivery.committed("uuid:10", 2);
        let row = change("1", 10, "a");
        delivery.change(&row);
        delivery.change(&row);
        assert!(delivery.at_rest().is_err());
        delivery.change(&LogChange { offset: 11, ..row });
        assert!(delivery.at_rest().is_ok());
        delivery.committed("uuid:99", 1);
        assert!(delivery.at_rest().is_err());
        delivery.dead_letter("uuid:99", 1);
        assert!(delivery.at_rest().is_ok());
    }

    #[test]
    fn a_record_of_a_lost_transaction_does_not_stand_for_the_next_of_its_name() {
        let mut delivery = Delivery::default();
        let row = change("1", 10, "a");
        delivery.committed("uuid:10", 1);
        delivery.change(&row);
        delivery.lost("uuid:10", 1);
        assert!(delivery.at_rest().is_ok(), "nobody is owed what is lost");
        delivery.committed("uuid:10", 1);
        delivery.change(&row);
        assert!(delivery.at_rest().is_err());
        delivery.change(&LogChange { epoch: 2, ..row });
        assert!(delivery.at_rest().is_ok());
    }
}
