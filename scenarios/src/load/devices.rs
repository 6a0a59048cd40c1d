//! What the devices have heard: each order's sound must play once, and not never.
//!
//! A device rings for an order that its poll returns for the first time, and acknowledges it. An order that a poll of
//! its merchant no longer returned and a later one returns again would ring again: an older state has come back.
//!
//! A moment is whatever orders them: a clock's where the traffic is real, simulated time where it is not.

use std::collections::{BTreeMap, BTreeSet};

/// What one device was told.
#[derive(Debug, Clone, Copy)]
pub struct Poll<M> {
    /// Whose device.
    pub merchant: u32,
    /// When it was sent.
    pub sent: M,
    /// When it was answered.
    pub answered: M,
    /// The answer held all there are.
    pub whole: bool,
}

#[derive(Debug, Clone, Copy)]
struct Order<M> {
    committed: Option<M>,
    heard: Option<M>,
    /// A poll that was answered then did not return it any more.
    gone: Option<M>,
    again: bool,
}

impl<M> Default for Order<M> {
    fn default() -> Self {
        Self { committed: None, heard: None, gone: None, again: false }
    }
}

/// All orders of a run.
#[derive(Debug)]
pub struct Devices<M> {
    orders: BTreeMap<i64, Order<M>>,
    /// Heard and not gone yet, by merchant.
    ringing: BTreeMap<u32, BTreeSet<i64>>,
}

impl<M> Default for Devices<M> {
    fn default() -> Self {
        Self { orders: BTreeMap::new(), ringing: BTreeMap::new() }
    }
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
#[derive(Debug, PartialEq)]
pub struct Heard<M> {
    /// Orders to acknowledge.
    pub fresh: Vec<i64>,
    /// Of those whose commit is known: that moment.
    pub committed: Vec<M>,
    /// Orders that came back after they had gone.
    pub again: Vec<i64>,
}

impl<M: Copy + Ord> Devices<M> {
    /// An order came. Returns when it was heard, should that have been sooner than the writer was told of its commit.
    pub fn committed(&mut self, order: i64, at: M) -> Option<M> {
        let known = self.orders.entry(order).or_default();
        known.committed = Some(at);
        known.heard
    }

    /// A poll was answered with these orders.
    pub fn polled(&mut self, poll: Poll<M>, orders: &[i64]) -> Heard<M> {
        let mut heard = Heard { fresh: Vec::new(), committed: Vec::new(), again: Vec::new() };
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
                heard.again.push(*order);
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
        let pick = |wrong: fn(&Order<M>) -> bool| {
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

    fn poll(sent: u64, whole: bool) -> Poll<u64> {
        Poll { merchant: 1, sent, answered: sent + 10, whole }
    }

    #[test]
    fn once_is_right_never_and_again_are_not() {
        let mut devices = Devices::default();
        for order in [1, 2, 3] {
            devices.committed(order, 0);
        }
        assert_eq!(devices.polled(poll(100, true), &[1, 2]).fresh, [1, 2]);
        assert_eq!(devices.polled(poll(200, true), &[2]).fresh, [0_i64; 0], "2 is still on its way out");
        assert_eq!(devices.sum(), Played { played: 2, twice: 0, never: 1 });
        devices.polled(poll(300, true), &[1, 2]);
        assert_eq!(devices.sum(), Played { played: 2, twice: 1, never: 1 }, "1 had gone");
        assert_eq!(devices.samples()["never"], [3]);
    }

    #[test]
    fn what_a_full_page_or_an_overtaken_poll_does_not_show_has_not_gone() {
        let mut devices = Devices::default();
        devices.committed(1, 0);
        devices.polled(poll(100, true), &[1]);
        devices.polled(poll(105, true), &[]);
        devices.polled(poll(200, false), &[]);
        devices.polled(poll(300, true), &[1]);
        assert_eq!(devices.sum(), Played { played: 1, twice: 0, never: 0 });
    }

    #[test]
    fn an_order_can_be_heard_before_the_writer_knows() {
        let mut devices = Devices::default();
        assert_eq!(devices.polled(poll(0, true), &[9]), Heard { fresh: vec![9], committed: vec![], again: vec![] });
        assert_eq!(devices.committed(9, 50), Some(10));
    }
}
