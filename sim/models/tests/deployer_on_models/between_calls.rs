//! A server that is verified and then asked for its stream can crash in between: two calls, two connections.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use towpath_engine::deployer::{Deployer, Fencing, Ports};
use towpath_engine::metrics::Registry;
use towpath_engine::ports::source::{
    BinlogSource, BinlogStream, DumpRequest, RowsRead, RowsWanted, SchemaSnapshot, ServerIdentity, SourceError,
};
use towpath_engine::position::FilePosition;
use towpath_models::mysql::{MySql, MySqlFault, RowOp, Value};

use super::delivery::BOTH;
use super::harness::*;
use super::sinks::*;

type Happens = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// A server to which something happens right before a request.
struct Before {
    server: MySql,
    /// The next one for its stream.
    dump: Happens,
    /// One for rows, which finds no server any more; how many are answered before it.
    rows: Happens,
    answers: AtomicU32,
}

impl Before {
    fn new(server: &MySql, answers: u32) -> Self {
        let answers = AtomicU32::new(answers);
        Self { server: server.clone(), dump: Happens::default(), rows: Happens::default(), answers }
    }
}

/// A deployer of which that server is the source.
fn start(world: &World, server: Before, fencing: Fencing) -> Running {
    let ports = Ports { source: Arc::new(server), ..world.ports() };
    let registry = Registry::default();
    let (deployer, handle) = Deployer::new(world.config(1, fencing), ports, world.env.clone(), registry.clone());
    Running { task: tokio::spawn(deployer.run()), handle, registry }
}

#[async_trait]
impl BinlogSource for Before {
    async fn identify(&self) -> Result<ServerIdentity, SourceError> {
        self.server.identify().await
    }

    async fn dump(&self, request: DumpRequest) -> Result<Box<dyn BinlogStream>, SourceError> {
        let happens = self.dump.lock().unwrap().take();
        if let Some(happens) = happens {
            happens();
        }
        self.server.dump(request).await
    }

    async fn open_transaction(&self, at: &FilePosition) -> Result<Box<dyn BinlogStream>, SourceError> {
        self.server.open_transaction(at).await
    }

    async fn table_schemas(
        &self,
        accept: &(dyn for<'a> Fn(&'a str, &'a str) -> bool + Send + Sync),
    ) -> Result<SchemaSnapshot, SourceError> {
        self.server.table_schemas(accept).await
    }

    async fn read_rows(&self, wanted: RowsWanted<'_>) -> Result<RowsRead, SourceError> {
        if self.rows.lock().unwrap().is_some() && self.answers.fetch_sub(1, Ordering::Relaxed) == 0 {
            let happens = self.rows.lock().unwrap().take();
            happens.unwrap()();
            return Err(SourceError::Unavailable("it has crashed".into()));
        }
        self.server.read_rows(wanted).await
    }
}

/// The server loses a transaction that was carried, and another one gets its GTID, after the witness was found in place
/// and before the stream: the set that is left out of the stream names the new transaction too.
#[tokio::test(start_paused = true)]
async fn what_is_lost_between_the_look_and_the_stream_is_found() {
    for fencing in BOTH {
        let mut world = World::new();
        let server = Before::new(&world.mysql, 0);
        let happens = Arc::clone(&server.dump);
        let running = start(&world, server, fencing);
        for id in 0..5 {
            world.insert(id);
        }
        world.until_checkpointed().await;

        let row = world.row(20);
        let server = world.mysql.clone();
        *happens.lock().unwrap() = Some(Box::new(move || {
            server.crash(1);
            server.commit(&[RowOp::insert("orders", "order_main", row)]).unwrap();
        }));
        world.mysql.fail_next(MySqlFault::StreamBreaks, 1);
        world.until("it happened", |_| happens.lock().unwrap().is_none()).await;
        world.until("the epoch rises", |world| world.state().is_some_and(|state| state.epoch.number == 2)).await;
        world.until_settled().await;
        world.judge(fencing);
        running.drain().await;
    }
}

/// An epoch rises, and rows are read again: those of one partition are written, with a change that is in no
/// record of its own yet. Before the next are read the server loses it.
#[tokio::test(start_paused = true)]
async fn what_a_repair_has_shown_and_is_lost_before_it_ends_is_found() {
    for fencing in BOTH {
        let mut sinks = Sinks::new();
        let world = &mut sinks.world;
        let server = Before::new(&world.mysql, 1);
        let rows = Arc::clone(&server.rows);
        let running = start(world, server, fencing);
        for id in 0..10 {
            world.insert(id);
        }
        world.until_checkpointed().await;
        // Two rows of one partition are read again, and then one of another, since their last changes are lost.
        let of = |partition| world.changes().into_iter().filter(move |change| change.partition == partition);
        let lost: Vec<i64> = of(0).take(2).chain(of(1).take(1)).map(|change| change.id).collect();
        lost.iter().for_each(|&id| world.update(id));
        let carried = |world: &World| world.changes().len() == 13;
        world.until("they are in the log", carried).await;
        let indexing = sinks.index(fencing);

        let world = &mut sinks.world;
        let mysql = world.mysql.clone();
        let first = lost[0];
        *rows.lock().unwrap() = Some(Box::new(move || {
            mysql.crash(1);
            // One row less, so that those after it are read with lower versions.
            mysql.commit(&[RowOp::delete("orders", "order_main", vec![Value::Int(first)])]).unwrap();
        }));
        world.mysql.crash(3);
        world.update(lost[1]);
        sinks.world.until("it happened", |_| rows.lock().unwrap().is_none()).await;
        sinks.world.until_settled().await;
        sinks.until_fresh(Duration::from_secs(60), "after the second crash").await;
        assert_eq!(sinks.world.state().unwrap().epoch.number, 3, "rows that were shown were lost");
        running.drain().await;
        indexing.stop().await;
    }
}
