//! What a stream waits for, where each part may be away; taking deliveries in; and the ways it ends.
//!
//! Must not decide how the stream goes on.

use super::StreamEnd;
use crate::branch::{self, Branch};
use crate::canary::{self, Canary};
use crate::cause::{Cause, Stop};
use crate::deployer::count::TransactionEnd;
use crate::deployer::course::Halt;
use crate::deployer::group::GroupReader;
use crate::deployer::window::Window;
use crate::ports::log::{Delivery, LogError, LogProducer};
use crate::ports::source::{BinlogStream, EventBatch, SourceError};

/// Takes all reported deliveries in. A failed one makes the stream rewind; the others still count.
pub(super) fn settle(window: &mut Window<TransactionEnd>, deliveries: &mut Vec<Delivery>) -> Result<(), StreamEnd> {
    let mut failed = None;
    for delivery in deliveries.drain(..) {
        match delivery.result {
            Ok((partition, offset)) => {
                if let Err(error) = window.delivered(delivery.tag, partition, offset) {
                    failed = Some(error.to_string());
                }
            }
            Err(_) if canary::on(Canary::FailedDeliveryCounts) => {
                let _ = window.delivered(delivery.tag, 0, 0);
            }
            Err(why) => {
                branch::reached(Branch::DeliveryFailed);
                failed = Some(format!("a record's delivery failed or is unknown: {why}"));
            }
        }
    }
    failed.map_or(Ok(()), |why| Err(rewind(why)))
}

/// The future's result, or never.
pub(super) async fn when<F: Future + Unpin>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

pub(super) async fn deliveries(
    producer: Option<&mut Box<dyn LogProducer>>,
    out: &mut Vec<Delivery>,
) -> Result<(), LogError> {
    match producer {
        Some(producer) => producer.deliveries(out).await,
        None => std::future::pending().await,
    }
}

pub(super) async fn group(group: Option<&mut GroupReader>) -> Result<EventBatch, SourceError> {
    match group {
        Some(group) => group.read().await,
        None => std::future::pending().await,
    }
}

pub(super) async fn batch(source: Option<&mut Box<dyn BinlogStream>>) -> Result<EventBatch, SourceError> {
    match source {
        Some(source) => source.next().await,
        None => std::future::pending().await,
    }
}

/// Back to what is acknowledged: the log is at fault.
pub(super) fn rewind(why: String) -> StreamEnd {
    StreamEnd::Rewind(Stop::new(Cause::LogUnavailable, why))
}

/// The lead is gone.
pub(super) fn lost(why: &str) -> StreamEnd {
    StreamEnd::Halt(Halt::Lost(why.to_owned()))
}
