//! Port `BinlogSource` over the network. Each dump has a connection of its own, and a reader that runs ahead a little.

use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use towpath_engine::ports::source::{
    BinlogSource, BinlogStream, DumpRequest, EventBatch, SchemaSnapshot, ServerIdentity, SourceError, TransactionBytes,
};
use towpath_engine::position::FilePosition;
use towpath_models::mysql::MySql;

use super::CALL_WITHIN;
use crate::wire::{Link, Lost};

/// Batches that have come and are not yet taken.
const AHEAD: usize = 2;
/// The server's host looks up from waiting for events this often, so that no call outlives its caller for long.
const SLICE: Duration = Duration::from_secs(1);

/// A server behind the network.
pub struct RemoteSource {
    link: Link,
    mysql: MySql,
}

impl RemoteSource {
    /// The server `mysql`, reached through `link`.
    pub fn new(link: Link, mysql: MySql) -> Self {
        Self { link, mysql }
    }
}

fn unavailable(lost: Lost) -> SourceError {
    SourceError::Unavailable(lost.to_string())
}

#[async_trait]
impl BinlogSource for RemoteSource {
    async fn identify(&self) -> Result<ServerIdentity, SourceError> {
        let mysql = self.mysql.clone();
        let work = move || async move { mysql.identify().await };
        self.link.call("source.identify", CALL_WITHIN, work).await.map_err(unavailable)?
    }

    async fn dump(&self, request: DumpRequest) -> Result<Box<dyn BinlogStream>, SourceError> {
        let link = self.link.separate();
        let (mysql, deadline) = (self.mysql.clone(), request.read_deadline);
        let work = move || async move { mysql.dump(request).await };
        let stream = link.call("source.dump", CALL_WITHIN, work).await.map_err(unavailable)??;
        let (batches, arrived) = mpsc::channel(AHEAD);
        let reader = tokio::spawn(read(link, Arc::new(Mutex::new(stream)), deadline, batches));
        Ok(Box::new(RemoteStream { arrived, reader }))
    }

    async fn read_transaction(&self, at: &FilePosition) -> Result<TransactionBytes, SourceError> {
        let (mysql, at) = (self.mysql.clone(), at.clone());
        let work = move || async move { mysql.read_transaction(&at).await };
        self.link.call("source.witness", CALL_WITHIN, work).await.map_err(unavailable)?
    }

    async fn table_schemas(
        &self,
        accept: &(dyn for<'a> Fn(&'a str, &'a str) -> bool + Send + Sync),
    ) -> Result<SchemaSnapshot, SourceError> {
        let mysql = self.mysql.clone();
        let work = move || async move { mysql.table_schemas(&|_, _| true).await };
        let mut snapshot = self.link.call("source.schemas", CALL_WITHIN, work).await.map_err(unavailable)??;
        snapshot.tables.retain(|table| accept(&table.database, &table.table));
        Ok(snapshot)
    }
}

type Served = Arc<Mutex<Box<dyn BinlogStream>>>;

/// Reads ahead until the stream ends, or is silent past its deadline.
async fn read(link: Link, stream: Served, deadline: Duration, batches: mpsc::Sender<Result<EventBatch, SourceError>>) {
    let mut silent = Duration::ZERO;
    loop {
        let served = Arc::clone(&stream);
        let work = move || async move { tokio::time::timeout(SLICE, async { served.lock().await.next().await }).await };
        let result = match link.call("source.next", deadline, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) if silent + SLICE < deadline => {
                silent += SLICE;
                continue;
            }
            Ok(Err(_)) => Err(SourceError::Unavailable("no event and no heartbeat within the read deadline".into())),
            Err(lost) => Err(unavailable(lost)),
        };
        silent = Duration::ZERO;
        let over = result.is_err();
        if batches.send(result).await.is_err() || over {
            return;
        }
    }
}

struct RemoteStream {
    arrived: mpsc::Receiver<Result<EventBatch, SourceError>>,
    reader: JoinHandle<()>,
}

#[async_trait]
impl BinlogStream for RemoteStream {
    async fn next(&mut self) -> Result<EventBatch, SourceError> {
        let over = || Err(SourceError::Unavailable("the stream has ended".into()));
        self.arrived.recv().await.unwrap_or_else(over)
    }
}

impl Drop for RemoteStream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
