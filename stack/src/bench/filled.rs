//! A MySQL that holds the bench's workload in its binlog: filled once, kept in the user's cache folder, copied for use.
//!
//! The tables themselves are emptied behind the binlog's back, since the benches read the binlog alone. Must not
//! measure.

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

use super::load::{self, Plan};
use crate::builder::StackBuilder;
use crate::services::copy_folder;
use crate::{Stack, paths};

/// The database of the workload.
pub const DATABASE: &str = "orders";
/// Raised whenever tables, content or server settings change: older folders are not used again.
const VERSION: u32 = 1;
/// What lies beside the kept data folder.
const NOTE: &str = "workload.json";

/// What a filled server holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Workload {
    /// The GTID set after the tables were created and before the first row.
    pub start: String,
    /// The server's version.
    pub server: String,
}

/// Options of a server that is to be filled quickly and that names its columns.
pub const OPTIONS: &[&str] = &[
    "--sync-binlog=0",
    "--innodb-flush-log-at-trx-commit=0",
    "--max-binlog-size=1G",
    "--binlog-row-metadata=FULL",
    "--binlog-expire-logs-seconds=0",
];

/// The kept folder for a plan.
fn kept(plan: Plan) -> Result<PathBuf> {
    let transactions = if plan.one_transaction { "-one" } else { "" };
    Ok(paths::cache_dir()?.join("bench").join(format!("workload-v{VERSION}-{}{transactions}", plan.rows())))
}

/// Starts the stack with a server that holds the workload: from the kept data folder, else filled now and kept.
///
/// # Errors
/// When a service does not start, or the cache folder cannot be written.
pub async fn start(builder: StackBuilder, plan: Plan) -> Result<(Stack, Workload)> {
    let folder = kept(plan)?;
    if !folder.join(NOTE).is_file() {
        fill(&folder, plan).await?;
    }
    let note = std::fs::read_to_string(folder.join(NOTE)).context("cannot read the note of the kept workload")?;
    let workload = serde_json::from_str(&note)
        .with_context(|| format!("{} is no note of ours: remove its folder", folder.join(NOTE).display()))?;
    let stack = builder.mysql().mysql_options(OPTIONS).mysql_data(&folder.join("data")).start().await?;
    Ok((stack, workload))
}

/// Fills a server of its own, and keeps its data folder. What stands in `folder` afterwards is complete.
async fn fill(folder: &Path, plan: Plan) -> Result<()> {
    let stack = Stack::builder().mysql().mysql_options(OPTIONS).start().await?;
    let style = ProgressStyle::with_template("filling MySQL {bar:40} {pos}/{len} rows, {per_sec}, {eta} left")?;
    let bar = ProgressBar::new(plan.rows()).with_style(style);
    let mut conn = Conn::new(Opts::from_url(&stack.mysql()?.root_url())?).await?;
    let start = load::create(&mut conn, DATABASE).await?;
    load::load(&mut conn, plan, &|rows| bar.inc(rows)).await?;
    let server: Option<String> = conn.query_first("SELECT VERSION()").await?;
    for statement in ["SET sql_log_bin = 0", "TRUNCATE order_main", "TRUNCATE order_item"] {
        conn.query_drop(statement).await.with_context(|| format!("MySQL refuses: {statement}"))?;
    }
    conn.disconnect().await?;
    bar.finish_and_clear();
    let mysql = stack.mysql()?;
    mysql.service().stop().await?;
    let building = folder.with_extension(format!("building-{}", std::process::id()));
    copy_folder(&mysql.data_folder(), &building.join("data"))?;
    let workload = Workload { start, server: server.unwrap_or_default() };
    std::fs::write(building.join(NOTE), serde_json::to_string(&workload)?)?;
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    std::fs::rename(&building, folder).with_context(|| format!("cannot move into {}", folder.display()))?;
    stack.stop().await
}
