//! Records of a producer that its own leader gave up, and that arrive when nobody counts on them (protocol §3, §4).

use std::time::Duration;

use towpath_engine::deployer::Fencing;
use towpath_engine::deployer::fallback::Phase;

use super::sinks::*;

/// The primary dies with a row whose record is still on its way; the leader connects to the replica with another
/// producer, the epoch rises, what was lost is repaired. Then the record arrives.
#[tokio::test(start_paused = true)]
async fn a_record_that_arrives_after_the_repair_of_what_it_tells_changes_no_document() {
    let fencing = Fencing::Versions;
    let mut sinks = Sinks::new();
    let replica = sinks.world.add_replica(2);
    let running = sinks.start(1, fencing, false);
    let indexing = sinks.index(fencing);
    for id in 0..10 {
        sinks.world.insert(id);
    }
    sinks.world.until_checkpointed().await;
    sinks.until_fresh(Duration::from_secs(60), "before the failover").await;
    replica.catch_up().unwrap();
    sinks.world.kafka.hold_producers(true);
    sinks.world.insert(90);
    sinks.world.until("its record is on its way", |world| world.kafka.held_records() > 0).await;
    sinks.world.fail_over_to(&replica);
    sinks.world.insert(20);
    sinks.world.until_settled().await;
    sinks.until_fresh(Duration::from_secs(60), "after the failover").await;
    sinks.world.kafka.hold_producers(false);
    let late = |id: i64| move |world: &super::harness::World| world.changes().iter().any(|change| change.id == id);
    sinks.world.until("the late record is in the log", late(90)).await;
    // Behind it in every partition, so that what adapters make of it is known once these are shown.
    for id in 0..10 {
        sinks.world.update(id);
    }
    sinks.until_fresh(Duration::from_secs(60), "after the late record").await;
    running.drain().await;
    indexing.stop().await;
}

/// A leader dies with records on their way to a Kafka that is down, and the server loses what they tell and uses the
/// numbers again. Its successor knows nothing of them: it writes documents directly, further than they reach. Then
/// Kafka is back, and they arrive before the successor can fence the log.
#[tokio::test(start_paused = true)]
async fn records_that_a_successor_without_the_log_never_saw_are_judged_when_it_sees_them() {
    let fencing = Fencing::Versions;
    let mut sinks = Sinks::new();
    let running = sinks.start(1, fencing, true);
    let indexing = sinks.index(fencing);
    for id in 0..10 {
        sinks.world.insert(id);
    }
    sinks.world.until_checkpointed().await;
    sinks.until_fresh(Duration::from_secs(60), "before the outage").await;
    sinks.world.kafka.stop();
    sinks.world.insert(90);
    sinks.world.until("its record is on its way", |world| world.kafka.held_records() > 0).await;
    running.kill().await;
    sinks.world.mysql.crash(1);
    let running = sinks.start(2, fencing, true);
    for id in 20..25 {
        sinks.world.insert(id);
    }
    running.until("it writes directly", |status| status.fallback == Phase::Direct).await;
    sinks.until_fresh(FRESH * 4, "written directly").await;
    sinks.world.kafka.start();
    sinks.end_normal(running, indexing, fencing).await;
    assert_eq!(sinks.world.state().unwrap().epoch.number, 2, "what was lost was in the log");
}
