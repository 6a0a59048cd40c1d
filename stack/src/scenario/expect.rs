//! What a scenario expects beyond equal documents, beside what the run has shown.

use towpath_scenarios::scenario::Scenario;

use super::Stage;
use super::cast::Cast;
use super::outcome::Expectation;
use crate::harness::fleet::Role;

/// What was measured, beside what the stage has seen.
pub(super) struct Measured {
    /// Row changes written.
    pub changes: u64,
    /// See [`Outcome::catch_up_ms`](super::outcome::Outcome).
    pub catch_up_ms: Option<u64>,
    /// The longest that an order took to be found which was committed while faults went on, milliseconds.
    pub slowest_ms: Option<u64>,
    /// The cause that deployers stopped for.
    pub stopped: Option<String>,
}

/// Each expectation with what was measured.
pub(super) async fn expectations(
    scenario: &Scenario,
    stage: &Stage,
    cast: &Cast,
    measured: &Measured,
) -> Vec<Expectation> {
    let Measured { changes, catch_up_ms, slowest_ms, stopped } = measured;
    let expect = &scenario.expect;
    let mut found = Vec::new();
    let mut tell = |name, expected: String, measured: String, met, of_clocks| {
        found.push(Expectation { name, expected, measured, met, of_clocks });
    };
    if let Some(least) = expect.takeovers_at_least {
        let seen = stage.watch.takeovers.len();
        tell("takeovers_at_least", least.to_string(), seen.to_string(), seen >= least as usize, false);
    }
    if let Some(least) = expect.epochs_at_least {
        let seen = stage.watch.epochs();
        tell("epochs_at_least", least.to_string(), seen.to_string(), seen >= u64::from(least), false);
    }
    if let Some(least) = expect.changes_at_least {
        tell("changes_at_least", least.to_string(), changes.to_string(), *changes >= u64::from(least), true);
    }
    if let Some(count) = expect.dead_letters {
        let mut seen = 0.0;
        for name in cast.fleet.names(Role::Deployer) {
            if let Ok(process) = cast.fleet.process(&name) {
                seen += process.metric("towpath_rows_too_large_total").await.unwrap_or(0.0);
            }
        }
        // A takeover may send a row's dead letter twice.
        tell("dead_letters", count.to_string(), seen.to_string(), seen >= f64::from(count), false);
    }
    if let Some(most) = expect.in_flight_at_most {
        let seen = stage.in_flight;
        tell("in_flight_at_most", most.to_string(), seen.to_string(), seen <= most as f64, false);
    }
    if let Some(cause) = expect.stops_with {
        let measured = stopped.clone().unwrap_or("no stop".to_owned());
        tell("stops_with", cause.name().to_owned(), measured, stopped.is_some(), false);
    }
    if let Some(most) = expect.leaderless_at_most {
        let seen = stage.watch.leaderless_at_most;
        tell(
            "leaderless_at_most",
            most.to_string(),
            format!("{:.1}s", seen.as_secs_f64()),
            seen <= most.duration(),
            true,
        );
    }
    if let Some(least) = expect.fallbacks_at_least {
        let seen = stage.watch.fallbacks();
        tell("fallbacks_at_least", least.to_string(), seen.to_string(), seen >= least as usize, false);
    }
    let times =
        [("caught_up_within", expect.caught_up_within, catch_up_ms), ("fresh_within", expect.fresh_within, slowest_ms)];
    for (name, most, measured) in times {
        let Some(most) = most else { continue };
        let met = measured.is_some_and(|ms| ms <= most.millis());
        let measured = measured.map_or("nothing to measure".to_owned(), |ms| format!("{:.1}s", ms as f64 / 1000.0));
        tell(name, most.to_string(), measured, met, true);
    }
    found
}
