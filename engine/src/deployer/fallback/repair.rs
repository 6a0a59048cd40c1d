//! Repairs of what was written directly: the keys in the journals are read again and emitted as rows that were read,
//! as those in the log are.
//!
//! Must not finish a pending repair: that takes the log.

use crate::canary::{self, Canary};
use crate::deployer::leader::Leader;
use crate::deployer::readback::ReadBack;
use crate::deployer::stream::StreamEnd;
use crate::gtid::GtidSet;
use crate::ports::index::IndexError;
use crate::ports::log::LogProducer;

use super::runs::journals;
use super::{Fallback, journal};

impl Leader {
    /// Whether documents have to be repaired before they are written directly under this epoch.
    pub fn must_repair_directly(&self) -> bool {
        let pending = self.state.pending.iter().any(|repair| repair.seen.is_none());
        pending && self.fallback.repaired != self.state.epoch.number
    }

    /// Emits the rows of all journalled keys; how many there were. What the rows may show is added to `seen`.
    pub async fn repair_journalled(
        &mut self,
        producer: &mut dyn LogProducer,
        kept: &GtidSet,
        back: &mut ReadBack,
        seen: &mut GtidSet,
    ) -> Result<u64, StreamEnd> {
        let Some(sinks) = self.course.direct.clone().filter(|_| !canary::on(Canary::JournalUnrepaired)) else {
            return Ok(0);
        };
        let mut keys = 0;
        for run in self.state.fallback.clone() {
            for journal in journals(&sinks, &self.course.config.pipeline, &run) {
                if !journal.open().await.map_err(again)? {
                    continue;
                }
                // What this very repair writes is not to be read again.
                let before = self.fallback.before_this_log().filter(|_| run.term == self.term);
                let mut pages = journal.pages(before);
                while let Some(records) = pages.next().await.map_err(again)? {
                    self.session.until_live().await.map_err(StreamEnd::Halt)?;
                    keys += self.repair_piece(&records, kept, back, producer, seen).await?;
                }
            }
        }
        Ok(keys)
    }

    /// The documents are repaired, as far as the journals tell; the log is when it is back.
    pub fn repaired_directly(&mut self) {
        self.fallback.repaired = self.state.epoch.number;
    }
}

impl Fallback {
    /// While documents are written directly: the first id of the running log's entries, above all others.
    fn before_this_log(&self) -> Option<String> {
        self.is_direct().then(|| journal::entry_id(self.serial, 0))
    }
}

fn again(error: IndexError) -> StreamEnd {
    StreamEnd::Rewind(crate::cause::Stop::new(crate::cause::Cause::SinkUnavailable, error.to_string()))
}
