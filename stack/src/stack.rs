//! A running stack: its services, how to connect to them, and its end.

use crate::builder::StackBuilder;
use crate::guard::Guard;
use crate::leftovers;
use crate::ports::get;
use crate::service::{Kind, Service, Spec};
use crate::services::{PASSWORD, mysql};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The description of a stack, in its folder: enough for another process to use, stop and restart it.
pub(crate) const FILE: &str = "stack.json";
/// Names the description of a stack that is to be shared.
pub const SHARED: &str = "TOWPATH_STACK";

/// What [`FILE`] holds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Description {
    /// The format's number, 1.
    pub format: u32,
    /// Every service.
    pub services: Vec<Spec>,
}

/// A running stack. One that was started ends all its processes and removes its folder when dropped; one that was
/// attached to, or started by hand, stays.
#[derive(Debug)]
pub struct Stack {
    folder: PathBuf,
    services: Vec<Service>,
    /// Of a stack that ends with its owner.
    guard: Option<Guard>,
}

impl Stack {
    /// Begins the description of a stack.
    #[must_use]
    pub fn builder() -> StackBuilder {
        StackBuilder::default()
    }

    pub(crate) fn new(folder: PathBuf, services: Vec<Service>, guard: Option<Guard>) -> Self {
        Self { folder, services, guard }
    }

    /// The stack whose description is the file `path`, started by another process.
    ///
    /// # Errors
    /// When there is none.
    pub fn attach(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("no stack is described in {}", path.display()))?;
        let description: Description =
            serde_json::from_str(&text).with_context(|| format!("{} describes no stack of ours", path.display()))?;
        if description.format != 1 {
            bail!("{} has format {}, this program reads format 1", path.display(), description.format);
        }
        let folder = path.canonicalize()?.parent().context("a description lies in a folder")?.to_path_buf();
        let services = description.services.into_iter().map(|spec| Service::new(spec, &folder)).collect();
        Ok(Self { folder, services, guard: None })
    }

    /// Attaches to the stack that the variable [`SHARED`] names; without it starts what `builder` says.
    ///
    /// # Errors
    /// As [`Stack::attach`] and [`StackBuilder::start`]; also when the shared stack lacks what the builder asks for.
    pub async fn attach_or_start(builder: StackBuilder) -> Result<Self> {
        let Some(path) = std::env::var_os(SHARED) else { return builder.start().await };
        let stack = Self::attach(Path::new(&path))?;
        builder.require(&stack)?;
        Ok(stack)
    }

    /// The stack's folder: logs, pids and data of all services.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file to name in [`SHARED`] or to give to [`Stack::attach`].
    #[must_use]
    pub fn description_path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// Every service, in no special order.
    #[must_use]
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// A service by its name: `mysql`, `mysql-replica-1`, `mariadb`, `kafka-1`, `zookeeper-1`, `es-hot`.
    ///
    /// # Errors
    /// When the stack has none of that name: the message lists its names.
    pub fn service(&self, name: &str) -> Result<&Service> {
        self.services.iter().find(|service| service.name() == name).with_context(|| {
            let names: Vec<&str> = self.services.iter().map(Service::name).collect();
            format!("the stack has no service {name:?}; it has {}", names.join(", "))
        })
    }

    /// The MySQL primary.
    ///
    /// # Errors
    /// When the stack has none.
    pub fn mysql(&self) -> Result<Mysql<'_>> {
        self.service(&mysql::name(0)).map(Mysql)
    }

    /// A MySQL replica, counted from 1.
    ///
    /// # Errors
    /// When the stack has no such replica.
    pub fn mysql_replica(&self, number: u16) -> Result<Mysql<'_>> {
        self.service(&mysql::name(number)).map(Mysql)
    }

    /// MariaDB.
    ///
    /// # Errors
    /// When the stack has none.
    pub fn mariadb(&self) -> Result<Mysql<'_>> {
        self.service("mariadb").map(Mysql)
    }

    /// The Kafka cluster.
    ///
    /// # Errors
    /// When the stack has none.
    pub fn kafka(&self) -> Result<Kafka<'_>> {
        self.service("kafka-1")?;
        Ok(Kafka { brokers: self.of_kind(Kind::Kafka) })
    }

    /// The ZooKeeper ensemble.
    ///
    /// # Errors
    /// When the stack has none.
    pub fn zookeeper(&self) -> Result<Zookeeper<'_>> {
        self.service("zookeeper-1")?;
        Ok(Zookeeper { servers: self.of_kind(Kind::Zookeeper) })
    }

    /// An Elasticsearch cluster by its name.
    ///
    /// # Errors
    /// When the stack has none of that name.
    pub fn es(&self, name: &str) -> Result<Elasticsearch<'_>> {
        self.service(&format!("es-{name}")).map(Elasticsearch)
    }

    /// Stops everything in order, then removes the folder of a stack that was started for a test.
    ///
    /// # Errors
    /// When a service cannot be ended.
    pub async fn stop(self) -> Result<()> {
        futures_util::future::try_join_all(self.services.iter().map(Service::stop)).await.map(|_| ())
    }

    pub(crate) fn write_description(&self) -> Result<()> {
        let services = self.services.iter().map(|service| service.spec().clone()).collect();
        let text = serde_json::to_string_pretty(&Description { format: 1, services })?;
        let path = self.description_path();
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn of_kind(&self, kind: Kind) -> Vec<&Service> {
        self.services.iter().filter(|service| service.spec().kind == kind).collect()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if self.guard.is_none() {
            return;
        }
        for service in &self.services {
            if let Err(error) = service.kill_now() {
                eprintln!("{}: {error:#}", service.name());
            }
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while self.services.iter().any(Service::is_running) && std::time::Instant::now() < deadline {
            self.services.iter().for_each(Service::reap);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        self.services.iter().for_each(Service::reap);
        if let Err(error) = leftovers::remove(&self.folder) {
            eprintln!("{error:#}");
        }
    }
}

/// A MySQL or MariaDB server.
#[derive(Debug, Clone, Copy)]
pub struct Mysql<'a>(&'a Service);

impl<'a> Mysql<'a> {
    /// Its process.
    #[must_use]
    pub fn service(self) -> &'a Service {
        self.0
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(self) -> u16 {
        main_port(self.0)
    }

    /// The URL of a user who may read everything and follow the binary log.
    #[must_use]
    pub fn url(self) -> String {
        format!("mysql://towpath:{PASSWORD}@127.0.0.1:{}", self.port())
    }

    /// The URL of root.
    #[must_use]
    pub fn root_url(self) -> String {
        format!("mysql://root@127.0.0.1:{}", self.port())
    }

    /// The certificate that signed the server's own (MySQL only).
    #[must_use]
    pub fn ca_pem(self) -> Option<PathBuf> {
        self.0.spec().facts.get("ca_pem").map(PathBuf::from)
    }

    /// The folder in which the binary log's files lie, named `binlog.NNNNNN`.
    #[must_use]
    pub fn data_folder(self) -> PathBuf {
        self.0.spec().folder.join("data")
    }
}

/// A Kafka cluster.
#[derive(Debug, Clone)]
pub struct Kafka<'a> {
    brokers: Vec<&'a Service>,
}

