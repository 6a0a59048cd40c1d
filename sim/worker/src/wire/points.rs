//! Places where a fault can begin: the nth call of a kind, before it is sent or when its answer has come.
//!
//! Only counts and reports. What happens there is the run's business, at its next step; the call waits for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// A call that has reached an armed place. It goes on when this is dropped.
#[derive(Debug)]
pub struct Arrival {
    /// The index of the fault that waits for it.
    pub fault: usize,
    /// The process that makes the call.
    pub host: String,
    _go_on: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Armed {
    fault: usize,
    call: String,
    nth: u32,
    after: bool,
}

#[derive(Debug, Default)]
struct Inner {
    armed: Vec<Armed>,
    counts: BTreeMap<(String, bool), u32>,
    arrivals: Vec<Arrival>,
}

/// The places of one run.
#[derive(Debug, Clone, Default)]
pub struct Points(Arc<Mutex<Inner>>);

impl Points {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets fault `fault` begin at a call.
    pub fn arm(&self, fault: usize, call: &str, nth: u32, after: bool) {
        self.inner().armed.push(Armed { fault, call: call.to_owned(), nth, after });
    }

    /// No fault begins at a call any more.
    pub fn disarm(&self) {
        self.inner().armed.clear();
    }

    /// A call passes here; waits if a fault begins.
    pub async fn pass(&self, host: &str, call: &str, after: bool) {
        let wait = {
            let mut inner = self.inner();
            let count = inner.counts.entry((call.to_owned(), after)).or_default();
            *count += 1;
            let count = *count;
            let hit = inner.armed.iter().position(|a| a.call == call && a.after == after && a.nth == count);
            hit.map(|index| {
                let (go_on, wait) = oneshot::channel();
                let fault = inner.armed.remove(index).fault;
                inner.arrivals.push(Arrival { fault, host: host.to_owned(), _go_on: go_on });
                wait
            })
        };
        if let Some(wait) = wait {
            let _ = wait.await;
        }
    }

    /// The calls that have arrived at an armed place since the last look.
    pub fn arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut self.inner().arrivals)
    }

    /// How often each call was sent.
    pub fn counts(&self) -> BTreeMap<String, u32> {
        let inner = self.inner();
        inner.counts.iter().filter(|((_, after), _)| !after).map(|((call, _), count)| (call.clone(), *count)).collect()
    }
}
