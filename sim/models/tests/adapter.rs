//! The adapter of the engine, as it runs in production, on the models of Kafka and Elasticsearch.
//!
//! Time is paused and moves by itself: what takes minutes of backoff takes milliseconds here.

mod support;

use serde_json::json;
use std::time::Duration;
use support::{At, World, change};
use towpath_engine::adapter::SinkState;
use towpath_engine::adapter::config::{Deletes, Fencing, OnDelete};
use towpath_engine::adapter::letters;
use towpath_engine::cause::Cause;
use towpath_models::elasticsearch::ElasticsearchFault;
use towpath_models::kafka::KafkaFault;

#[tokio::test(start_paused = true)]
async fn orders_become_documents_and_deletes_tombstones_that_queries_do_not_see() {
    let world = World::new(2);
    let adapter = world.start(|_| {});
    for id in 0..50u64 {
        world.produce((id % 2) as u32, At::new(id * 10), &change(None, Some((id, 1)))).await;
    }
    world.produce(0, At::new(1_000), &change(Some((4, 1)), Some((4, 9)))).await;
    world.produce(0, At::new(1_010), &change(Some((6, 1)), None)).await;
    world.until("48 orders", || async { world.visible("hot").await.len() == 48 }).await;
    let documents = world.es.documents("hot-v1");
    assert_eq!(documents.len(), 50, "two of them are tombstones");
    let tombstone = documents.iter().find(|(id, ..)| id == "6").unwrap();
    let source: serde_json::Value = serde_json::from_slice(&tombstone.2).unwrap();
    assert_eq!(source["_towpath_deleted"], true);
    let fields: Vec<_> = source.as_object().unwrap().keys().collect();
    assert_eq!(fields.len(), 2, "nothing of the row stays: {fields:?}");
    assert_eq!(world.meta("hot-v1").await.pointer("/towpath/epoch/orders"), Some(&json!(1)));
    assert_eq!(adapter.state("hot"), SinkState::Running);
    adapter.stop().await.unwrap();
    assert_eq!(world.kafka.committed("orders", "towpath.orders.hot"), [(0, 27), (1, 25)]);
}

