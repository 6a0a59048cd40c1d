//! Who leads, and what a deposed leader can still do (protocol §3).

use super::delivery::BOTH;
use super::harness::*;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use towpath_engine::deployer::{Fencing, Role};
use towpath_models::kafka::KafkaFault;
use towpath_models::zookeeper::ZooKeeperFault;

#[tokio::test(start_paused = true)]
async fn a_standby_takes_over_when_the_leader_dies() {
    for fencing in BOTH {
        let mut world = World::new();
        world.zookeeper.drops_linger(true);
        let first = world.start(world.config(1, fencing));
        first.leads().await;
        let second = world.start(world.config(2, fencing));
        second.until("it stands by", |status| status.role == Role::Standby).await;
        for id in 0..10 {
            world.insert(id);
        }
        world.until("some are acknowledged", |world| !world.changes().is_empty()).await;
        let term = first.status().term.max(world.state().unwrap().leader.term);
        let died = Instant::now();
        first.kill().await;
        for id in 10..20 {
            world.insert(id);
        }
        second.leads().await;
        assert!(died.elapsed() < Duration::from_secs(12), "the session's timeout is 10 s: {:?}", died.elapsed());
        world.until_checkpointed().await;
        world.judge(fencing);
        assert!(world.state().unwrap().leader.term > term);
        second.drain().await;
    }
}

