//! What a source's settings, history, identity or events forbid is found before it does harm (protocol §4).

use super::delivery::BOTH;
use super::harness::*;
use std::time::Duration;
use tokio::time::sleep;
use towpath_engine::cause::Cause;
use towpath_engine::deployer::{Fencing, Start, TableFilter};
use towpath_engine::position::Position;
use towpath_models::mysql::{MySqlConfig, MySqlFault};

#[tokio::test(start_paused = true)]
async fn a_first_start_needs_a_start() {
    let world = World::new();
    let mut config = world.config(1, Fencing::Transactions);
    config.start = None;
    assert_stop(&world.stops(config).await, Cause::NoStart, "first time");
    assert_eq!(world.state(), None);
}

#[tokio::test(start_paused = true)]
async fn each_unfit_setting_is_named() {
    type Change = fn(&mut MySqlConfig);
    let cases: [(Change, Cause, &str); 5] = [
        (|c| c.log_bin = false, Cause::SourceSettings, "log_bin"),
        (|c| c.binlog_format = "STATEMENT".into(), Cause::SourceSettings, "binlog_format=STATEMENT"),
        (|c| c.row_image = "MINIMAL".into(), Cause::PartialRow, "binlog_row_image=MINIMAL"),
        (|c| c.grants = vec!["GRANT USAGE ON *.* TO `t`@`%`".into()], Cause::SourceDenied, "GRANT REPLICATION SLAVE"),
        (|c| c.server_id = 101, Cause::Config, "server_id 101"),
    ];
    for (change, cause, words) in cases {
        let world = World::new();
        world.mysql.configure(change);
        let mut config = world.config(1, Fencing::Transactions);
        config.whole_rows = true;
        assert_stop(&world.stops(config).await, cause, words);
    }
    let world = World::new();
    world.mysql.fail_next(MySqlFault::Denied, 1);
    assert_eq!(world.stops(world.config(1, Fencing::Transactions)).await.cause, Cause::SourceDenied);
}

#[tokio::test(start_paused = true)]
async fn a_position_that_is_purged_or_never_was_is_refused() {
    let mut world = World::new();
    for id in 0..5 {
        world.insert(id);
        world.mysql.rotate();
    }
    let last = world.mysql.binlog_files().pop().unwrap().0;
    world.mysql.purge_to(&last).unwrap();
    let uuid = mysql_config().server_uuid;
    for (start, cause, words) in [
        (format!("{uuid}:1-2"), Cause::Purged, "purged"),
        (format!("{uuid}:1-900"), Cause::Config, "never had"),
        ("binlog.000001:4".into(), Cause::Purged, "oldest"),
        (format!("{last}:99999999"), Cause::Config, "beyond"),
    ] {
        let mut config = world.config(1, Fencing::Transactions);
        config.start = Some(start.parse().unwrap());
        assert_stop(&world.stops(config).await, cause, words);
    }
}

#[tokio::test(start_paused = true)]
async fn needed_transactions_that_are_purged_stop_a_resume() {
    let mut world = World::new();
    let first = world.start(world.config(1, Fencing::Transactions));
    world.insert(0);
    world.until_checkpointed().await;
    first.drain().await;
    for id in 1..4 {
        world.insert(id);
        world.mysql.rotate();
    }
    let last = world.mysql.binlog_files().pop().unwrap().0;
    world.mysql.purge_to(&last).unwrap();
    assert_stop(&world.stops(world.config(2, Fencing::Transactions)).await, Cause::Purged, ":4-6");
}

