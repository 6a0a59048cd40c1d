//! Which services a stack has, and how it comes up: all kinds at once, each waiting for its own readiness.

use crate::guard::Guard;
use crate::install::Package;
use crate::ports::Plan;
use crate::service::{Service, Spec};
use crate::services::{Site, elasticsearch, kafka, mariadb, mysql, zookeeper};
use crate::stack::Stack;
use crate::{leftovers, paths};
use anyhow::{Context, Result, bail};
use futures_util::future::join_all;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// How often a start is repeated with other ports when one was taken meanwhile.
const ATTEMPTS: u32 = 3;
/// Stacks of this process, to name their folders.
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A stack to be started; see [`Stack::builder`].
#[derive(Debug, Clone, Default)]
pub struct StackBuilder {
    pub(crate) mysql: bool,
    pub(crate) replicas: u16,
    mysql_options: Vec<String>,
    mysql_data: Option<PathBuf>,
    pub(crate) mariadb: bool,
    mariadb_options: Vec<String>,
    pub(crate) kafka: u16,
    pub(crate) sasl: bool,
    pub(crate) zookeeper: u16,
    pub(crate) es: Vec<String>,
    es_version: Option<String>,
    place: Place,
}

/// Where a stack lies, which says whose it is.
#[derive(Debug, Clone, Default)]
enum Place {
    /// A test's: a folder of its own below the usual one, free ports, ended with its owner.
    #[default]
    Own,
    /// The same below another folder.
    Below(PathBuf),
    /// Detached, in this folder, kept from one start to the next.
    Kept(PathBuf, Plan),
}

/// Services that start, and retry, together.
#[derive(Debug, Clone, Copy)]
enum Group {
    Mysql(u16),
    Mariadb,
    Kafka,
    Zookeeper,
    Elasticsearch,
}

impl StackBuilder {
    /// With a MySQL primary.
    #[must_use]
    pub fn mysql(mut self) -> Self {
        self.mysql = true;
        self
    }

    /// With a MySQL primary and this many replicas of it.
    #[must_use]
    pub fn mysql_replicas(mut self, count: u16) -> Self {
        self.mysql = self.mysql || count > 0;
        self.replicas = count;
        self
    }

    /// More options for every MySQL server, e.g. `--binlog-row-metadata=FULL`; they win over the stack's own.
    #[must_use]
    pub fn mysql_options(mut self, options: &[&str]) -> Self {
        self.mysql_options.extend(options.iter().map(|option| (*option).to_owned()));
        self
    }

    /// The MySQL primary begins with a copy of this data folder, left by a clean stop of the same version.
    #[must_use]
    pub fn mysql_data(mut self, folder: &Path) -> Self {
        self.mysql_data = Some(folder.to_path_buf());
        self
    }

    /// With a MariaDB server.
    #[must_use]
    pub fn mariadb(mut self) -> Self {
        self.mariadb = true;
        self
    }

    /// More options for MariaDB.
    #[must_use]
    pub fn mariadb_options(mut self, options: &[&str]) -> Self {
        self.mariadb_options.extend(options.iter().map(|option| (*option).to_owned()));
        self
    }

    /// With this many Kafka brokers.
    #[must_use]
    pub fn kafka(mut self, brokers: u16) -> Self {
        self.kafka = brokers;
        self
    }

    /// Each broker with one listener more, for TLS and SCRAM-SHA-256 (at least one broker).
    #[must_use]
    pub fn kafka_sasl(mut self) -> Self {
        self.kafka = self.kafka.max(1);
        self.sasl = true;
        self
    }

    /// With this many ZooKeeper servers; more than one are an ensemble.
    #[must_use]
    pub fn zookeeper(mut self, servers: u16) -> Self {
        self.zookeeper = servers;
        self
    }

