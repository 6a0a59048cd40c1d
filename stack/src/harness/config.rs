//! The configuration file of one `towpath` process on a stack, as a user would write it.

use anyhow::Result;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// One pipeline on the services of a stack. Names keep tests apart: database, topic, indices and path begin with it.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The pipeline's name, a plain word; also the database, the topic and the path.
    pub name: String,
    /// `mysql://user:password@host:port`.
    pub source: String,
    /// `host:port,…`.
    pub kafka: String,
    /// `host:port,…`.
    pub zookeeper: String,
    /// The sinks.
    pub sinks: Vec<Sink>,
    /// Partitions of the topic.
    pub partitions: u32,
    /// `transactions` or `versions`.
    pub fencing: String,
    /// `event` or `row`.
    pub record: String,
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
    /// The three sinks of the mission: active orders, all orders, orders whose sound must still play.
    pub fn order_sinks(name: &str, hot: &str, full: &str, remind: &str) -> Vec<Sink> {
        let sink = |kind: &str, url: &str, when: Option<&str>| Sink {
            name: kind.to_owned(),
            elasticsearch: url.to_owned(),
            index: format!("{name}-{kind}"),
            table: format!("{name}.order_main"),
            when: when.map(str::to_owned),
        };
        vec![
            sink("hot", hot, Some("row.status in [1, 2, 3, 4]")),
            sink("full", full, None),
            sink("remind", remind, Some("row.prompt_flag == 1 && row.status in [1, 2]")),
        ]
    }

    /// Writes the file for one process into `folder` and picks a free port for its admin server.
    pub fn write(&self, folder: &Path, process: &str) -> Result<(PathBuf, SocketAddr)> {
        let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let path = folder.join(format!("{}-{process}.toml", self.name));
        std::fs::write(&path, self.text(admin)?)?;
        Ok((path, admin))
    }

    fn text(&self, admin: SocketAddr) -> Result<String> {
        let Self { name, source, kafka, zookeeper, partitions, fencing, record, .. } = self;
        let mut text = String::new();
        writeln!(text, "[pipeline.{name}]")?;
        writeln!(text, "source = {{ url = \"{source}\", tables = [\"{name}.*\"] }}")?;
        writeln!(text, "start = \"oldest\"")?;
        writeln!(
            text,
            "kafka = {{ brokers = \"{kafka}\", topic = \"{name}\", partitions = {partitions}, \
             partition_by = \"order_id\", fencing = \"{fencing}\", record = \"{record}\" }}"
        )?;
        writeln!(text, "zookeeper = {{ servers = \"{zookeeper}\", create = true, session_timeout = \"4s\" }}")?;
        for sink in &self.sinks {
            writeln!(text, "\n[[pipeline.{name}.sink]]")?;
            writeln!(text, "name = \"{}\"", sink.name)?;
            writeln!(text, "elasticsearch = [\"{}\"]", sink.elasticsearch)?;
            writeln!(text, "index = \"{}\"", sink.index)?;
            writeln!(text, "table = \"{}\"", sink.table)?;
            if let Some(when) = &sink.when {
                writeln!(text, "when = \"{when}\"")?;
            }
        }
        writeln!(text, "\n[admin]\nlisten = \"{admin}\"")?;
        Ok(text)
    }
}
