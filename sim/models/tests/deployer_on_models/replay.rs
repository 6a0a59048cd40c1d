//! A range of what was carried, once more: straight to a sink, or into the log (protocol §2).

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use towpath_engine::adapter::AdapterConfig;
use towpath_engine::cause::{Cause, Stop};
use towpath_engine::deployer::fallback::DirectSinks;
use towpath_engine::deployer::replay::{Progress, Since, Target, start};
use towpath_engine::deployer::{Deployer, Fencing};
use towpath_engine::gtid::GtidSet;
use towpath_engine::metrics::Registry;
use towpath_engine::position::Position;

use super::delivery::BOTH;
use super::harness::*;
use super::sinks::*;

/// Rows that are carried and indexed, then nobody indexes any more; some are written in the second half, from the given
/// time on.
async fn carried(fencing: Fencing) -> (Sinks, Running, GtidSet, u64) {
    let mut sinks = Sinks::new();
    let running = sinks.start(1, fencing, false);
    let indexing = sinks.index(fencing);
    for id in 0..10 {
        sinks.world.insert(id);
    }
    sinks.world.until_checkpointed().await;
    let half = sinks.world.mysql.executed();
    sleep(Duration::from_secs(5)).await;
    let since_ms = sinks.world.env.wall_ms();
    sleep(Duration::from_secs(5)).await;
    for id in 10..16 {
        sinks.world.insert(id);
    }
    sinks.world.update(3);
    sinks.world.delete(4);
    sinks.world.until_checkpointed().await;
    sinks.until_fresh(Duration::from_secs(60), "before").await;
    indexing.stop().await;
    (sinks, running, half.to_string().parse().unwrap(), since_ms)
}

impl Sinks {
    async fn replay(&self, since: &Since, target: Target) -> Result<Progress, Stop> {
        let config = self.world.config(9, Fencing::Transactions);
        let (replay, _handle) = Deployer::new(config, self.world.ports(), self.world.env.clone(), Registry::default());
        replay.replay(&self.world.state().unwrap(), since, target, |_| {}).await
    }

    fn directly(&self, config: AdapterConfig) -> Target {
        Target::Sinks(DirectSinks { config, indexes: self.indexes() })
    }

    fn as_configured(&self) -> Target {
        self.directly(Self::adapter_config(Fencing::Transactions))
    }
}

fn everything() -> Since {
    Since::Gtids(GtidSet::default())
}

#[tokio::test(start_paused = true)]
async fn an_index_that_was_lost_is_written_again() {
    for fencing in BOTH {
        let (sinks, running, ..) = carried(fencing).await;
        sinks.es.delete_index("hot-v1");
        let done = sinks.replay(&everything(), sinks.as_configured()).await.unwrap();
        assert_eq!(sinks.documents(), sinks.rows());
        assert_eq!((done.transactions, done.rows, done.offset), (18, 18, done.until));
        running.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_of_the_range_is_left_alone() {
    let (sinks, running, half, since_ms) = carried(Fencing::Transactions).await;
    let later: BTreeMap<i64, i64> = sinks.rows().into_iter().filter(|(id, _)| *id >= 10 || *id == 3).collect();
    for since in [Since::Gtids(half), Since::TimeMs(since_ms)] {
        sinks.es.delete_index("hot-v1");
        let done = sinks.replay(&since, sinks.as_configured()).await.unwrap();
        assert_eq!(sinks.documents(), later, "{since:?}");
        assert_eq!(done.transactions, 8, "{since:?}");
    }
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn newer_documents_stay_and_a_changed_condition_takes_effect() {
    let (mut sinks, running, ..) = carried(Fencing::Transactions).await;
    let indexing = sinks.index(Fencing::Transactions);
    sinks.world.update(2);
    sinks.until_fresh(Duration::from_secs(60), "one more change").await;
    indexing.stop().await;
    sinks.replay(&everything(), sinks.as_configured()).await.unwrap();
    assert_eq!(sinks.documents(), sinks.rows());
    let mut config = Sinks::adapter_config(Fencing::Transactions);
    config.sinks[0].when = Some("row.id < 8".to_owned());
    sinks.replay(&everything(), sinks.directly(config)).await.unwrap();
    let few: BTreeMap<i64, i64> = sinks.rows().into_iter().filter(|(id, _)| *id < 8).collect();
    assert_eq!(sinks.documents(), few);
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn the_log_gets_the_same_versions_again_and_the_leader_goes_on() {
    for fencing in BOTH {
        let (mut sinks, running, half, _) = carried(fencing).await;
        let before = sinks.world.changes();
        sinks.replay(&Since::Gtids(half), Target::Log).await.unwrap();
        let again = sinks.world.changes();
        assert_eq!(again.len(), before.len() + 8);
        // No version with another content, no row with another last word.
        sinks.world.judge(fencing);
        let indexing = sinks.index(fencing);
        sinks.world.update(7);
        sinks.until_fresh(Duration::from_secs(60), "after the replay").await;
        sinks.world.until_checkpointed().await;
        running.drain().await;
        // A successor reads the tail with the replay in it.
        let successor = sinks.start(2, fencing, false);
        sinks.world.update(8);
        sinks.until_fresh(Duration::from_secs(120), "under a successor").await;
        assert_eq!(sinks.world.state().unwrap().epoch.number, 1);
        successor.drain().await;
        indexing.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_range_that_begins_before_what_is_kept_is_refused() {
    let (sinks, running, half, since_ms) = carried(Fencing::Transactions).await;
    let mut state = sinks.world.state().unwrap();
    assert_eq!(start(&state, &everything()).unwrap(), (state.epoch.anchor.resume.clone(), 0));
    state.epoch.number = 2;
    state.epoch.anchor.resume = Position::Gtid(half.clone());
    state.epoch.began_ms = since_ms;
    for since in [everything(), Since::TimeMs(since_ms - 1)] {
        assert_stop(&start(&state, &since).unwrap_err(), Cause::Config, "towpath position set");
    }
    for since in [Since::Gtids(half.clone()), Since::TimeMs(since_ms)] {
        assert_eq!(start(&state, &since).unwrap(), (Position::Gtid(half.clone()), 0));
    }
    // Another server's bytes are other offsets.
    let mut state = sinks.world.state().unwrap();
    state.epoch.server = "11111111-2222-3333-4444-555555555555".to_owned();
    sinks.world.put_state(&state);
    let stop = sinks.replay(&everything(), sinks.as_configured()).await.unwrap_err();
    assert_stop(&stop, Cause::SourceUnavailable, "a leader has to go over to it first");
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_stays_away_ends_it_and_one_that_comes_back_does_not() {
    let (sinks, running, ..) = carried(Fencing::Transactions).await;
    let (patience, all) = (Duration::from_secs(120), everything());
    sinks.es.stop();
    let replay = timeout(patience, sinks.replay(&all, sinks.as_configured()));
    let stop = replay.await.expect("it waits without a word").unwrap_err();
    assert_eq!(stop.cause, Cause::SinkUnavailable, "{stop}");
    let back = async {
        sleep(Duration::from_secs(3)).await;
        sinks.es.restart();
    };
    let replay = timeout(patience, sinks.replay(&all, sinks.as_configured()));
    let (done, ()) = tokio::join!(replay, back);
    assert_eq!(done.unwrap().unwrap().rows, 18);
    running.drain().await;
}
