//! `cargo stack`: the real services by hand. Commands and their output; the work is the library's.
//!
//! Exit status: 0 done (for `status`: everything runs and answers; for `run`: the command's own), 1 failed, 2 wrong
//! usage.

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use comfy_table::Table;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use towpath_engine::causes::with_causes;
use towpath_scenarios::scenario::soak;
use towpath_stack::install::{self, Package};
use towpath_stack::{Details, Stack, StackBuilder, bench, by_hand, demo, paths, scenario};

/// Real MySQL, MariaDB, Kafka, ZooKeeper and Elasticsearch as local processes on 127.0.0.1.
#[derive(Parser)]
#[command(name = "cargo stack", version)]
struct Cli {
    /// Print JSON on the standard output.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Download the services into the user's cache folder; does nothing when they are there.
    Install {
        /// Only these: mysql, mariadb, kafka, zookeeper, es, es:VERSION.
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// Hash every installed file instead of comparing sizes and times.
        #[arg(long)]
        verify: bool,
    },
    /// Start services on fixed ports, with the tables of examples/orders.sql, and print how to connect.
    Up(Up),
    /// Run scenarios of the simulation on real processes, one after the other; or, after `--`, a command beside
    /// services on free ports, with TOWPATH_STACK set and its status as ours.
    Run {
        /// Shipped scenarios (`cargo sim list`) or files.
        #[arg(conflicts_with = "command")]
        scenario: Vec<String>,
        /// Of a scenario: same seed, same workload.
        #[arg(long, default_value_t = 1, requires = "scenario")]
        seed: u64,
        /// Of a scenario: what a clock decides (`caught_up_within`, …) fails the run too.
        #[arg(long, requires = "scenario")]
        clocks: bool,
        /// Of a scenario: end it some seconds after its last fault, once documents have caught up.
        #[arg(long, requires = "scenario")]
        brisk: bool,
        /// Of a scenario: write the run's picture, one self-contained page.
        #[arg(long, value_name = "FILE", requires = "scenario")]
        html: Option<PathBuf>,
        #[command(flatten)]
        services: Services,
        /// The command and its arguments.
        #[arg(last = true, required_unless_present = "scenario")]
        command: Vec<String>,
    },
    /// Run faults drawn from a seed on real processes, for as long as asked; every document must equal its row.
    Soak {
        /// How long faults go on.
        #[arg(long, default_value_t = 10.0, value_parser = minutes)]
        minutes: f64,
        /// Same seed, same faults and workload.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Write the run's picture, one self-contained page.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Show what runs and how to connect.
    Status(Place),
    /// Stop what `up` started; its data stays.
    Down {
        #[command(flatten)]
        place: Place,
        /// Remove all data too.
        #[arg(long)]
        purge: bool,
    },
    /// Measure the pipeline (see docs/performance.md).
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
    /// The demo on real services: what `cargo demo --stack` runs.
    Demo(demo::Arguments),
    /// Print the end of a service's log.
    Logs {
        /// mysql, mysql-replica-1, mariadb, kafka-1, zookeeper-1, es-hot, …
        service: String,
        /// How many lines.
        #[arg(long, default_value_t = 200)]
        lines: usize,
        #[command(flatten)]
        place: Place,
    },
}

/// What is measured; every figure of a table comes from one run.
#[derive(Subcommand)]
enum Bench {
    /// The bare dump, binlog to Kafka, Kafka to Elasticsearch, on a stack of its own.
    Pipeline(bench::pipeline::Arguments),
    /// The bare dump, mysqlbinlog, decoding, decoding into records: on a MySQL of its own, each on one core.
    Decode(bench::decode::Arguments),
    /// Towpath, Debezium and Canal: the same binlog into the same broker, one after the other.
    Peers(bench::peers::Arguments),
    /// Times without a leader, and freshness around an outage of Kafka, on real processes.
    Failover(bench::failover::Arguments),
}

/// The `towpath` beside this program.
fn towpath_binary() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("towpath");
    anyhow::ensure!(path.is_file(), "{} is missing: type `cargo build -p towpath`", path.display());
    Ok(path)
}