impl<'a> Kafka<'a> {
    /// The brokers' plain addresses, separated by commas.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        addresses(&self.brokers)
    }

    /// The brokers, the first first.
    #[must_use]
    pub fn brokers(&self) -> &[&'a Service] {
        &self.brokers
    }

    /// How to connect with TLS and SCRAM-SHA-256, when the stack was built with [`StackBuilder::kafka_sasl`].
    #[must_use]
    pub fn sasl(&self) -> Option<Sasl> {
        let facts = &self.brokers.first()?.spec().facts;
        Some(Sasl {
            bootstrap: facts.get("sasl_bootstrap")?.clone(),
            user: "towpath".to_owned(),
            password: PASSWORD.to_owned(),
            ca_pem: PathBuf::from(facts.get("ca_pem")?),
        })
    }
}

/// What a client with SASL needs: mechanism SCRAM-SHA-256, protocol SASL_SSL.
#[derive(Debug, Clone, Serialize)]
pub struct Sasl {
    /// The first broker's secured address.
    pub bootstrap: String,
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
    /// The certificate to trust.
    pub ca_pem: PathBuf,
}

/// A ZooKeeper server or ensemble.
#[derive(Debug, Clone)]
pub struct Zookeeper<'a> {
    servers: Vec<&'a Service>,
}

impl<'a> Zookeeper<'a> {
    /// The servers' addresses, separated by commas.
    #[must_use]
    pub fn servers(&self) -> String {
        addresses(&self.servers)
    }

    /// The servers, the first first.
    #[must_use]
    pub fn nodes(&self) -> &[&'a Service] {
        &self.servers
    }
}

/// An Elasticsearch cluster of one node.
#[derive(Debug, Clone, Copy)]
pub struct Elasticsearch<'a>(&'a Service);

impl<'a> Elasticsearch<'a> {
    /// Its process.
    #[must_use]
    pub fn service(self) -> &'a Service {
        self.0
    }

    /// Its address.
    #[must_use]
    pub fn url(self) -> String {
        format!("http://127.0.0.1:{}", main_port(self.0))
    }

    /// Its version.
    #[must_use]
    pub fn version(self) -> &'a str {
        self.0.spec().facts.get("version").map_or("", String::as_str)
    }
}

fn addresses(services: &[&Service]) -> String {
    let list: Vec<String> = services.iter().map(|service| format!("127.0.0.1:{}", main_port(service))).collect();
    list.join(",")
}

/// Every layout gives its service a main port; a description without one, edited by hand, yields 0, which refuses.
fn main_port(service: &Service) -> u16 {
    get(&service.spec().ports, "main").unwrap_or(0)
}
