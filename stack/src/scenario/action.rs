//! What a fault of a scenario is on real processes, or why it cannot be shown on them.
//!
//! Must not do anything: `perform` does.

use towpath_scenarios::scenario::{Fault, FaultKind};

/// What is done when a fault begins; its end is the undoing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// SIGKILL to a process of the pipeline; started again at the end.
    Kill(Who),
    /// SIGTERM to a process of the pipeline; started again at the end.
    Stop(Who),
    /// SIGSTOP to a process of the pipeline; SIGCONT at the end.
    Pause(Who),
    /// SIGKILL to services, by kind; started again at the end.
    ServicesDown(&'static str),
    /// SIGKILL to one of Kafka's brokers; started again at the end.
    BrokerDown,
    /// Services find no room on their disks, which ends them; started again at the end.
    DiskFull(&'static str),
    /// SIGKILL to the node that leads ZooKeeper's ensemble; started again at the end.
    ZooKeeperLeaderDown,
    /// SIGKILL to ZooKeeper's nodes, which start again with nothing.
    ZooKeeperFresh,
    /// Services stop in order and start again.
    ServicesRestart(&'static str),
    /// SIGSTOP to services; SIGCONT at the end.
    ServicesSilent(&'static str),
    /// The links between a process and a service are cut; mended at the end.
    Cut(Who, String),
    /// The links between a process and a service carry nothing and stay open; what was held arrives at the end.
    Hold(Who, String),
    /// So many bulks of all processes are answered with 429.
    Busy(u32),
    /// SQL at the server that is written to.
    Sql(&'static [&'static str]),
    /// The server that is written to is killed for good, the next standby promoted.
    Failover,
    /// Standbys receive nothing; they go on at the end.
    ReplicasLag,
    /// The files of the server that is written to are kept as they are; at the end it dies and starts from them: as
    /// after a crash that the disk's cache did not survive.
    LoseTail,
}

impl Action {
    /// The process of the pipeline that it meets.
    pub fn who(&self) -> Option<&Who> {
        match self {
            Self::Kill(who) | Self::Stop(who) | Self::Pause(who) | Self::Cut(who, _) | Self::Hold(who, _) => Some(who),
            _ => None,
        }
    }

    /// The kind of services that it meets, and which must stand for it.
    pub fn services(&self) -> Option<&'static str> {
        match self {
            Self::ServicesDown(kind)
            | Self::ServicesRestart(kind)
            | Self::ServicesSilent(kind)
            | Self::DiskFull(kind) => Some(kind),
            Self::ZooKeeperLeaderDown | Self::ZooKeeperFresh => Some("zookeeper"),
            Self::BrokerDown => Some("kafka"),
            Self::Sql(_) | Self::Failover | Self::ReplicasLag | Self::LoseTail => Some("mysql"),
            Self::Kill(_) | Self::Stop(_) | Self::Pause(_) | Self::Cut(..) | Self::Hold(..) | Self::Busy(_) => None,
        }
    }
}

/// A process of the pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Whoever leads then.
    Leader,
    /// This one.
    Named(String),
}

/// The services that stand behind links of their own for each process. Kafka is not among them: its clients connect to
/// the address that the broker names, whatever they were given first.
const LINKED: [&str; 3] = ["mysql", "zookeeper", "elasticsearch"];

/// The sentence of what waits for a call within a process.
const WITHIN: &str = "a real process cannot be met at a call; the simulation can";
/// The sentence of what only a model can be told to do.
const MODEL: &str = "the real service cannot be told to do this; the simulation's model can";

