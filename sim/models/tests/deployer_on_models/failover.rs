//! Another server, or another history of the same one: epochs rise, and what was lost is repaired (protocol §4, §5).

use super::delivery::BOTH;
use super::harness::*;
use std::time::Duration;
use tokio::time::sleep;
use towpath_engine::cause::Cause;
use towpath_engine::deployer::Fencing;
use towpath_engine::format::ReadKind;
use towpath_models::kafka::KafkaFault;
use towpath_models::mysql::{MySql, MySqlConfig, RowOp, Value};

/// Rows 0 to 9 are carried, and known to a replica that has applied them.
async fn replicated(fencing: Fencing) -> (World, MySql, Running) {
    let mut world = World::new();
    let replica = world.add_replica(2);
    let running = world.start(world.config(1, fencing));
    for id in 0..10 {
        world.insert(id);
        sleep(Duration::from_millis(500)).await;
    }
    world.until_checkpointed().await;
    replica.catch_up().unwrap();
    (world, replica, running)
}

fn reads(world: &World, kind: ReadKind) -> Vec<i64> {
    let mut ids: Vec<i64> =
        world.changes().iter().filter(|change| change.read == Some(kind)).map(|change| change.id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[tokio::test(start_paused = true)]
async fn a_promoted_replica_goes_on_where_the_primary_died() {
    for fencing in BOTH {
        let (mut world, replica, running) = replicated(fencing).await;
        world.fail_over_to(&replica);
        world.update(3);
        world.insert(20);
        world.until_settled().await;
        let state = world.state().unwrap();
        assert_eq!((state.epoch.number, state.epoch.in_order_from.is_some()), (2, true));
        assert_eq!(running.metric("towpath_failovers_total"), 1);
        world.judge(fencing);
        running.drain().await;
    }
}

/// The server that an epoch was to begin on dies while that waits for Kafka: the next one is asked.
#[tokio::test(start_paused = true)]
async fn a_second_failover_in_the_middle_of_the_first_goes_to_the_next_standby() {
    for fencing in BOTH {
        let mut world = World::with(MySqlConfig { row_metadata_full: false, ..mysql_config() });
        let (second, third) = (world.add_replica(2), world.add_replica(3));
        let running = world.start(world.config(1, fencing));
        running.leads().await;
        world.insert(1);
        world.until_checkpointed().await;
        (second.catch_up().unwrap(), third.catch_up().unwrap());
        world.fail_over_to(&second);
        // The epoch's beginning waits for Kafka until its server is dead too.
        running.until("the primary's silence is noticed", |status| status.waiting.is_some()).await;
        world.kafka.stop();
        sleep(Duration::from_secs(60)).await;
        third.follow(&second);
        world.insert(2);
        third.catch_up().unwrap();
        world.fail_over_to(&third);
        world.kafka.start();
        world.insert(3);
        world.until_settled().await;
        world.judge(fencing);
        running.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_tail_is_repaired() {
    for fencing in BOTH {
        let (mut world, replica, running) = replicated(fencing).await;
        // Carried and gone with the primary: a change, a removal, a new row.
        world.update(1);
        world.delete(2);
        world.insert(30);
        world.until_checkpointed().await;
        world.fail_over_to(&replica);
        world.insert(31);
        world.until_settled().await;
        world.judge(fencing);
        let (rows, never) = (reads(&world, ReadKind::Row), reads(&world, ReadKind::Never));
        assert!(rows.contains(&1) && rows.contains(&2), "{rows:?}");
        assert_eq!(never, [30], "only a lost transaction had inserted it");
        running.drain().await;
    }
}

/// What the log has beyond any checkpoint is lost too.
#[tokio::test(start_paused = true)]
async fn a_tail_that_no_checkpoint_knows_is_repaired_by_the_next_leader() {
    for fencing in BOTH {
        let mut world = World::new();
        let replica = world.add_replica(2);
        let mut config = world.config(1, fencing);
        config.checkpoint_interval = Duration::from_secs(3600);
        let running = world.start(config);
        running.leads().await;
        world.insert(1);
        replica.catch_up().unwrap();
        world.update(1);
        world.insert(2);
        world.until("all are in the log", |world| world.changes().len() == 3).await;
        assert_eq!(world.state().unwrap().checkpoint.offset, 0);
        running.kill().await;
        world.fail_over_to(&replica);
        let next = world.start(world.config(2, fencing));
        world.until_settled().await;
        world.judge(fencing);
        next.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lagging_replica_is_waited_for() {
    let (mut world, replica, running) = replicated(Fencing::Transactions).await;
    world.update(1);
    world.insert(40);
    world.until_checkpointed().await;
    replica.receive().unwrap();
    // The primary dies; the replica has received all and applied nothing of it.
    world.mysql.stop();
    world.mysql = replica.clone();
    running
        .until("it is waited for", |status| {
            status.waiting.as_ref().is_some_and(|waiting| waiting.stop.cause == Cause::SourceBehind)
        })
        .await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!(world.state().unwrap().epoch.number, 1, "no old row under a new epoch");
    replica.apply(usize::MAX).unwrap();
    replica.promote();
    world.insert(41);
    world.until_settled().await;
    assert_eq!(world.state().unwrap().epoch.number, 2);
    assert_eq!(reads(&world, ReadKind::Never), [] as [i64; 0]);
    world.judge(Fencing::Transactions);
    running.drain().await;
}

/// What is in no checkpoint, because the answer to its commit was lost, may have been shown: a replica that lacks it is
/// behind too, and its old row must not come under a new epoch while the primary may come back.
#[tokio::test(start_paused = true)]
async fn a_replica_that_lacks_what_only_the_log_shows_is_waited_for() {
    let (mut world, _replica, running) = replicated(Fencing::Transactions).await;
    world.kafka.fail_next(KafkaFault::CommitUnknownApplied, 1);
    world.update(1);
    let number = world.next;
    world.until("it is in the log", |world| world.changes().iter().any(|change| change.number == number)).await;
    world.mysql.stop();
    running
        .until("it is waited for", |status| {
            status.waiting.as_ref().is_some_and(|waiting| waiting.stop.cause == Cause::SourceBehind)
        })
        .await;
    sleep(Duration::from_secs(20)).await;
    world.mysql.start();
    world.until_settled().await;
    assert_eq!(world.state().unwrap().epoch.number, 1, "the primary is back, and nothing was lost");
    world.judge(Fencing::Transactions);
    running.drain().await;
}

/// Nothing better is there: the alarm, and what comes later is an ordinary transaction.
#[tokio::test(start_paused = true)]
async fn a_replica_that_does_not_catch_up_is_taken_in_the_end_and_loses_nothing() {
    let (mut world, replica, running) = replicated(Fencing::Transactions).await;
    world.update(1);
    world.insert(50);
    world.until_checkpointed().await;
    replica.receive().unwrap();
    world.mysql.stop();
    world.mysql = replica.clone();
    world.until("the epoch rises", |world| world.state().unwrap().epoch.number == 2).await;
    replica.apply(usize::MAX).unwrap();
    world.until_settled().await;
    world.judge(Fencing::Transactions);
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn gtids_used_again_after_a_crash_are_told_apart() {
    for fencing in BOTH {
        let mut world = World::new();
        let running = world.start(world.config(1, fencing));
        for id in 0..10 {
            world.insert(id);
            sleep(Duration::from_secs(40)).await;
        }
        world.update(0);
        world.until_checkpointed().await;
        world.mysql.crash(3);
        // As many as were lost and more: the sets look as if nothing had happened.
        for id in 20..26 {
            world.insert(id);
        }
        world.until_settled().await;
        assert_eq!(world.state().unwrap().epoch.number, 2);
        world.judge(fencing);
        running.drain().await;
    }
}

/// A GTID that was carried since the last checkpoint stands for another transaction on the server that takes over: no
/// kept point shows it, and a resume set that holds it would never get it.
#[tokio::test(start_paused = true)]
async fn a_number_used_again_since_the_last_checkpoint_is_carried() {
    let mut world = World::new();
    let replica = world.add_replica(2);
    let mut config = world.config(1, Fencing::Transactions);
    config.checkpoint_interval = Duration::from_secs(3600);
    let running = world.start(config);
    running.leads().await;
    world.insert(1);
    replica.catch_up().unwrap();
    world.insert(2);
    world.until("both are in the log", |world| world.changes().len() == 2).await;
    sleep(Duration::from_secs(1)).await;
    world.mysql.crash(1);
    world.insert(3);
    replica.catch_up().unwrap();
    world.fail_over_to(&replica);
    world.until("the epoch rises", |world| world.state().unwrap().epoch.number == 2).await;
    world.until("the other one is in the log", |world| world.changes().iter().any(|change| change.id == 3)).await;
    world.judge(Fencing::Transactions);
    running.drain().await;
}

/// The source crashes before the first checkpoint: the anchor is the common point.
#[tokio::test(start_paused = true)]
async fn a_crash_in_the_first_second_is_repaired_from_the_anchor() {
    let mut world = World::new();
    let running = world.start(world.config(1, Fencing::Transactions));
    running.leads().await;
    for id in 0..10 {
        world.insert(id);
    }
    world.until_checkpointed().await;
    world.mysql.crash(3);
    world.insert(20);
    world.until_settled().await;
    world.judge(Fencing::Transactions);
    running.drain().await;
}

/// The server that took over holds what the old primary lost, and what it wrote instead.
#[tokio::test(start_paused = true)]
async fn a_server_with_both_histories_is_refused() {
    let (mut world, replica, running) = replicated(Fencing::Transactions).await;
    for id in 60..63 {
        world.insert(id);
    }
    world.until_checkpointed().await;
    replica.catch_up().unwrap();
    world.mysql.crash(3);
    for id in 70..76 {
        world.insert(id);
        sleep(Duration::from_secs(40)).await;
    }
    world.until_settled().await;
    assert_eq!(world.state().unwrap().epoch.number, 2);
    // The numbers of the first three are taken on the replica: it gets the others only.
    replica.catch_up().unwrap();
    world.fail_over_to(&replica);
    let stop = tokio::time::timeout(PATIENCE, running.task).await.unwrap().unwrap().unwrap_err();
    assert_eq!(stop.cause, Cause::Diverged, "{stop}");
}

/// The old primary comes back with its lost tail, follows the new one, and is failed back to: its own transactions lie
/// before carried ones there.
#[tokio::test(start_paused = true)]
async fn an_old_primary_brings_its_tail_back() {
    for fencing in BOTH {
        let (mut world, replica, running) = replicated(fencing).await;
        let old = world.mysql.clone();
        world.update(1);
        world.insert(80);
        world.until_checkpointed().await;
        world.fail_over_to(&replica);
        world.update(1);
        world.until_settled().await;
        sleep(Duration::from_secs(120)).await;
        old.start();
        old.follow(&replica);
        old.catch_up().unwrap();
        world.mysql.stop();
        old.promote();
        world.mysql = old;
        world.insert(81);
        world.until_settled().await;
        let state = world.state().unwrap();
        assert_eq!(state.epoch.number, 3);
        assert!(reads(&world, ReadKind::Row).contains(&1));
        world.judge(fencing);
        running.drain().await;
    }
}

/// Writes on a replica, from before the failover: each is carried, and does not bury what came later.
#[tokio::test(start_paused = true)]
async fn errant_transactions_are_carried_with_their_rows() {
    for fencing in BOTH {
        let (mut world, replica, running) = replicated(fencing).await;
        let row = |id: i64, number: i64| vec![Value::Int(id), Value::Int(number), Value::Text("errant".into())];
        world.next += 1;
        let errant = [RowOp::update("orders", "order_main", vec![Value::Int(4)], row(4, world.next))];
        replica.commit(&errant).unwrap();
        world.update(4);
        world.until_checkpointed().await;
        replica.catch_up().unwrap();
        world.fail_over_to(&replica);
        world.insert(90);
        world.until_settled().await;
        let read_again = world.changes().iter().any(|c| c.read == Some(ReadKind::Row) && c.id == 4 && c.offset > 100);
        assert!(read_again, "at the transaction's end, not only by the epoch's repair");
        world.judge(fencing);
        running.drain().await;
    }
}

/// Independent transactions in another order on the replica.
#[tokio::test(start_paused = true)]
async fn another_order_on_the_replica_changes_nothing() {
    let (mut world, replica, running) = replicated(Fencing::Transactions).await;
    world.update(5);
    world.until_checkpointed().await;
    world.mysql.kill_connections();
    world.update(6);
    replica.receive().unwrap();
    replica.apply_one(1).unwrap();
    world.fail_over_to(&replica);
    world.insert(91);
    world.until_settled().await;
    world.judge(Fencing::Transactions);
    running.drain().await;
}

/// The deployer dies again and again while a repair is under way.
#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_of_a_repair_loses_nothing() {
    for fencing in BOTH {
        for step in 0..12u64 {
            let (mut world, replica, running) = replicated(fencing).await;
            world.update(1);
            world.delete(2);
            world.insert(30);
            world.until_checkpointed().await;
            running.kill().await;
            world.fail_over_to(&replica);
            let mut config = world.config(2, fencing);
            config.failover_after = Duration::from_millis(100);
            let second = world.start(config.clone());
            match step {
                0..4 => sleep(Duration::from_millis(100 + step * 40)).await,
                4 => world.until("the epoch rises", |world| world.state().unwrap().epoch.number == 2).await,
                5..8 => {
                    let count = step as usize - 4;
                    world
                        .until("rows are read", |world| {
                            world.changes().iter().filter(|change| change.read.is_some()).count() >= count
                        })
                        .await;
                }
                8 => world.kafka.fail_next(KafkaFault::DeliveryUnknown, 3),
                9 => world.until("it is read", |world| world.changes().iter().any(|c| c.read.is_some())).await,
                10 => replica.kill_connections(),
                _ => world.until_settled().await,
            }
            second.kill().await;
            config.instance = "deployer-3".into();
            let third = world.start(config);
            world.insert(95);
            world.until_settled().await;
            world.judge(fencing);
            third.drain().await;
        }
    }
}

/// A repair's rows show a transaction that nobody has carried, and the server loses it: one more epoch, not one after
/// the other.
#[tokio::test(start_paused = true)]
async fn what_only_a_repair_has_shown_is_lost_and_repaired_once() {
    for fencing in BOTH {
        let (mut world, replica, running) = replicated(fencing).await;
        world.update(1);
        world.until_checkpointed().await;
        running.kill().await;
        world.fail_over_to(&replica);
        world.update(1);
        let mut config = world.config(2, fencing);
        config.failover_after = Duration::from_millis(100);
        config.checkpoint_interval = Duration::from_secs(3600);
        let second = world.start(config);
        let shown = |world: &World| world.state().unwrap().pending.iter().any(|repair| repair.seen.is_some());
        world.until("a repair has shown more than is carried", shown).await;
        second.kill().await;
        replica.crash(1);
        let third = world.start(world.config(3, fencing));
        world.insert(60);
        world.until_settled().await;
        for id in 61..64 {
            replica.kill_connections();
            sleep(Duration::from_secs(120)).await;
            world.insert(id);
            world.until_settled().await;
        }
        let state = world.state().unwrap();
        assert_eq!((state.epoch.number, state.pending), (3, vec![]));
        world.judge(fencing);
        third.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_on_the_other_server_stops() {
    let (mut world, replica, running) = replicated(Fencing::Transactions).await;
    running.drain().await;
    world.insert(97);
    replica.catch_up().unwrap();
    world.fail_over_to(&replica);
    replica.rotate();
    let last = replica.binlog_files().pop().unwrap().0;
    replica.purge_to(&last).unwrap();
    let stop = world.stops(world.config(2, Fencing::Transactions)).await;
    assert_eq!(stop.cause, Cause::Purged, "{stop}");
}

/// A server that somebody set up beside: it follows nobody, and has rows of its own.
fn stranger(world: &World) -> MySql {
    let server_uuid = "0a1b2c3d-0000-11f1-8000-000000000077".to_owned();
    let stranger = MySql::new(MySqlConfig { server_uuid, server_id: 77, ..mysql_config() }, world.env.clone());
    stranger.create_table(schema("order_main")).unwrap();
    let row = vec![Value::Int(3), Value::Int(77), Value::Text("of another shop".into())];
    stranger.commit(&[RowOp::insert("orders", "order_main", row)]).unwrap();
    stranger
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_is_no_replica_is_passed_over() {
    for fencing in BOTH {
        let mut world = World::new();
        world.sources.push(stranger(&world));
        let replica = world.add_replica(2);
        let running = world.start(world.config(1, fencing));
        for id in 0..10 {
            world.insert(id);
        }
        world.until_checkpointed().await;
        replica.catch_up().unwrap();
        world.fail_over_to(&replica);
        world.update(3);
        world.until_settled().await;
        world.judge(fencing);
        assert_eq!(world.state().unwrap().epoch.number, 2, "no epoch was begun on the stranger");
        running.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_is_no_replica_ends_what_has_no_other() {
    let mut world = World::new();
    world.sources.push(stranger(&world));
    let running = world.start(world.config(1, Fencing::Transactions));
    world.insert(3);
    world.until_checkpointed().await;
    let before = world.changes().len();
    world.mysql.stop();
    let stop = running.stopped().await;
    assert_stop(&stop, Cause::NoCommonPoint, "0a1b2c3d-0000-11f1-8000-000000000077");
    assert_eq!(world.changes().len(), before, "nothing of the stranger was carried");
}

/// A server behind the address that changes each minute spends one epoch in the least interval, not one each time.
#[tokio::test(start_paused = true)]
async fn epochs_do_not_rise_faster_than_their_interval() {
    let (mut world, replica, running) = replicated(Fencing::Transactions).await;
    let old = world.mysql.clone();
    world.fail_over_to(&replica);
    world.until_settled().await;
    let began = world.state().unwrap().epoch.began_ms;
    old.start();
    old.follow(&replica);
    world.insert(98);
    world.until_settled().await;
    old.catch_up().unwrap();
    world.fail_over_to(&old);
    world.until_settled().await;
    let state = world.state().unwrap();
    assert_eq!(state.epoch.number, 3);
    assert!(state.epoch.began_ms - began >= 60_000, "{} ms", state.epoch.began_ms - began);
    world.judge(Fencing::Transactions);
    running.drain().await;
}
