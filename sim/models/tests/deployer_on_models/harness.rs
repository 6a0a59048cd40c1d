//! A world of model services with deployers in it, and the oracles that judge what they leave.
//!
//! Must not share code with the deployer beyond the record reader: the oracles look at the services alone.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use towpath_engine::cause::{Cause, Stop};
use towpath_engine::deployer::{
    Deployer, DeployerConfig, DeployerHandle, DeployerStatus, Fencing, Ports, Role, Start, TableFilter,
};
use towpath_engine::env::Env;
use towpath_engine::format::{ChangeKind, Incoming, ReadKind, Reader};
use towpath_engine::metrics::Registry;
use towpath_engine::ports::source::BinlogSource;
use towpath_engine::position::Position;
use towpath_engine::schema::{Column, ColumnType, TableSchema};
use towpath_engine::state::{self, PipelineState};
use towpath_models::kafka::{Kafka, KafkaConfig};
use towpath_models::mysql::{MySql, MySqlConfig, RowOp, Value};
use towpath_models::zookeeper::ZooKeeper;

pub const PARTITIONS: u32 = 3;
pub const STATE: &str = "/towpath/orders/state";
/// Nothing here takes longer, in simulated time.
pub const PATIENCE: Duration = Duration::from_secs(600);

pub struct World {
    /// The server that is written.
    pub mysql: MySql,
    /// The servers a deployer knows: its source, then its standbys.
    pub sources: Vec<MySql>,
    pub kafka: Kafka,
    pub zookeeper: ZooKeeper,
    pub env: Env,
    /// The number every change writes, so that each can be told apart.
    pub next: i64,
    /// Where the last change of a row ends in the files.
    pub last: Option<(String, u64)>,
    /// What the deployers say, for the message of a test that fails.
    said: RefCell<Vec<watch::Receiver<DeployerStatus>>>,
}

pub struct Running {
    pub task: JoinHandle<Result<(), Stop>>,
    pub handle: DeployerHandle,
    pub registry: Registry,
}

fn column(name: &str, kind: ColumnType, collation: Option<u16>) -> Column {
    Column { name: name.into(), kind, unsigned: false, nullable: name != "id", collation }
}

pub fn schema(table: &str) -> TableSchema {
    TableSchema {
        database: "orders".into(),
        table: table.into(),
        columns: vec![
            column("id", ColumnType::BigInt, None),
            column("number", ColumnType::BigInt, None),
            column("note", ColumnType::Blob { length_bytes: 4 }, Some(255)),
        ],
        primary_key: vec![0],
    }
}

pub fn mysql_config() -> MySqlConfig {
    MySqlConfig::default()
}

impl World {
    pub fn new() -> Self {
        Self::with(mysql_config())
    }

    pub fn with(config: MySqlConfig) -> Self {
        let start = Instant::now();
        let env = Env::new(move || 1_795_420_000_000 + start.elapsed().as_millis() as u64, 7);
        let mysql = MySql::new(config, env.clone());
        let zookeeper = ZooKeeper::new(Duration::from_secs(10));
        zookeeper.create_path("/towpath");
        let kafka = Kafka::new(KafkaConfig::default());
        mysql.create_table(schema("order_main")).unwrap();
        Self {
            sources: vec![mysql.clone()],
            mysql,
            kafka,
            zookeeper,
            env,
            next: 0,
            last: None,
            said: RefCell::default(),
        }
    }

    pub fn config(&self, instance: u32, fencing: Fencing) -> DeployerConfig {
        let mut config = DeployerConfig::new("orders", "orders", PARTITIONS, 100 + instance);
        config.instance = format!("deployer-{instance}");
        config.tables = TableFilter::new(["orders.*"]).unwrap();
        config.start = Some(Start::Oldest);
        config.fencing = fencing;
        config
    }

    pub fn ports(&self) -> Ports {
        Ports {
            source: Arc::new(self.sources[0].clone()),
            standby: self.sources[1..].iter().map(|server| Arc::new(server.clone()) as Arc<dyn BinlogSource>).collect(),
            log: Arc::new(self.kafka.clone()),
            coordinator: Arc::new(self.zookeeper.factory("/towpath", "orders")),
            indexes: Vec::new(),
        }
    }

    pub fn start(&self, config: DeployerConfig) -> Running {
        let registry = Registry::default();
        let (deployer, handle) = Deployer::new(config, self.ports(), self.env.clone(), registry.clone());
        self.said.borrow_mut().push(handle.status());
        Running { task: tokio::spawn(deployer.run()), handle, registry }
    }

