//! An address behind which two servers alternate, connection by connection: a balancer before a primary and its
//! replica, a name with two addresses.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};
use towpath_engine::cause::Cause;
use towpath_engine::deployer::{Deployer, Ports};
use towpath_engine::metrics::Registry;
use towpath_engine::ports::source::{
    BinlogSource, BinlogStream, DumpRequest, RowsRead, RowsWanted, SchemaSnapshot, ServerIdentity, SourceError,
};
use towpath_engine::position::FilePosition;
use towpath_models::mysql::MySql;

use super::delivery::BOTH;
use super::harness::*;

/// What has come of the requests for a stream.
#[derive(Debug, Default)]
struct Dumps {
    /// The server that was asked for, and the one that sends.
    sending: Vec<(Option<String>, String)>,
    /// Requests that met another server than they asked for.
    refused: usize,
}

/// Each connection leads to the next server, until the first one has the address alone.
struct Alternating {
    servers: [MySql; 2],
    connections: Mutex<usize>,
    alone: Arc<Mutex<bool>>,
    dumps: Arc<Mutex<Dumps>>,
}

impl Alternating {
    fn next(&self) -> MySql {
        let alone = *self.alone.lock().unwrap();
        let mut connections = self.connections.lock().unwrap();
        *connections += 1;
        // Not strictly in turn: that way no server would ever be met twice.
        let second = !alone && (*connections % 5) % 2 == 1;
        self.servers[usize::from(second)].clone()
    }
}

#[async_trait]
impl BinlogSource for Alternating {
    async fn identify(&self) -> Result<ServerIdentity, SourceError> {
        self.next().identify().await
    }

    async fn dump(&self, request: DumpRequest) -> Result<Box<dyn BinlogStream>, SourceError> {
        let (server, wanted) = (self.next(), request.server.clone());
        let result = server.dump(request).await;
        let mut dumps = self.dumps.lock().unwrap();
        match &result {
            Ok(_) => dumps.sending.push((wanted, server.identity())),
            Err(SourceError::OtherServer(_)) => dumps.refused += 1,
            Err(_) => {}
        }
        result
    }

    async fn open_transaction(&self, at: &FilePosition) -> Result<Box<dyn BinlogStream>, SourceError> {
        self.next().open_transaction(at).await
    }

    async fn table_schemas(
        &self,
        accept: &(dyn for<'a> Fn(&'a str, &'a str) -> bool + Send + Sync),
    ) -> Result<SchemaSnapshot, SourceError> {
        self.next().table_schemas(accept).await
    }

    async fn read_rows(&self, wanted: RowsWanted<'_>) -> Result<RowsRead, SourceError> {
        self.next().read_rows(wanted).await
    }
}

/// What was verified and what sends is one server, epochs rise no faster than they may, the cause is named, and once
/// the address leads to one server nothing is missing.
#[tokio::test(start_paused = true)]
async fn an_address_with_two_servers_is_named_and_loses_nothing() {
    for fencing in BOTH {
        let mut world = World::new();
        let replica = world.add_replica(2);
        let (alone, dumps) = (Arc::new(Mutex::new(false)), Arc::<Mutex<Dumps>>::default());
        let source = Alternating {
            servers: [world.mysql.clone(), replica.clone()],
            connections: Mutex::default(),
            alone: Arc::clone(&alone),
            dumps: Arc::clone(&dumps),
        };
        let ports = Ports { source: Arc::new(source), standby: Vec::new(), ..world.ports() };
        let registry = Registry::default();
        let (deployer, handle) = Deployer::new(world.config(1, fencing), ports, world.env.clone(), registry.clone());
        let running = Running { task: tokio::spawn(deployer.run()), handle, registry };
        let (started, mut named) = (Instant::now(), BTreeSet::new());
        for id in 0..600 {
            world.insert(id);
            if id % 3 > 0 {
                replica.catch_up().unwrap();
            }
            if id % 20 == 19 {
                world.mysql.kill_connections();
                replica.kill_connections();
            }
            sleep(Duration::from_millis(500)).await;
            named.extend(running.status().waiting.map(|waiting| waiting.stop.cause));
        }
        let minutes = started.elapsed().as_secs() / 60;
        let epochs = u64::from(world.state().unwrap().epoch.number);
        assert!((2..=minutes + 2).contains(&epochs), "{epochs} epochs in {minutes} minutes");
        assert!(named.contains(&Cause::OtherServer), "it waited for {named:?}");
        {
            let dumps = dumps.lock().unwrap();
            assert!(dumps.refused > 0 && dumps.sending.len() > 1, "{dumps:?}");
            let other = dumps.sending.iter().find(|(wanted, sends)| wanted.as_ref() != Some(sends));
            assert_eq!(other, None, "a stream of another server than the one that was verified");
        }

        *alone.lock().unwrap() = true;
        replica.kill_connections();
        world.until_settled().await;
        world.judge(fencing);
        running.drain().await;
    }
}
