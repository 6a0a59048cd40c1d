//! `[pipeline.NAME]`: one MySQL source with its topic, its state and its sinks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use towpath_engine::adapter::config::{AdapterConfig, Fencing as ReaderFencing, parse_time_zone};
use towpath_engine::deployer::{DeployerConfig, Fencing, TableFilter};
use towpath_engine::schema::TableSchema;

use super::kafka::{self, Kafka};
use super::reader::Section;
use super::rules;
use super::sink::{self, Sink};
use super::text::{self, Secret, Text};
use super::zookeeper::{self, ZooKeeper};

/// One pipeline.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Its name: part of paths, groups, transactional ids and metrics.
    pub name: String,
    /// The line at which it starts.
    pub line: usize,
    /// The servers that rows come from.
    pub source: Source,
    /// Kafka as a client sees it.
    pub kafka: Kafka,
    /// Where its state is kept.
    pub zookeeper: ZooKeeper,
    /// What its deployer is told. `instance`, the budget and `unrepaired` are the process' business.
    pub deployer: DeployerConfig,
    /// Where documents go.
    pub sinks: Vec<Sink>,
}

impl Pipeline {
    /// What its adapter is told. `tables` are the captured tables' definitions where they are known.
    pub fn adapter(&self, tables: Vec<TableSchema>, buffer_bytes: usize) -> AdapterConfig {
        let mut adapter = AdapterConfig::new(&self.name, &self.deployer.topic);
        adapter.fencing = match self.deployer.fencing {
            Fencing::Transactions => ReaderFencing::Transactions,
            Fencing::Versions => ReaderFencing::Versions,
        };
        adapter.sinks = self.sinks.iter().map(|sink| sink.config.clone()).collect();
        adapter.buffer_bytes = buffer_bytes;
        adapter.tables = tables;
        adapter
    }
}

/// A MySQL or MariaDB server, and those that may take its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The server.
    pub server: Server,
    /// Servers to fail over to, in order.
    pub standby: Vec<Server>,
    /// Encryption of the connection.
    pub tls: SourceTls,
    /// PEM file of the authorities to trust; only these then, not the system's.
    pub ca: Option<PathBuf>,
    /// PKCS#12 file with a client certificate and its key.
    pub identity: Option<PathBuf>,
    /// The PKCS#12 file's password.
    pub identity_password: Option<Secret>,
}

/// A server's address with the account to use. `Debug` and `Display` hide the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Account.
    pub user: String,
    /// Its password; empty = none.
    pub password: Secret,
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let secret = if self.password.reveal().is_empty() { "" } else { ":***" };
        write!(f, "mysql://{}{secret}@{}:{}", self.user, self.host, self.port)
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// Encryption of the source's connection, by the names of MySQL's own client (`--ssl-mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceTls {
    /// Never.
    Disabled,
    /// If the server offers it; its certificate is not checked.
    Preferred,
    /// Always; its certificate is not checked.
    Required,
    /// Always; the certificate comes from a trusted authority.
    VerifyCa,
    /// Always; the certificate comes from a trusted authority and names the host.
    VerifyIdentity,
}

/// Reads one pipeline; problems are noted in its section.
pub(super) fn read(name: String, section: Section<'_>, folder: &Path) -> Option<Pipeline> {
    check_name(&section, &name);
    let default_id = 1_000_000_000 + crc32(name.as_bytes()) % 1_000_000_000;
    let mut deployer = DeployerConfig::new(&name, &name, kafka::DEFAULT_PARTITIONS, default_id);
    let source = match section.section("source") {
        Some(source) => read_source(source, folder, &mut deployer),
        None => {
            section
                .missing("source", "for example source = { url = \"mysql://user@db:3306\", tables = [\"orders.*\"] }");
            None
        }
    };
    if let Some(text) = section.string("start") {
        match text.value.parse() {
            Ok(start) => deployer.start = Some(start),
            Err(why) => section.problem("start", why),
        }
    }
    let time_zone = read_time_zone(&section).unwrap_or(TimeZone::UTC);
    let kafka = match section.section("kafka") {
        Some(kafka) => kafka::read(kafka, &mut deployer),
        None => {
            section.missing("kafka", "for example kafka = { brokers = \"k1:9092\", topic = \"orders\" }");
            None
        }
    };
    let zookeeper = match section.section("zookeeper") {
        Some(zookeeper) => zookeeper::read(zookeeper, &mut deployer),
        None => {
            section.missing("zookeeper", "for example zookeeper = { servers = \"zk1:2181/towpath\" }");
            None
        }
    };
    read_checkpoint(&section, &mut deployer);
    read_failover(&section, &mut deployer);
    read_fallback(&section, &mut deployer);
    let context = sink::Context { topic: &deployer.topic, folder, time_zone };
    let sinks: Vec<Sink> = section.sections("sink").into_iter().filter_map(|sink| sink::read(sink, &context)).collect();
    if deployer.fallback.automatic && sinks.is_empty() {
        section.problem("fallback", "is for documents, but the pipeline has no sink");
    }
    rules::within_pipeline(&section, &deployer.tables, &sinks);
    deployer.whole_rows = !sinks.is_empty();
    let line = section.line();
    section.finish();
    Some(Pipeline { name, line, source: source?, kafka: kafka?, zookeeper: zookeeper?, deployer, sinks })
}

