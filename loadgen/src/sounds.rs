//! What the devices have heard: each order's sound must play once, and not never.
//!
//! A device rings for an order that its poll returns for the first time, and acknowledges it. An order that a poll of
//! its merchant no longer returned and a later one returns again would ring again: an older state has come back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokio::time::Instant;

/// What one device was told.
#[derive(Debug, Clone, Copy)]
pub struct Poll {
    /// Whose device.
    pub merchant: u32,
    /// When it was sent.
    pub sent: Instant,
    /// When it was answered.
    pub answered: Instant,
    /// The answer held all there are.
    pub whole: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Order {
    committed: Option<Instant>,
    heard: Option<Instant>,
    /// A poll that was answered then did not return it any more.
    gone: Option<Instant>,
    again: bool,
}

/// All orders of a run.
#[derive(Debug, Default)]
pub struct Sounds {
    orders: HashMap<i64, Order>,
    /// Heard and not gone yet, by merchant.
    ringing: HashMap<u32, BTreeSet<i64>>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Played {
    /// Orders that were committed and heard.
    pub played: u64,
    /// Orders that came back after they had gone.
    pub twice: u64,
    /// Orders that were committed and that nobody heard.
    pub never: u64,
}

/// What follows from a poll.
#[derive(Debug, Default, PartialEq)]
pub struct Heard {
    /// Orders to acknowledge.
    pub fresh: Vec<i64>,
    /// Of those whose commit is known: that moment.
    pub committed: Vec<Instant>,
}

impl Sounds {
    /// An order came. Returns when it was heard, should that have been sooner than the writer was told of its commit.
    pub fn committed(&mut self, order: i64, at: Instant) -> Option<Instant> {
        let known = self.orders.entry(order).or_default();
        known.committed = Some(at);
        known.heard
    }

    /// A poll was answered with these orders.
    pub fn polled(&mut self, poll: Poll, orders: &[i64]) -> Heard {
        let mut heard = Heard::default();
        let ringing = self.ringing.entry(poll.merchant).or_default();
        for order in orders {
            let known = self.orders.entry(*order).or_default();
            if known.heard.is_none() {
                known.heard = Some(poll.answered);
                heard.fresh.push(*order);
                heard.committed.extend(known.committed);
                ringing.insert(*order);
            } else if known.gone.is_some_and(|gone| gone < poll.sent) {
                known.again = true;
            }
        }
        if poll.whole {
            let returned: BTreeSet<i64> = orders.iter().copied().collect();
            let mut gone = Vec::new();
            for order in ringing.iter().filter(|order| !returned.contains(order)) {
                // A poll that was under way when it was heard knows nothing of it.
                let known = self.orders.entry(*order).or_default();
                if known.heard.is_some_and(|at| at < poll.sent) {
                    known.gone = Some(poll.answered);
                    gone.push(*order);
                }
            }
            ringing.retain(|order| !gone.contains(order));
        }
        heard
    }

    /// The sum, when all polls are answered. `expected` are the orders that some device should have heard.
    pub fn sum(&self) -> Played {
        let mut played = Played::default();
        for order in self.orders.values().filter(|order| order.committed.is_some()) {
            played.played += u64::from(order.heard.is_some());
            played.never += u64::from(order.heard.is_none());
            played.twice += u64::from(order.again);
        }
        played
    }

    /// The numbers of some orders that nobody heard, and of some that came back.
    pub fn samples(&self) -> BTreeMap<&'static str, Vec<i64>> {
        let pick = |wrong: fn(&Order) -> bool| {
            let mut found: Vec<i64> =
                self.orders.iter().filter(|(_, order)| wrong(order)).map(|(number, _)| *number).collect();
            found.sort_unstable();
            found.truncate(5);
            found
        };
        let never = pick(|order| order.committed.is_some() && order.heard.is_none());
        [("never", never), ("twice", pick(|order| order.again))].into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    fn poll(start: Instant, ms: u64, whole: bool) -> Poll {
        Poll { merchant: 1, sent: at(start, ms), answered: at(start, ms + 10), whole }
    }

    #[test]
    fn once_is_right_never_and_again_are_not() {
        let (start, mut sounds) = (Instant::now(), Sounds::default());
        for order in [1, 2, 3] {
            sounds.committed(order, start);
        }
        assert_eq!(sounds.polled(poll(start, 100, true), &[1, 2]).fresh, [1, 2]);
        assert_eq!(sounds.polled(poll(start, 200, true), &[2]).fresh, [0_i64; 0], "2 is still on its way out");
        assert_eq!(sounds.sum(), Played { played: 2, twice: 0, never: 1 });
        sounds.polled(poll(start, 300, true), &[1, 2]);
        assert_eq!(sounds.sum(), Played { played: 2, twice: 1, never: 1 }, "1 had gone");
        assert_eq!(sounds.samples()["never"], [3]);
    }

    #[test]
    fn what_a_full_page_or_an_overtaken_poll_does_not_show_has_not_gone() {
        let (start, mut sounds) = (Instant::now(), Sounds::default());
        sounds.committed(1, start);
        sounds.polled(poll(start, 100, true), &[1]);
        sounds.polled(poll(start, 105, true), &[]);
        sounds.polled(poll(start, 200, false), &[]);
        sounds.polled(poll(start, 300, true), &[1]);
        assert_eq!(sounds.sum(), Played { played: 1, twice: 0, never: 0 });
    }

    #[test]
    fn an_order_can_be_heard_before_the_writer_knows() {
        let (start, mut sounds) = (Instant::now(), Sounds::default());
        assert_eq!(sounds.polled(poll(start, 0, true), &[9]), Heard { fresh: vec![9], committed: vec![] });
        assert_eq!(sounds.committed(9, at(start, 50)), Some(at(start, 10)));
    }
}