/// What the fault is on real processes.
///
/// # Errors
/// It cannot be shown: the reason, for the report.
pub fn of(fault: &Fault) -> Result<Action, &'static str> {
    if fault.when.is_some() || fault.at.is_none() {
        return Err(WITHIN);
    }
    let who = |name: &str| if name == "leader" { Who::Leader } else { Who::Named(name.to_owned()) };
    let host = fault.host.as_deref().unwrap_or_default();
    Ok(match fault.kind {
        FaultKind::Crash => match service(host) {
            Some(kind) => Action::ServicesDown(kind),
            None => Action::Kill(who(host)),
        },
        FaultKind::Stop => Action::Stop(who(host)),
        FaultKind::Pause => match service(host) {
            Some(kind) => Action::ServicesSilent(kind),
            None => Action::Pause(who(host)),
        },
        FaultKind::Partition | FaultKind::PartitionOneWay | FaultKind::Delay => {
            let peer = fault.peer.as_deref().unwrap_or_default();
            let (process, service) = if service(host).is_some() { (peer, host) } else { (host, peer) };
            if !LINKED.iter().any(|linked| service == *linked || service.starts_with("mysql-")) {
                return Err("between processes and Kafka, or between services, there is no link to cut");
            }
            match fault.kind {
                FaultKind::Partition => Action::Cut(who(process), service.to_owned()),
                _ => Action::Hold(who(process), service.to_owned()),
            }
        }
        FaultKind::KafkaDown => Action::ServicesDown("kafka"),
        FaultKind::KafkaBrokerDown => Action::BrokerDown,
        FaultKind::KafkaDiskFull => Action::DiskFull("kafka"),
        FaultKind::ZooKeeperDown => Action::ServicesDown("zookeeper"),
        FaultKind::ZooKeeperNodeDown => Action::ZooKeeperLeaderDown,
        FaultKind::ElasticsearchDown => Action::ServicesDown("elasticsearch"),
        FaultKind::ElasticsearchRestart => Action::ServicesRestart("elasticsearch"),
        FaultKind::ElasticsearchBusy => Action::Busy(fault.times.unwrap_or(1)),
        FaultKind::MySqlDown => Action::ServicesDown("mysql"),
        FaultKind::MySqlRestart => Action::ServicesRestart("mysql"),
        FaultKind::MySqlSilent => Action::ServicesSilent("mysql"),
        FaultKind::MySqlRotate => Action::Sql(&["FLUSH BINARY LOGS"]),
        FaultKind::MySqlPurge => Action::Sql(&["FLUSH BINARY LOGS", "PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY"]),
        FaultKind::MySqlFailover => Action::Failover,
        FaultKind::ReplicasLag => Action::ReplicasLag,
        // Silence for longer than the session's timeout is how a real ensemble gives a session up.
        FaultKind::SessionExpired => Action::Hold(who(host), "zookeeper".to_owned()),
        FaultKind::ZooKeeperFresh => Action::ZooKeeperFresh,
        FaultKind::MySqlLosesTail => Action::LoseTail,
        _ => return Err(MODEL),
    })
}

/// The kind of services that a host of a scenario stands for; none if it is a process of the pipeline.
fn service(host: &str) -> Option<&'static str> {
    ["mysql", "kafka", "zookeeper", "elasticsearch"].into_iter().find(|kind| *kind == host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_scenarios::scenario::parse;

    fn first(text: &str) -> Result<Action, &'static str> {
        let scenario = parse("test", &format!("learn = \"x\"\nlength = \"60s\"\n[[fault]]\n{text}")).unwrap();
        of(&scenario.faults[0])
    }

    #[test]
    fn what_a_process_can_show_is_done_and_the_rest_has_a_reason() {
        assert_eq!(first("kind = \"kafka-down\"\nat = \"5s\"\nfor = \"9s\""), Ok(Action::ServicesDown("kafka")));
        let crash = "kind = \"crash\"\nhost = \"leader\"\nfor = \"9s\"";
        assert_eq!(first(&format!("{crash}\nat = \"5s\"")), Ok(Action::Kill(Who::Leader)));
        assert_eq!(first(&format!("{crash}\nwhen = {{ call = \"log.commit\" }}")), Err(WITHIN));
        let cut = "kind = \"partition\"\nat = \"5s\"\nfor = \"9s\"\nhost = \"leader\"";
        let mysql = Action::Cut(Who::Leader, "mysql".to_owned());
        assert_eq!(first(&format!("{cut}\npeer = \"mysql\"")), Ok(mysql));
        assert!(first(&format!("{cut}\npeer = \"kafka\"")).is_err());
        assert_eq!(first("kind = \"kafka-commit-lost\"\nat = \"5s\"\ntimes = 2"), Err(MODEL));
    }
}
