//! Carries faults out: on the network and the processes through the simulation, within the services on their clock.
//!
//! Must not decide when: see `run`.

use anyhow::{Result, bail};
use std::sync::Arc;
use std::time::Duration;
use towpath_models::elasticsearch::ElasticsearchFault as Es;
use towpath_models::kafka::KafkaFault as Log;
use towpath_models::mysql::{MySql, MySqlFault as Source};
use towpath_models::zookeeper::ZooKeeperFault as Zk;
use towpath_scenarios::scenario::{Fault, FaultKind as Kind};
use turmoil::Sim;

use crate::world::{Pipeline, World};

/// How long an ensemble answers nobody after the death of the node that led it, or brokers after that of one of them.
const ELECTION: Duration = Duration::from_secs(2);

/// A fault that goes on.
#[derive(Debug, Clone)]
pub struct Active {
    /// Its index in the scenario.
    pub index: usize,
    /// What it is.
    pub kind: Kind,
    /// Where, resolved.
    pub host: String,
    /// The other end.
    pub peer: String,
    /// The place of the source that it meets.
    pub source: usize,
    /// When it ends, from the start of the run.
    pub until: Duration,
}

/// Begins a fault. `host` is who it meets, where that matters. What lasts is returned.
///
/// # Errors
/// The fault names no host and none is known.
pub fn begin(
    world: &World,
    sim: &mut Sim<'_>,
    (index, fault): (usize, &Fault),
    host: Option<String>,
    now: Duration,
) -> Result<Option<Active>> {
    let host = if fault.kind.of_hosts() || fault.kind == Kind::SessionExpired {
        match host {
            Some(host) => host,
            None => bail!("there is no host for it now"),
        }
    } else {
        String::new()
    };
    let met = host.clone();
    let source = world.place(fault.source.as_deref());
    let pipeline = &world.pipelines[source];
    let peer = fault.peer.clone().unwrap_or_default();
    let times = fault.times.unwrap_or(1);
    let (mysql, kafka) = (pipeline.source().clone(), world.kafka.clone());
    let (zookeeper, elasticsearch) = (world.zookeeper.clone(), world.elasticsearch.clone());
    let log = |what: Log| {
        let kafka = world.kafka.clone();
        world.at_services(move || kafka.fail_next(what, times));
    };
    match fault.kind {
        Kind::Crash => {
            if !sim.is_host_running(host.as_str()) {
                bail!("{host} is down already");
            }
            sim.crash(host.as_str());
        }
        Kind::Stop => {
            if !sim.is_host_running(host.as_str()) {
                bail!("{host} is down already");
            }
            match world.processes.get(&host).and_then(|running| running.stop) {
                Some(stop) => stop(),
                None => bail!("{host} does not run"),
            }
        }
        Kind::Pause => match world.processes.get(&host) {
            Some(running) => running.gate.pause(true),
            None => bail!("{host} does not run"),
        },
        Kind::Partition => sim.partition(host.as_str(), peer.as_str()),
        Kind::PartitionOneWay => sim.partition_oneway(host.as_str(), peer.as_str()),
        Kind::Delay => sim.hold(host.as_str(), peer.as_str()),
        // A broker that cannot write ends itself.
        Kind::KafkaDown | Kind::KafkaDiskFull | Kind::KafkaBrokerDown => world.at_services(move || kafka.stop()),
        Kind::KafkaHoldRecords => world.at_services(move || kafka.hold_records(true)),
        Kind::KafkaUnavailable => log(Log::Unavailable),
        Kind::KafkaInitUnknown => log(Log::InitUnknown),
        Kind::KafkaDeliveryFails => log(Log::DeliveryFails),
        Kind::KafkaDeliveryUnknown => log(Log::DeliveryUnknown),
        Kind::KafkaCommitApplied => log(Log::CommitUnknownApplied),
        Kind::KafkaCommitLost => log(Log::CommitUnknownLost),
        Kind::GroupCommitRefused => log(Log::GroupCommitRefused),
        Kind::ExpireMembers => {
            let pipelines = world.pipelines.iter();
            let groups: Vec<String> =
                pipelines.flat_map(|one| one.sinks().map(|sink| one.group(sink.name)).collect::<Vec<_>>()).collect();
            world.at_services(move || groups.iter().for_each(|group| kafka.expire_members(group)));
        }
        Kind::ZooKeeperDown | Kind::ZooKeeperNodeDown => world.at_services(move || zookeeper.stop()),
        Kind::SessionExpired => world.at_services(move || {
            zookeeper.sessions_of(&host).into_iter().for_each(|session| zookeeper.expire(session, false));
        }),
        Kind::ZooKeeperLostBefore => world.at_services(move || zookeeper.fail_next(Zk::LostBefore, times)),
        Kind::ZooKeeperLostAfter => world.at_services(move || zookeeper.fail_next(Zk::LostAfter, times)),
        Kind::ZooKeeperReadLost => world.at_services(move || zookeeper.fail_next(Zk::ReadLost, times)),
        Kind::ElasticsearchDown => world.at_services(move || elasticsearch.stop()),
        Kind::ElasticsearchRestart => world.at_services(move || elasticsearch.restart()),
        Kind::ElasticsearchBusy => world.at_services(move || elasticsearch.fail_next(Es::TooManyRequests, times)),
        Kind::ElasticsearchItemsBusy => world.at_services(move || elasticsearch.fail_next(Es::ItemsTooMany, times)),
        Kind::ElasticsearchApplied => world.at_services(move || elasticsearch.fail_next(Es::TimeoutApplied, times)),
        Kind::ElasticsearchHold => world.at_services(move || elasticsearch.hold_bulks(true)),
        Kind::ElasticsearchFlood => world.at_services(move || elasticsearch.fail_next(Es::FloodStage, times)),
        Kind::MySqlDown => world.at_services(move || mysql.stop()),
        Kind::MySqlRestart => world.at_services(move || mysql.restart()),
        Kind::MySqlSilent => world.at_services(move || mysql.set_silent(true)),
        Kind::MySqlStreamBreaks => world.at_services(move || mysql.fail_next(Source::StreamBreaks, times)),
        Kind::MySqlChecksum => world.at_services(move || mysql.fail_next(Source::Checksum, times)),
        Kind::MySqlRotate => world.at_services(move || mysql.rotate()),
        Kind::MySqlPurge => world.at_services(move || purge(&mysql)),
        Kind::MySqlLosesTail => {
            let sources = pipeline.sources.clone();
            world.at_services(move || sources.lose_tail(times as usize));
        }
        Kind::MySqlFailover => {
            let sources = pipeline.sources.clone();
            world.at_services(move || {
                sources.fail_over();
            });
        }
        Kind::ReplicasLag => pipeline.sources.lag(true),
        Kind::ZooKeeperFresh => {
            let pipelines = Arc::clone(&world.pipelines);
            world.at_services(move || {
                zookeeper.replace_with_fresh();
                zookeeper.create_path("/towpath");
                pipelines.iter().for_each(|pipeline| pipeline.sources.turn_back());
            });
        }
        Kind::LinkCut => world.across(pipeline, |host, other| sim.partition(host, other)),
    }
    let lasts = fault.lasts.map(|lasts| match fault.kind {
        // To the models, which are one host each, a node's death is the time until the others have elected.
        Kind::ZooKeeperNodeDown | Kind::KafkaBrokerDown => lasts.duration().min(ELECTION),
        _ => lasts.duration(),
    });
    let until = lasts.map(|lasts| now + lasts);
    Ok(until.map(|until| Active { index, kind: fault.kind, host: met, peer, source, until }))
}

