//! On the real services: a transaction of many times what the process may hold passes in its fixed memory.
//!
//! A larger one, by hand: `cargo xtask bench pipeline --kafka-only --one-transaction --rows 10000000`.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use towpath_stack::Stack;
use towpath_stack::bench::load::{self, Plan};
use towpath_stack::harness::config::Pipeline;
use towpath_stack::harness::towpath::{Towpath, sum};
use towpath_stack::harness::wait_for;

const PATIENCE: Duration = Duration::from_secs(180);
const ROWS: u64 = 300_000;
/// The least that `limits.memory` may be.
const LIMIT: &str = "16MB";
/// What may be resident: the limit, the program itself, and what the client libraries hold beside our buffers.
const MOST_RESIDENT: u64 = 80_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_transaction_passes_in_fixed_memory() -> Result<()> {
    let stack = Stack::attach_or_start(Stack::builder().mysql().kafka(1).zookeeper(1)).await?;
    let name = format!("large{}", std::process::id());
    let plan = Plan { one_transaction: true, ..Plan::for_rows(ROWS) };
    let mut conn = Conn::from_url(stack.mysql()?.root_url()).await?;
    load::create(&mut conn, &name).await?;

    let folder = tempfile::tempdir()?;
    let (config, admin) =
        Pipeline::with_sinks(&stack, &name, "now".to_owned(), Vec::new())?.write(folder.path(), "deployer")?;
    writeln!(File::options().append(true).open(&config)?, "\n[limits]\nmemory = \"{LIMIT}\"")?;
    let log = folder.path().join("towpath.log");
    let binary = Path::new(env!("CARGO_BIN_EXE_towpath"));
    let towpath = Towpath::start(binary, &config, "deployer", admin, &log, &[])?;
    towpath.wait_ready(PATIENCE).await?;
    load::load(&mut conn, plan, &|_| {}).await?;
    let carried = wait_for("all rows to be carried", PATIENCE, || async {
        let series = towpath.metrics().await?;
        let through = sum(&series, "towpath_rows_total") >= plan.rows() as f64;
        let open = sum(&series, "towpath_in_flight_bytes");
        Ok((through && open == 0.0).then(|| sum(&series, "towpath_record_bytes_total")))
    });
    let bytes = carried.await.with_context(|| towpath.log_tail())?;
    let (rows, peak) = (towpath.metric("towpath_rows_total").await?, towpath.usage()?.peak_rss);
    println!("{rows} rows of one transaction, {bytes} bytes of records: {peak} bytes resident at most");
    ensure!(rows == plan.rows() as f64, "{rows} rows were carried, {} were written", plan.rows());
    ensure!(bytes > MOST_RESIDENT as f64, "too little to show anything: {bytes} bytes of records");
    ensure!(peak < MOST_RESIDENT, "{peak} bytes were resident");
    ensure!(towpath.stop(PATIENCE).await?.success(), "towpath did not end in order");
    conn.query_drop(format!("DROP DATABASE {name}")).await?;
    Ok(conn.disconnect().await?)
}