    /// With these Elasticsearch clusters, each one node: `hot`, `full`, `remind`, or any name.
    #[must_use]
    pub fn es(mut self, names: &[&str]) -> Self {
        self.es = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// Another Elasticsearch version: `9.2`, `8.19`, `7.17`, or three numbers.
    #[must_use]
    pub fn es_version(mut self, version: &str) -> Self {
        self.es_version = Some(version.to_owned());
        self
    }

    /// In a folder of its own below `root`, instead of below [`paths::stacks_dir`].
    #[must_use]
    pub fn below(mut self, root: &Path) -> Self {
        self.place = Place::Below(root.to_path_buf());
        self
    }

    /// Detached, on the fixed ports, with its data in `folder`, kept from one start to the next: `cargo stack up`.
    #[must_use]
    pub fn by_hand(mut self, folder: &Path) -> Self {
        self.place = Place::Kept(folder.to_path_buf(), Plan::Fixed);
        self
    }

    /// As [`StackBuilder::by_hand`], on free ports, so that it can run beside another.
    #[must_use]
    pub fn detached(mut self, folder: &Path) -> Self {
        self.place = Place::Kept(folder.to_path_buf(), Plan::Free);
        self
    }

    /// What must be installed for this stack.
    ///
    /// # Errors
    /// When no Elasticsearch version fits.
    pub fn packages(&self) -> Result<Vec<Package>> {
        let mut packages = Vec::new();
        let mut add = |wanted: bool, package| {
            if wanted {
                packages.push(package)
            }
        };
        add(self.mysql, Package::Mysql);
        add(self.mariadb, Package::Mariadb);
        add(self.kafka > 0, Package::Kafka);
        add(self.zookeeper > 0, Package::Zookeeper);
        if !self.es.is_empty() {
            packages.push(Package::elasticsearch(self.es_version.as_deref())?);
        }
        Ok(packages)
    }

    /// Ends the left-overs of crashed owners, installs what is missing, starts everything and waits until it is ready.
    ///
    /// # Errors
    /// When something cannot be installed or started; the error quotes the failing service's log, and what was started
    /// is
    /// ended.
    pub async fn start(self) -> Result<Stack> {
        let packages = self.packages()?;
        for line in packages.iter().filter_map(Package::compromise) {
            eprintln!("{line}");
        }
        let install = tokio::task::spawn_blocking(move || crate::install::install(&packages, false));
        install.await.context("the install was cancelled")??;
        let (folder, plan, owned) = self.claim_folder().await?;
        let guard = owned.then(|| Guard::start(&folder)).transpose()?;
        let site = Site { stack: folder.clone(), plan };
        // Each is awaited to its end, also when another fails: a preparing process must not outlive its folder.
        let started = join_all(self.groups().into_iter().map(|group| self.bring_up(&site, group))).await;
        let services = match started.into_iter().collect::<Result<Vec<_>>>() {
            Ok(groups) => groups.into_iter().flatten().collect(),
            Err(error) => {
                leftovers::end(&folder).await?;
                if owned {
                    leftovers::remove(&folder)?;
                }
                return Err(error);
            }
        };
        let stack = Stack::new(folder, services, guard);
        self.replicate(&stack).await?;
        stack.write_description()?;
        Ok(stack)
    }

    /// The stack's folder, how its ports are chosen, and whether it ends with us.
    async fn claim_folder(&self) -> Result<(PathBuf, Plan, bool)> {
        let root = match &self.place {
            Place::Kept(folder, plan) => {
                std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
                return Ok((folder.canonicalize()?, *plan, false));
            }
            Place::Below(root) => root.clone(),
            Place::Own => paths::stacks_dir(),
        };
        let ended = leftovers::end_below(&root).await?;
        if !ended.is_empty() {
            eprintln!("ended the left-overs of a crashed run: {}", ended.join(", "));
        }
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let folder = root.join(format!("{}-{number}", std::process::id()));
        leftovers::claim(&folder)?;
        Ok((folder.canonicalize()?, Plan::Free, true))
    }

    fn groups(&self) -> Vec<Group> {
        // The slowest first.
        let mut groups = Vec::new();
        if !self.es.is_empty() {
            groups.push(Group::Elasticsearch);
        }
        if self.mysql {
            groups.extend((0..=self.replicas).map(Group::Mysql));
        }
        if self.mariadb {
            groups.push(Group::Mariadb);
        }
        if self.kafka > 0 {
            groups.push(Group::Kafka);
        }
        if self.zookeeper > 0 {
            groups.push(Group::Zookeeper);
        }
        groups
    }

    fn lay_out(&self, site: &Site, group: Group) -> Result<Vec<Spec>> {
        match group {
            Group::Mysql(number) => {
                let data = self.mysql_data.as_deref().filter(|_| number == 0);
                Ok(vec![mysql::lay_out(site, number, &self.mysql_options, data)?])
            }
            Group::Mariadb => Ok(vec![mariadb::lay_out(site, &self.mariadb_options)?]),
            Group::Kafka => kafka::lay_out(site, self.kafka, self.sasl),
            Group::Zookeeper => zookeeper::lay_out(site, self.zookeeper),
            Group::Elasticsearch => {
                let package = Package::elasticsearch(self.es_version.as_deref())?;
                elasticsearch::lay_out(site, &package, &self.es)
            }
        }
    }

    async fn bring_up(&self, site: &Site, group: Group) -> Result<Vec<Service>> {
        let mut attempt = 1;
        loop {
            // Copying and formatting block: not on the thread that watches the other groups.
            let (builder, at) = (self.clone(), site.clone());
            let laying_out = tokio::task::spawn_blocking(move || builder.lay_out(&at, group));
            let specs = laying_out.await.context("the layout was cancelled")??;
            let services: Vec<Service> = specs.into_iter().map(|spec| Service::new(spec, &site.stack)).collect();
            let started = join_all(services.iter().map(Service::start)).await;
            let Err(error) = started.into_iter().collect::<Result<Vec<()>>>() else { return Ok(services) };
            for service in &services {
                service.kill().await?;
            }
            let taken = services.iter().any(|service| port_was_taken(&service.log_tail(60)));
            if site.plan == Plan::Fixed || !taken || attempt == ATTEMPTS {
                return Err(error);
            }
            attempt += 1;
            for service in &services {
                // The next attempt must not see the words of this one. The layout is written anew, data stay.
                std::fs::remove_file(service.log_path()).context("cannot remove a log")?;
            }
        }
    }

    async fn replicate(&self, stack: &Stack) -> Result<()> {
        for number in 1..=self.replicas {
            let replica = stack.mysql_replica(number)?.port();
            mysql::replicate(stack.mysql()?.port(), replica).await?;
        }
        Ok(())
    }

    /// Whether a running stack has at least what this builder asks for.
    ///
    /// # Errors
    /// Names what it lacks.
    pub(crate) fn require(&self, stack: &Stack) -> Result<()> {
        let mut wanted = Vec::new();
        let mut range = |prefix: &str, count: u16| wanted.extend((1..=count).map(|n| format!("{prefix}{n}")));
        range("mysql-replica-", self.replicas);
        range("kafka-", self.kafka);
        range("zookeeper-", self.zookeeper);
        wanted.extend(self.mysql.then(|| mysql::name(0)));
        wanted.extend(self.mariadb.then(|| "mariadb".to_owned()));
        wanted.extend(self.es.iter().map(|name| format!("es-{name}")));
        let missing: Vec<&String> = wanted.iter().filter(|name| stack.service(name).is_err()).collect();
        if !missing.is_empty() {
            bail!("the stack in {} has no {missing:?}", stack.folder().display());
        }
        Ok(())
    }
}

/// The words of MySQL, the JVM and Elasticsearch for a port that somebody else has.
fn port_was_taken(log: &str) -> bool {
    ["Address already in use", "BindException", "Do you already have another"].iter().any(|words| log.contains(words))
}
