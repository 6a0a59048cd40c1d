//! What a scenario's topology is on real processes: the services, the pipeline's processes, and between them links that
//! can be cut.

use anyhow::{Context, Result, bail};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use towpath_scenarios::scenario::{Deletes, Fencing, RowMetadata, Scenario, Topology};
use url::Url;

use super::link::Link;
use crate::harness::config::Pipeline;
use crate::harness::fleet::{Fleet, Role};
use crate::harness::orders::Orders;
use crate::{Service, Stack};

/// Servers of the ensemble: one may be lost.
const ZOOKEEPERS: u16 = 3;

/// What several runs stand on, one after the other: Kafka, ZooKeeper and the three clusters. MySQL is each run's own,
/// for what happens to its history does not heal.
#[derive(Debug)]
pub struct Ground {
    services: Arc<Stack>,
    runs: u32,
}

impl Ground {
    /// Starts the services, with so many brokers.
    ///
    /// # Errors
    /// One does not start.
    pub async fn start(brokers: u32) -> Result<Self> {
        let brokers = u16::try_from(brokers).context("so many brokers?")?;
        let services =
            Stack::builder().kafka(brokers).zookeeper(ZOOKEEPERS).es(&["hot", "full", "remind"]).start().await?;
        Ok(Self { services: Arc::new(services), runs: 0 })
    }

    /// Ends the services.
    ///
    /// # Errors
    /// One does not end.
    pub async fn stop(self) -> Result<()> {
        end(self.services).await
    }
}

/// Ends a stack's services. A start that goes on beside may still hold it: then its guard ends it with this process.
async fn end(stack: Arc<Stack>) -> Result<()> {
    match Arc::try_unwrap(stack) {
        Ok(stack) => stack.stop().await,
        Err(_) => Ok(()),
    }
}

/// Every server can be waited for and can wait; the timeout is the server's default, ten seconds.
const SEMI_SYNC: [&str; 4] = [
    "--plugin-load-add=semisync_source.so",
    "--plugin-load-add=semisync_replica.so",
    "--loose-rpl-semi-sync-source-enabled=ON",
    "--loose-rpl-semi-sync-replica-enabled=ON",
];

/// The links of one process, by the service behind them (`mysql`, `mysql-2`, `zookeeper`, `elasticsearch`).
type Links = BTreeMap<String, Vec<Link>>;

/// Everything that stands.
#[derive(Debug)]
pub struct Cast {
    ground: Arc<Stack>,
    servers: Arc<Stack>,
    /// The processes of the pipeline that run.
    pub fleet: Fleet,
    /// Addresses without links: what the judge and the workload use.
    pub pipeline: Pipeline,
    topology: Topology,
    links: BTreeMap<String, Links>,
    /// The number of the MySQL that is written to: 0 is the primary, others the replicas.
    pub source: u16,
}

