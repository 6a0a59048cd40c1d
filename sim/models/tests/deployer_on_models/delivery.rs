//! Into the log: nothing is lost, whatever becomes of a record, a commit or the process (protocol §6, Rule 1, Rule 5).

use super::harness::*;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use towpath_engine::cause::Cause;
use towpath_engine::deployer::Fencing;
use towpath_engine::position::Position;
use towpath_models::kafka::KafkaFault;
use towpath_models::mysql::{MySqlFault, RowOp, Value};

pub const BOTH: [Fencing; 2] = [Fencing::Transactions, Fencing::Versions];

#[tokio::test(start_paused = true)]
async fn rows_arrive_and_the_checkpoint_follows() {
    for fencing in BOTH {
        let mut world = World::new();
        let running = world.start(world.config(1, fencing));
        for id in 0..50 {
            world.insert(id);
            sleep(Duration::from_millis(7)).await;
        }
        world.update(3);
        world.delete(4);
        world.until_checkpointed().await;
        world.judge(fencing);
        let state = world.state().unwrap();
        assert_eq!((state.epoch.number, state.pending.len()), (1, 0));
        assert!(running.status().ready());
        assert_eq!(running.metric("towpath_rows_total"), 52);
        running.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_acknowledgement_and_checkpoint_loses_nothing() {
    for fencing in BOTH {
        let mut world = World::new();
        let mut config = world.config(1, fencing);
        config.checkpoint_interval = Duration::from_secs(3600);
        let first = world.start(config);
        first.leads().await;
        for id in 0..20 {
            world.insert(id);
        }
        world.until("all is acknowledged", |world| world.changes().len() == 20).await;
        assert_eq!(world.state().unwrap().checkpoint.offset, 0, "and no checkpoint was written");
        first.kill().await;
        let second = world.start(world.config(2, fencing));
        world.insert(20);
        world.until_checkpointed().await;
        world.judge(fencing);
        assert_eq!(world.changes().len(), 41, "what was beyond the checkpoint is there twice");
        second.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn any_failed_or_unknown_delivery_is_rewound_and_the_checkpoint_never_passes_it() {
    use KafkaFault::*;
    for fencing in BOTH {
        let faults = [
            Unavailable,
            InitUnknown,
            DeliveryFails,
            DeliveryUnknown,
            CommitUnknownApplied,
            CommitUnknownLost,
            QueueFull,
        ];
        for fault in faults {
            let mut world = World::new();
            let mut config = world.config(1, fencing);
            config.checkpoint_interval = Duration::from_millis(20);
            let running = world.start(config);
            running.leads().await;
            world.insert(0);
            world.until_checkpointed().await;
            // Before it the database and the table were made, which leave no record.
            let first = 3;
            let started = Instant::now();
            for id in 1..60 {
                if id % 20 == 10 {
                    world.kafka.fail_next(fault, 2);
                    if matches!(fault, Unavailable | InitUnknown) {
                        // These are faults of requests that only a rewind makes.
                        world.kafka.fail_next(DeliveryFails, 1);
                    }
                }
                world.insert(id);
                sleep(Duration::from_millis(11)).await;
                assert!(world.checkpoint_is_acknowledged(first), "{fault:?} {fencing:?}: {:?}", world.state());
            }
            world.until_checkpointed().await;
            world.judge(fencing);
            let applies =
                fencing == Fencing::Transactions || !matches!(fault, CommitUnknownApplied | CommitUnknownLost);
            assert!(!applies || world.kafka.faults_fired() > 0, "{fault:?} never fired");
            assert!(started.elapsed() < Duration::from_secs(120), "{fault:?} {fencing:?} took {:?}", started.elapsed());
            running.drain().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_leaves_a_checkpoint_at_the_end_and_no_candidate() {
    for fencing in BOTH {
        let mut world = World::new();
        let mut config = world.config(1, fencing);
        config.checkpoint_interval = Duration::from_secs(3600);
        let first = world.start(config);
        first.leads().await;
        for id in 0..20 {
            world.insert(id);
        }
        world.until("all is delivered", |world| world.changes().len() == 20).await;
        first.drain().await;
        world.until_checkpointed().await;
        // The next one need not wait for a session to expire, and reads nothing twice.
        let started = Instant::now();
        let second = world.start(world.config(2, fencing));
        second.leads().await;
        assert!(started.elapsed() < Duration::from_secs(1));
        world.insert(20);
        world.until_checkpointed().await;
        assert_eq!(world.changes().len(), 21);
        world.judge(fencing);
        second.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn while_kafka_is_down_the_checkpoint_stands_and_the_alarm_is_raised() {
    for fencing in BOTH {
        let mut world = World::new();
        let mut config = world.config(1, fencing);
        config.stalled_after = Duration::from_secs(5);
        let running = world.start(config);
        running.leads().await;
        world.insert(0);
        world.until_checkpointed().await;
        let before = world.state().unwrap().checkpoint;
        world.kafka.stop();
        for id in 1..30 {
            world.insert(id);
        }
        running.until("the alarm", |status| status.stalled_since_ms.is_some()).await;
        assert!(!running.status().ready());
        assert_eq!(running.metric("towpath_stalled"), 1);
        sleep(Duration::from_secs(300)).await;
        assert_eq!(world.state().unwrap().checkpoint, before);
        assert!(running.metric("towpath_rewinds_total") < 60, "no busy loop");
        world.kafka.start();
        let back = Instant::now();
        world.until_checkpointed().await;
        assert!(back.elapsed() < Duration::from_secs(30), "caught up after {:?}", back.elapsed());
        running
            .until("the alarm is over", |status| status.stalled_since_ms.is_none() && status.waiting.is_none())
            .await;
        world.judge(fencing);
        running.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_falls_silent_or_breaks_is_connected_again() {
    for fencing in BOTH {
        let mut world = World::new();
        let running = world.start(world.config(1, fencing));
        running.leads().await;
        for round in 0..4 {
            world.insert(round * 10);
            match round {
                0 => world.mysql.set_silent(true),
                1 => world.mysql.kill_connections(),
                2 => world.mysql.fail_next(MySqlFault::Checksum, 1),
                _ => world.mysql.stop(),
            }
            world.insert(round * 10 + 1);
            sleep(Duration::from_secs(40)).await;
            world.mysql.set_silent(false);
            if round == 3 {
                assert!(running.status().waiting.is_some_and(|w| w.stop.cause == Cause::SourceUnavailable));
                world.mysql.start();
            }
            world.insert(round * 10 + 2);
            world.until_checkpointed().await;
        }
        world.judge(fencing);
        running.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_larger_than_the_budget_streams_within_it() {
    for fencing in BOTH {
        let mut world = World::new();
        world.kafka.configure(|config| config.queue_records = 500);
        let mut config = world.config(1, fencing);
        config.budget_bytes = 1 << 20;
        config.transaction_bytes = 256 << 10;
        let running = world.start(config);
        running.leads().await;
        world.insert(1_000_000);
        world.until_checkpointed().await;
        let before = world.state().unwrap().checkpoint;
        // About 9 MB of records in one transaction.
        let ids: Vec<i64> = (0..30_000).collect();
        world.insert_many(&ids);
        while world.changes().len() < 30_001 {
            if world.state().unwrap().checkpoint != before {
                assert_eq!(world.changes().len(), 30_001, "the checkpoint lies within a transaction");
            }
            sleep(Duration::from_millis(10)).await;
        }
        world.until_checkpointed().await;
        world.judge(fencing);
        // One event, and what has left a piece of the outbox that is not empty yet, come on top.
        let highest = running.metric("towpath_in_flight_peak_bytes");
        assert!((1 << 20..(1 << 20) + 400_000).contains(&highest), "{highest} bytes in flight");
        running.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_no_record_can_hold_is_described_in_the_dead_letters() {
    let mut world = World::new();
    let mut config = world.config(1, Fencing::Transactions);
    config.max_record_bytes = 2_000;
    let running = world.start(config);
    running.leads().await;
    world.insert(1);
    let row = vec![Value::Int(2), Value::Int(0), Value::Text("x".repeat(5_000))];
    world.mysql.commit(&[RowOp::insert("orders", "order_main", row)]).unwrap();
    world.insert(3);
    world.until_checkpointed().await;
    assert_eq!(world.changes().iter().map(|change| change.id).collect::<std::collections::BTreeSet<_>>().len(), 2);
    let letters = world.kafka.records("orders.dead-letter");
    assert_eq!(letters.len(), 1);
    let letter: serde_json::Value = serde_json::from_slice(letters[0].value.as_ref().unwrap()).unwrap();
    assert_eq!((letter["cause"].as_str(), letter["table"].as_str()), (Some("row-too-large"), Some("order_main")));
    assert!(letter["key"].as_str().unwrap().contains('2') && letter["gtid"].as_str().unwrap().ends_with(":4"));
    assert_eq!(running.metric("towpath_rows_too_large_total"), 1);
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_committed_before_a_stop_is_delivered_and_checkpointed() {
    for fencing in BOTH {
        let mut world = World::new();
        for id in 0..20 {
            world.insert(id);
        }
        let before = world.mysql.executed().to_string();
        world.mysql.statement("orders", "TRUNCATE order_main");
        let stop = world.stops(world.config(1, fencing)).await;
        assert_eq!(stop.cause, Cause::StatementEvent);
        assert_eq!(world.changes().len(), 20);
        let state = world.state().unwrap();
        assert!(matches!(&state.checkpoint.resume, Position::Gtid(set) if set.to_string() == before), "{state:?}");
    }
}

/// Producers open, records leave, but no commit succeeds: each attempt alone looks busy.
#[tokio::test(start_paused = true)]
async fn commits_that_fail_again_and_again_raise_the_alarm() {
    let mut world = World::new();
    let mut config = world.config(1, Fencing::Transactions);
    config.stalled_after = Duration::from_secs(20);
    let running = world.start(config);
    running.leads().await;
    world.kafka.fail_next(KafkaFault::CommitUnknownLost, 1_000);
    world.insert(0);
    let failed = Instant::now();
    running.until("the alarm", |status| status.stalled_since_ms.is_some()).await;
    assert!(failed.elapsed() < Duration::from_secs(60), "{:?}", failed.elapsed());
    assert_eq!(world.state().unwrap().checkpoint.offset, 0);
    running.kill().await;
}
