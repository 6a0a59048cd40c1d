//! As a semi-synchronous replica: the source is told what Kafka has acknowledged, never more, and in the end all.

use std::time::Duration;

use tokio::time::sleep;
use towpath_engine::deployer::fallback::Phase;
use towpath_engine::deployer::{DeployerConfig, Fencing};
use towpath_engine::position::FilePosition;
use towpath_models::kafka::KafkaFault;
use towpath_models::mysql::{Commit, MySqlFault, RowOp};

use super::delivery::BOTH;
use super::harness::*;
use super::sinks::{FRESH, Sinks};

fn order(place: &FilePosition) -> (Option<u64>, u64) {
    (place.file_number(), place.position)
}

/// A world whose transactions are all known with the places where they end.
struct Source {
    world: World,
    commits: Vec<(Commit, bool)>,
    /// Acknowledgements that were judged.
    judged: usize,
}

impl Source {
    fn new() -> Self {
        Self { world: World::new(), commits: Vec::new(), judged: 0 }
    }

    fn config(&self, instance: u32, fencing: Fencing) -> DeployerConfig {
        DeployerConfig { semi_sync: true, ..self.world.config(instance, fencing) }
    }

    fn insert(&mut self, id: i64) {
        let row = self.world.row(id);
        let commit = self.world.mysql.commit(&[RowOp::insert("orders", "order_main", row)]).unwrap();
        self.world.last = Some((commit.at.file.clone(), commit.end));
        self.commits.push((commit, true));
    }

    /// A statement whose table is not captured.
    fn elsewhere(&mut self) {
        let commit = self.world.mysql.statement("other", "CREATE TABLE t (a INT)");
        self.world.last = Some((commit.at.file.clone(), commit.end));
        self.commits.push((commit, false));
    }

    fn acknowledged(&self) -> Option<FilePosition> {
        self.world.mysql.acknowledged().into_iter().max_by_key(order)
    }

    /// Whether the last transaction is acknowledged.
    fn all(&self) -> bool {
        let Some((commit, _)) = self.commits.last() else { return true };
        let end = FilePosition::new(commit.at.file.clone(), commit.end);
        self.acknowledged().is_some_and(|place| order(&place) >= order(&end))
    }

    /// What is acknowledged must be committed in the log now.
    fn judge(&mut self) {
        let told = self.world.mysql.acknowledged();
        let Some(highest) = told.iter().skip(self.judged).max_by_key(|place| order(place)) else { return };
        let known: std::collections::BTreeSet<String> =
            self.world.changes().into_iter().filter_map(|change| change.gtid).collect();
        for (commit, captured) in &self.commits {
            let end = FilePosition::new(commit.at.file.clone(), commit.end);
            if *captured && order(&end) <= order(highest) {
                assert!(known.contains(&commit.gtid), "{highest} is acknowledged, {} is not in the log", commit.gtid);
            }
        }
        self.judged = told.len();
    }

    /// Judges at each millisecond until all is acknowledged.
    async fn until_all(&mut self) {
        let mut left = PATIENCE.as_millis();
        while !self.all() {
            self.judge();
            sleep(Duration::from_millis(1)).await;
            left -= 1;
            assert!(left > 0, "{:?} of {:?} is acknowledged", self.acknowledged(), self.commits.last());
        }
        self.judge();
    }

    /// Judges for a while in which nothing more may be acknowledged.
    async fn nothing_more(&mut self, millis: u64) {
        let before = self.world.mysql.acknowledged().len();
        for _ in 0..millis {
            sleep(Duration::from_millis(1)).await;
            self.judge();
        }
        assert_eq!(self.world.mysql.acknowledged().len(), before, "acknowledged without Kafka");
    }
}

