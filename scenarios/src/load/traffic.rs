//! All that a profile stands for, in one line of moments: writes, polls and order-list queries.

use std::iter::Peekable;
use towpath_engine::env::Rng;

use super::{Arrivals, OrderPlan, Polls, Profile, Write, Zipf};

/// What is meant to happen.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A transaction.
    Write(Box<Write>),
    /// A device asks for orders whose sound must play.
    Poll {
        /// Of this merchant.
        merchant: u32,
    },
    /// Somebody looks at a list of orders.
    List {
        /// Of this merchant.
        merchant: u32,
    },
}

/// Something with its moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Microseconds from the start.
    pub at_us: u64,
    /// What.
    pub what: What,
}

/// The traffic of a profile, in the order of its moments. Same profile and seed, same traffic.
#[derive(Debug, Clone)]
pub struct Traffic {
    writes: Option<Peekable<OrderPlan>>,
    polls: Option<Peekable<Polls>>,
    lists: Option<Peekable<Arrivals>>,
    listed: Zipf,
    rng: Rng,
}

impl Traffic {
    /// Orders are numbered from `first_order`. Writes and lists end with the profile's length, polls
    /// [`Profile::tail_us`] later, so that the last orders can still be heard.
    pub fn new(profile: &Profile, seed: u64, first_order: i64) -> Self {
        let mut seeds = Rng::new(seed);
        let mut seed = || seeds.next_u64();
        let length = profile.length.millis() * 1000;
        let merchants = profile.merchants();
        let zipf = Zipf::new(merchants, profile.merchants.zipf);
        let (arrival_seed, order_seed, poll_seed, list_seed, draw_seed) = (seed(), seed(), seed(), seed(), seed());
        let writes = profile.orders.as_ref().map(|orders| {
            let arrivals = Arrivals::new(orders.rate.clone(), profile.scale, length, orders.poisson, arrival_seed);
            let pace = (orders.accept_after.millis() * 1000, orders.step_every.millis() * 1000);
            OrderPlan::new(arrivals, zipf.clone(), pace, first_order, length, order_seed).peekable()
        });
        let polls = profile.sounds.as_ref().map(|sounds| {
            let until = length + profile.tail_us();
            Polls::new(merchants, sounds.every.millis() * 1000, sounds.jitter, until, poll_seed).peekable()
        });
        let lists = profile
            .lists
            .as_ref()
            .map(|lists| Arrivals::new(lists.rate.clone(), profile.scale, length, lists.poisson, list_seed).peekable());
        Self { writes, polls, lists, listed: zipf, rng: Rng::new(draw_seed) }
    }
}

impl Iterator for Traffic {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        let write = self.writes.as_mut().and_then(|plan| plan.peek()).map_or(u64::MAX, |write| write.at_us);
        let poll = self.polls.as_mut().and_then(|plan| plan.peek()).map_or(u64::MAX, |(at, _)| *at);
        let list = self.lists.as_mut().and_then(|plan| plan.peek()).copied().unwrap_or(u64::MAX);
        if write <= poll.min(list) {
            let write = self.writes.as_mut()?.next()?;
            Some(Planned { at_us: write.at_us, what: What::Write(Box::new(write)) })
        } else if poll <= list {
            let (at_us, merchant) = self.polls.as_mut()?.next()?;
            Some(Planned { at_us, what: What::Poll { merchant } })
        } else {
            let at_us = self.lists.as_mut()?.next()?;
            Some(Planned { at_us, what: What::List { merchant: self.listed.draw(&mut self.rng) } })
        }
    }
}
