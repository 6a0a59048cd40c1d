//! Records of a producer that its own leader gave up, and that arrive when nobody counts on them (protocol §3, §4).

use std::time::Duration;

use towpath_engine::deployer::Fencing;

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