    /// Runs a deployer that must stop, and gives its cause.
    pub async fn stops(&self, config: DeployerConfig) -> Stop {
        let running = self.start(config);
        let result = timeout(PATIENCE, running.task).await.expect("it neither stops nor says why").unwrap();
        let stop = result.expect_err("it ended without a cause");
        let status = running.handle.status().borrow().clone();
        assert_eq!((status.role, status.stop.as_ref()), (Role::Ended, Some(&stop)));
        stop
    }

    /// A replica of the written server, as a standby of the deployers that start from now on.
    pub fn add_replica(&mut self, number: u32) -> MySql {
        let server_uuid = format!("0a1b2c3d-0000-11f1-8000-{number:012}");
        let replica = self.mysql.replica(MySqlConfig { server_uuid, server_id: number, ..mysql_config() });
        self.sources.push(replica.clone());
        replica
    }

    /// The written server dies; this replica is promoted and written from now on.
    pub fn fail_over_to(&mut self, replica: &MySql) {
        self.mysql.stop();
        replica.promote();
        self.mysql = replica.clone();
    }

    /// Waits until all that the written server has is carried, under an epoch of it, and nothing is left to repair.
    pub async fn until_settled(&self) {
        let server = self.mysql.identity();
        self.until("all is carried and repaired", |world| {
            world.state().is_some_and(|state| {
                let Position::Gtid(set) = &state.checkpoint.resume else { return false };
                state.epoch.server == server
                    && set.to_string() == world.mysql.executed().to_string()
                    && state.pending.is_empty()
            })
        })
        .await;
    }

    /// Inserts a row.
    pub fn insert(&mut self, id: i64) {
        self.insert_many(&[id]);
    }

    /// Inserts rows in one transaction.
    pub fn insert_many(&mut self, ids: &[i64]) {
        let ops: Vec<RowOp> = ids.iter().map(|&id| RowOp::insert("orders", "order_main", self.row(id))).collect();
        self.commit(&ops);
    }

    fn commit(&mut self, ops: &[RowOp]) {
        let commit = self.mysql.commit(ops).unwrap();
        self.last = Some((commit.at.file, commit.end));
    }

    /// Changes a row.
    pub fn update(&mut self, id: i64) {
        let row = self.row(id);
        self.commit(&[RowOp::update("orders", "order_main", vec![Value::Int(id)], row)]);
    }

    /// Removes a row.
    pub fn delete(&mut self, id: i64) {
        self.commit(&[RowOp::delete("orders", "order_main", vec![Value::Int(id)])]);
    }

    /// A row with the next number.
    pub fn row(&mut self, id: i64) -> Vec<Value> {
        self.next += 1;
        vec![Value::Int(id), Value::Int(self.next), Value::Text(format!("note {}", self.next))]
    }

    /// Writes the state, as somebody who restores or repairs it does.
    pub fn put_state(&self, state: &PipelineState) {
        let mut state = state.clone();
        self.zookeeper.set_node(STATE, &state::encode(&mut state).unwrap());
    }

    pub fn state(&self) -> Option<PipelineState> {
        self.zookeeper.node(STATE).map(|(bytes, _)| state::decode(&bytes).unwrap())
    }

