//! When documents are written directly, and when no longer: a state machine without I/O.
//!
//! | state | when | next |
//! |---|---|---|
//! | normal | told `on`; or told nothing, automatic, and Kafka silent for `after` | direct |
//! | normal | told nothing, automatic, and a sink without adapter for `unindexed_after` | direct |
//! | direct | told `off`; or told nothing, and Kafka answers and all sinks have adapters | catching-up |
//! | direct | told nothing, and nothing is automatic | catching-up |
//! | catching-up | Kafka's path has passed what was written directly | normal |
//! | catching-up | as from normal | direct |
//!
//! A new leader begins in the normal state; where the state names runs that Kafka's path has not passed, catching up.
//!
//! Must not know how documents are written, nor ask a service.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::FallbackConfig;

/// Which way changes take to the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Through Kafka and the adapters.
    #[default]
    Normal,
    /// Straight to the documents; Kafka gets nothing.
    Direct,
    /// Through Kafka again, which has not yet passed what was written directly.
    CatchingUp,
}

/// What a person has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// Nothing: the configuration decides.
    #[default]
    Auto,
    /// Write directly, whatever Kafka does.
    On,
    /// Never write directly.
    Off,
}

/// What is known at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// What was asked for.
    pub wish: Wish,
    /// For how long Kafka has acknowledged nothing although there is something, or has not let itself be opened.
    pub silent: Option<Duration>,
    /// For how long a sink has had no adapter.
    pub unindexed: Option<Duration>,
    /// Kafka has just answered; only asked while writing directly.
    pub answers: bool,
    /// Kafka's path has not passed what was written directly.
    pub behind: bool,
}

/// The state machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    phase: Phase,
    config: FallbackConfig,
}

impl Switch {
    /// Begins in the normal state.
    pub fn new(config: FallbackConfig) -> Self {
        Self { phase: Phase::Normal, config }
    }

    /// The state as it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// After how long a silence of Kafka's documents are written directly without being told; `None`: never.
    pub fn patience(&self) -> Option<Duration> {
        self.config.automatic.then_some(self.config.after)
    }

    /// Takes up what a predecessor left: documents were written directly, and Kafka's path has not passed that.
    pub fn catch_up(&mut self) {
        if self.phase == Phase::Normal {
            self.phase = Phase::CatchingUp;
        }
    }

    /// Takes in what is known now; the state it leads to.
    pub fn on(&mut self, seen: &Seen) -> Phase {
        let FallbackConfig { automatic, after, unindexed_after } = self.config;
        let silent = seen.silent.is_some_and(|silent| silent >= after);
        let unindexed = seen.unindexed.zip(unindexed_after).is_some_and(|(gone, after)| gone >= after);
        let due = match seen.wish {
            Wish::On => true,
            Wish::Off => false,
            Wish::Auto => automatic && (silent || unindexed),
        };
        let over = match seen.wish {
            Wish::On => false,
            Wish::Off => true,
            Wish::Auto => !automatic || seen.answers && (seen.unindexed.is_none() || unindexed_after.is_none()),
        };
        self.phase = match self.phase {
            Phase::Normal | Phase::CatchingUp if due => Phase::Direct,
            Phase::Direct if over => Phase::CatchingUp,
            Phase::CatchingUp if !seen.behind => Phase::Normal,
            phase => phase,
        };
        self.phase
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AFTER: Duration = Duration::from_secs(10);

    fn seen() -> impl Strategy<Value = Seen> {
        let wish = prop_oneof![3 => Just(Wish::Auto), 1 => Just(Wish::On), 1 => Just(Wish::Off)];
        let span = || proptest::option::of((0u64..20).prop_map(Duration::from_secs));
        (wish, span(), span(), any::<bool>(), any::<bool>())
            .prop_map(|(wish, silent, unindexed, answers, behind)| Seen { wish, silent, unindexed, answers, behind })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// Whatever happened before: who asks is heard at once, nobody goes direct for nothing, nobody comes back to
        /// a Kafka that does not answer or that nobody reads, and when all is well it is normal again after two looks.
        #[test]
        fn every_history_keeps_the_table(
            automatic in any::<bool>(),
            watches in any::<bool>(),
            history in proptest::collection::vec(seen(), 1..40),
        ) {
            let unindexed_after = watches.then_some(AFTER);
            let mut switch = Switch::new(FallbackConfig { automatic, after: AFTER, unindexed_after });
            for seen in history {
                let before = switch.phase();
                let after = switch.on(&seen);
                match seen.wish {
                    Wish::On => prop_assert_eq!(after, Phase::Direct),
                    Wish::Off => prop_assert_ne!(after, Phase::Direct),
                    Wish::Auto => {
                        let alone = watches && seen.unindexed.is_some_and(|gone| gone >= AFTER);
                        let long = alone || seen.silent.is_some_and(|silent| silent >= AFTER);
                        let entered = before != Phase::Direct && after == Phase::Direct;
                        prop_assert_eq!(entered, before != Phase::Direct && automatic && long);
                        if before == Phase::Direct && automatic && (!seen.answers || alone) {
                            prop_assert_eq!(after, Phase::Direct);
                        }
                    }
                }
                if after == Phase::Normal && before != Phase::Normal {
                    prop_assert_eq!(before, Phase::CatchingUp);
                    prop_assert!(!seen.behind, "normal before Kafka's path has caught up");
                }
            }
            let well = Seen { answers: true, ..Seen::default() };
            switch.on(&well);
            prop_assert_eq!(switch.on(&well), Phase::Normal);
        }
    }
}
