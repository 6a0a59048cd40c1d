//! How to connect to a stack: as JSON for programs, as lines to paste for people.

use crate::paths::cache_dir;
use crate::ports::Ports;
use crate::service::Kind;
use crate::stack::{Mysql, Sasl, Stack};
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Everything that a user of a stack needs.
#[derive(Debug, Serialize)]
pub struct Details {
    /// The stack's folder.
    pub folder: PathBuf,
    /// The file to name in `TOWPATH_STACK`.
    pub description: PathBuf,
    /// The services' states.
    pub services: Vec<State>,
    /// The MySQL primary.
    pub mysql: Option<Database>,
    /// Its replicas.
    pub mysql_replicas: Vec<Database>,
    /// MariaDB.
    pub mariadb: Option<Database>,
    /// Kafka.
    pub kafka: Option<KafkaDetails>,
    /// ZooKeeper's addresses, separated by commas.
    pub zookeeper: Option<String>,
    /// Elasticsearch's URLs by cluster.
    pub elasticsearch: BTreeMap<String, String>,
}

/// One service's state.
#[derive(Debug, Serialize)]
pub struct State {
    /// Its name.
    pub name: String,
    /// Which service.
    pub kind: Kind,
    /// The leading process, while it runs.
    pub pid: Option<i32>,
    /// Whether it answers now.
    pub ready: bool,
    /// Its ports.
    pub ports: Ports,
    /// Its log.
    pub log: PathBuf,
}

/// How to connect to MySQL or MariaDB.
#[derive(Debug, Serialize)]
pub struct Database {
    /// A user who may read all and follow the binary log.
    pub url: String,
    /// Root, without a password.
    pub root_url: String,
    /// A shell line for a client as root.
    pub client: String,
}

/// How to connect to Kafka.
#[derive(Debug, Serialize)]
pub struct KafkaDetails {
    /// Plain addresses, separated by commas.
    pub bootstrap: String,
    /// The secured listener.
    pub sasl: Option<Sasl>,
}

impl Details {
    /// Of a stack, asking every service whether it is ready.
    ///
    /// # Errors
    /// When the cache folder cannot be told.
    pub async fn of(stack: &Stack) -> Result<Self> {
        let mut services = Vec::new();
        for service in stack.services() {
            let (spec, pid) = (service.spec(), service.pid());
            services.push(State {
                name: spec.name.clone(),
                kind: spec.kind,
                pid,
                ready: pid.is_some() && spec.probe.ask().await.is_ok(),
                ports: spec.ports.clone(),
                log: service.log_path(),
            });
        }
        let replicas = (1..).map_while(|number| stack.mysql_replica(number).ok());
        let clusters = stack.services().iter().filter_map(|service| service.name().strip_prefix("es-"));
        Ok(Self {
            folder: stack.folder().to_path_buf(),
            description: stack.description_path(),
            services,
            mysql: stack.mysql().ok().map(|server| Database::of(server, "mysql")).transpose()?,
            mysql_replicas: replicas.map(|server| Database::of(server, "mysql")).collect::<Result<_>>()?,
            mariadb: stack.mariadb().ok().map(|server| Database::of(server, "mariadb")).transpose()?,
            kafka: stack.kafka().ok().map(|kafka| KafkaDetails { bootstrap: kafka.bootstrap(), sasl: kafka.sasl() }),
            zookeeper: stack.zookeeper().ok().map(|zookeeper| zookeeper.servers()),
            elasticsearch: clusters.filter_map(|name| Some((name.to_owned(), stack.es(name).ok()?.url()))).collect(),
        })
    }

    /// Whether every service runs and answers.
    #[must_use]
    pub fn all_ready(&self) -> bool {
        self.services.iter().all(|service| service.ready)
    }

    /// Lines to paste, for people.
    ///
    /// # Errors
    /// When the cache folder cannot be told.
    pub fn to_text(&self) -> Result<String> {
        let bin = cache_dir()?.join("bin");
        let mut text = String::new();
        let mut line = |title: &str, what: &str| {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{title:16} {what}");
        };
        for (title, database) in self.databases() {
            line(&title, &format!("{}   (root: no password)", database.url));
            line("", &database.client);
        }
        if let Some(kafka) = &self.kafka {
            line("Kafka", &kafka.bootstrap);
            line("", &format!("{}/kafka-topics --bootstrap-server {} --list", bin.display(), kafka.bootstrap));
            if let Some(sasl) = &kafka.sasl {
                let Sasl { bootstrap, user, password, ca_pem } = sasl;
                line(
                    "Kafka SASL_SSL",
                    &format!("{bootstrap}   SCRAM-SHA-256 {user}:{password}, CA {}", ca_pem.display()),
                );
            }
        }
        if let Some(servers) = &self.zookeeper {
            line("ZooKeeper", servers);
            line("", &format!("{}/zookeeper-cli -server {servers}", bin.display()));
        }
        for (name, url) in &self.elasticsearch {
            line(&format!("Elastic {name}"), url);
            line("", &format!("curl '{url}/_cat/indices?v'"));
        }
        line("Logs", &self.folder.join("logs").display().to_string());
        line("For programs", &format!("{}={}", crate::stack::SHARED, self.description.display()));
        Ok(text)
    }

    fn databases(&self) -> Vec<(String, &Database)> {
        let primary = self.mysql.iter().map(|database| ("MySQL".to_owned(), database));
        let replicas = self.mysql_replicas.iter().enumerate().map(|(n, db)| (format!("MySQL replica {}", n + 1), db));
        let mariadb = self.mariadb.iter().map(|database| ("MariaDB".to_owned(), database));
        primary.chain(replicas).chain(mariadb).collect()
    }
}

impl Database {
    fn of(server: Mysql<'_>, client: &str) -> Result<Self> {
        let client = cache_dir()?.join("bin").join(client);
        let client = format!("{} -h 127.0.0.1 -P {} -u root", client.display(), server.port());
        Ok(Self { url: server.url(), root_url: server.root_url(), client })
    }
}
