//! The whole pipeline on real services, driven from outside: for the demo, the kill tests and the benches.
//!
//! Must not call the engine: `towpath` is started as the process that users run, and seen only through its admin
//! port, its exit status, and what lies in the services.

pub mod compare;
pub mod config;
pub mod fleet;
pub mod freshness;
pub mod orders;
pub mod proc;
pub mod towpath;
pub mod writer;

use anyhow::{Result, bail};
use std::future::Future;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Waits until `look` gives something; an error that names `what` after `patience`.
pub async fn wait_for<T, F, Fut>(what: &str, patience: Duration, mut look: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>>>,
{
    let deadline = Instant::now() + patience;
    loop {
        match look().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) if Instant::now() >= deadline => bail!("waited {patience:?} in vain for {what}"),
            Err(error) if Instant::now() >= deadline => {
                return Err(error.context(format!("waited {patience:?} in vain for {what}")));
            }
            _ => sleep(Duration::from_millis(50)).await,
        }
    }
}
