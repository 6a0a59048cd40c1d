//! Ten kills: deployers and adapters end by SIGKILL while orders are written, each with work open; nothing may be lost.
//!
//! Real services, real processes. Rules 1 and 2 of the design: every document equals its row at the end.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::Duration;
use towpath_engine::env::Rng;
use towpath_scenarios::workload::{Workload, WorkloadConfig};
use towpath_stack::Stack;
use towpath_stack::harness::compare::settle;
use towpath_stack::harness::config::Pipeline;
use towpath_stack::harness::fleet::{Fleet, Role};
use towpath_stack::harness::orders::Orders;
use towpath_stack::harness::writer::Writer;

const NAME: &str = "tenkills";
const KILLS: u64 = 10;
/// Parts of the workload that no kill's gate opens: what the trickle below may use up while a last victim is idle.
const SPARE: u64 = 3;
/// Transactions a second that the trickle lets through: the spare parts of 10,000 orders outlast [`PATIENCE`].
const TRICKLE: usize = 50;
const PATIENCE: Duration = Duration::from_secs(90);

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Whom each kill hits: five times the leader, five times an adapter, in an order drawn from the seed.
fn targets(rng: &mut Rng) -> Vec<Role> {
    let mut targets: Vec<Role> = (0..KILLS).map(|n| if n % 2 == 0 { Role::Deployer } else { Role::Adapter }).collect();
    for last in (1..targets.len()).rev() {
        targets.swap(last, rng.below(last as u64 + 1) as usize);
    }
    targets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_document_equals_its_row_after_ten_kills() -> Result<()> {
    let (seed, orders) = (number("TOWPATH_SEED", 1), number("TOWPATH_ORDERS", 50_000));
    println!("seed {seed}, {orders} orders (TOWPATH_SEED, TOWPATH_ORDERS)");
    let mut rng = Rng::new(seed);
    // No service is killed here, so MySQL need not wait for the disk at each of the many commits.
    let stack = Stack::builder()
        .mysql()
        .mysql_options(&["--sync-binlog=0", "--innodb-flush-log-at-trx-commit=0"])
        .kafka(1)
        .zookeeper(1)
        .es(&["hot", "full", "remind"])
        .start()
        .await?;
    let mysql = stack.mysql()?.root_url();
    let mut session = Orders::connect(&mysql, NAME).await?;
    session.create().await?;

    let pipeline = Pipeline::of_orders(&stack, NAME, session.executed().await?)?;
    let sinks = pipeline.sinks.clone();
    let mut fleet = Fleet::new(pipeline, Path::new(env!("CARGO_BIN_EXE_towpath")), stack.folder());
    for name in ["deployer-a", "deployer-b"] {
        fleet.start(name, Role::Deployer)?;
    }
    for name in ["adapter-a", "adapter-b"] {
        fleet.start(name, Role::Adapter)?;
    }
    fleet.wait_leader(PATIENCE).await?;

    let transactions = Workload::new(WorkloadConfig::new(seed, orders)).count() as u64;
    let part = transactions / (KILLS + 1 + SPARE);
    let workload = Workload::new(WorkloadConfig::new(seed, orders));
    let mut writer = Writer::start(&mysql, NAME, workload, part).await?;
    for (kill, role) in targets(&mut rng).into_iter().enumerate() {
        // The writer may go on to the next part only when this kill is done, so every kill happens under load.
        let gate = part * (kill as u64 + 2);
        writer.open(gate);
        let moment = part * (kill as u64) + rng.below(part);
        writer.reach(moment, PATIENCE, |_| fleet.all_alive()).await?;
        let victim = match role {
            Role::Deployer => fleet.wait_leader(PATIENCE).await?,
            Role::Adapter => {
                let names = fleet.names(role);
                names[rng.below(names.len() as u64) as usize].clone()
            }
        };
        // A victim that just joined its group may have nothing to do until the writer has come to its gate.
        let trickle = async {
            for more in (gate..).step_by(TRICKLE) {
                writer.open(more);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let open = tokio::select! {
            open = fleet.kill_with_open_work(&victim, PATIENCE) => open?,
            () = trickle => 0,
        };
        let written = writer.progress().transactions();
        println!(
            "kill {}: {victim} with {open} bytes open, {written} of {transactions} transactions written",
            kill + 1
        );
        ensure!(open > 0, "kill {} hit an idle process", kill + 1);
        ensure!(written < transactions, "kill {} came after the last write", kill + 1);
        fleet.start(&victim, role)?;
        fleet.all_alive()?;
    }
    writer.open(u64::MAX);
    let written = writer.finish().await?;
    let leader = fleet.wait_leader(PATIENCE).await?;
    let term = fleet.process(&leader)?.metric("towpath_term").await?;

    let verdict = settle(&mut session, &sinks, Duration::from_secs(300)).await?;
    println!("{} row changes, last term {term}, {verdict:?}", written.changes());
    ensure!(verdict.good(), "{verdict:?}\n{}", fleet.log_tails());
    fleet.stop(PATIENCE).await.context("stopping in order")?;
    session.close().await
}
