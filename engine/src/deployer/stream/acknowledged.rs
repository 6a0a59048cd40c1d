//! What Kafka's acknowledgements move: the window, the carried position, and a source that waits for this replica.
//!
//! The only place from which a source is acknowledged, so that none is before Kafka.

use tokio::time::Instant;

use super::waits::{rewind, settle};
use super::{Stream, StreamEnd};
use crate::deployer::Fencing;
use crate::deployer::count::carry;
use crate::deployer::xa::carry_prepared;
use crate::ports::log::{LogError, LogProducer};

impl Stream<'_> {
    /// Every record of the log's transaction is delivered and committed, or its outcome is unknown.
    pub(super) async fn committed(
        &mut self,
        producer: Box<dyn LogProducer>,
        result: Result<(), LogError>,
    ) -> Result<(), StreamEnd> {
        let mark = self.commit.take().map_or(0, |(_, mark)| mark);
        let producer = self.producer.insert(producer);
        result?;
        while self.window.outstanding() > 0 {
            let known =
                tokio::time::timeout(self.course.config.read_deadline, producer.deliveries(&mut self.deliveries));
            match known.await {
                Ok(result) => result?,
                Err(_) => return Err(rewind("a commit succeeded, but not all its deliveries are known".to_owned())),
            }
            settle(&mut self.window, &mut self.deliveries)?;
        }
        self.queue_full = false;
        self.window.committed(mark);
        self.course.meters.commits.add(1);
        self.leader.moved_at = Instant::now();
        self.carry();
        Ok(())
    }

    pub(super) fn delivered(&mut self) -> Result<(), StreamEnd> {
        settle(&mut self.window, &mut self.deliveries)?;
        self.queue_full = false;
        if self.course.config.fencing == Fencing::Versions {
            self.leader.moved_at = Instant::now();
        }
        self.carry();
        Ok(())
    }

    /// Moves the carried position past the acknowledged prefix, and tells a source that waits for it.
    pub(super) fn carry(&mut self) {
        // What is written directly is not in Kafka.
        let semi_sync = self.course.config.semi_sync && !self.leader.fallback.is_direct();
        let carried = &mut self.leader.carried;
        let mut last = None;
        let count = self.window.advance(|end| {
            // The encoder has carried the same into its own position, so this cannot refuse.
            carry(&mut carried.resume, &end);
            carry_prepared(&mut carried.prepared, &end);
            last = Some(end);
        });
        if let Some(end) = last {
            if semi_sync && let Some(source) = &mut self.source {
                source.acknowledge(&end.file_end());
            }
            carried.offset = end.offset;
            carried.last = Some(end);
            // What is written directly is in no checkpoint.
            self.leader.unsaved = !self.leader.fallback.is_direct();
        }
        if count > 0 || !self.working() {
            self.leader.moved_at = Instant::now();
            self.leader.fallback.heard();
        }
    }
}
