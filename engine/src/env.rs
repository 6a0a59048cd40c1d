//! What the engine may know of the world beside its ports: the wall clock and a seed.
//!
//! Must not grow into a service locator: no configuration, no handles.

use std::fmt;
use std::sync::Arc;

/// The wall clock and the seed of one process, given by whoever starts the engine.
///
/// Elapsed time is never taken from here: use `tokio::time`. The wall clock is for what users read (`ts` of a
/// record, freshness, audit entries) and never decides order or position.
#[derive(Clone)]
pub struct Env {
    wall: Arc<dyn Fn() -> u64 + Send + Sync>,
    seed: u64,
}

impl Env {
    /// `wall` returns milliseconds since the Unix epoch, UTC; `seed` feeds jitter only.
    pub fn new(wall: impl Fn() -> u64 + Send + Sync + 'static, seed: u64) -> Self {
        Self { wall: Arc::new(wall), seed }
    }

    /// Milliseconds since the Unix epoch, UTC.
    pub fn wall_ms(&self) -> u64 {
        (self.wall)()
    }

    /// A generator of its own for one concern, so that a draw added in one leaves the others as they were.
    pub fn rng(&self, concern: &str) -> Rng {
        let mut state = self.seed ^ 0x9e37_79b9_7f4a_7c15;
        for byte in concern.bytes() {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Rng { state }
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014). For jitter, not secrets.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A generator from a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (which must be positive; 0 gives 0).
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next_u64() % bound }
    }
}

/// Capped exponential backoff with full jitter: the wait before attempt `attempt` (0 = first retry).
///
/// Never zero, so that no loop that uses it is a busy loop.
pub fn backoff(
    attempt: u32,
    base: std::time::Duration,
    cap: std::time::Duration,
    rng: &mut Rng,
) -> std::time::Duration {
    let ceiling = base.saturating_mul(1u32 << attempt.min(16)).min(cap).max(std::time::Duration::from_millis(2));
    let half = ceiling / 2;
    half + std::time::Duration::from_micros(rng.below(half.as_micros() as u64 + 1))
}

#[cfg(test)]
mod tests {
    use super::{Rng, backoff};
    use proptest::prelude::{ProptestConfig, any, prop, prop_assert, proptest};
    use std::time::Duration;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8_000))]

        /// A history of retries: each wait lies between half and the whole of what doubling gives, none is zero or
        /// beyond the cap, and after success the first wait is short again.
        #[test]
        fn waits_double_up_to_the_cap_and_start_again_after_success(
            seed in any::<u64>(),
            base_ms in 2u64..500,
            factor in 1u64..200,
            successes in proptest::collection::vec(any::<prop::sample::Index>(), 1..30),
        ) {
            let (base, cap) = (Duration::from_millis(base_ms), Duration::from_millis(base_ms * factor));
            let mut rng = Rng::new(seed);
            for failures in successes.iter().map(|index| index.index(40) as u32) {
                for attempt in 0..failures {
                    let wait = backoff(attempt, base, cap, &mut rng);
                    let whole = (0..attempt.min(16)).fold(base, |wait, _| wait * 2).min(cap);
                    prop_assert!(wait >= whole / 2 && wait <= whole && wait > Duration::ZERO, "{attempt}: {wait:?}");
                }
            }
        }
    }
}