impl Cast {
    /// Starts MySQL with the workload's tables, then the processes behind their links. Names keep runs on one ground
    /// apart: the pipeline's is the database's, the topic's, the indexes' and the path's too.
    ///
    /// # Errors
    /// A service or a process does not start.
    pub async fn start(ground: &mut Ground, scenario: &Scenario, binary: &Path) -> Result<Self> {
        let topology = scenario.topology.clone();
        let replicas = u16::try_from(topology.standbys).context("so many standbys?")?;
        let metadata = match topology.row_metadata {
            RowMetadata::Full => "--binlog-row-metadata=FULL",
            RowMetadata::Minimal => "--binlog-row-metadata=MINIMAL",
        };
        let mut options = vec![metadata];
        if topology.semi_sync {
            options.extend(SEMI_SYNC);
        }
        let builder = Stack::builder().mysql().mysql_replicas(replicas).mysql_options(&options);
        let servers = builder.start().await?;
        ground.runs += 1;
        let name = format!("scenario{}", ground.runs);
        let services = &ground.services;
        let mut session = Orders::connect(&servers.mysql()?.root_url(), &name).await?;
        session.create().await?;
        let sinks = Pipeline::order_sinks(&name, |sink| Ok(services.es(sink)?.url()))?;
        let mut pipeline = Pipeline::between(servers.mysql()?, services, &name, session.executed().await?, sinks)?;
        session.close().await?;
        pipeline.partitions = topology.partitions;
        pipeline.max_record = topology.max_record_bytes;
        pipeline.fallback_ms = topology.fallback.map(|after| after.millis());
        pipeline.fencing = match topology.fencing {
            Fencing::Transactions => "transactions".to_owned(),
            Fencing::Versions => "versions".to_owned(),
        };
        pipeline.deletes = match topology.deletes {
            Deletes::Soft => "soft".to_owned(),
            Deletes::Hard => "hard".to_owned(),
        };
        for number in 1..=replicas {
            pipeline.standbys.push(servers.mysql_replica(number)?.url());
        }
        let fleet = Fleet::new(pipeline.clone(), binary, servers.folder());
        let (ground, servers) = (Arc::clone(services), Arc::new(servers));
        let mut cast = Self { ground, servers, fleet, pipeline, topology, links: BTreeMap::new(), source: 0 };
        for name in cast.topology.processes() {
            cast.links.insert(name.clone(), cast.links_of().await?);
            cast.start_process(&name)?;
        }
        Ok(cast)
    }

    /// Ends the processes and MySQL; the ground stays.
    ///
    /// # Errors
    /// MySQL does not end.
    pub async fn stop(self) -> Result<()> {
        let Self { fleet, servers, .. } = self;
        drop(fleet);
        end(servers).await
    }

    /// The stack that a service is of.
    pub fn stack_of(&self, service: &str) -> &Arc<Stack> {
        if self.servers.service(service).is_ok() { &self.servers } else { &self.ground }
    }

    async fn links_of(&self) -> Result<Links> {
        let mut links = Links::new();
        let mut servers = vec![self.pipeline.source.clone()];
        servers.extend(self.pipeline.standbys.iter().cloned());
        for (name, url) in self.topology.servers().into_iter().zip(&servers) {
            links.insert(name, vec![Link::to(port(url)?, false).await?]);
        }
        let mut ensemble = Vec::new();
        for server in self.pipeline.zookeeper.split(',') {
            let port = server.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            let port = port.with_context(|| format!("ZooKeeper's address {server} has no port"))?;
            ensemble.push(Link::to(port, false).await?);
        }
        links.insert("zookeeper".to_owned(), ensemble);
        let mut clusters = Vec::new();
        for sink in &self.pipeline.sinks {
            clusters.push(Link::to(port(&sink.elasticsearch)?, true).await?);
        }
        links.insert("elasticsearch".to_owned(), clusters);
        Ok(links)
    }

