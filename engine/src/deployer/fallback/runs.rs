//! Runs of the fallback path in the state: named before their journals are made, sealed and read by a successor, let go
//! when all that they wrote is in Kafka.
//!
//! Must not write documents.

use std::sync::Arc;

use super::{DirectSinks, Fallback, Journal, show};
use crate::cause::{Cause, Stop};
use crate::deployer::course::{Course, Failure, Halt};
use crate::deployer::encode::Highest;
use crate::deployer::leader::Leader;
use crate::deployer::tail::LogTail;
use crate::state::{FallbackRun, PipelineState};

/// The journals of a run, in those of its sinks that this process knows.
pub fn journals(sinks: &DirectSinks, pipeline: &str, run: &FallbackRun) -> Vec<Journal> {
    let known = run.sinks.iter().filter_map(|sink| {
        let cluster = Arc::clone(sinks.indexes.get(sink)?);
        Some(Journal::new(cluster, pipeline, sink, (run.term, run.number)))
    });
    known.collect()
}

impl Leader {
    /// Names a run in the state, in a guarded write, before anything of it exists.
    pub(super) async fn name_run(&mut self, sinks: &DirectSinks) -> Result<(), Halt> {
        let (term, epoch) = (self.term, self.state.epoch.number);
        let now_ms = self.course.env.wall_ms();
        if let Some(run) = self.state.fallback.iter_mut().rfind(|run| run.term == term) {
            // Kafka has not passed the last one yet: it goes on, so that a Kafka that comes and goes fills no state.
            run.cursor = None;
        } else {
            self.fallback.runs += 1;
            self.state.fallback.push(FallbackRun {
                term,
                number: self.fallback.runs,
                sinks: sinks.config.sinks.iter().map(|sink| sink.name.clone()).collect(),
                epoch,
                start: self.carried.offset,
                cursor: None,
                began_ms: now_ms,
            });
        }
        self.state.note(
            now_ms,
            format!("documents are written directly from offset {} of epoch {epoch}", self.carried.offset),
        );
        self.save("fallback").await
    }

    /// The own run is over: nothing beyond its cursor was written.
    pub(super) fn end_run(&mut self) {
        let (term, epoch) = (self.term, self.state.epoch.number);
        let cursor = self.fallback.shown.as_ref().filter(|(of, _)| *of == epoch).map_or(0, |(_, shown)| shown.offset);
        for run in self.state.fallback.iter_mut().filter(|run| run.term == term && run.cursor.is_none()) {
            (run.epoch, run.cursor) = (epoch, Some(cursor));
        }
        let now_ms = self.course.env.wall_ms();
        self.state.note(now_ms, format!("documents were written directly up to offset {cursor} of epoch {epoch}"));
    }

    /// Lets go what Kafka's path has passed: all its keys are in the log, where a repair finds them. While a repair is
    /// pending the journals are still to be read.
    pub fn clear_runs(&mut self) {
        if !self.state.pending.is_empty() {
            return;
        }
        let (epoch, offset) = (self.state.epoch.number, self.carried.offset);
        let passed =
            |run: &FallbackRun| run.cursor.is_some_and(|cursor| run.epoch < epoch || offset > cursor || cursor == 0);
        let (gone, kept) = std::mem::take(&mut self.state.fallback).into_iter().partition(passed);
        self.state.fallback = kept;
        self.fallback.retired.extend::<Vec<FallbackRun>>(gone);
    }

    /// Deletes the journals of own runs that the state does not name any more. Those of predecessors stay, sealed: a
    /// process that wakes up late would make a deleted one anew, and write.
    pub fn delete_retired(&mut self) {
        let Some(sinks) = self.course.direct.clone() else { return };
        for run in std::mem::take(&mut self.fallback.retired) {
            let all = journals(&sinks, &self.course.config.pipeline, &run);
            let own = run.term == self.term;
            tokio::spawn(async move {
                for journal in all {
                    if !own {
                        tracing::info!(journal = journal.index(), "a sealed journal is not needed any more: delete it");
                    } else if let Err(error) = journal.delete().await {
                        tracing::warn!(journal = journal.index(), "a journal could not be deleted: {error}");
                    }
                }
            });
        }
    }
}

impl Fallback {
    /// Seals the predecessors' journals and reads how far they came. Theirs is what was shown last.
    pub async fn seal(&mut self, course: &Course, state: &mut PipelineState, term: i64) -> Result<(), Failure> {
        if state.fallback.iter().all(|run| run.term == term) {
            return Ok(());
        }
        let Some(sinks) = course.direct.clone() else {
            let detail = "documents were written directly, but this process has no sinks configured to look for what";
            return Err(Failure::Halt(Halt::Stop(Stop::new(Cause::Config, detail))));
        };
        let epoch = state.epoch.number;
        self.switch.catch_up();
        show(course, self.switch.phase());
        for run in state.fallback.iter_mut().filter(|run| run.term != term) {
            let mut tail = LogTail::default();
            for journal in journals(&sinks, &course.config.pipeline, run) {
                journal.seal().await?;
                tracing::warn!(journal = journal.index(), "sealed");
                if !journal.open().await? {
                    continue;
                }
                let mut pages = journal.pages(None);
                while let Some(records) = pages.next().await? {
                    records.iter().for_each(|record| tail.see(record, &course.config.pipeline));
                }
            }
            let shown = tail.highest.filter(|_| tail.epoch == epoch);
            (run.epoch, run.cursor) = (epoch, Some(shown.as_ref().map_or(0, |shown| shown.offset)));
            if let Some(shown) = shown {
                let highest =
                    Highest { offset: shown.offset, witness: shown.text.as_str().into(), gtid: shown.gtid.clone() };
                let known = self.shown.take().filter(|(of, _)| *of == epoch).map(|(_, known)| known);
                self.shown = super::in_order(known, Some(highest)).0.map(|highest| (epoch, highest));
            }
        }
        Ok(())
    }

    /// The highest position that was written directly under this epoch.
    pub fn shown(&self, epoch: u16) -> Option<Highest> {
        self.shown.as_ref().filter(|(of, _)| *of == epoch).map(|(_, highest)| highest.clone())
    }
}