#[tokio::test(start_paused = true)]
async fn busy_clusters_and_lost_answers_lose_and_double_nothing() {
    let world = World::new(1);
    for fault in [
        ElasticsearchFault::ItemsTooMany,
        ElasticsearchFault::TimeoutApplied,
        ElasticsearchFault::TooManyRequests,
        ElasticsearchFault::Html,
        ElasticsearchFault::Unavailable,
        ElasticsearchFault::FloodStage,
    ] {
        world.es.fail_next(fault, 2);
    }
    world.kafka.fail_next(KafkaFault::GroupCommitRefused, 2);
    let adapter = world.start(|_| {});
    for id in 0..300 {
        world.produce(0, At::new(id * 10), &change(None, Some((id, 1)))).await;
        if id % 3 == 0 {
            world.produce(0, At::new(id * 10 + 5), &change(Some((id, 1)), Some((id, 2)))).await;
        }
    }
    world.until("300 orders", || async { world.visible("hot").await.len() == 300 }).await;
    world.until("all is committed", || async { world.lag("towpath.orders.hot") == 0 }).await;
    let stale = world.visible("hot").await.into_iter().filter(|(id, status)| (id % 3 == 0) != (*status == 2));
    assert_eq!(stale.count(), 0);
    assert_eq!(world.es.faults_fired(), 12);
    assert_eq!(world.kafka.faults_fired(), 2);
    assert!(world.metric("towpath_sink_retries_total") > 0);
    adapter.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_the_mapping_refuses_goes_to_the_dead_letters_and_the_rest_goes_on() {
    let world = World::new(1);
    let adapter = world.start(|config| {
        config.sinks[0].create.mapping.insert("remark".into(), json!({"type": "long"}));
    });
    for id in 0..5u64 {
        let text = if id == 3 { "not a number" } else { "7" };
        let fields = format!(r#"{{"order_id":"{id}","status":"1","remark":"{text}"}}"#);
        world.produce(0, At::new(id * 10), &("INSERT", fields, "null".into())).await;
    }
    world.until("all is committed", || async { world.lag("towpath.orders.hot") == 0 }).await;
    world.until("the other four", || async { world.visible("hot").await.len() == 4 }).await;
    let dead = world.kafka.records("orders.dead-letter");
    assert_eq!(dead.len(), 1);
    let original = world.kafka.records("orders").remove(3);
    assert_eq!(dead[0].value, original.value, "everything needed to redrive it");
    let header = |name: &str| String::from_utf8_lossy(dead[0].header(name).unwrap()).into_owned();
    assert_eq!(header(letters::SINK), "hot");
    assert_eq!(header(letters::CAUSE), "document_parsing_exception");
    assert_eq!((header(letters::TOPIC), header(letters::OFFSET)), ("orders".into(), "3".into()));
    assert_eq!(header(letters::DOCUMENT), "3");
    assert_eq!(header("towpath-epoch"), "1", "the record's own headers are kept");
    adapter.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_cannot_be_delivered_holds_the_offset() {
    let world = World::new(1);
    let adapter = world.start(|config| {
        config.sinks[0].create.mapping.insert("remark".into(), json!({"type": "long"}));
    });
    world.produce(0, At::new(1), &change(None, Some((1, 1)))).await;
    world.until("the first order", || async { world.lag("towpath.orders.hot") == 0 }).await;
    let fields = r#"{"order_id":"3","status":"1","remark":"x"}"#;
    world.produce(0, At::new(2), &("INSERT", fields.into(), "null".into())).await;
    world.kafka.hold_records(true);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.lag("towpath.orders.hot"), 1);
    world.kafka.hold_records(false);
    world.until("all is committed", || async { world.lag("towpath.orders.hot") == 0 }).await;
    assert_eq!(world.kafka.records("orders.dead-letter").len(), 1);
    adapter.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_changed_key_leaves_one_document() {
    let world = World::new(1);
    let adapter = world.start(|config| config.sinks[0].routing = Some("status".into()));
    world.produce(0, At::new(10), &change(None, Some((1, 1)))).await;
    world.produce(0, At::new(20), &change(Some((1, 1)), Some((2, 1)))).await;
    world.produce(0, At::new(30), &change(Some((2, 1)), Some((2, 2)))).await;
    world.until("all is committed", || async { world.lag("towpath.orders.hot") == 0 }).await;
    world.until("one order", || async { world.visible("hot").await == [(2, 2)] }).await;
    adapter.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn hot_and_cold_feed_one_index_and_the_row_that_moved_stays() {
    let world = World::new(1);
    world.kafka.create_topic("archive", 1);
    let hot = world.start(|config| {
        config.sinks[0].index = "full".into();
        config.sinks[0].when = None;
        config.sinks[0].sources[0].on_delete = OnDelete::Keep;
    });
    let cold = world.start(|config| {
        config.pipeline = "archive".into();
        config.topic = "archive".into();
        config.sinks[0].index = "full".into();
        config.sinks[0].when = None;
        config.sinks[0].sources[0].rank = 1;
    });
    // The archive's binlog is far shorter: its offsets say nothing beside the hot one's.
    let archived = || At { topic: "archive", pipeline: "archive", ..At::new(5) };
    world.produce(0, At::new(1_000), &change(None, Some((1, 1)))).await;
    world.produce(0, At::new(2_000), &change(Some((1, 1)), Some((1, 2)))).await;
    world.produce(0, archived(), &change(None, Some((1, 2)))).await;
    world.until("the archive's order", || async { world.lag_of("archive", "towpath.archive.hot") == 0 }).await;
    world.produce(0, At::new(3_000), &change(Some((1, 2)), None)).await;
    world.produce(0, At { version: 9, ..archived() }, &change(Some((1, 2)), Some((1, 3)))).await;
    // Hot is replayed after the move, then a row of that key is inserted there again.
    for version in [1_000, 2_000] {
        let (before, after) = if version == 1_000 { (None, (1, 1)) } else { (Some((1, 1)), (1, 2)) };
        world.produce(0, At::new(version), &change(before, Some(after))).await;
    }
    let settled =
        || async { world.lag("towpath.orders.hot") == 0 && world.lag_of("archive", "towpath.archive.hot") == 0 };
    world.until("both are done", settled).await;
    world.until("the archived order, updated there", || async { world.visible("full").await == [(1, 3)] }).await;
    assert!(world.metric("towpath_sink_moved_back_total") >= 1);
    let meta = world.meta("full-v1").await;
    assert_eq!(meta.pointer("/towpath/epoch"), Some(&json!({"orders": 1, "archive": 1})));
    hot.stop().await.unwrap();
    cold.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn partitions_move_while_requests_are_in_flight_and_bulks_arrive_late() {
    let world = World::new(4);
    let first = world.start(|config| config.sinks[0].bulk.operations = 7);
    for id in 0..200 {
        world.produce((id % 4) as u32, At::new(id * 10), &change(None, Some((id, 1)))).await;
    }
    world.until("some orders", || async { world.es.documents("hot-v1").len() > 20 }).await;
    world.es.hold_bulks(true);
    for id in 0..200 {
        let done = change(Some((id, 1)), if id % 2 == 0 { Some((id, 2)) } else { None });
        world.produce((id % 4) as u32, At::new(10_000 + id * 10), &done).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let second = world.start(|config| config.sinks[0].bulk.operations = 7);
    tokio::time::sleep(Duration::from_secs(5)).await;
    // The group throws everybody out as well: what was in flight belongs to zombies now.
    world.kafka.expire_members("towpath.orders.hot");
    tokio::time::sleep(Duration::from_secs(40)).await;
    world.es.hold_bulks(false);
    world.until("all is committed", || async { world.lag("towpath.orders.hot") == 0 }).await;
    let both = || async { !first.partitions("hot").is_empty() && !second.partitions("hot").is_empty() };
    world.until("both own partitions", both).await;
    world.until("100 orders", || async { world.visible("hot").await.len() == 100 }).await;
    assert!(world.visible("hot").await.iter().all(|(id, status)| id % 2 == 0 && *status == 2));
    first.stop().await.unwrap();
    world.until("the second owns all", || async { second.partitions("hot").len() == 4 }).await;
    second.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_blocked_sink_names_its_cause_and_does_not_hold_up_the_other() {
    let world = World::new(1);
    let adapter = world.start(|config| {
        let mut other = config.sinks[0].clone();
        (other.name, other.index) = ("all".into(), "all".into());
        other.when = None;
        config.sinks.push(other);
    });
    world.produce(0, At::new(1), &change(None, Some((1, 1)))).await;
    world.until("the first order", || async { world.visible("hot").await.len() == 1 }).await;
    world.es.set_write_block("hot-v1", true);
    world.produce(0, At::new(2), &change(None, Some((2, 1)))).await;
    let blocked =
        || async { matches!(adapter.state("hot"), SinkState::Retrying(stop) if stop.cause == Cause::SinkBlocked) };
    world.until("the cause is named", blocked).await;
    world.until("the other sink goes on", || async { world.visible("all").await.len() == 2 }).await;
    assert_eq!(world.lag("towpath.orders.hot"), 1);
    world.es.set_write_block("hot-v1", false);
    world.until("the second order", || async { world.visible("hot").await.len() == 2 }).await;
    world.until("it runs", || async { adapter.state("hot") == SinkState::Running }).await;
    adapter.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_the_log_no_longer_holds_stops_the_sink() {
    for remake in [false, true] {
        let world = World::new(1);
        let adapter = world.start(|_| {});
        for id in 0..10 {
            world.produce(0, At::new(id), &change(None, Some((id, 1)))).await;
        }
        world.until("all is committed", || async { world.lag("towpath.orders.hot") == 0 }).await;
        adapter.stop().await.unwrap();
        for id in 10..20 {
            world.produce(0, At::new(id), &change(None, Some((id, 1)))).await;
        }
        if remake {
            world.kafka.recreate_topic("orders", 1);
            for id in 0..20 {
                world.produce(0, At::new(id), &change(None, Some((id, 1)))).await;
            }
        } else {
            world.kafka.truncate_before("orders", 0, 15);
        }
        let again = world.start(|_| {});
        let stopped = again.ended().await.unwrap_err();
        assert_eq!(stopped.cause, Cause::LogTruncated, "{stopped}");
        world.settle().await;
        assert_eq!(world.visible("hot").await.len(), 10, "nothing behind the gap is indexed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deposed_leaders_late_record_is_dropped_even_after_a_restart() {
    let world = World::new(1);
    let versions = |config: &mut towpath_engine::adapter::AdapterConfig| config.fencing = Fencing::Versions;
    let adapter = world.start(versions);
    world.produce(0, At::new(10), &change(None, Some((1, 1)))).await;
    world.fence(0, At { term: 2, ..At::new(0) }).await;
    world.until("the fence is committed", || async { world.lag("towpath.orders.hot") == 0 }).await;
    adapter.stop().await.unwrap();
    world.produce(0, At { term: 1, ..At::new(20) }, &change(None, Some((9, 1)))).await;
    world.produce(0, At { term: 2, ..At::new(30) }, &change(None, Some((2, 1)))).await;
    let adapter = world.start(versions);
    world.until("all is committed", || async { world.lag("towpath.orders.hot") == 0 }).await;
    adapter.stop().await.unwrap();
    world.settle().await;
    assert_eq!(world.visible("hot").await, [(1, 1), (2, 1)]);
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_was_set_back_stops_the_sink_instead_of_losing_its_changes() {
    let world = World::new(1);
    let adapter = world.start(|_| {});
    world.produce(0, At { epoch: 5, ..At::new(10) }, &change(None, Some((1, 1)))).await;
    world.until("all is committed", || async { world.lag("towpath.orders.hot") == 0 }).await;
    adapter.stop().await.unwrap();
    // The log is made anew and the state restored from long ago: the next epoch starts too low.
    world.kafka.delete_topic("orders");
    world.kafka.create_topic("orders", 1);
    world.produce(0, At { epoch: 3, ..At::new(10) }, &change(None, Some((1, 2)))).await;
    let again = world.start(|config| config.sinks[0].name = "hot2".into());
    let stopped = again.ended().await.unwrap_err();
    assert_eq!(stopped.cause, Cause::EpochRegressed, "{stopped}");
    assert_eq!(world.lag("towpath.orders.hot2"), 1);
}

#[tokio::test(start_paused = true)]
async fn brokers_go_and_come_and_hard_deletes_leave_nothing() {
    let world = World::new(2);
    let adapter = world.start(|config| config.sinks[0].deletes = Deletes::Hard);
    for id in 0..20 {
        world.produce((id % 2) as u32, At::new(id), &change(None, Some((id, 1)))).await;
    }
    world.until("20 orders", || async { world.visible("hot").await.len() == 20 }).await;
    for id in 0..20 {
        world.produce((id % 2) as u32, At::new(100 + id), &change(Some((id, 1)), None)).await;
    }
    world.kafka.stop();
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.kafka.start();
    world.until("all is committed", || async { world.lag("towpath.orders.hot") == 0 }).await;
    assert!(world.es.documents("hot-v1").is_empty());
    adapter.stop().await.unwrap();
}
