//! Every committed change is in the log (protocol §9, oracle 2; guards Rule 1, "nothing is lost").
//!
//! At least once, row by row, or it is a dead letter. Counted are rows of the captured tables; judged at rest.

use std::collections::{BTreeMap, BTreeSet};

use super::{LogChange, Violation};

const NAME: &str = "delivery";

/// A transaction with rows of captured tables.
#[derive(Debug)]
struct Committed {
    rows: usize,
    /// Where the source has it: `FILE:START`.
    at: String,
}

/// The oracle's memory.
#[derive(Debug, Default)]
pub struct Delivery {
    committed: BTreeMap<String, Committed>,
    found: BTreeMap<String, BTreeSet<(u16, u64)>>,
    dead: BTreeMap<String, usize>,
    /// What the source lost, by name and place. The name can come again, in the same epoch if nobody had read the lost
    /// one; the place cannot, for a server that comes up begins another file.
    lost: BTreeSet<(String, String)>,
    /// Lost ones that are in the log, and the epoch until which a checkpoint that holds the name means them.
    carried: BTreeMap<String, u16>,
}

impl Delivery {
    /// A transaction was committed with so many rows; `at`: where the source has it, `FILE:START`.
    pub fn committed(&mut self, gtid: &str, rows: usize, at: String) {
        self.committed.insert(gtid.to_owned(), Committed { rows, at });
    }

    /// The source lost a transaction in this epoch. If its name comes again it is another one.
    pub fn lost(&mut self, gtid: &str, epoch: u16) {
        if let Some(committed) = self.committed.remove(gtid) {
            self.lost.insert((gtid.to_owned(), committed.at));
        }
        let found = self.found.remove(gtid).is_some();
        if self.dead.remove(gtid).is_some() || found {
            self.carry(gtid, epoch);
        }
    }

    fn carry(&mut self, gtid: &str, epoch: u16) {
        let until = self.carried.entry(gtid.to_owned()).or_default();
        *until = epoch.max(*until);
    }

    /// Whether a checkpoint of this epoch that holds the transaction means one that the source lost.
    pub fn means_lost(&self, gtid: &str, epoch: u16) -> bool {
        self.carried.get(gtid).is_some_and(|&until| epoch <= until)
    }

    /// A change is in the log.
    pub fn change(&mut self, change: &LogChange) {
        let Some(gtid) = &change.gtid else { return };
        if self.lost.contains(&(gtid.clone(), change.at.clone())) {
            self.carry(gtid, change.epoch);
        } else {
            self.found.entry(gtid.clone()).or_default().insert(change.version());
        }
    }

    /// A row is a dead letter. The same row may come again after a rewind.
    pub fn dead_letter(&mut self, gtid: &str, rows: usize) {
        self.dead.insert(gtid.to_owned(), rows);
    }

    /// How many rows of a transaction are not in the log.
    pub fn missing(&self, gtid: &str) -> usize {
        let wanted = self.committed.get(gtid).map_or(0, |committed| committed.rows);
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
                let (missing, rows) = (self.missing(gtid), self.committed[gtid].rows);
                Err(Violation::new(NAME, format!("{missing} of {rows} rows of {gtid} are not in the log")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::change;
    use super::*;

    fn place(offset: u64) -> String {
        change("1", offset, "").at
    }

    #[test]
    fn a_missing_row_is_found_and_a_repeat_does_not_stand_for_it() {
        let mut delivery = Delivery::default();
        delivery.committed("uuid:10", 2, place(10));
        let row = change("1", 10, "a");
        delivery.change(&row);
        delivery.change(&row);
        assert!(delivery.at_rest().is_err());
        delivery.change(&LogChange { offset: 11, ..row });
        assert!(delivery.at_rest().is_ok());
        delivery.committed("uuid:99", 1, place(99));
        assert!(delivery.at_rest().is_err());
        delivery.dead_letter("uuid:99", 1);
        assert!(delivery.at_rest().is_ok());
    }

    #[test]
    fn a_record_of_a_lost_transaction_does_not_stand_for_the_next_of_its_name() {
        let mut delivery = Delivery::default();
        let row = change("1", 10, "a");
        delivery.committed("uuid:10", 1, place(10));
        delivery.change(&row);
        delivery.lost("uuid:10", 1);
        assert!(delivery.at_rest().is_ok(), "nobody is owed what is lost");
        delivery.committed("uuid:10", 1, "binlog.000002:4".into());
        delivery.change(&row);
        assert!(delivery.at_rest().is_err());
        assert!(delivery.means_lost("uuid:10", 1) && !delivery.means_lost("uuid:10", 2));
        delivery.change(&LogChange { epoch: 2, at: "binlog.000002:4".into(), ..row });
        assert!(delivery.at_rest().is_ok());
    }

    #[test]
    fn what_was_lost_before_anybody_read_it_may_have_its_name_again_in_the_same_epoch() {
        let mut delivery = Delivery::default();
        let row = change("1", 10, "a");
        delivery.committed("uuid:10", 1, place(10));
        delivery.lost("uuid:10", 1);
        delivery.committed("uuid:10", 1, "binlog.000002:4".into());
        assert!(!delivery.means_lost("uuid:10", 1), "a checkpoint that holds the name holds the second");
        assert!(delivery.at_rest().is_err());
        delivery.change(&row);
        assert!(delivery.at_rest().is_err(), "the lost one was on its way to the log");
        assert!(delivery.means_lost("uuid:10", 1));
        delivery.change(&LogChange { at: "binlog.000002:4".into(), ..row });
        assert!(delivery.at_rest().is_ok());
    }
}
