//! A process that carries rows, seen from outside: when records come, what it uses, whether all rows have come.

use anyhow::{Result, bail, ensure};
use std::process::{Child, ExitStatus};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use towpath_engine::ports::log::{EventLog, LogError};

use super::rows::{self, Form};
use crate::harness::proc::{self, stat};
use crate::harness::towpath::Towpath;

/// Between two looks; the resolution of the times.
const STEP: Duration = Duration::from_millis(50);
/// When nothing has come for so long, rows are counted.
const QUIET: Duration = Duration::from_secs(8);
/// The first record must have come by then.
const FIRST_WITHIN: Duration = Duration::from_secs(180);
/// Everything must have come by then.
const PATIENCE: Duration = Duration::from_secs(1_200);

/// One of those that are compared. Dropping it kills it.
pub enum Process {
    /// Towpath.
    Own(Box<Towpath>),
    /// Another program, and where its output goes.
    Other(Child, std::path::PathBuf),
}

impl Process {
    /// Towpath.
    pub fn of(towpath: Towpath) -> Self {
        Self::Own(Box::new(towpath))
    }

    fn pid(&self) -> u32 {
        match self {
            Self::Own(towpath) => towpath.pid(),
            Self::Other(child, _) => child.id(),
        }
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        match self {
            Self::Own(towpath) => towpath.ended(),
            Self::Other(child, _) => Ok(child.try_wait()?),
        }
    }

    /// The end of what it said.
    fn said(&self) -> String {
        match self {
            Self::Own(towpath) => towpath.log_tail(),
            Self::Other(_, log) => crate::service::tail(log, 30),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Self::Other(child, _) = self {
            // An ended child is not an error here.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What was seen.
pub struct Carried {
    /// From the first record to the last.
    pub seconds: f64,
    /// Used in that time.
    pub cpu_s: f64,
    /// The most memory resident at once, bytes.
    pub peak_rss: u64,
    /// From the process' start.
    pub first_record_s: f64,
    /// Records in the topics, control records included.
    pub records: i64,
}

/// Waits until the topics hold all rows, counts them, and ends the process.
///
/// # Errors
/// The process ends, records stop coming before all rows are there, or there are more rows than were written.
pub async fn until_all_is_there(
    mut process: Process,
    log: &dyn EventLog,
    topics: &[String],
    form: Form,
    rows: u64,
) -> Result<Carried> {
    let begun = Instant::now();
    let mut first: Option<(Instant, f64)> = None;
    let mut last = (begun, 0.0, 0_i64);
    loop {
        if let Some(status) = process.ended()? {
            bail!("it ended with {status}; its log ends:\n{}", process.said());
        }
        let records = ends(log, topics).await?;
        let now = Instant::now();
        let cpu_s = stat(process.pid()).map_or(last.1, |stat| stat.cpu_s);
        if records > last.2 {
            first.get_or_insert((now, cpu_s));
            last = (now, cpu_s, records);
        }
        match first {
            None => ensure!(now - begun < FIRST_WITHIN, "no record came; its log ends:\n{}", process.said()),
            Some((since, used)) if now - last.0 >= QUIET => {
                let peak_rss = proc::peak_rss(process.pid())?;
                let counted = rows::count(log, topics, form).await?;
                // A process that has stopped for good is seen by what it has not carried.
                ensure!(
                    counted == rows,
                    "it carried {counted} of {rows} rows and then nothing for {QUIET:?}; its log ends:\n{}",
                    process.said()
                );
                return Ok(Carried {
                    seconds: (last.0 - since).as_secs_f64(),
                    cpu_s: last.1 - used,
                    peak_rss,
                    first_record_s: (since - begun).as_secs_f64(),
                    records: last.2,
                });
            }
            Some(_) => ensure!(now - begun < PATIENCE, "{PATIENCE:?} were not enough"),
        }
        sleep(STEP).await;
    }
}

/// Records in all partitions of the topics; a topic that is not there yet has none.
async fn ends(log: &dyn EventLog, topics: &[String]) -> Result<i64> {
    let mut sum = 0;
    for topic in topics {
        match log.topic(topic).await {
            Ok(info) => sum += info.watermarks.iter().map(|(_, end)| end).sum::<i64>(),
            Err(LogError::Topic(_)) => {}
            Err(error) => bail!("{topic}: {error}"),
        }
    }
    Ok(sum)
}