fn check_name(section: &Section<'_>, name: &str) {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(legal) {
        section.problem("", format!("\"{name}\" is not a pipeline's name: 1 to 64 letters, digits, `_`, `-`"));
    }
}

/// Reads `time_zone`, if it is given.
pub(super) fn read_time_zone(section: &Section<'_>) -> Option<TimeZone> {
    let text = section.string("time_zone")?;
    let zone = parse_time_zone(&text.value).ok();
    if zone.is_none() {
        let message = format!("\"{}\" is not a time zone, as in \"Asia/Shanghai\", \"+08:00\" or \"UTC\"", text.value);
        section.problem("time_zone", message);
    }
    zone
}

fn read_checkpoint(section: &Section<'_>, deployer: &mut DeployerConfig) {
    let Some(checkpoint) = section.section("checkpoint") else { return };
    let allowed = Duration::from_millis(50)..=Duration::from_secs(60);
    deployer.checkpoint_interval = checkpoint.duration("interval", allowed, deployer.checkpoint_interval);
    checkpoint.finish();
}

fn read_failover(section: &Section<'_>, deployer: &mut DeployerConfig) {
    let Some(failover) = section.section("failover") else { return };
    let allowed = Duration::from_secs(1)..=Duration::from_secs(3600);
    deployer.failover_after = failover.duration("after", allowed.clone(), deployer.failover_after);
    deployer.failover_catchup = failover.duration("catchup", allowed.clone(), deployer.failover_catchup);
    deployer.failover_min_interval = failover.duration("min_interval", allowed, deployer.failover_min_interval);
    let allowed = Duration::from_secs(60)..=Duration::from_secs(7 * 86_400);
    deployer.horizon = failover.duration("horizon", allowed, deployer.horizon);
    failover.finish();
}

fn read_fallback(section: &Section<'_>, deployer: &mut DeployerConfig) {
    let Some(fallback) = section.section("fallback") else { return };
    deployer.fallback.automatic = fallback.boolean("automatic", deployer.fallback.automatic);
    let allowed = Duration::from_secs(1)..=Duration::from_secs(3600);
    deployer.fallback.after = fallback.duration("after", allowed, deployer.fallback.after);
    if fallback.has("unindexed_after") {
        let allowed = Duration::from_secs(10)..=Duration::from_secs(3600);
        let after = fallback.duration("unindexed_after", allowed, Duration::from_secs(60));
        deployer.fallback.unindexed_after = Some(after);
        if !deployer.fallback.automatic {
            fallback.problem("unindexed_after", "means nothing without `automatic = true`");
        }
    }
    fallback.finish();
}

