//! The state: garbage, newer, lost, restored, set by hand; and the topic it means (protocol §2).

use super::delivery::BOTH;
use super::harness::*;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use towpath_engine::cause::Cause;
use towpath_engine::deployer::{Fencing, Start};
use towpath_engine::state::{self, PositionOrder};

/// A world whose deployer has carried some rows and ended in order.
async fn used(fencing: Fencing) -> World {
    let mut world = World::new();
    // An ensemble that has counted far: a fresh one starts below these terms.
    for n in 0..300 {
        world.zookeeper.create_path(&format!("/others/{n}"));
    }
    let running = world.start(world.config(1, fencing));
    for id in 0..10 {
        world.insert(id);
        sleep(Duration::from_millis(300)).await;
    }
    world.until_checkpointed().await;
    running.drain().await;
    world
}

fn order(world: &World, to: Option<Start>) {
    let mut state = world.state().unwrap();
    state.order =
        Some(PositionOrder { to, reason: "set by hand".into(), at_ms: world.env.wall_ms(), definitions: None });
    world.zookeeper.set_node(STATE, &state::encode(&mut state).unwrap());
}

#[tokio::test(start_paused = true)]
async fn garbage_stops_and_the_previous_state_is_whole() {
    let world = used(Fencing::Transactions).await;
    let previous = world.zookeeper.node("/towpath/orders/previous").unwrap().0;
    let kept = state::decode(&previous).expect("the previous value is a whole state");
    assert!(kept.checkpoint.offset <= world.state().unwrap().checkpoint.offset);
    world.zookeeper.set_node(STATE, b"\x00garbage");
    let stop = world.stops(world.config(2, Fencing::Transactions)).await;
    assert_stop(&stop, Cause::StateGarbage, "\\x00garbage");
    assert!(stop.to_string().contains("--previous"), "{stop}");
    assert_eq!(world.zookeeper.node(STATE).unwrap().0, b"\x00garbage", "it is not touched");
    // The previous one taken again: an epoch rise with its repair pending.
    world.zookeeper.set_node(STATE, &previous);
    order(&world, None);
    let running = world.start(world.config(2, Fencing::Transactions));
    world.until_settled().await;
    let state = world.state().unwrap();
    assert_eq!((state.epoch.number, state.order), (2, None));
    assert_eq!(state.epoch.anchor.resume, kept.checkpoint.resume);
    world.judge(Fencing::Transactions);
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_format_is_refused() {
    let world = used(Fencing::Transactions).await;
    world.zookeeper.set_node(STATE, b"{\"towpath_state\":3}");
    assert_eq!(world.stops(world.config(2, Fencing::Transactions)).await.cause, Cause::StateNewer);
}

#[tokio::test(start_paused = true)]
async fn a_lost_state_stops_until_a_position_is_set_and_the_epoch_rises_above_all() {
    for fencing in BOTH {
        let mut world = used(fencing).await;
        let term = world.state().unwrap().leader.term;
        assert!(term > 300);
        let kept = world.state().unwrap();
        world.zookeeper.replace_with_fresh();
        world.zookeeper.create_path("/towpath");
        let stop = world.stops(world.config(2, fencing)).await;
        assert_stop(&stop, Cause::StateLost, "epoch 1");
        // A position is set; nothing else is known.
        let mut blank = kept.clone();
        blank.epoch.number = 0;
        blank.term_base = 0;
        blank.leader = Default::default();
        blank.topic_id = String::new();
        blank.checkpoint.tail_from.clear();
        blank.checkpoint.low_water.clear();
        blank.ring = Default::default();
        blank.order =
            Some(PositionOrder { to: Some(Start::Oldest), reason: "lost".into(), at_ms: 1, definitions: None });
        world.zookeeper.set_node(STATE, &state::encode(&mut blank).unwrap());
        let mut config = world.config(3, fencing);
        config.unrepaired = true;
        let running = world.start(config);
        world.insert(100);
        world.until_checkpointed().await;
        let state = world.state().unwrap();
        assert_eq!((state.epoch.number, state.pending.len()), (2, 1), "it stays pending");
        assert_eq!(state.pending[0].low_water, [] as [i64; 0], "from the log's start");
        assert!(state.leader.term > term, "terms go on rising although the ensemble counts from low again");
        assert!(running.status().pending_repairs == 1);
        running.drain().await;
        // The next one does it.
        let running = world.start(world.config(4, fencing));
        world.until_settled().await;
        assert!(world.changes().iter().any(|change| change.read.is_some()));
        world.judge(fencing);
        running.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_restored_from_a_copy_is_noticed_by_the_log() {
    let mut world = used(Fencing::Transactions).await;
    let copy = world.zookeeper.node(STATE).unwrap().0;
    order(&world, Some(Start::Oldest));
    let mut config = world.config(2, Fencing::Transactions);
    config.unrepaired = true;
    let running = world.start(config.clone());
    world.insert(50);
    world.until_checkpointed().await;
    assert_eq!(world.state().unwrap().epoch.number, 2);
    running.drain().await;
    world.zookeeper.set_node(STATE, &copy);
    let running = world.start(config);
    world.until("the epoch rises", |world| world.state().unwrap().epoch.number == 3).await;
    world.insert(51);
    world.until_checkpointed().await;
    let state = world.state().unwrap();
    assert!(state.epoch.reason.contains("2 was found elsewhere"), "{}", state.epoch.reason);
    assert_eq!(state.pending.len(), 1);
    world.judge(Fencing::Transactions);
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_position_set_by_hand_raises_the_epoch_and_repairs_from_the_oldest_entry() {
    for fencing in BOTH {
        let mut world = used(fencing).await;
        let before = world.state().unwrap();
        let oldest = before.ring.oldest().unwrap().clone();
        order(&world, Some(Start::Now));
        world.insert(20);
        // While it is pending the low-water marks stay, whatever is carried.
        let mut config = world.config(3, fencing);
        config.unrepaired = true;
        let running = world.start(config.clone());
        world.until("the epoch rises", |world| world.state().unwrap().epoch.number == 2).await;
        let state = world.state().unwrap();
        assert_eq!((state.epoch.number, state.checkpoint.offset), (2, 0));
        assert_eq!(state.pending[0].from, Some(oldest.resume));
        assert_eq!(state.pending[0].low_water, oldest.low_water);
        assert!(state.audit.iter().any(|entry| entry.what.contains("epoch 2")));
        for id in 30..40 {
            world.insert(id);
        }
        world.until_checkpointed().await;
        let state = world.state().unwrap();
        assert_eq!(state.checkpoint.low_water, oldest.low_water);
        assert_ne!(state.checkpoint.tail_from, oldest.low_water);
        running.drain().await;
        // A second rise inherits the first one's start.
        order(&world, Some(Start::Now));
        let running = world.start(config);
        world.until("the epoch rises", |world| world.state().unwrap().epoch.number == 3).await;
        let state = world.state().unwrap();
        assert_eq!((state.epoch.number, state.pending.len()), (3, 2));
        assert!(state.pending[1].low_water.iter().zip(&oldest.low_water).all(|(second, first)| second <= first));
        running.drain().await;
        let running = world.start(world.config(4, fencing));
        world.until_settled().await;
        assert!(running.metric("towpath_repaired_rows_total") >= 10);
        running.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_set_position_takes_the_lead_from_a_running_leader() {
    let mut world = World::new();
    let mut config = world.config(1, Fencing::Transactions);
    config.unrepaired = true;
    let running = world.start(config);
    world.insert(1);
    world.until_checkpointed().await;
    order(&world, Some(Start::Oldest));
    world.insert(2);
    world.until("the epoch rises", |world| world.state().unwrap().epoch.number == 2).await;
    world.until_checkpointed().await;
    world.judge(Fencing::Transactions);
    running.drain().await;
}

/// A source that is written to rarely: nothing moves the checkpoint, and yet the order is seen.
#[tokio::test(start_paused = true)]
async fn an_idle_leader_sees_a_set_position() {
    for fencing in BOTH {
        let mut world = World::new();
        let running = world.start(world.config(1, fencing));
        world.insert(1);
        world.until_checkpointed().await;
        order(&world, Some(Start::Oldest));
        let since = Instant::now();
        world.until("the epoch rises", |world| world.state().unwrap().epoch.number == 2).await;
        assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
        world.until_checkpointed().await;
        world.judge(fencing);
        running.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_does_not_fit_is_refused() {
    let world = World::new();
    world.kafka.create_topic("orders", PARTITIONS - 1);
    let stop = world.stops(world.config(1, Fencing::Transactions)).await;
    assert_stop(&stop, Cause::TopicUnfit, "2 partitions, configured are 3");
    let world = World::new();
    world.kafka.configure(|config| config.may_create_topics = false);
    assert_stop(&world.stops(world.config(1, Fencing::Transactions)).await, Cause::TopicUnfit, "orders");
    // Written with three partitions, configured with two: rows of a key would change their place.
    let world = used(Fencing::Transactions).await;
    let mut config = world.config(2, Fencing::Transactions);
    config.partitions = PARTITIONS - 1;
    assert_stop(&world.stops(config).await, Cause::PartitionsChanged, "3 partitions, configured are 2");
    // Made anew: what was not read there is gone.
    world.kafka.recreate_topic("orders", PARTITIONS);
    assert_eq!(world.stops(world.config(2, Fencing::Transactions)).await.cause, Cause::LogTruncated);
}

#[tokio::test(start_paused = true)]
async fn an_absent_path_is_said() {
    let world = World::new();
    world.zookeeper.delete_path("/towpath");
    let stop = world.stops(world.config(1, Fencing::Transactions)).await;
    assert_stop(&stop, Cause::CoordinatorUnavailable, "/towpath");
}

#[tokio::test(start_paused = true)]
async fn the_ring_covers_the_horizon_and_its_marks_are_safe() {
    for fencing in BOTH {
        let mut world = World::new();
        let mut config = world.config(1, fencing);
        config.horizon = Duration::from_secs(60);
        let running = world.start(config.clone());
        for id in 0..200 {
            world.insert(id);
            sleep(Duration::from_millis(500)).await;
            if id == 100 {
                world.kafka.fail_next(towpath_models::kafka::KafkaFault::DeliveryUnknown, 1);
            }
        }
        world.until_checkpointed().await;
        let state = world.state().unwrap();
        let now = world.env.wall_ms();
        let oldest = state.ring.oldest().unwrap();
        assert!(now - oldest.at_ms >= 59_000 && now - oldest.at_ms < 70_000, "{} ms back", now - oldest.at_ms);
        // No record of a transaction outside the entry's set lies before its mark.
        let changes = world.changes();
        for entry in state.ring.entries() {
            for change in &changes {
                let before = change.place < entry.low_water[change.partition as usize];
                assert!(!before || change.offset < entry.offset, "{change:?} lies before the mark of {entry:?}");
            }
            assert!(entry.low_water.iter().sum::<i64>() > 0);
        }
        running.drain().await;
    }
}

/// Ten records arrive, the first one's answer is lost: all ten are written again, one at a time, with a checkpoint
/// after
/// each. The first copies of those that are not carried yet lie below what is acknowledged.
#[tokio::test(start_paused = true)]
async fn marks_stay_behind_copies_of_what_is_not_carried() {
    let mut world = World::new();
    let mut config = world.config(1, Fencing::Versions);
    config.partitions = 1;
    config.checkpoint_interval = Duration::ZERO;
    config.horizon = Duration::from_millis(60);
    let running = world.start(config);
    running.leads().await;
    world.insert(0);
    world.until_checkpointed().await;
    world.kafka.hold_records(true);
    for id in 1..=10 {
        world.insert(id);
    }
    sleep(Duration::from_millis(50)).await;
    world.kafka.fail_next(towpath_models::kafka::KafkaFault::DeliveryUnknown, 1);
    world.kafka.configure(|config| config.queue_records = 1);
    world.kafka.hold_records(false);
    world.until_checkpointed().await;
    let changes = world.changes();
    assert_eq!(changes.len(), 21, "ten of eleven are there twice");
    let state = world.state().unwrap();
    let between = state.ring.entries().iter().filter(|entry| entry.offset < state.checkpoint.offset).count();
    assert!(between > 5, "only {between} checkpoints lie between the copies");
    for entry in state.ring.entries() {
        for change in &changes {
            let before = change.place < entry.low_water[0];
            assert!(!before || change.offset < entry.offset, "{change:?} lies before the mark of {entry:?}");
        }
    }
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_log() {
    async fn run() -> Vec<(u32, i64, Option<Vec<u8>>)> {
        let mut world = World::new();
        let running = world.start(world.config(1, Fencing::Transactions));
        for id in 0..40 {
            if id % 10 == 5 {
                world.kafka.fail_next(towpath_models::kafka::KafkaFault::CommitUnknownLost, 1);
            }
            world.insert(id);
            sleep(Duration::from_millis(13)).await;
        }
        world.until_checkpointed().await;
        running.drain().await;
        let records = world.kafka.records("orders");
        records.into_iter().map(|record| (record.partition, record.offset, record.value)).collect()
    }
    let first = Arc::new(run().await);
    assert_eq!(*first, run().await, "the same seed and the same faults leave the same bytes");
}
