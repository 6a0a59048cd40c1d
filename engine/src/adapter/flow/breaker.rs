//! Stops a sink when dead letters come in numbers: then the mapping is at fault, not the documents.

use std::collections::VecDeque;
use tokio::time::Instant;

use super::super::config::BreakerConfig;

/// Dead letters within a sliding window.
#[derive(Debug)]
pub struct Breaker {
    config: BreakerConfig,
    times: VecDeque<Instant>,
}

impl Breaker {
    /// A breaker that has seen none.
    pub fn new(config: BreakerConfig) -> Self {
        Self { config, times: VecDeque::new() }
    }

    /// Counts one. `true`: it is one too many, and must not be produced.
    pub fn count(&mut self, now: Instant) -> bool {
        while self.times.front().is_some_and(|&at| now.duration_since(at) > self.config.window) {
            self.times.pop_front();
        }
        if self.times.len() >= self.config.dead_letters as usize {
            return true;
        }
        self.times.push_back(now);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn trips_within_the_window_only() {
        let mut breaker = Breaker::new(BreakerConfig { dead_letters: 2, window: Duration::from_secs(60) });
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!breaker.count(at(0)) && !breaker.count(at(50)));
        assert!(breaker.count(at(60)));
        assert!(!breaker.count(at(61)), "the first has left the window");
        assert!(breaker.count(at(62)));
    }
}