fn read_source(section: Section<'_>, folder: &Path, deployer: &mut DeployerConfig) -> Option<Source> {
    let user = section.string("user").map(|text| text.value);
    let password = section.secret("password");
    let account = |server: Server| Server {
        user: user.clone().unwrap_or(server.user),
        password: password.clone().unwrap_or(server.password),
        ..server
    };
    let server = match section.url("url") {
        Some(url) => read_server(&section, "url", &url, user.is_some()).map(account),
        None => {
            if !section.has("url") {
                section.missing("url", "for example url = \"mysql://towpath:${MYSQL_PASSWORD}@db:3306\"");
            }
            None
        }
    };
    let standby = section.urls("standby");
    let standby = standby.iter().filter_map(|url| read_server(&section, "standby", url, true));
    // A standby without an account of its own is asked with the primary's.
    let with_account = |standby: Server| match &server {
        Some(primary) if standby.user.is_empty() => {
            Server { user: primary.user.clone(), password: primary.password.clone(), ..standby }
        }
        _ => standby,
    };
    let standby: Vec<Server> = standby.map(with_account).collect();
    let (tls, ca, identity, identity_password) = read_tls(&section, folder);
    read_capture(&section, deployer);
    deployer.semi_sync = section.boolean("semi_sync", deployer.semi_sync);
    if deployer.semi_sync && tls != SourceTls::Disabled {
        section.problem(
            "semi_sync",
            "needs tls = \"disabled\": acknowledgements are put into the connection on its way, which encryption prevents",
        );
    }
    section.finish();
    Some(Source { server: server?, standby, tls, ca, identity, identity_password })
}

fn read_tls(section: &Section<'_>, folder: &Path) -> (SourceTls, Option<PathBuf>, Option<PathBuf>, Option<Secret>) {
    let choices = [
        ("disabled", SourceTls::Disabled),
        ("preferred", SourceTls::Preferred),
        ("required", SourceTls::Required),
        ("verify-ca", SourceTls::VerifyCa),
        ("verify-identity", SourceTls::VerifyIdentity),
    ];
    let tls = section.choice("tls", &choices, SourceTls::Preferred);
    let ca = section.string("ca").map(|text| folder.join(text.value));
    let identity = section.string("identity").map(|text| folder.join(text.value));
    let identity_password = section.secret("identity_password");
    if ca.is_some() && !matches!(tls, SourceTls::VerifyCa | SourceTls::VerifyIdentity) {
        section.problem("ca", "is only used with tls = \"verify-ca\" or \"verify-identity\"");
    }
    if identity.is_some() && tls == SourceTls::Disabled {
        section.problem("identity", "needs encryption: tls is \"disabled\"");
    }
    (tls, ca, identity, identity_password)
}

fn read_capture(section: &Section<'_>, deployer: &mut DeployerConfig) {
    if section.has("tables") {
        let patterns: Vec<String> = section.strings("tables").into_iter().map(|text| text.value).collect();
        match TableFilter::new(patterns) {
            Ok(filter) => deployer.tables = filter,
            Err(stop) => section.problem("tables", stop.detail),
        }
    } else {
        section.missing("tables", "list the captured tables, for example tables = [\"orders.*\"]");
    }
    deployer.server_id = section.integer("server_id", 1..=u64::from(u32::MAX), u64::from(deployer.server_id)) as u32;
    let allowed = Duration::from_millis(100)..=Duration::from_secs(300);
    deployer.heartbeat = section.duration("heartbeat", allowed.clone(), deployer.heartbeat);
    deployer.read_deadline = section.duration("read_deadline", allowed, deployer.read_deadline);
    if deployer.read_deadline < deployer.heartbeat * 2 {
        section.problem("read_deadline", "must be at least twice `heartbeat`, or a silent server looks dead");
    }
}

fn read_server(section: &Section<'_>, key: &str, text: &Text, user_elsewhere: bool) -> Option<Server> {
    let problem = |why: &str| {
        section.problem(key, why);
        None
    };
    let Ok(url) = url::Url::parse(&text.value) else {
        return problem("is not a URL, as in \"mysql://user:password@host:3306\"");
    };
    if !matches!(url.scheme(), "mysql" | "mariadb") {
        return problem("must start with mysql://");
    }
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else { return problem("names no host") };
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return problem("must end after host and port: databases are named in `tables`, the rest are keys of `source`");
    }
    if url.username().is_empty() && !user_elsewhere {
        return problem("names no user, as in \"mysql://user:password@host:3306\"");
    }
    Some(Server {
        host: host.to_owned(),
        port: url.port().unwrap_or(3306),
        user: text::percent_decode(url.username()),
        password: Secret::new(text::percent_decode(url.password().unwrap_or_default())),
    })
}

/// CRC-32 (ISO 3309), bit by bit: it only makes a default server_id from a name, once.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}
