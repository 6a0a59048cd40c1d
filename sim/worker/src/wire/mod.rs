//! Calls over the simulated network: a frame carries a number, the number names work in a table of this process.
//!
//! Nothing is serialised, and the network's faults stay honest: work is done by the service's host when, and only if,
//! its frame arrives there; its answer counts when, and only if, the frame comes back. A call whose answer was lost
//! has taken effect. Must not know what the calls mean.

mod gate;
mod link;
mod points;

pub use gate::Gate;
pub use link::{Link, Lost, Network};
pub use points::{Arrival, Points};

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use turmoil::net::{TcpListener, TcpStream};

/// The port of every service.
pub const PORT: u16 = 7000;

/// What a call comes to, whatever its type.
pub type Reply = Box<dyn Any + Send>;
/// What the service's host does when the frame arrives.
pub type Work = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Reply> + Send>> + Send>;

#[derive(Default)]
struct Table {
    next: u64,
    asked: BTreeMap<u64, Work>,
    answered: BTreeMap<u64, Reply>,
}

/// What the numbers in the frames name.
#[derive(Clone, Default)]
pub struct Exchange(Arc<Mutex<Table>>);

impl Exchange {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, work: Work) -> u64 {
        let mut table = self.table();
        table.next += 1;
        let number = table.next;
        table.asked.insert(number, work);
        number
    }

    fn take_work(&self, number: u64) -> Option<Work> {
        self.table().asked.remove(&number)
    }

    fn answer(&self, number: u64, reply: Reply) {
        self.table().answered.insert(number, reply);
    }

    fn take_answer(&self, number: u64) -> Option<Reply> {
        self.table().answered.remove(&number)
    }
}

/// A service's host: does the work whose frames arrive, on this host's clock.
pub async fn serve(exchange: Exchange) -> turmoil::Result {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream, exchange.clone()));
    }
}

async fn connection(stream: TcpStream, exchange: Exchange) {
    let (mut read, mut write) = stream.into_split();
    let (done, mut finished) = mpsc::unbounded_channel::<u64>();
    tokio::spawn(async move {
        while let Some(number) = finished.recv().await {
            if write.write_all(&number.to_be_bytes()).await.is_err() {
                return;
            }
        }
    });
    while let Ok(number) = read.read_u64().await {
        // A frame whose work is gone was answered already.
        let Some(work) = exchange.take_work(number) else { continue };
        let (exchange, done) = (exchange.clone(), done.clone());
        tokio::spawn(async move {
            let reply = work().await;
            exchange.answer(number, reply);
            let _ = done.send(number);
        });
    }
}