/// Ends a fault that lasted.
pub fn end(world: &World, sim: &mut Sim<'_>, active: &Active) {
    let pipeline = &world.pipelines[active.source];
    let (mysql, kafka) = (pipeline.source().clone(), world.kafka.clone());
    let (zookeeper, elasticsearch) = (world.zookeeper.clone(), world.elasticsearch.clone());
    let (host, peer) = (active.host.as_str(), active.peer.as_str());
    match active.kind {
        Kind::Crash | Kind::Stop => sim.bounce(host),
        Kind::Pause => {
            if let Some(running) = world.processes.get(host) {
                running.gate.pause(false);
            }
        }
        Kind::Partition => sim.repair(host, peer),
        Kind::PartitionOneWay => sim.repair_oneway(host, peer),
        Kind::Delay => sim.release(host, peer),
        Kind::KafkaDown | Kind::KafkaDiskFull | Kind::KafkaBrokerDown => world.at_services(move || kafka.start()),
        Kind::KafkaHoldRecords => world.at_services(move || kafka.hold_records(false)),
        Kind::ZooKeeperDown | Kind::ZooKeeperNodeDown => world.at_services(move || zookeeper.start()),
        Kind::ElasticsearchDown => world.at_services(move || elasticsearch.restart()),
        Kind::ElasticsearchHold => world.at_services(move || elasticsearch.hold_bulks(false)),
        Kind::MySqlDown => world.at_services(move || mysql.start()),
        Kind::MySqlSilent => world.at_services(move || mysql.set_silent(false)),
        Kind::ReplicasLag => pipeline.sources.lag(false),
        Kind::LinkCut => world.across(pipeline, |host, other| sim.repair(host, other)),
        // These do not last.
        _ => {}
    }
}

/// Forgets what was planned within the services and has not happened.
pub fn calm(world: &World) {
    let (pipelines, kafka) = (Arc::clone(&world.pipelines), world.kafka.clone());
    let (zookeeper, elasticsearch) = (world.zookeeper.clone(), world.elasticsearch.clone());
    world.at_services(move || {
        pipelines.iter().flat_map(servers).for_each(MySql::clear_faults);
        kafka.clear_faults();
        zookeeper.clear_faults();
        elasticsearch.clear_faults();
    });
}

/// How many of the services' planned faults have happened.
pub fn fired(world: &World) -> u64 {
    world.pipelines.iter().flat_map(servers).map(MySql::faults_fired).sum::<u64>()
        + world.kafka.faults_fired()
        + world.zookeeper.faults_fired()
        + world.elasticsearch.faults_fired()
}

fn servers(pipeline: &Pipeline) -> &[MySql] {
    pipeline.sources.all()
}

/// Only what is written from now on stays in the server's binary logs.
fn purge(mysql: &MySql) {
    mysql.rotate();
    if let Some((newest, _)) = mysql.binlog_files().pop() {
        let _ = mysql.purge_to(&newest);
    }
}
