//! What a scenario's topology is on real processes: the services, the pipeline's processes, and between them links that
//! can be cut.

use anyhow::{Context, Result};
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

/// The pipeline's name, and the database's, the topic's and the path's.
pub const NAME: &str = "scenario";

/// The links of one process, by the service behind them (`mysql`, `mysql-2`, `zookeeper`, `elasticsearch`).
type Links = BTreeMap<String, Vec<Link>>;

/// Everything that stands.
#[derive(Debug)]
pub struct Cast {
    /// The services.
    pub stack: Arc<Stack>,
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
    /// Starts the services with the workload's tables, then the processes behind their links.
    ///
    /// # Errors
    /// A service or a process does not start.
    pub async fn start(scenario: &Scenario, binary: &Path) -> Result<Self> {
        let topology = scenario.topology.clone();
        let replicas = u16::try_from(topology.standbys).context("so many standbys?")?;
        let metadata = match topology.row_metadata {
            RowMetadata::Full => "--binlog-row-metadata=FULL",
            RowMetadata::Minimal => "--binlog-row-metadata=MINIMAL",
        };
        let builder = Stack::builder().mysql().mysql_replicas(replicas).mysql_options(&[metadata]);
        let stack = builder.kafka(1).zookeeper(1).es(&["hot", "full", "remind"]).start().await?;
        let mut session = Orders::connect(&stack.mysql()?.root_url(), NAME).await?;
        session.create().await?;
        let mut pipeline = Pipeline::of_orders(&stack, NAME, session.executed().await?)?;
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
            pipeline.standbys.push(stack.mysql_replica(number)?.url());
        }
        let fleet = Fleet::new(pipeline.clone(), binary, stack.folder());
        let mut cast = Self { stack: Arc::new(stack), fleet, pipeline, topology, links: BTreeMap::new(), source: 0 };
        for name in cast.topology.processes() {
            cast.links.insert(name.clone(), cast.links_of().await?);
            cast.start_process(&name)?;
        }
        Ok(cast)
    }

    async fn links_of(&self) -> Result<Links> {
        let mut links = Links::new();
        let mut servers = vec![self.pipeline.source.clone()];
        servers.extend(self.pipeline.standbys.iter().cloned());
        for (name, url) in self.topology.servers().into_iter().zip(&servers) {
            links.insert(name, vec![Link::to(port(url)?, false).await?]);
        }
        let zookeeper = self.pipeline.zookeeper.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let zookeeper = zookeeper.context("ZooKeeper's address has no port")?;
        links.insert("zookeeper".to_owned(), vec![Link::to(zookeeper, false).await?]);
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
        pipeline.zookeeper = format!("127.0.0.1:{}", through("zookeeper", 0)?);
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
            "kafka" => named(self.stack.kafka()?.brokers()),
            "zookeeper" => named(self.stack.zookeeper()?.nodes()),
            _ => {
                let clusters = self.pipeline.sinks.iter().map(|sink| Ok(self.stack.es(&sink.name)?.service()));
                named(&clusters.collect::<Result<Vec<_>>>()?)
            }
        })
    }

    /// The server that is written to.
    ///
    /// # Errors
    /// There is none.
    pub fn mysql(&self) -> Result<crate::Mysql<'_>> {
        match self.source {
            0 => self.stack.mysql(),
            number => self.stack.mysql_replica(number),
        }
    }

    /// The standbys that were not promoted.
    ///
    /// # Errors
    /// One does not accept a connection.
    pub async fn standbys(&self) -> Result<Vec<Conn>> {
        let mut found = Vec::new();
        for number in (self.source + 1)..=u16::try_from(self.topology.standbys)? {
            found.push(Conn::from_url(self.stack.mysql_replica(number)?.root_url()).await?);
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
        for statement in
            ["STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF"]
        {
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