#[tokio::test(start_paused = true)]
async fn a_resume_goes_on_in_the_middle_with_and_without_gtids() {
    for gtid_mode in [true, false] {
        for fencing in BOTH {
            let mut world = World::with(MySqlConfig { gtid_mode, ..mysql_config() });
            for life in 0..4i64 {
                let running = world.start(world.config(life as u32, fencing));
                for id in 0..10 {
                    world.insert(life * 100 + id);
                    sleep(Duration::from_millis(3)).await;
                }
                if life % 2 == 1 {
                    world.mysql.rotate();
                }
                world.until_checkpointed().await;
                world.insert(life * 100 + 50);
                running.kill().await;
            }
            let running = world.start(world.config(9, fencing));
            world.until_checkpointed().await;
            world.judge(fencing);
            let state = world.state().unwrap();
            assert_eq!(matches!(state.checkpoint.resume, Position::Gtid(_)), gtid_mode);
            assert_eq!(state.epoch.number, 1, "the same history is the same epoch");
            running.drain().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_server_is_not_the_epochs() {
    let mut world = World::with(MySqlConfig { gtid_mode: false, ..mysql_config() });
    let first = world.start(world.config(1, Fencing::Transactions));
    world.insert(0);
    world.until_checkpointed().await;
    world.mysql.configure(|config| config.server_uuid = "ffffffff-0000-11f1-8000-000000000002".into());
    world.mysql.kill_connections();
    let result = tokio::time::timeout(PATIENCE, first.task).await.unwrap().unwrap();
    assert_stop(&result.unwrap_err(), Cause::NoGtid, "ffffffff-0000-11f1-8000-000000000002");
}

/// As many new transactions as were lost, so that the sets look alike: only the witness tells.
#[tokio::test(start_paused = true)]
async fn a_rewritten_history_is_recognised_by_its_bytes() {
    let crash = |world: &World| world.mysql.crash(3);
    let reset = |world: &World| world.mysql.reset();
    type Rewrite = fn(&World);
    let rewrites: [(&str, Rewrite); 2] = [("crash", crash), ("reset", reset)];
    for (what, rewrite) in rewrites {
        for gtid_mode in [true, false] {
            let mut world = World::with(MySqlConfig { gtid_mode, ..mysql_config() });
            let first = world.start(world.config(1, Fencing::Transactions));
            for id in 0..10 {
                world.insert(id);
            }
            world.until_checkpointed().await;
            first.drain().await;
            rewrite(&world);
            for id in 20..40 {
                world.insert(id);
            }
            if gtid_mode {
                // By GTIDs the common point is found (after a reset that is the beginning), and the epoch rises.
                let second = world.start(world.config(2, Fencing::Transactions));
                world.until_settled().await;
                assert_eq!(world.state().unwrap().epoch.number, 2);
                world.judge(Fencing::Transactions);
                second.drain().await;
                continue;
            }
            let stop = world.stops(world.config(2, Fencing::Transactions)).await;
            assert_eq!(stop.cause, Cause::HistoryRewritten, "{what}: {stop}");
        }
    }
}

/// What was emitted beyond the checkpoint counts too: it may have been read already.
#[tokio::test(start_paused = true)]
async fn a_lost_tail_beyond_the_checkpoint_is_found_in_the_log() {
    for fencing in BOTH {
        let mut world = World::new();
        let mut config = world.config(1, fencing);
        config.checkpoint_interval = Duration::from_secs(3600);
        let first = world.start(config);
        for id in 0..7 {
            world.insert(id);
        }
        world.until("all are in the log", |world| world.changes().len() == 7).await;
        assert_eq!(world.state().unwrap().checkpoint.offset, 0, "and no checkpoint knows of them");
        first.kill().await;
        world.mysql.crash(2);
        for id in 7..12 {
            world.insert(id);
        }
        let second = world.start(world.config(2, fencing));
        world.until_settled().await;
        let state = world.state().unwrap();
        assert!(
            state.epoch.number == 2 && state.epoch.reason.contains("history was rewritten"),
            "{}",
            state.epoch.reason
        );
        world.judge(fencing);
        second.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_purged_witness_is_trusted_only_if_the_server_never_restarted() {
    for restarted in [false, true] {
        let mut world = World::new();
        sleep(Duration::from_secs(600)).await;
        let first = world.start(world.config(1, Fencing::Transactions));
        for id in 0..5 {
            world.insert(id);
        }
        world.until_checkpointed().await;
        first.drain().await;
        world.mysql.rotate();
        let last = world.mysql.binlog_files().pop().unwrap().0;
        if restarted {
            sleep(Duration::from_secs(600)).await;
            world.mysql.restart();
        }
        let last = if restarted { world.mysql.binlog_files().pop().unwrap().0 } else { last };
        world.mysql.purge_to(&last).unwrap();
        world.insert(5);
        if restarted {
            let stop = world.stops(world.config(2, Fencing::Transactions)).await;
            assert_stop(&stop, Cause::Purged, "restarted");
        } else {
            let second = world.start(world.config(2, Fencing::Transactions));
            world.until_checkpointed().await;
            world.judge(Fencing::Transactions);
            second.drain().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tables_without_key_and_unknown_tables_are_refused() {
    let world = World::new();
    let mut schema = schema("keyless");
    schema.primary_key.clear();
    world.mysql.create_table(schema).unwrap();
    let stop = world.stops(world.config(1, Fencing::Transactions)).await;
    assert_stop(&stop, Cause::NoPrimaryKey, "orders.keyless");
    let world = World::new();
    let mut config = world.config(1, Fencing::Transactions);
    config.tables = TableFilter::new(["orders.order_mian"]).unwrap();
    assert_stop(&world.stops(config).await, Cause::Config, "orders.order_mian");
}

#[tokio::test(start_paused = true)]
async fn without_column_names_in_the_binlog_definitions_are_kept_and_guarded() {
    // Definitions read at the start serve for what comes after it …
    let mut world = World::with(MySqlConfig { row_metadata_full: false, ..mysql_config() });
    let mut config = world.config(1, Fencing::Transactions);
    config.start = Some(Start::Now);
    let running = world.start(config.clone());
    running.leads().await;
    world.insert(1);
    world.until_checkpointed().await;
    world.judge(Fencing::Transactions);
    assert!(world.state().unwrap().schemas.is_some_and(|schemas| schemas.quarantine.is_empty()));
    running.drain().await;
    // … also in the next life.
    let running = world.start(world.config(2, Fencing::Transactions));
    running.leads().await;
    world.insert(2);
    world.until_checkpointed().await;
    world.judge(Fencing::Transactions);
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn statements_that_change_captured_rows_stop_and_others_do_not() {
    for (sql, cause) in [
        ("UPDATE order_main SET number = 0", Cause::StatementEvent),
        ("TRUNCATE TABLE order_main", Cause::StatementEvent),
    ] {
        let mut world = World::new();
        let running = world.start(world.config(1, Fencing::Transactions));
        running.leads().await;
        world.mysql.statement("elsewhere", "CREATE TABLE t (a INT)");
        world.mysql.statement("orders", "CREATE INDEX i ON order_main (number)");
        world.mysql.statement("orders", "ALTER TABLE order_main COMMENT 'x'");
        world.insert(1);
        world.until_checkpointed().await;
        world.mysql.statement("orders", sql);
        let stop = tokio::time::timeout(PATIENCE, running.task).await.unwrap().unwrap().unwrap_err();
        assert_stop(&stop, cause, "orders.order_main");
    }
}

/// A server's vendor may add events of its own; what nobody knows may be anything, and an incident is a loss.
#[tokio::test(start_paused = true)]
async fn ignorable_events_are_counted_and_foreign_ones_stop_by_name() {
    const IGNORABLE: u16 = 0x80;
    let begin = || (2, 0, [&[0; 14], "BEGIN".as_bytes()].concat());
    let commit = || (16, 0, vec![0; 8]);
    for (kind, body, cause, words) in [
        (200, b"?".as_slice(), Cause::UnknownEvent, "type 200"),
        (26, b"\x01\0\x0bLOST_EVENTS", Cause::Incident, "LOST_EVENTS"),
    ] {
        let mut world = World::new();
        let running = world.start(world.config(1, Fencing::Transactions));
        running.leads().await;
        world.mysql.commit_raw(&[begin(), (100, IGNORABLE, b"a vendor's".to_vec()), (0, 0, vec![0; 9]), commit()]);
        world.insert(1);
        world.until_checkpointed().await;
        assert_eq!(running.metric("towpath_skipped_events_total"), 2);
        world.judge(Fencing::Transactions);
        world.mysql.commit_raw(&[begin(), (kind, 0, body.to_vec()), commit()]);
        assert_stop(&running.stopped().await, cause, words);
    }
}
