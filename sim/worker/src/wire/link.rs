//! A process's way to one service: a connection, made when needed and again when it broke, and calls with deadlines.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use turmoil::net::TcpStream;

use super::{Exchange, Gate, PORT, Points, Reply};

/// A connection that is not there after this long never comes.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// There is no answer. The call may have taken effect, unless nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// No connection: nothing was sent.
    NotSent,
    /// It was sent and nobody knows.
    Unknown,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotSent => "no connection",
            Self::Unknown => "no answer within the deadline",
        })
    }
}

/// What all links of one process share.
#[derive(Clone)]
pub struct Network {
    /// The process's name.
    pub host: String,
    /// What frames name.
    pub exchange: Exchange,
    /// Pauses the process.
    pub gate: Gate,
    /// Where faults can begin.
    pub points: Points,
}

type Waiting = Arc<Mutex<BTreeMap<u64, oneshot::Sender<()>>>>;

struct Connection {
    frames: mpsc::UnboundedSender<u64>,
    waiting: Waiting,
    broken: Arc<AtomicBool>,
}

/// A link. Clones share the connection.
#[derive(Clone)]
pub struct Link {
    network: Network,
    service: String,
    connection: Arc<tokio::sync::Mutex<Option<Arc<Connection>>>>,
}

impl Link {
    /// A link to a service's host; connects at the first call.
    pub fn new(network: &Network, service: &str) -> Self {
        Self { network: network.clone(), service: service.to_owned(), connection: Arc::default() }
    }

    /// Another link to the same service, with a connection of its own.
    pub fn separate(&self) -> Self {
        Self::new(&self.network, &self.service)
    }

    /// The process's name.
    pub fn host(&self) -> &str {
        &self.network.host
    }

    /// The gate of this process.
    pub fn gate(&self) -> &Gate {
        &self.network.gate
    }

    /// Has `work` done by the service's host.
    ///
    /// # Errors
    /// [`Lost`] when no answer came within the deadline, or the connection broke.
    pub async fn call<T, F>(
        &self,
        name: &'static str,
        deadline: Duration,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, Lost>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let Network { host, exchange, gate, points } = &self.network;
        points.pass(host, name, false).await;
        gate.open().await;
        let connection = self.connection().await?;
        let number = exchange.ask(Box::new(move || Box::pin(async move { Box::new(work().await) as Reply })));
        let (answered, answer) = oneshot::channel();
        lock(&connection.waiting).insert(number, answered);
        tracing::trace!(number, name, service = self.service, "asks");
        if connection.frames.send(number).is_err() {
            connection.broken.store(true, Ordering::Relaxed);
        }
        let came = matches!(timeout(deadline, answer).await, Ok(Ok(())));
        gate.open().await;
        points.pass(host, name, true).await;
        lock(&connection.waiting).remove(&number);
        let reply = came.then(|| exchange.take_answer(number)).flatten().and_then(|reply| reply.downcast::<T>().ok());
        tracing::trace!(number, name, answered = reply.is_some(), "has");
        match reply {
            Some(reply) => Ok(*reply),
            None => {
                // TCP delivers in order: where one answer is missing, later ones may be stuck behind it.
                connection.broken.store(true, Ordering::Relaxed);
                Err(Lost::Unknown)
            }
        }
    }

    async fn connection(&self) -> Result<Arc<Connection>, Lost> {
        let mut current = self.connection.lock().await;
        if let Some(connection) = current.as_ref().filter(|connection| !connection.broken.load(Ordering::Relaxed)) {
            return Ok(Arc::clone(connection));
        }
        *current = None;
        let stream = match timeout(CONNECT_WITHIN, TcpStream::connect((self.service.as_str(), PORT))).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) | Err(_) => return Err(Lost::NotSent),
        };
        let connection = Arc::new(Connection::start(stream));
        *current = Some(Arc::clone(&connection));
        Ok(connection)
    }
}

impl Connection {
    fn start(stream: TcpStream) -> Self {
        let (mut read, mut write) = stream.into_split();
        let (frames, mut to_send) = mpsc::unbounded_channel::<u64>();
        let (waiting, broken) = (Waiting::default(), Arc::new(AtomicBool::new(false)));
        tokio::spawn({
            let broken = Arc::clone(&broken);
            async move {
                while let Some(number) = to_send.recv().await {
                    if write.write_all(&number.to_be_bytes()).await.is_err() {
                        broken.store(true, Ordering::Relaxed);
                        return;
                    }
                }
            }
        });
        tokio::spawn({
            let (waiting, broken) = (Arc::clone(&waiting), Arc::clone(&broken));
            async move {
                while let Ok(number) = read.read_u64().await {
                    if let Some(answered) = lock(&waiting).remove(&number) {
                        let _ = answered.send(());
                    }
                }
                broken.store(true, Ordering::Relaxed);
                // Those that still wait hear at once that nothing will come.
                lock(&waiting).clear();
            }
        });
        Self { frames, waiting, broken }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