/// The leader's session is given up and nobody tells it: a process that was paused and wakes up.
#[tokio::test(start_paused = true)]
async fn a_zombie_changes_neither_state_nor_what_readers_keep() {
    for fencing in BOTH {
        let mut world = World::new();
        let mut config = world.config(1, fencing);
        // It would write no checkpoint soon, so it cannot find out by that.
        config.checkpoint_interval = Duration::from_secs(8);
        let zombie = world.start(config);
        zombie.leads().await;
        for id in 0..5 {
            world.insert(id);
        }
        world.until("five are there", |world| world.changes().len() == 5).await;
        let zombie_session = world.zookeeper.sessions()[0];
        let second = world.start(world.config(2, fencing));
        second.until("it stands by", |status| status.role == Role::Standby).await;
        if fencing == Fencing::Versions {
            // What the zombie sends from now on arrives late.
            world.kafka.hold_records(true);
            for id in 5..10 {
                world.insert(id);
            }
            sleep(Duration::from_millis(200)).await;
        }
        world.zookeeper.expire(zombie_session, false);
        sleep(Duration::from_millis(500)).await;
        world.kafka.hold_records(false);
        second.leads().await;
        for id in 10..30 {
            world.insert(id);
            sleep(Duration::from_millis(100)).await;
        }
        world.until_checkpointed().await;
        world.judge(fencing);
        let state = world.state().unwrap();
        assert_eq!(state.leader.instance, "deployer-2", "the zombie wrote nothing into the state");
        // It finds out, and joins again behind its successor.
        zombie.until("it joins again", |status| status.role == Role::Standby).await;
        assert_eq!(world.state().unwrap().leader.instance, "deployer-2");
        zombie.drain().await;
        second.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn under_versions_a_fence_with_the_new_term_is_the_first_record_in_every_partition() {
    let mut world = World::new();
    let first = world.start(world.config(1, Fencing::Versions));
    first.leads().await;
    for id in 0..9 {
        world.insert(id);
    }
    world.until_checkpointed().await;
    let ends = ends(&world);
    first.drain().await;
    let second = world.start(world.config(2, Fencing::Versions));
    second.leads().await;
    world.insert(9);
    world.until_checkpointed().await;
    let term = world.state().unwrap().leader.term.to_string();
    for partition in 0..PARTITIONS {
        let records = world.kafka.records("orders");
        let next = records.iter().find(|r| r.partition == partition && r.offset >= ends[partition as usize]).unwrap();
        assert_eq!(next.header("towpath-control"), Some(b"fence".as_slice()));
        assert_eq!(next.header("towpath-term"), Some(term.as_bytes()));
    }
    second.drain().await;
}

fn ends(world: &World) -> Vec<i64> {
    let records = world.kafka.records("orders");
    let last = |partition| records.iter().filter(|r| r.partition == partition).map(|r| r.offset + 1).max();
    (0..PARTITIONS).map(|partition| last(partition).unwrap_or(0)).collect()
}

/// Every opening of a producer is followed by a guarded write before anything is produced.
#[tokio::test(start_paused = true)]
async fn a_deposed_leader_that_opens_a_producer_again_writes_nothing_with_it() {
    let mut world = World::new();
    let mut config = world.config(1, Fencing::Transactions);
    config.checkpoint_interval = Duration::from_secs(2);
    let zombie = world.start(config);
    zombie.leads().await;
    world.insert(0);
    world.until("one is there", |world| world.changes().len() == 1).await;
    let session = world.zookeeper.sessions()[0];
    // A commit's answer is lost, and while it waits to try again it is deposed: the new producer fences the successor.
    world.kafka.fail_next(KafkaFault::CommitUnknownLost, 1);
    world.insert(1);
    world.until("the fault fired", |world| world.kafka.faults_fired() > 0).await;
    world.zookeeper.expire(session, false);
    let second = world.start(world.config(2, Fencing::Transactions));
    second.leads().await;
    for id in 2..40 {
        world.insert(id);
        sleep(Duration::from_millis(50)).await;
    }
    world.until_checkpointed().await;
    world.judge(Fencing::Transactions);
    zombie.drain().await;
    second.drain().await;
}

#[tokio::test(start_paused = true)]
async fn while_disconnected_nothing_is_started_and_within_the_session_it_goes_on() {
    for fencing in BOTH {
        let mut world = World::new();
        let running = world.start(world.config(1, fencing));
        running.leads().await;
        world.insert(0);
        world.until_checkpointed().await;
        let term = world.state().unwrap().leader.term;
        let session = world.zookeeper.sessions()[0];
        // Shorter than the grace, then longer than it: with and without a rewind.
        for (round, ms) in [(1, 700), (2, 5_000)] {
            world.zookeeper.disconnect(session);
            sleep(Duration::from_millis(100)).await;
            let there = world.changes().len();
            for id in 0..5 {
                world.insert(round * 100 + id);
            }
            sleep(Duration::from_millis(ms)).await;
            assert_eq!(world.changes().len(), there, "an effect was started while disconnected");
            world.zookeeper.reconnect(session);
            world.until_checkpointed().await;
            assert_eq!(world.state().unwrap().leader.term, term, "the same candidacy goes on");
        }
        world.judge(fencing);
        running.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_expired_session_it_joins_again_under_a_higher_term() {
    for fencing in BOTH {
        let mut world = World::new();
        let running = world.start(world.config(1, fencing));
        running.leads().await;
        world.insert(0);
        world.until_checkpointed().await;
        let term = world.state().unwrap().leader.term;
        let session = world.zookeeper.sessions()[0];
        world.zookeeper.disconnect(session);
        world.insert(1);
        sleep(Duration::from_secs(15)).await;
        assert_eq!(world.changes().len(), 1, "nothing is written once the session can be over");
        world.zookeeper.reconnect(session);
        world.until("a new session leads", |world| world.state().is_some_and(|state| state.leader.term > term)).await;
        world.until_checkpointed().await;
        world.judge(fencing);
        running.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_ensemble_is_waited_for() {
    for fencing in BOTH {
        let mut world = World::new();
        let running = world.start(world.config(1, fencing));
        running.leads().await;
        world.insert(0);
        world.until_checkpointed().await;
        world.zookeeper.stop();
        world.insert(1);
        sleep(Duration::from_secs(60)).await;
        let there = world.changes().len();
        assert_eq!(there, 1, "without the coordinator nothing is produced");
        world.zookeeper.start();
        world.until_checkpointed().await;
        world.judge(fencing);
        running.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_session_of_a_dead_leader_ends_after_an_ensemble_that_was_away_is_back() {
    let mut world = World::new();
    world.zookeeper.drops_linger(true);
    let first = world.start(world.config(1, Fencing::Transactions));
    first.leads().await;
    let second = world.start(world.config(2, Fencing::Transactions));
    second.until("it stands by", |status| status.role == Role::Standby).await;
    first.kill().await;
    world.zookeeper.stop();
    sleep(Duration::from_secs(1)).await;
    world.zookeeper.start();
    second.leads().await;
    world.insert(0);
    world.until_checkpointed().await;
    world.judge(Fencing::Transactions);
    second.drain().await;
}

#[tokio::test(start_paused = true)]
async fn lost_answers_of_the_coordinator_are_settled() {
    for fault in [ZooKeeperFault::LostBefore, ZooKeeperFault::LostAfter, ZooKeeperFault::ReadLost] {
        let mut world = World::new();
        // From the very first call on: join, the first state, checkpoints.
        for round in 0..6i64 {
            world.zookeeper.fail_next(fault, 1);
            let running = world.start(world.config(1, Fencing::Transactions));
            running.leads().await;
            for id in 0..5 {
                world.zookeeper.fail_next(fault, (id % 2) as u32);
                world.insert(round * 10 + id);
                sleep(Duration::from_millis(700)).await;
            }
            world.until_checkpointed().await;
            running.drain().await;
        }
        assert!(world.zookeeper.faults_fired() >= 6, "{fault:?}");
        world.judge(Fencing::Transactions);
    }
}
