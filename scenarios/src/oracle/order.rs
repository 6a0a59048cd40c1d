//! Order in the log (protocol §9, oracle 3; guards Rule 2, "the newest state wins").
//!
//! A record below its key's highest version equals, but for term and time, a record already there: a repeat, not news.
//! Under transactions no record of a lower term follows one of a higher. Under versions, records of a lower term than
//! one before are left out first, as the adapters leave them out; and there a failed delivery leaves a gap that the
//! rewind fills below what came behind it: that is allowed if the key's highest version comes again after it, so that
//! who goes by order alone is left with the newest too. Judged per partition: a row whose key changed is in
//! two. Rows that were read (a repair) are not judged by their place: at their boundary only versions count.

use std::collections::BTreeMap;

use super::{LogChange, Violation};

const NAME: &str = "order";

/// The oracle's memory.
#[derive(Debug)]
pub struct Order {
    transactions: bool,
    terms: BTreeMap<u32, u64>,
    highest: BTreeMap<(u32, String, String), (u16, u64)>,
    seen: BTreeMap<(u32, u16, u64), String>,
    /// By partition and key, the version that has to come again after news below it.
    owed: BTreeMap<(u32, String, String), (u16, u64)>,
}

impl Order {
    /// `transactions`: how the log is fenced.
    pub fn new(transactions: bool) -> Self {
        Self {
            transactions,
            terms: BTreeMap::new(),
            highest: BTreeMap::new(),
            seen: BTreeMap::new(),
            owed: BTreeMap::new(),
        }
    }

    /// A fence or other control record: it raises its partition's term.
    pub fn control(&mut self, partition: u32, term: u64) {
        let highest = self.terms.entry(partition).or_default();
        *highest = term.max(*highest);
    }

    /// The next record of its partition; whether adapters look at it.
    ///
    /// # Errors
    /// It breaks the rule.
    pub fn change(&mut self, change: &LogChange) -> Result<bool, Violation> {
        let term = self.terms.entry(change.partition).or_default();
        if change.term < *term {
            if self.transactions {
                let text = format!("a record of term {} follows one of term {term}: {change:?}", change.term);
                return Err(Violation::new(NAME, text));
            }
            return Ok(false);
        }
        *term = change.term;
        let key = (change.partition, change.table.clone(), change.key.clone());
        if self.owed.get(&key).is_some_and(|owed| change.version() >= *owed) {
            self.owed.remove(&key);
        }
        let highest = self.highest.entry(key.clone()).or_insert(change.version());
        let at = (change.partition, change.epoch, change.offset);
        // Rows that were read instead of streamed come in no order: their former images carry the boundary's version.
        let streamed = change.gtid.is_some();
        let known = self.seen.get(&at);
        if streamed && change.version() < *highest && known != Some(&change.content) {
            if self.transactions || known.is_some() {
                let text = format!("news below the key's highest version {highest:?}: {change:?}");
                return Err(Violation::new(NAME, text));
            }
            self.owed.insert(key, *highest);
        }
        *highest = change.version().max(*highest);
        self.seen.insert(at, change.content.clone());
        Ok(true)
    }

    /// At rest.
    ///
    /// # Errors
    /// A gap was filled, and what lay above it did not come again.
    pub fn at_rest(&self) -> Result<(), Violation> {
        match self.owed.first_key_value() {
            None => Ok(()),
            Some((key, version)) => {
                let text = format!("news below version {version:?} of {key:?}, which did not come again");
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
    fn a_repeat_is_allowed_and_late_news_is_not() {
        let mut order = Order::new(true);
        for offset in [10, 20, 10, 20] {
            order.change(&change("1", offset, &offset.to_string())).unwrap();
        }
        assert!(order.change(&change("1", 15, "15")).is_err());
        assert!(order.change(&change("2", 15, "15")).is_ok(), "another row");
        assert!(order.change(&change("1", 10, "other")).is_err(), "a repeat is equal");
        let read = LogChange { gtid: None, ..change("1", 5, "former") };
        assert!(order.change(&read).is_ok(), "a row that was read is judged by its version alone");
    }

    #[test]
    fn a_gap_is_filled_under_versions_if_all_above_it_comes_again() {
        let mut order = Order::new(false);
        for offset in [10, 30, 20] {
            order.change(&change("1", offset, &offset.to_string())).unwrap();
        }
        assert!(order.at_rest().is_err(), "the last of the key's records is not its newest");
        assert!(order.change(&change("1", 10, "other")).is_err(), "a repeat is equal");
        order.change(&change("1", 30, "30")).unwrap();
        assert!(order.at_rest().is_ok());
    }

    #[test]
    fn a_lower_term_is_a_violation_or_left_out() {
        let late = change("1", 5, "x");
        let mut strict = Order::new(true);
        strict.control(0, 2);
        assert!(strict.change(&late).is_err());
        let mut lenient = Order::new(false);
        lenient.control(0, 2);
        assert_eq!(lenient.change(&late), Ok(false));
    }
}