    /// Waits until the condition holds, looking again every few simulated milliseconds.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        while !holds(self) {
            if started.elapsed() > PATIENCE {
                let said: Vec<_> = self.said.borrow().iter().map(|status| status.borrow().clone()).collect();
                panic!("in vain: {what}; deployers {said:#?}; state {:?}", self.state());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the checkpoint holds all that the source has.
    pub async fn until_checkpointed(&self) {
        self.until("the checkpoint reaches the source's end", |world| {
            world.state().is_some_and(|state| match &state.checkpoint.resume {
                Position::Gtid(set) => set.to_string() == world.mysql.executed().to_string(),
                _ => state.checkpoint.file.map(|file| (file.file, file.position)) == world.last,
            })
        })
        .await;
    }

    /// Every change that is committed in the log, by partition and offset.
    pub fn changes(&self) -> Vec<Change> {
        let mut reader = Reader::new();
        let mut changes = Vec::new();
        for record in self.kafka.records("orders") {
            let Incoming::Change(change) = reader.read(&record).unwrap() else { continue };
            for row in change.rows() {
                let text = |name: &str| {
                    let column = change.shape.column(name).unwrap();
                    row.data(column).text().unwrap().to_owned()
                };
                changes.push(Change {
                    partition: record.partition,
                    place: record.offset,
                    term: change.headers.term,
                    epoch: change.headers.epoch,
                    offset: row.offset(),
                    gtid: change.headers.gtid.clone(),
                    id: text("id").parse().unwrap(),
                    number: text("number").parse().unwrap(),
                    delete: change.kind == ChangeKind::Delete,
                    read: change.headers.read,
                });
            }
        }
        changes
    }

    /// The oracles: nothing lost, the last word wins, one version one content, what is checkpointed is in the log.
    pub fn judge(&self, fencing: Fencing) {
        let all = self.changes();
        // Adapters drop what comes after a record of a higher term; under transactions there must be none.
        let mut terms: BTreeMap<u32, u64> = BTreeMap::new();
        let mut changes = Vec::new();
        for change in &all {
            let seen = terms.entry(change.partition).or_default();
            if change.term < *seen {
                assert_eq!(fencing, Fencing::Versions, "a lower term follows a higher one in the log: {change:?}");
                continue;
            }
            *seen = change.term;
            changes.push(change);
        }
        let mut versions: BTreeMap<(u16, u64), &Change> = BTreeMap::new();
        for change in all.iter().filter(|change| change.read.is_none()) {
            let first = versions.entry((change.epoch, change.offset)).or_insert(change);
            let same = |c: &Change| (c.gtid.clone(), c.id, c.number, c.delete);
            assert_eq!(same(first), same(change), "one version, two contents");
        }
        let mut newest: BTreeMap<i64, &Change> = BTreeMap::new();
        for change in &changes {
            let kept = newest.entry(change.id).or_insert(change);
            if (change.epoch, change.offset) >= (kept.epoch, kept.offset) {
                *kept = change;
            }
        }
        let expected: BTreeMap<i64, i64> =
            self.mysql.rows("orders", "order_main").iter().map(|row| ints(row)).collect();
        let found: BTreeMap<i64, i64> =
            newest.values().filter(|change| !change.delete).map(|change| (change.id, change.number)).collect();
        assert_eq!(found, expected, "the log's last words differ from the rows");
        let numbers: std::collections::BTreeSet<i64> = changes.iter().map(|change| change.number).collect();
        let missing: Vec<i64> = (1..=self.next).filter(|number| !numbers.contains(number)).collect();
        assert_eq!(missing, [] as [i64; 0], "changes that are nowhere in the log");
    }

    /// Whether everything the checkpoint holds is committed in the log, now.
    pub fn checkpoint_is_acknowledged(&self, first_gtid: u64) -> bool {
        let Some(state) = self.state() else { return true };
        let Position::Gtid(set) = &state.checkpoint.resume else { return true };
        let carried = set.sources().next().map_or(0, |(_, _, intervals)| intervals[0].1);
        let known: std::collections::BTreeSet<String> = self.changes().into_iter().filter_map(|c| c.gtid).collect();
        let uuid = mysql_config().server_uuid;
        (first_gtid..=carried).all(|number| known.contains(&format!("{uuid}:{number}")))
    }
}

fn ints(row: &[Value]) -> (i64, i64) {
    match (&row[0], &row[1]) {
        (Value::Int(id), Value::Int(number)) => (*id, *number),
        other => panic!("not a row of this test: {other:?}"),
    }
}

#[derive(Debug, Clone)]
pub struct Change {
    pub partition: u32,
    pub place: i64,
    pub term: u64,
    pub epoch: u16,
    pub offset: u64,
    pub gtid: Option<String>,
    pub id: i64,
    pub number: i64,
    pub delete: bool,
    pub read: Option<ReadKind>,
}

impl Running {
    pub fn status(&self) -> DeployerStatus {
        self.handle.status().borrow().clone()
    }

    pub fn metric(&self, name: &str) -> i64 {
        self.registry.snapshot().get(name).map_or(0, |family| family.series.values().map(|metric| metric.get()).sum())
    }

    /// Waits until it stops, and gives its cause.
    pub async fn stopped(self) -> Stop {
        let result = timeout(PATIENCE, self.task).await.expect("it neither stops nor says why").unwrap();
        result.expect_err("it ended without a cause")
    }

    /// Waits until the status says so.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&DeployerStatus) -> bool) {
        let mut status = self.handle.status();
        let found = timeout(PATIENCE, status.wait_for(|status| holds(status))).await;
        assert!(found.is_ok(), "in vain: {what}; status {:?}", self.status());
    }

    pub async fn leads(&self) {
        self.until("it leads", |status| status.role == Role::Leader).await;
    }

    /// Ends the process at once, as SIGKILL does.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// Ends it in order.
    pub async fn drain(self) {
        self.handle.drain();
        timeout(PATIENCE, self.task).await.expect("the drain does not end").unwrap().expect("an orderly end");
    }
}

/// Asserts a stop's cause and words.
pub fn assert_stop(stop: &Stop, cause: Cause, words: &str) {
    assert!(stop.cause == cause && stop.detail.contains(words), "{stop} (expected {cause}: … {words} …)");
}
