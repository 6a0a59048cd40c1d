//! How fresh documents are (protocol §8, "documents stay fresh during the outage"; guards Rule 2 as users see it).
//!
//! Every committed change of an order is shown by a search of the sink `full` within the span that the scenario
//! expects, from its commit on. A later change of the same order that is shown stands for those before it. Judged only
//! where a scenario expects it, while its faults go on; what the source has lost is owed to nobody.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Violation;

const NAME: &str = "freshness";

/// The sink that holds a document of every order.
pub const SINK: &str = "full";

/// A change that no search has shown yet.
#[derive(Debug)]
struct Open {
    committed: Duration,
    gtid: String,
    /// The order's `updated_at` as documents have it; `None`: the order is gone.
    updated: Option<String>,
}

/// The oracle's memory.
#[derive(Debug)]
pub struct Freshness {
    within: Duration,
    open: BTreeMap<String, VecDeque<Open>>,
}

impl Freshness {
    /// Changes are to be shown within this.
    pub fn new(within: Duration) -> Self {
        Self { within, open: BTreeMap::new() }
    }

    /// An order was changed. `updated` is a text whose order is that of time.
    pub fn changed(&mut self, id: String, gtid: &str, updated: Option<String>, now: Duration) {
        self.open.entry(id).or_default().push_back(Open { committed: now, gtid: gtid.to_owned(), updated });
    }

    /// The source has lost a transaction.
    pub fn lost(&mut self, gtid: &str) {
        self.open.values_mut().for_each(|open| open.retain(|one| one.gtid != gtid));
    }

    /// Nothing could be shown until now: the time of what is still to be shown begins here.
    pub fn begin_anew(&mut self, now: Duration) {
        self.open.values_mut().flatten().for_each(|one| one.committed = one.committed.max(now));
    }

    /// What a search made at `now` shows: `updated_at` by order.
    ///
    /// # Errors
    /// It breaks the rule.
    pub fn shows(&mut self, documents: &BTreeMap<String, String>, now: Duration) -> Result<(), Violation> {
        for (id, open) in &mut self.open {
            let document = documents.get(id);
            let is_shown = |one: &Open| match (&one.updated, document) {
                (None, document) => document.is_none(),
                (Some(updated), Some(document)) => document >= updated,
                (Some(_), None) => false,
            };
            if let Some(newest) = open.iter().rposition(is_shown) {
                open.drain(..=newest);
            }
            if let Some(oldest) = open.front().filter(|oldest| oldest.committed + self.within < now) {
                let age = now.saturating_sub(oldest.committed).as_secs_f64();
                let text = format!("order {id} shows {document:?}, {age:.1} s after {oldest:?}");
                return Err(Violation::new(NAME, text));
            }
        }
        self.open.retain(|_, open| !open.is_empty());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn shown(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(id, updated)| ((*id).to_owned(), (*updated).to_owned())).collect()
    }

    #[test]
    fn a_change_is_shown_in_time_by_itself_or_by_a_later_one() {
        let mut fresh = Freshness::new(at(5));
        fresh.changed("1".into(), "u:1", Some("a".into()), at(1));
        fresh.changed("1".into(), "u:2", Some("b".into()), at(2));
        fresh.shows(&shown(&[]), at(6)).unwrap();
        fresh.shows(&shown(&[("1", "b")]), at(7)).unwrap();
        fresh.shows(&shown(&[("1", "b")]), at(60)).unwrap();
    }

    #[test]
    fn what_is_shown_too_late_or_not_hidden_is_found() {
        let mut fresh = Freshness::new(at(5));
        fresh.changed("1".into(), "u:1", Some("b".into()), at(1));
        assert!(fresh.shows(&shown(&[("1", "a")]), at(7)).is_err());
        let mut fresh = Freshness::new(at(5));
        fresh.changed("1".into(), "u:1", None, at(1));
        assert!(fresh.shows(&shown(&[("1", "a")]), at(7)).is_err());
        fresh.lost("u:1");
        fresh.shows(&shown(&[("1", "a")]), at(8)).unwrap();
    }

    #[test]
    fn time_that_begins_anew_is_not_endless() {
        let mut fresh = Freshness::new(at(5));
        fresh.changed("1".into(), "u:1", Some("b".into()), at(1));
        fresh.begin_anew(at(40));
        fresh.shows(&shown(&[]), at(45)).unwrap();
        assert!(fresh.shows(&shown(&[]), at(46)).is_err());
    }
}
