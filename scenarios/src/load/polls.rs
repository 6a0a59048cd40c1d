//! Devices that ask again and again: every merchant has a rhythm of its own, with jitter.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use towpath_engine::env::Rng;

use super::unit;

/// The polls of all merchants in the order of their moments: (microseconds from the start, merchant).
#[derive(Debug, Clone)]
pub struct Polls {
    next: BinaryHeap<Reverse<(u64, u32)>>,
    every_us: u64,
    jitter: f64,
    until_us: u64,
    rng: Rng,
}

impl Polls {
    /// Merchants 1 to `merchants`, each every `every_us` plus or minus half of `jitter` (a share of it), until
    /// `until_us`.
    pub fn new(merchants: u32, every_us: u64, jitter: f64, until_us: u64, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let next = (1..=merchants).map(|merchant| Reverse((rng.below(every_us), merchant))).collect();
        Self { next, every_us: every_us.max(1), jitter, until_us, rng }
    }
}

impl Iterator for Polls {
    type Item = (u64, u32);

    fn next(&mut self) -> Option<(u64, u32)> {
        let Reverse((at, merchant)) = self.next.pop()?;
        if at >= self.until_us {
            return None;
        }
        let stray = (unit(&mut self.rng) - 0.5) * self.jitter * self.every_us as f64;
        self.next.push(Reverse((at + (self.every_us as f64 + stray).max(1.0) as u64, merchant)));
        Some((at, merchant))
    }
}
