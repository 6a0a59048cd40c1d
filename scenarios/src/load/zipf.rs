//! Few merchants have most of the orders: ranks drawn with Zipf's law.

use towpath_engine::env::Rng;

use super::unit;

/// The ranks 1 to `count`; rank k comes with a weight of k^-exponent.
#[derive(Debug, Clone)]
pub struct Zipf {
    /// Sums of the weights up to each rank.
    sums: Vec<f64>,
}

impl Zipf {
    /// So many ranks (at least one); an exponent of 0 makes all equal.
    pub fn new(count: u32, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weight = |rank: u32| f64::from(rank).powf(-exponent);
        let sums = (1..=count.max(1)).map(|rank| {
            sum += weight(rank);
            sum
        });
        Self { sums: sums.collect() }
    }

    /// A rank, from 1.
    pub fn draw(&self, rng: &mut Rng) -> u32 {
        let total = self.sums.last().copied().unwrap_or(1.0);
        let wanted = unit(rng) * total;
        let place = self.sums.partition_point(|sum| *sum <= wanted);
        place.min(self.sums.len() - 1) as u32 + 1
    }
}
