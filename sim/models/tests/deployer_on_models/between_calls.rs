//! A server that is verified and then asked for its stream can crash in between: two calls, two connections.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use towpath_engine::deployer::{Deployer, Ports};
use towpath_engine::metrics::Registry;
use towpath_engine::ports::source::{
    BinlogSource, BinlogStream, DumpRequest, RowsRead, RowsWanted, SchemaSnapshot, ServerIdentity, SourceError,
};
use towpath_engine::position::FilePosition;
use towpath_models::mysql::{MySql, MySqlFault, RowOp};

use super::delivery::BOTH;
use super::harness::*;

type Happens = Box<dyn FnOnce() + Send>;

/// A server to which something happens right before the next request for its stream.
struct BeforeDump {
    server: MySql,
    happens: Arc<Mutex<Option<Happens>>>,
}

#[async_trait]
impl BinlogSource for BeforeDump {
    async fn identify(&self) -> Result<ServerIdentity, SourceError> {
        self.server.identify().await
    }

    async fn dump(&self, request: DumpRequest) -> Result<Box<dyn BinlogStream>, SourceError> {
        let happens = self.happens.lock().unwrap().take();
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
        self.server.read_rows(wanted).await
    }
}

/// The server loses a transaction that was carried, and another one gets its GTID, after the witness was found in place
/// and before the stream: the set that is left out of the stream names the new transaction too.
#[tokio::test(start_paused = true)]
async fn what_is_lost_between_the_look_and_the_stream_is_found() {
    for fencing in BOTH {
        let mut world = World::new();
        let happens: Arc<Mutex<Option<Happens>>> = Arc::default();
        let source = BeforeDump { server: world.mysql.clone(), happens: Arc::clone(&happens) };
        let ports = Ports { source: Arc::new(source), ..world.ports() };
        let registry = Registry::default();
        let (deployer, handle) = Deployer::new(world.config(1, fencing), ports, world.env.clone(), registry.clone());
        let running = Running { task: tokio::spawn(deployer.run()), handle, registry };
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
