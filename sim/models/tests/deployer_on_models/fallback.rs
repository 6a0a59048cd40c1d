//! Past Kafka: documents are written directly while it is down, and afterwards nothing is lost or stale (protocol §8).

use std::time::Duration;

use tokio::time::{Instant, sleep};
use towpath_engine::deployer::fallback::{Phase, Wish};
use towpath_engine::deployer::{FallbackConfig, Fencing, Role};
use towpath_engine::ports::index::SearchIndex;
use towpath_models::kafka::KafkaFault;
use towpath_models::mysql::RowOp;

use super::delivery::BOTH;
use super::sinks::*;

#[tokio::test(start_paused = true)]
async fn documents_stay_fresh_while_kafka_is_down_and_all_is_in_the_log_afterwards() {
    for fencing in BOTH {
        let (mut sinks, _, running, indexing) = in_an_outage(fencing, 0).await;
        let before = sinks.world.state().unwrap().checkpoint;
        sinks.change_and_watch(20..60, FRESH).await;
        assert_eq!(sinks.world.state().unwrap().checkpoint, before, "the checkpoint stands still");
        assert!(running.status().causes().iter().any(|cause| cause.contains("written directly")));
        sinks.world.kafka.start();
        sinks.until_normal(&running, fencing).await;
        assert_eq!(running.metric("towpath_fallback_runs_total"), 1);
        sinks.world.until("its journal is deleted", |_| sinks.journals().is_empty()).await;
        running.drain().await;
        indexing.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_being_told_or_configured_nothing_is_written_directly() {
    let fencing = Fencing::Transactions;
    let mut sinks = Sinks::new();
    let running = sinks.start(1, fencing, false);
    let indexing = sinks.index(fencing);
    sinks.world.insert(1);
    sinks.until_fresh(Duration::from_secs(60), "before the outage").await;
    sinks.world.kafka.stop();
    sinks.world.insert(2);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(running.status().fallback, Phase::Normal);
    assert_eq!(sinks.documents().len(), 1);
    // Told to, it does at once; told no longer, it waits for Kafka again.
    sinks.ask(Wish::On);
    running.until("it is told", |status| status.fallback == Phase::Direct).await;
    sinks.until_fresh(FRESH, "told to").await;
    sinks.ask(Wish::Off);
    running.until("it is told", |status| status.fallback != Phase::Direct).await;
    sinks.world.insert(3);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(sinks.documents().len(), 2);
    sinks.world.kafka.start();
    sinks.end_normal(running, indexing, fencing).await;
}

/// Nobody indexes: a person switches, with Kafka up.
#[tokio::test(start_paused = true)]
async fn with_no_adapter_left_documents_are_written_directly_when_told() {
    for fencing in BOTH {
        let mut sinks = Sinks::new();
        let running = sinks.start(1, fencing, false);
        let indexing = sinks.index(fencing);
        for id in 0..10 {
            sinks.world.insert(id);
        }
        sinks.until_fresh(Duration::from_secs(60), "before the adapters go").await;
        indexing.stop().await;
        for id in 10..20 {
            sinks.world.insert(id);
        }
        sinks.world.until_checkpointed().await;
        assert_eq!(sinks.documents().len(), 10);
        sinks.ask(Wish::On);
        // Also what was in the log and not indexed.
        sinks.until_fresh(FRESH * 2, "told to").await;
        sinks.change_and_watch(20..40, FRESH).await;
        sinks.ask(Wish::Auto);
        let indexing = sinks.index(fencing);
        sinks.end_normal(running, indexing, fencing).await;
    }
}

/// Nobody indexes: the deployer notices, and comes back once somebody does.
#[tokio::test(start_paused = true)]
async fn with_no_adapter_left_documents_are_written_directly_by_themselves() {
    for fencing in BOTH {
        let mut sinks = Sinks::new();
        let fallback = FallbackConfig {
            automatic: true,
            unindexed_after: Some(Duration::from_secs(30)),
            ..FallbackConfig::default()
        };
        let running = sinks.start_with(1, fencing, fallback);
        let indexing = sinks.index(fencing);
        for id in 0..10 {
            sinks.world.insert(id);
        }
        sinks.until_fresh(Duration::from_secs(60), "before the adapters go").await;
        sleep(Duration::from_secs(120)).await;
        assert_eq!(running.status().fallback, Phase::Normal, "all is well");
        assert_eq!(running.metric("towpath_sinks_unindexed"), 0);
        indexing.stop().await;
        sinks.world.insert(10);
        sleep(Duration::from_secs(20)).await;
        assert_eq!(running.status().fallback, Phase::Normal, "adapters may be gone for a while");
        assert_eq!(running.metric("towpath_sinks_unindexed"), 1);
        running.until("it writes directly", |status| status.fallback == Phase::Direct).await;
        sinks.until_fresh(FRESH, "what was in the log and not indexed").await;
        sinks.change_and_watch(20..40, FRESH).await;
        sleep(Duration::from_secs(60)).await;
        assert_eq!(running.status().fallback, Phase::Direct, "Kafka answers, and nobody indexes");
        let indexing = sinks.index(fencing);
        sinks.end_normal(running, indexing, fencing).await;
    }
}

/// Documents are written from a point before the outage on: of the XA groups that were prepared there one is committed
/// by now, and its COMMIT is met again.
#[tokio::test(start_paused = true)]
async fn what_was_prepared_at_the_point_it_begins_at_is_known() {
    for fencing in BOTH {
        let mut sinks = Sinks::new();
        let running = sinks.start(1, fencing, true);
        let indexing = sinks.index(fencing);
        sinks.world.insert_many(&[0, 1, 2, 3, 4]);
        let group = [900, 901].map(|id| RowOp::insert("orders", "order_main", sinks.world.row(id)));
        sinks.world.mysql.xa_prepare("a", &group).unwrap();
        // Kept points are taken every half a minute.
        for id in 10..50 {
            sinks.world.insert(id);
            sleep(Duration::from_secs(5)).await;
        }
        sinks.world.mysql.xa_commit("a").unwrap();
        sinks.until_fresh(Duration::from_secs(60), "committed").await;
        // In the log, and in no document: only who begins before the outage shows it.
        indexing.stop().await;
        sinks.world.insert(55);
        sinks.world.until_checkpointed().await;
        assert!(sinks.world.state().unwrap().prepared.is_empty());
        sinks.world.kafka.stop();
        sinks.world.update(1);
        running.until("it writes directly", |status| status.fallback == Phase::Direct).await;
        sinks.until_fresh(FRESH * 4, "the first direct writes").await;
        sinks.change_and_watch(60..70, FRESH).await;
        sinks.world.kafka.start();
        let indexing = sinks.index(fencing);
        sinks.end_normal(running, indexing, fencing).await;
    }
}

/// The leader dies while it writes directly; its successor finds Kafka still down.
#[tokio::test(start_paused = true)]
async fn a_successor_seals_the_journal_and_goes_on_directly() {
    for fencing in BOTH {
        let (mut sinks, _, running, indexing) = in_an_outage(fencing, 0).await;
        sinks.change_and_watch(20..30, FRESH).await;
        running.kill().await;
        let journal = sinks.journals();
        assert_eq!(journal.len(), 1);
        let successor = sinks.start(2, fencing, true);
        successor.until("the successor writes directly", |status| status.fallback == Phase::Direct).await;
        sinks.change_and_watch(30..40, FRESH).await;
        let late = towpath_engine::ports::index::BulkOp {
            index: journal[0].clone(),
            id: "late".into(),
            routing: None,
            version: towpath_engine::version::Version::new(0, 1, 1).unwrap(),
            source: Some("{}".into()),
        };
        let refused = sinks.es.bulk(&[late]).await.unwrap();
        assert_eq!(refused[0].error_type.as_deref(), Some("cluster_block_exception"), "sealed");
        sinks.world.kafka.start();
        sinks.end_normal(successor, indexing, fencing).await;
    }
}

/// The leader dies while it writes directly, and Kafka is back before its successor leads.
/// The client waits for brokers longer than documents may wait.
#[tokio::test(start_paused = true)]
async fn a_successor_writes_directly_as_soon_as_it_may_and_is_seen_to_lead() {
    for fencing in BOTH {
        let (mut sinks, _, running, indexing) = in_an_outage(fencing, 0).await;
        running.kill().await;
        let after = Duration::from_secs(3);
        let fallback = FallbackConfig { automatic: true, after, ..FallbackConfig::default() };
        let successor = sinks.start_with(2, fencing, fallback);
        successor.until("it takes over", |status| status.role == Role::TakingOver).await;
        let elected = Instant::now();
        successor.until("it writes directly", |status| status.fallback == Phase::Direct).await;
        let waited = elected.elapsed();
        assert!(waited >= after && waited < after + Duration::from_secs(1), "{waited:?}");
        assert_eq!(successor.status().role, Role::Leader);
        assert_eq!(successor.metric("towpath_leading"), 1);
        sinks.change_and_watch(20..30, FRESH).await;
        sinks.world.kafka.start();
        sinks.end_normal(successor, indexing, fencing).await;
    }
}

/// Kafka answers, and goes away before the log is fenced.
#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_fenced_is_left_out() {
    for fencing in BOTH {
        let (mut sinks, _, running, indexing) = in_an_outage(fencing, 0).await;
        running.kill().await;
        sinks.world.kafka.start();
        sinks.world.kafka.fail_next(KafkaFault::InitUnknown, 1);
        let successor = sinks.start(2, fencing, true);
        let kafka = sinks.world.kafka.clone();
        sinks.world.until("its producer's opening fails", |_| kafka.faults_fired() > 0).await;
        sinks.world.kafka.stop();
        successor.until("it writes directly", |status| status.fallback == Phase::Direct).await;
        sinks.change_and_watch(20..30, FRESH).await;
        sinks.world.kafka.start();
        sinks.end_normal(successor, indexing, fencing).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_finds_kafka_carries_all_again() {
    for fencing in BOTH {
        let (mut sinks, _, running, indexing) = in_an_outage(fencing, 0).await;
        sinks.change_and_watch(20..30, FRESH).await;
        running.kill().await;
        sinks.world.kafka.start();
        let successor = sinks.start(2, fencing, true);
        sinks.end_normal(successor, indexing, fencing).await;
    }
}

/// What was shown and dies with its server goes from the documents, at once and in the log.
#[tokio::test(start_paused = true)]
async fn a_failover_meanwhile_repairs_what_was_shown_and_lost() {
    for fencing in BOTH {
        let (mut sinks, replicas, running, indexing) = in_an_outage(fencing, 1).await;
        sinks.change_and_watch(20..30, FRESH).await;
        replicas[0].catch_up().unwrap();
        // Shown, and on no other server.
        sinks.world.insert(90);
        sinks.world.update(2);
        sinks.world.delete(3);
        sinks.until_fresh(FRESH, "before the failover").await;
        sinks.world.fail_over_to(&replicas[0]);
        sinks.until_fresh(Duration::from_secs(60), "after the failover").await;
        assert!(!sinks.documents().contains_key(&90));
        sinks.change_and_watch(40..50, FRESH).await;
        assert_eq!(running.status().fallback, Phase::Direct, "Kafka was down all the time");
        assert_eq!(sinks.world.state().unwrap().epoch.number, 2);
        sinks.world.kafka.start();
        running.until("it is over", |status| status.fallback == Phase::Normal).await;
        sinks.world.until_settled().await;
        sinks.until_fresh(Duration::from_secs(120), "after the outage").await;
        // The log repeats what the journal has: those images' keys are not read again (77 where they are).
        assert!(running.metric("towpath_repaired_rows_total") < 60);
        running.drain().await;
        indexing.stop().await;
    }
}

/// The same, and the leader dies with the server: only the journal knows what was shown.
#[tokio::test(start_paused = true)]
async fn what_a_dead_leader_had_shown_and_its_server_lost_is_repaired() {
    for fencing in BOTH {
        for kafka_first in [false, true] {
            let (mut sinks, replicas, running, indexing) = in_an_outage(fencing, 1).await;
            replicas[0].catch_up().unwrap();
            sinks.world.insert(90);
            sinks.world.update(2);
            sinks.world.delete(3);
            sinks.until_fresh(FRESH, "before the failover").await;
            running.kill().await;
            sinks.world.fail_over_to(&replicas[0]);
            if kafka_first {
                sinks.world.kafka.start();
            }
            let successor = sinks.start(2, fencing, true);
            sinks.until_fresh(Duration::from_secs(120), "after the failover").await;
            assert!(!sinks.documents().contains_key(&90));
            sinks.world.kafka.start();
            sinks.world.update(4);
            successor.until("it is over", |status| status.fallback == Phase::Normal).await;
            sinks.world.until_settled().await;
            sinks.until_fresh(Duration::from_secs(120), "after the outage").await;
            successor.drain().await;
            indexing.stop().await;
        }
    }
}
