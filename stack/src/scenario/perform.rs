//! Begins and ends faults on what stands.
//!
//! What takes long (a service's start) goes on beside the run, so that the lead is watched meanwhile.

use anyhow::{Context, Result, bail, ensure};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::action::{Action, Who};
use super::cast::Cast;
use super::link::Mode;
use super::tail;
use super::work::Work;
use crate::Stack;
use crate::harness::freshness::Probes;
use crate::harness::wait_for;

/// What the end of a fault undoes.
#[derive(Debug)]
pub enum Undo {
    /// Nothing: it was over at once.
    Nothing,
    /// Start this process.
    Start(String),
    /// Let this process go on.
    Resume(String),
    /// Start these services, of that kind.
    StartServices(&'static str, Vec<String>),
    /// Start these services, of that kind, once they have ended themselves.
    Ended(&'static str, Vec<String>),
    /// Let these services go on.
    ResumeServices(Vec<String>),
    /// Open the links from this process to that service.
    Open(String, String),
    /// Let the standbys replicate.
    Replicate,
    /// Kill this service and start it from the files kept there.
    Lose(String, PathBuf, Instant),
}

/// Work that goes on beside the run: services that start, processes that end.
pub type Beside = Vec<Starting>;

/// A service that starts, or a process that ends.
#[derive(Debug)]
pub struct Starting {
    /// The service's kind. No other fault meets services of this kind meanwhile.
    pub kind: &'static str,
    /// Ends when that is done.
    pub task: JoinHandle<Result<()>>,
}

/// How long a process may take to end, after SIGTERM or without room for its files.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// Does something to each of these services beside the run.
fn each<F: Future<Output = Result<()>> + Send + 'static>(
    cast: &Cast,
    kind: &'static str,
    services: Vec<String>,
    beside: &mut Beside,
    act: impl Fn(Arc<Stack>, String) -> F,
) {
    for service in services {
        let stack = Arc::clone(cast.stack_of(&service));
        beside.push(Starting { kind, task: tokio::spawn(act(stack, service)) });
    }
}

/// Services of a kind start beside the run.
fn start(cast: &Cast, kind: &'static str, services: Vec<String>, beside: &mut Beside) {
    each(cast, kind, services, beside, |stack, name| async move { stack.service(&name)?.start().await });
}

/// Begins a fault. Returns what it met, for the report, and what its end undoes.
///
/// # Errors
/// It cannot begin: nobody leads, or what it should meet refuses.
pub async fn begin(
    cast: &mut Cast,
    action: &Action,
    leader: Option<&str>,
    paused: &mut Vec<String>,
    work: &Work,
    beside: &mut Beside,
) -> Result<(String, Undo)> {
    let name = |who: &Who| match who {
        Who::Named(name) => Ok(name.clone()),
        Who::Leader => leader.map(str::to_owned).context("nobody leads at that moment"),
    };
    Ok(match action {
        Action::Kill(who) => {
            let name = name(who)?;
            cast.fleet.kill(&name)?;
            (format!("SIGKILL to {name}"), Undo::Start(name))
        }
        Action::Stop(who) => {
            let name = name(who)?;
            let process = cast.fleet.take(&name)?;
            let task = tokio::spawn(async move {
                let status = process.stop(STOPS_WITHIN).await?;
                ensure!(status.success(), "a process ended with {status} after SIGTERM");
                Ok(())
            });
            beside.push(Starting { kind: "process", task });
            (format!("SIGTERM to {name}"), Undo::Start(name))
        }
        Action::Pause(who) => {
            let name = name(who)?;
            cast.fleet.process(&name)?.pause()?;
            paused.push(name.clone());
            (format!("SIGSTOP to {name}"), Undo::Resume(name))
        }
        Action::ServicesDown(kind) => {
            let services = cast.services(kind)?;
            for service in &services {
                cast.stack_of(service).service(service)?.kill().await?;
            }
            (format!("SIGKILL to {}", services.join(", ")), Undo::StartServices(kind, services))
        }
        Action::BrokerDown => {
            let brokers = cast.services("kafka")?;
            // Each leads its share of the partitions.
            let broker = brokers.first().context("there is no broker")?.clone();
            cast.stack_of(&broker).service(&broker)?.kill().await?;
            let told = format!("SIGKILL to {broker}, one of {}", brokers.len());
            (told, Undo::StartServices("kafka", vec![broker]))
        }
        Action::DiskFull(kind) => {
            let services = cast.services(kind)?;
            for service in &services {
                cast.stack_of(service).service(service)?.fill_disk()?;
            }
            (format!("no room for files of {}", services.join(", ")), Undo::Ended(kind, services))
        }
        Action::ZooKeeperLeaderDown => {
            let leader = cast.zookeeper_leader().await?;
            cast.stack_of(&leader).service(&leader)?.kill().await?;
            (format!("SIGKILL to {leader}, which led the ensemble"), Undo::StartServices("zookeeper", vec![leader]))
        }
        Action::ZooKeeperFresh => {
            let nodes = cast.services("zookeeper")?;
            for node in &nodes {
                let node = cast.stack_of(node).service(node)?;
                node.kill().await?;
                std::fs::remove_dir_all(node.spec().folder.join("data/version-2"))
                    .with_context(|| format!("the data of {}", node.name()))?;
            }
            start(cast, "zookeeper", nodes.clone(), beside);
            (format!("{} start with nothing", nodes.join(", ")), Undo::Nothing)
        }
        Action::ServicesRestart(kind) => {
            let services = cast.services(kind)?;
            let told = format!("restart of {}", services.join(", "));
            each(cast, kind, services, beside, |stack, name| async move { stack.service(&name)?.restart().await });
            (told, Undo::Nothing)
        }
        Action::ServicesSilent(kind) => {
            let services = cast.services(kind)?;
            for service in &services {
                cast.stack_of(service).service(service)?.pause()?;
            }
            (format!("SIGSTOP to {}", services.join(", ")), Undo::ResumeServices(services))
        }
        Action::Cut(who, service) => {
            let name = name(who)?;
            set(cast, &name, service, Mode::Cut)?;
            (format!("cut between {name} and {service}"), Undo::Open(name, service.clone()))
        }
        Action::Hold(who, service) => {
            let name = name(who)?;
            set(cast, &name, service, Mode::Held)?;
            (format!("silence between {name} and {service}"), Undo::Open(name, service.clone()))
        }
        Action::Busy(times) => {
            let links = cast.to_elasticsearch().map(|link| link.refuse_bulks(*times)).count();
            (format!("{times} bulks refused on each of {links} links"), Undo::Nothing)
        }
        Action::Sql(statements) => {
            let mut conn = Conn::from_url(cast.mysql()?.root_url()).await?;
            for statement in *statements {
                conn.query_drop(*statement).await?;
            }
            conn.disconnect().await?;
            (statements.join("; "), Undo::Nothing)
        }
        Action::Failover => {
            let old = cast.mysql()?.service().name().to_owned();
            cast.fail_over().await?;
            work.moves_to(cast.mysql()?.root_url());
            (format!("SIGKILL to {old}, {} promoted", cast.mysql()?.service().name()), Undo::Nothing)
        }
        Action::ReplicasLag => {
            replicas(cast, "STOP REPLICA").await?;
            ("STOP REPLICA on the standbys".to_owned(), Undo::Replicate)
        }
        Action::LoseTail => {
            let mysql = cast.mysql()?.service();
            let since = Instant::now();
            let (kept, service) = (tail::keep(mysql).await?, mysql.name().to_owned());
            (
                format!("SIGKILL to {service} at the end, and it starts from its files as they were"),
                Undo::Lose(service, kept, since),
            )
        }
    })
}

/// Ends a fault.
///
/// # Errors
/// What was taken away cannot be brought back.
pub async fn end(
    cast: &mut Cast,
    undo: Undo,
    paused: &mut Vec<String>,
    beside: &mut Beside,
    probes: &Probes,
) -> Result<()> {
    match undo {
        Undo::Nothing => {}
        Undo::Start(name) => cast.start_process(&name)?,
        Undo::Resume(name) => {
            paused.retain(|other| *other != name);
            cast.fleet.process(&name)?.resume()?;
        }
        Undo::StartServices(kind, services) => start(cast, kind, services, beside),
        Undo::Ended(kind, services) => each(cast, kind, services, beside, |stack, name| async move {
            let service = stack.service(&name)?;
            let what = format!("{name} to end, since it can write nothing");
            wait_for(&what, STOPS_WITHIN, || async { Ok((!service.is_running()).then_some(())) }).await?;
            service.start().await
        }),
        Undo::ResumeServices(services) => {
            for service in services {
                cast.stack_of(&service).service(&service)?.resume()?;
            }
        }
        Undo::Open(name, service) => set(cast, &name, &service, Mode::Open)?,
        Undo::Lose(service, kept, since) => {
            let stack = Arc::clone(cast.stack_of(&service));
            let task = tokio::spawn(tail::lose(stack, service, kept, since, probes.clone()));
            beside.push(Starting { kind: "mysql", task });
        }
        Undo::Replicate => replicas(cast, "START REPLICA").await?,
    }
    Ok(())
}

async fn replicas(cast: &Cast, statement: &str) -> Result<()> {
    for mut standby in cast.standbys().await? {
        standby.query_drop(statement).await?;
        standby.disconnect().await?;
    }
    Ok(())
}

fn set(cast: &Cast, process: &str, service: &str, mode: Mode) -> Result<()> {
    let links = cast.links(process, service);
    if links.is_empty() {
        bail!("there is no link between {process} and {service}");
    }
    links.iter().for_each(|link| link.set(mode));
    Ok(())
}