#[tokio::test(start_paused = true)]
async fn the_source_is_told_what_kafka_has_and_in_the_end_all() {
    for fencing in BOTH {
        let mut source = Source::new();
        let running = source.world.start(source.config(1, fencing));
        running.leads().await;
        for id in 0..10 {
            source.insert(id);
            source.until_all().await;
        }
        // Records that are on their way.
        source.world.kafka.hold_records(true);
        source.insert(10);
        source.nothing_more(5_000).await;
        source.world.kafka.hold_records(false);
        source.until_all().await;
        // No broker.
        source.world.kafka.stop();
        source.insert(11);
        source.nothing_more(20_000).await;
        source.world.kafka.start();
        source.until_all().await;
        // What is not captured waits for nobody but what comes before it.
        source.elsewhere();
        source.until_all().await;
        source.world.kafka.hold_records(true);
        source.insert(12);
        source.elsewhere();
        source.nothing_more(5_000).await;
        source.world.kafka.hold_records(false);
        source.until_all().await;
        source.world.judge(fencing);
        running.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_arrived_is_not_acknowledged_before_its_commit() {
    let mut source = Source::new();
    let running = source.world.start(source.config(1, Fencing::Transactions));
    running.leads().await;
    source.insert(0);
    source.until_all().await;
    source.world.kafka.fail_next(KafkaFault::CommitUnknownLost, 1_000);
    source.insert(1);
    source.nothing_more(30_000).await;
    source.world.kafka.clear_faults();
    source.until_all().await;
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn faults_and_takeovers_never_acknowledge_too_much_and_nothing_waits_for_ever() {
    use KafkaFault::*;
    for fencing in BOTH {
        let mut source = Source::new();
        let mut running = source.world.start(source.config(1, fencing));
        running.leads().await;
        let faults = [
            DeliveryFails,
            DeliveryUnknown,
            CommitUnknownApplied,
            CommitUnknownLost,
            InitUnknown,
            QueueFull,
            Unavailable,
        ];
        for (round, fault) in (0i64..).zip(faults) {
            source.world.kafka.fail_next(fault, 2);
            for id in 0..5 {
                source.insert(round * 100 + id);
                sleep(Duration::from_millis(3)).await;
                source.judge();
            }
            match round % 3 {
                0 => source.world.mysql.kill_connections(),
                1 => source.world.mysql.fail_next(MySqlFault::StreamBreaks, 1),
                _ => {
                    running.kill().await;
                    running = source.world.start(source.config(2 + round as u32, fencing));
                }
            }
            source.insert(round * 100 + 50);
            source.until_all().await;
        }
        source.world.until_checkpointed().await;
        source.world.judge(fencing);
        running.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_option_nothing_is_acknowledged() {
    let mut source = Source::new();
    let running = source.world.start(source.world.config(1, Fencing::Transactions));
    for id in 0..10 {
        source.insert(id);
    }
    source.world.until_checkpointed().await;
    assert_eq!(source.world.mysql.acknowledged(), []);
    running.drain().await;
}

/// Another replica is waited for: what was carried is owned, not executed, when the deployer comes back.
#[tokio::test(start_paused = true)]
async fn a_transaction_that_still_waits_on_the_source_is_no_lost_one() {
    for fencing in BOTH {
        let mut source = Source::new();
        let running = source.world.start(source.config(1, fencing));
        running.leads().await;
        source.insert(0);
        source.until_all().await;
        source.world.mysql.hold_commits(true);
        source.insert(1);
        source.until_all().await;
        source.world.until_checkpointed().await;
        running.kill().await;
        let successor = source.world.start(source.config(2, fencing));
        source.insert(2);
        source.until_all().await;
        source.world.until_checkpointed().await;
        assert_eq!(source.world.state().unwrap().epoch.number, 1);
        source.world.mysql.hold_commits(false);
        source.world.judge(fencing);
        successor.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_written_past_kafka_is_acknowledged_once_it_is_in_kafka() {
    for fencing in BOTH {
        let mut sinks = Sinks { semi_sync: true, ..Sinks::new() };
        let running = sinks.start(1, fencing, true);
        let indexing = sinks.index(fencing);
        sinks.world.insert(1);
        sinks.until_fresh(Duration::from_secs(60), "before the outage").await;
        sinks.world.until_checkpointed().await;
        sinks.world.kafka.stop();
        let before = sinks.world.mysql.acknowledged();
        assert!(!before.is_empty());
        sinks.world.insert(2);
        running.until("it writes directly", |status| status.fallback == Phase::Direct).await;
        sinks.until_fresh(FRESH, "without Kafka").await;
        assert_eq!(sinks.world.mysql.acknowledged(), before, "a document is not Kafka");
        sinks.world.kafka.start();
        sinks.until_normal(&running, fencing).await;
        let end = sinks.world.last.clone().map(|(file, position)| FilePosition::new(file, position));
        assert_eq!(sinks.world.mysql.acknowledged().into_iter().max_by_key(order), end);
        running.drain().await;
        indexing.stop().await;
    }
}
