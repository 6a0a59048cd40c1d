//! Port `BinlogSource` over the network. Each dump has a connection of its own, and a reader that runs ahead a little.

use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use towpath_engine::ports::source::{
    BinlogSource, BinlogStream, DumpRequest, EventBatch, RowsRead, RowsWanted, SchemaSnapshot, ServerIdentity,
    SourceError,
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
        Ok(Box::new(RemoteStream::start(link, stream, deadline, false)))
    }

    async fn open_transaction(&self, at: &FilePosition) -> Result<Box<dyn BinlogStream>, SourceError> {
        let link = self.link.separate();
        let (mysql, at) = (self.mysql.clone(), at.clone());
        let work = move || async move { mysql.open_transaction(&at).await };
        let stream = link.call("source.witness", CALL_WITHIN, work).await.map_err(unavailable)??;
        Ok(Box::new(RemoteStream::start(link, stream, CALL_WITHIN, true)))
    }

    async fn table_schemas(
        &self,
        accept: &(dyn for<'a> Fn(&'a str, &'a str) -> bool + Send + Sync),
    ) -> Result<SchemaSnapshot, SourceError> {
        let mysql = self.mysql.clone();
        let work = move || async move { mysql.table_schemas(&|_, _| true).await };
        let mut snapshot = self.link.call("source.schemas", CALL_WITHIN, work).await.map_err(unavailable)??;
        let found = std::mem::take(&mut snapshot.tables).into_iter().zip(std::mem::take(&mut snapshot.collations));
        (snapshot.tables, snapshot.collations) =
            found.filter(|(table, _)| accept(&table.database, &table.table)).unzip();
        Ok(snapshot)
    }

    async fn read_rows(&self, wanted: RowsWanted<'_>) -> Result<RowsRead, SourceError> {
        let mysql = self.mysql.clone();
        let (database, table) = (wanted.database.to_owned(), wanted.table.to_owned());
        let (columns, keys) = (wanted.columns.to_vec(), wanted.keys.to_vec());
        let work = move || async move {
            let wanted = RowsWanted { database: &database, table: &table, columns: &columns, keys: &keys };
            mysql.read_rows(wanted).await
        };
        self.link.call("source.rows", CALL_WITHIN, work).await.map_err(unavailable)?
    }
}

type Served = Arc<Mutex<Box<dyn BinlogStream>>>;

/// What a stream gives next.
type Next = Result<EventBatch, SourceError>;

/// Reads ahead until the stream ends, or is silent past its deadline. One that is `whole` ends with an empty batch.
async fn read(link: Link, stream: Served, deadline: Duration, whole: bool, batches: mpsc::Sender<Next>) {
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
        let over = result.as_ref().map_or(true, |batch| whole && batch.ends.is_empty());
        if batches.send(result).await.is_err() || over {
            return;
        }
    }
}

struct RemoteStream {
    arrived: mpsc::Receiver<Next>,
    reader: JoinHandle<()>,
}

impl RemoteStream {
    fn start(link: Link, stream: Box<dyn BinlogStream>, deadline: Duration, whole: bool) -> Self {
        let (batches, arrived) = mpsc::channel(AHEAD);
        let reader = tokio::spawn(read(link, Arc::new(Mutex::new(stream)), deadline, whole, batches));
        Self { arrived, reader }
    }
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
