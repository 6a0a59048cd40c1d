//! The configuration file of one `towpath` process on a stack, as a user would write it.

use anyhow::Result;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use towpath_scenarios::oracle::documents::SINKS;

use crate::{Mysql, Stack};

/// One pipeline on the services of a stack. Names keep tests apart: database, topic, indices and path begin with it.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The pipeline's name, a plain word; also the topic and the path.
    pub name: String,
    /// The database whose tables are captured.
    pub database: String,
    /// `mysql://user:password@host:port`.
    pub source: String,
    /// Whether the connection to it is encrypted, as `source.tls`.
    pub tls: String,
    /// `host:port,…`.
    pub kafka: String,
    /// `host:port,…`.
    pub zookeeper: String,
    /// Where the first start begins: `oldest`, `now`, a GTID set.
    pub start: String,
    /// The sinks.
    pub sinks: Vec<Sink>,
    /// Partitions of the topic.
    pub partitions: u32,
    /// `transactions` or `versions`.
    pub fencing: String,
    /// `event` or `row`.
    pub record: String,
    /// URLs of the servers to fail over to, in order.
    pub standbys: Vec<String>,
    /// `soft` or `hard`: how the sinks delete.
    pub deletes: String,
    /// The largest record, bytes.
    pub max_record: u32,
    /// Documents are written directly once Kafka is silent for so many milliseconds.
    pub fallback_ms: Option<u64>,
}

/// One sink.
#[derive(Debug, Clone)]
pub struct Sink {
    /// Its name.
    pub name: String,
    /// The cluster's URL.
    pub elasticsearch: String,
    /// The alias.
    pub index: String,
    /// `database.table`.
    pub table: String,
    /// The condition.
    pub when: Option<String>,
}

impl Pipeline {
    /// The three sinks of the mission, each on its own cluster: `url` gives a cluster's address by the sink's name.
    pub fn order_sinks(name: &str, url: impl Fn(&str) -> Result<String>) -> Result<Vec<Sink>> {
        SINKS
            .iter()
            .map(|rule| {
                Ok(Sink {
                    name: rule.name.to_owned(),
                    elasticsearch: url(rule.name)?,
                    index: format!("{name}-{}", rule.name),
                    table: format!("{name}.order_main"),
                    when: rule.when.map(str::to_owned),
                })
            })
            .collect()
    }

    /// The pipeline of the order workload on a stack's services, with the defaults of everything else.
    ///
    /// `start` is the source's position after the tables were made: the binlog names no columns by default, so that a
    /// table's definition must be older than the events that are read.
    pub fn of_orders(stack: &Stack, name: &str, start: String) -> Result<Self> {
        Self::with_sinks(stack, name, start, Self::order_sinks(name, |sink| Ok(stack.es(sink)?.url()))?)
    }

    /// The same with sinks of one's own.
    pub fn with_sinks(stack: &Stack, name: &str, start: String, sinks: Vec<Sink>) -> Result<Self> {
        Self::between(stack.mysql()?, stack, name, start, sinks)
    }

    /// The same from one MySQL, with Kafka and ZooKeeper of a stack that need not be its own.
    pub fn between(source: Mysql<'_>, services: &Stack, name: &str, start: String, sinks: Vec<Sink>) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            database: name.to_owned(),
            start,
            source: source.url(),
            tls: "preferred".to_owned(),
            kafka: services.kafka()?.bootstrap(),
            zookeeper: services.zookeeper()?.servers(),
            sinks,
            partitions: 4,
            fencing: "transactions".to_owned(),
            record: "event".to_owned(),
            standbys: Vec::new(),
            deletes: "soft".to_owned(),
            max_record: 900_000,
            fallback_ms: None,
        })
    }

    /// Writes the file for one process into `folder` and picks a free port for its admin server.
    pub fn write(&self, folder: &Path, process: &str) -> Result<(PathBuf, SocketAddr)> {
        let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let path = folder.join(format!("{}-{process}.toml", self.name));
        std::fs::write(&path, self.text(admin)?)?;
        Ok((path, admin))
    }

    fn text(&self, admin: SocketAddr) -> Result<String> {
        let Self { name, database, start, source, tls, kafka, zookeeper, partitions, fencing, record, .. } = self;
        let Self { standbys, deletes, max_record, .. } = self;
        let mut text = String::new();
        writeln!(text, "[pipeline.{name}]")?;
        if standbys.is_empty() {
            writeln!(text, "source = {{ url = \"{source}\", tls = \"{tls}\", tables = [\"{database}.*\"] }}")?;
        } else {
            // A list of texts looks in TOML as it does here.
            let standby = format!("standby = {standbys:?}, tables = [\"{database}.*\"]");
            writeln!(text, "source = {{ url = \"{source}\", tls = \"{tls}\", {standby} }}")?;
            writeln!(text, "failover = {{ after = \"3s\", catchup = \"60s\", min_interval = \"1s\" }}")?;
        }
        writeln!(text, "start = \"{start}\"")?;
        if let Some(after) = self.fallback_ms {
            writeln!(text, "fallback = {{ automatic = true, after = \"{after}ms\" }}")?;
        }
        writeln!(
            text,
            "kafka = {{ brokers = \"{kafka}\", topic = \"{name}\", partitions = {partitions}, \
             partition_by = \"order_id\", fencing = \"{fencing}\", record = \"{record}\", \
             max_record = \"{max_record}B\" }}"
        )?;
        writeln!(text, "zookeeper = {{ servers = \"{zookeeper}\", create = true, session_timeout = \"4s\" }}")?;
        for sink in &self.sinks {
            writeln!(text, "\n[[pipeline.{name}.sink]]")?;
            writeln!(text, "name = \"{}\"", sink.name)?;
            writeln!(text, "elasticsearch = [\"{}\"]", sink.elasticsearch)?;
            writeln!(text, "index = \"{}\"", sink.index)?;
            writeln!(text, "table = \"{}\"", sink.table)?;
            writeln!(text, "deletes = \"{deletes}\"")?;
            if let Some(when) = &sink.when {
                writeln!(text, "when = \"{when}\"")?;
            }
        }
        writeln!(text, "\n[admin]\nlisten = \"{admin}\"")?;
        Ok(text)
    }
}
