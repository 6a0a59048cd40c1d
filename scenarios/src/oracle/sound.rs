//! The sound plays in time, and once (what the mission promises to merchants; guards Rule 2 as their devices hear it).
//!
//! Every order is returned by a poll of its merchant's device within the span that the scenario expects, from its
//! commit on, unless the merchant takes it or it is called off before. And no order comes back to a device's polls
//! after it had gone from them: its sound would play twice. Judged only where a profile's devices poll, while faults go
//! on.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Violation;
use crate::load::{Devices, Heard, Poll};

const NAME: &str = "sound";

/// The oracle's memory.
#[derive(Debug)]
pub struct Sound {
    within: Option<Duration>,
    devices: Devices<Duration>,
    /// Orders that still ring at the source and that nobody has heard, with their commit.
    open: BTreeMap<i64, Duration>,
    heard: usize,
}

impl Sound {
    /// Orders are to be heard within this; `None`: whenever.
    pub fn new(within: Option<Duration>) -> Self {
        Self { within, devices: Devices::default(), open: BTreeMap::new(), heard: 0 }
    }

    /// Faults end: devices may hear of orders whenever.
    pub fn calm(&mut self) {
        self.within = None;
    }

    /// Orders that were heard.
    pub fn heard(&self) -> usize {
        self.heard
    }

    /// An order came and rings.
    pub fn rings(&mut self, order: i64, now: Duration) {
        self.devices.committed(order, now);
        self.open.insert(order, now);
    }

    /// It rings no more at the source.
    pub fn is_silent(&mut self, order: i64) {
        self.open.remove(&order);
    }

    /// A poll returned these orders. Gives those that the device now acknowledges.
    ///
    /// # Errors
    /// It breaks the rule.
    pub fn polled(&mut self, poll: Poll<Duration>, orders: &[i64]) -> Result<Vec<i64>, Violation> {
        let Heard { fresh, again, .. } = self.devices.polled(poll, orders);
        if let Some(order) = again.first() {
            return Err(Violation::new(
                NAME,
                format!("order {order} came back to merchant {}'s device", poll.merchant),
            ));
        }
        self.heard += fresh.len();
        fresh.iter().for_each(|order| self.is_silent(*order));
        Ok(fresh)
    }

    /// Time passes.
    ///
    /// # Errors
    /// It breaks the rule.
    pub fn at(&self, now: Duration) -> Result<(), Violation> {
        let late = |came: Duration| self.within.is_some_and(|within| came + within < now);
        match self.open.iter().find(|(_, came)| late(**came)) {
            None => Ok(()),
            Some((order, came)) => {
                let age = now.saturating_sub(*came).as_secs_f64();
                Err(Violation::new(NAME, format!("nobody has heard order {order}, {age:.1} s after its commit")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn poll(seconds: u64) -> Poll<Duration> {
        Poll { merchant: 1, sent: at(seconds), answered: at(seconds) + Duration::from_millis(10), whole: true }
    }

    #[test]
    fn who_is_heard_or_taken_in_time_is_no_violation() {
        let mut sound = Sound::new(Some(at(5)));
        (1..=2).for_each(|order| sound.rings(order, at(1)));
        assert_eq!(sound.polled(poll(3), &[1]), Ok(vec![1]));
        assert_eq!(sound.polled(poll(4), &[1]), Ok(vec![]), "it is on its way out");
        sound.is_silent(2);
        assert_eq!((sound.at(at(60)), sound.heard()), (Ok(()), 1));
    }

    #[test]
    fn late_is_a_violation_and_so_is_twice() {
        let mut sound = Sound::new(Some(at(5)));
        sound.rings(1, at(1));
        assert!(sound.at(at(6)).is_ok() && sound.at(at(7)).is_err());
        sound.polled(poll(8), &[1]).unwrap();
        sound.polled(poll(9), &[]).unwrap();
        assert!(sound.polled(poll(10), &[1]).is_err());
    }
}