    /// Starts a process of the pipeline by its name in the scenario.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_process(&mut self, name: &str) -> Result<()> {
        let role = if name.starts_with("deployer") { Role::Deployer } else { Role::Adapter };
        let mut pipeline = self.pipeline.clone();
        let links = self.links.get(name).with_context(|| format!("no links of {name}"))?;
        let through = |service: &str, nth: usize| -> Result<u16> {
            let link = links.get(service).and_then(|links| links.get(nth));
            Ok(link.with_context(|| format!("no link from {name} to {service}"))?.port())
        };
        pipeline.source = with_port(&pipeline.source, through("mysql", 0)?)?;
        for (nth, url) in pipeline.standbys.iter_mut().enumerate() {
            *url = with_port(url, through(&format!("mysql-{}", nth + 2), 0)?)?;
        }
        let ensemble = (0..links.get("zookeeper").map_or(0, Vec::len))
            .map(|nth| Ok(format!("127.0.0.1:{}", through("zookeeper", nth)?)));
        pipeline.zookeeper = ensemble.collect::<Result<Vec<_>>>()?.join(",");
        for (nth, sink) in pipeline.sinks.iter_mut().enumerate() {
            sink.elasticsearch = with_port(&sink.elasticsearch, through("elasticsearch", nth)?)?;
        }
        self.fleet.start_with(name, role, &pipeline)
    }

    /// The links of a process to a service; none if the scenario has no such pair.
    pub fn links(&self, process: &str, service: &str) -> &[Link] {
        self.links.get(process).and_then(|links| links.get(service)).map_or(&[], Vec::as_slice)
    }

    /// The links of all processes to Elasticsearch.
    pub fn to_elasticsearch(&self) -> impl Iterator<Item = &Link> {
        self.links.values().filter_map(|links| links.get("elasticsearch")).flatten()
    }

    /// The services of a kind; of `mysql` the one that is written to.
    ///
    /// # Errors
    /// There is none.
    pub fn services(&self, kind: &str) -> Result<Vec<String>> {
        let named = |services: &[&Service]| services.iter().map(|service| service.name().to_owned()).collect();
        Ok(match kind {
            "mysql" => vec![self.mysql()?.service().name().to_owned()],
            "kafka" => named(self.ground.kafka()?.brokers()),
            "zookeeper" => named(self.ground.zookeeper()?.nodes()),
            _ => {
                let clusters = self.pipeline.sinks.iter().map(|sink| Ok(self.ground.es(&sink.name)?.service()));
                named(&clusters.collect::<Result<Vec<_>>>()?)
            }
        })
    }

    /// The node that leads ZooKeeper's ensemble.
    ///
    /// # Errors
    /// None says that it does.
    pub async fn zookeeper_leader(&self) -> Result<String> {
        for node in self.ground.zookeeper()?.nodes() {
            if node.spec().probe.zookeeper_mode().await.is_ok_and(|mode| mode == "leader") {
                return Ok(node.name().to_owned());
            }
        }
        bail!("no node leads the ensemble at that moment")
    }

    /// The server that is written to.
    ///
    /// # Errors
    /// There is none.
    pub fn mysql(&self) -> Result<crate::Mysql<'_>> {
        match self.source {
            0 => self.servers.mysql(),
            number => self.servers.mysql_replica(number),
        }
    }

    /// The standbys that were not promoted.
    ///
    /// # Errors
    /// One does not accept a connection.
    pub async fn standbys(&self) -> Result<Vec<Conn>> {
        let mut found = Vec::new();
        for number in (self.source + 1)..=u16::try_from(self.topology.standbys)? {
            found.push(Conn::from_url(self.servers.mysql_replica(number)?.root_url()).await?);
        }
        Ok(found)
    }

    /// Kills the server that is written to, promotes the next standby, and points the others at it.
    ///
    /// # Errors
    /// There is no standby, or it refuses.
    pub async fn fail_over(&mut self) -> Result<()> {
        self.mysql()?.service().kill().await?;
        self.source += 1;
        let mut promoted = Conn::from_url(self.mysql()?.root_url()).await?;
        let mut statements =
            vec!["STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF"];
        if self.topology.semi_sync && u32::from(self.source) == self.topology.standbys {
            // The last one has nobody to wait for.
            statements.push("SET GLOBAL rpl_semi_sync_source_enabled = OFF");
        }
        for statement in statements {
            promoted.query_drop(statement).await?;
        }
        promoted.disconnect().await?;
        let port = self.mysql()?.port();
        for mut standby in self.standbys().await? {
            for statement in [
                "STOP REPLICA".to_owned(),
                format!("CHANGE REPLICATION SOURCE TO SOURCE_PORT={port}"),
                "START REPLICA".to_owned(),
            ] {
                standby.query_drop(statement).await?;
            }
            standby.disconnect().await?;
        }
        Ok(())
    }
}

fn port(url: &str) -> Result<u16> {
    Url::parse(url)?.port().with_context(|| format!("{url} names no port"))
}

fn with_port(url: &str, port: u16) -> Result<String> {
    let mut changed = Url::parse(url)?;
    changed.set_port(Some(port)).ok().with_context(|| format!("{url} takes no port"))?;
    Ok(changed.to_string().trim_end_matches('/').to_owned())
}