/// Minutes, at least a half: something must stand before it falls.
fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (0.5..=100_000.0).contains(&minutes) => Ok(minutes),
        _ => Err("a number of minutes, 0.5 or more".to_owned()),
    }
}

#[derive(Args)]
struct Up {
    #[command(flatten)]
    services: Services,
    /// Free ports instead of the fixed ones: beside another stack, with a folder of its own.
    #[arg(long, requires = "data")]
    free_ports: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct Services {
    /// No MySQL.
    #[arg(long, conflicts_with = "mysql_replicas")]
    no_mysql: bool,
    /// MySQL replicas beside the primary.
    #[arg(long, value_name = "N", default_value_t = 0)]
    mysql_replicas: u16,
    /// MariaDB too.
    #[arg(long)]
    mariadb: bool,
    /// Kafka brokers.
    #[arg(long, value_name = "N", default_value_t = 1)]
    kafka: u16,
    /// ZooKeeper servers.
    #[arg(long, value_name = "N", default_value_t = 1)]
    zookeeper: u16,
    /// One Kafka listener more, with TLS and SCRAM-SHA-256.
    #[arg(long)]
    kafka_sasl: bool,
    /// Elasticsearch clusters, by name; `none` for none.
    #[arg(long, value_delimiter = ',', default_value = "hot,full,remind")]
    es: Vec<String>,
    /// Elasticsearch version: 9.2, 8.19, 7.17, or three numbers.
    #[arg(long, value_name = "V")]
    es_version: Option<String>,
}

#[derive(Args)]
struct Place {
    /// The stack's folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Place {
    fn folder(&self) -> Result<PathBuf> {
        self.data.clone().map_or_else(paths::by_hand_dir, Ok)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode> {
    let json = cli.json;
    match cli.command {
        Command::Install { only, verify } => install_command(only, verify, json).await,
        Command::Up(up) => {
            let folder = up.place.folder()?;
            let stack = by_hand::up(builder(&up.services), &folder, up.free_ports).await?;
            tell_details(&stack, json).await
        }
        Command::Run { scenario: named, seed, clocks, brisk, html, .. } if !named.is_empty() => {
            anyhow::ensure!(html.is_none() || named.len() == 1, "--html draws one run: name one scenario");
            let of = |named: &String| {
                let scenario = scenario::load(named)?;
                Ok(scenario::Arguments { scenario, seed, clocks, brisk, html: html.clone() })
            };
            let all = named.iter().map(of).collect::<Result<Vec<_>>>()?;
            scenario::run(&all, &towpath_binary()?, json).await
        }
        Command::Soak { minutes, seed, html } => {
            let scenario = soak::draw(seed, (minutes * 60_000.0) as u64);
            let arguments = scenario::Arguments { scenario, seed, clocks: false, brisk: false, html };
            scenario::run(&[arguments], &towpath_binary()?, json).await
        }
        Command::Run { services, command, .. } => run_command(&services, &command).await,
        Command::Status(place) => status(&place, json).await,
        Command::Down { place, purge } => {
            let stopped = by_hand::down(&place.folder()?, purge).await?;
            let text =
                if stopped.is_empty() { "nothing runs".to_owned() } else { format!("stopped {}", stopped.join(", ")) };
            tell(json, &serde_json::json!({ "stopped": stopped }), &text)
        }
        Command::Logs { service, lines, place } => logs(&service, lines, &place, json),
        Command::Demo(arguments) => demo::run(&arguments, &towpath_binary()?, json).await,
        Command::Bench { what } => {
            match what {
                Bench::Pipeline(arguments) => bench::pipeline::run(&arguments, &towpath_binary()?, json).await?,
                Bench::Decode(arguments) => bench::decode::run(&arguments, json).await?,
                Bench::Peers(arguments) => bench::peers::run(&arguments, &towpath_binary()?, json).await?,
                Bench::Failover(arguments) => {
                    if !bench::failover::run(&arguments, &towpath_binary()?, json).await? {
                        return Ok(ExitCode::FAILURE);
                    }
                }
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn install_command(only: Vec<String>, verify: bool, json: bool) -> Result<ExitCode> {
    let packages = match only.as_slice() {
        [] => Package::all()?,
        some => some.iter().map(|name| Package::named(name)).collect::<Result<_>>()?,
    };
    for line in packages.iter().filter_map(Package::compromise) {
        eprintln!("{line}");
    }
    let installing = tokio::task::spawn_blocking(move || install::install(&packages, verify));
    let installed = installing.await.context("the install was cancelled")??;
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(["service", "", "seconds", "folder"]);
    for one in &installed {
        let what = if one.fresh { "installed" } else { "was there" };
        table.add_row([&one.name, what, &format!("{:.1}", one.seconds), &one.path.display().to_string()]);
    }
    tell(json, &installed, &table.to_string())
}

fn builder(services: &Services) -> StackBuilder {
    let names = services.es.iter().map(String::as_str).filter(|name| !name.is_empty() && *name != "none");
    let mut builder = Stack::builder().kafka(services.kafka).zookeeper(services.zookeeper);
    builder = builder.es(&names.collect::<Vec<_>>());
    if !services.no_mysql {
        builder = builder.mysql().mysql_replicas(services.mysql_replicas);
    }
    if services.mariadb {
        builder = builder.mariadb();
    }
    if services.kafka_sasl {
        builder = builder.kafka_sasl();
    }
    match &services.es_version {
        Some(version) => builder.es_version(version),
        None => builder,
    }
}

/// The stack is this process's own: it ends when the command ends, when we are told to, and, after a SIGKILL, at the
/// next
/// start of any stack.
async fn run_command(services: &Services, command: &[String]) -> Result<ExitCode> {
    let [program, arguments @ ..] = command else { anyhow::bail!("no command was given after `--`") };
    let stack = builder(services).start().await?;
    by_hand::load_example(&stack).await?;
    let mut told_to_end = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env(towpath_stack::SHARED, stack.description_path())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let status = tokio::select! {
        biased;
        status = child.wait() => Some(status?),
        _ = told_to_end.recv() => None,
        _ = interrupted.recv() => None,
    };
    drop(child);
    stack.stop().await?;
    let code = status.and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

async fn status(place: &Place, json: bool) -> Result<ExitCode> {
    let stack = attach(place)?;
    if json {
        return tell_details(&stack, true).await;
    }
    let details = Details::of(&stack).await?;
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(["service", "state", "pid", "ports"]);
    for service in &details.services {
        let state = match (service.pid, service.ready) {
            (None, _) => "not running",
            (Some(_), false) => "not answering",
            (Some(_), true) => "ready",
        };
        let ports: Vec<String> = service.ports.iter().map(|(name, port)| format!("{name} {port}")).collect();
        let pid = service.pid.map_or(String::new(), |pid| pid.to_string());
        table.add_row([&service.name, state, &pid, &ports.join(", ")]);
    }
    println!("{table}\n\n{}", details.to_text()?.trim_end());
    Ok(if details.all_ready() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn logs(service: &str, lines: usize, place: &Place, json: bool) -> Result<ExitCode> {
    let stack = attach(place)?;
    let service = stack.service(service)?;
    let text = service.log_tail(lines);
    let told: Vec<&str> = text.lines().collect();
    let path = service.log_path();
    tell(json, &serde_json::json!({ "service": service.name(), "path": path, "lines": told }), &text)
}

fn attach(place: &Place) -> Result<Stack> {
    Stack::attach(&place.folder()?.join("stack.json")).context("no stack was started here: type `cargo stack up`")
}

async fn tell_details(stack: &Stack, json: bool) -> Result<ExitCode> {
    let details = Details::of(stack).await?;
    tell(json, &details, &details.to_text()?)?;
    Ok(if details.all_ready() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(json: bool, value: &impl Serialize, text: &str) -> Result<ExitCode> {
    if json {
        println!("{}", serde_json::to_string(value)?);
    } else {
        println!("{}", text.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}
