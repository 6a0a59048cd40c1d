//! The list of what is installed: each service, where it comes from, its version and its folder's name.

use super::java;
use super::stamp::sha256_of_text;
use anyhow::{Result, bail};

/// One installable service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Package {
    /// MySQL, the LTS that Debian sid carries.
    Mysql,
    /// MariaDB 10.11 of Debian 12.
    Mariadb,
    /// Kafka.
    Kafka,
    /// ZooKeeper.
    Zookeeper,
    /// Elasticsearch of an exact version.
    Elasticsearch(String),
    /// Debezium on Kafka Connect: only to compare with.
    Debezium,
    /// Canal: only to compare with.
    Canal,
}

/// Debezium's connector, the worker that runs it, and a log.
pub(super) const DEBEZIUM: &[&str] = &[
    "io.debezium:debezium-connector-mysql:3.3.2.Final",
    "org.apache.kafka:connect-runtime:4.1.1",
    "org.apache.kafka:connect-json:4.1.1",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3",
    "org.apache.logging.log4j:log4j-core:2.24.3",
];

/// Canal's server and its way to Kafka.
pub(super) const CANAL: &[&str] = &["com.alibaba.otter:canal.server:1.1.7", "com.alibaba.otter:connector.kafka:1.1.7"];

/// Kafka's libraries. `log4j` is the binding without which Kafka writes no log.
pub(super) const KAFKA: &[&str] = &[
    "org.apache.kafka:kafka_2.13:4.1.1",
    "org.apache.kafka:kafka-tools:4.1.1",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3",
    "org.apache.logging.log4j:log4j-core:2.24.3",
];

/// ZooKeeper's libraries; the server needs the last four and does not declare them.
pub(super) const ZOOKEEPER: &[&str] = &[
    "org.apache.zookeeper:zookeeper:3.9.4",
    "io.dropwizard.metrics:metrics-core:4.1.12.1",
    "org.xerial.snappy:snappy-java:1.1.10.5",
    "org.apache.logging.log4j:log4j-slf4j2-impl:2.24.3",
    "org.apache.logging.log4j:log4j-core:2.24.3",
];

/// MySQL's packages, of suite sid. Never a library's name: those change with sid.
pub(super) const MYSQL: &[&str] = &["mysql-server-core", "mysql-client-core"];

/// MariaDB's packages, of suite bookworm.
pub(super) const MARIADB: &[&str] = &["mariadb-server-core", "mariadb-client-core", "mariadb-common", "libmariadb3"];

/// Elasticsearch's archive without the version.
pub(super) const ELASTICSEARCH: &str = "org.elasticsearch.distribution.integ-test-zip:elasticsearch";

/// Versions with the SHA-256 of their archive (the repository has no checksum of them), newest first.
const ELASTICSEARCH_KNOWN: &[(&str, &str)] = &[
    ("9.2.0", "bf44938a0490ba2a303d39c9cb64b38963dd08c812ce93e10816e878585bcb6b"),
    ("8.19.7", "cb7f86fb6e68e85ef6f531ae5c68458ecfe42371150403b22b2ed21381581cbb"),
    ("7.17.29", "841ee00be1a72ba8e707b5a2fb55f23fe7a4184369b4585393238b1c903eedaf"),
];

impl Package {
    /// What `cargo stack up` and the tests use, with the Elasticsearch that this machine's Java can run.
    ///
    /// # Errors
    /// When there is no Java at all.
    pub fn all() -> Result<Vec<Self>> {
        Ok(vec![Self::Mysql, Self::Mariadb, Self::Kafka, Self::Zookeeper, Self::elasticsearch(None)?])
    }

    /// One by its name: `mysql`, `mariadb`, `kafka`, `zookeeper`, `es` or `es:VERSION`.
    ///
    /// # Errors
    /// When there is no such name or version.
    pub fn named(name: &str) -> Result<Self> {
        match name.split_once(':') {
            None if name == "mysql" => Ok(Self::Mysql),
            None if name == "mariadb" => Ok(Self::Mariadb),
            None if name == "kafka" => Ok(Self::Kafka),
            None if name == "zookeeper" => Ok(Self::Zookeeper),
            None if name == "debezium" => Ok(Self::Debezium),
            None if name == "canal" => Ok(Self::Canal),
            None if name == "es" || name == "elasticsearch" => Self::elasticsearch(None),
            Some(("es" | "elasticsearch", version)) => Self::elasticsearch(Some(version)),
            _ => bail!(
                "no service is named {name:?}: one of mysql, mariadb, kafka, zookeeper, es, es:VERSION, and to \
                     compare with: debezium, canal"
            ),
        }
    }

    /// Elasticsearch by a version or its beginning (`9`, `8.19`, `8.19.7`); `None` is the newest that the Java here
    /// runs.
    ///
    /// # Errors
    /// When the version is not one, or no Java is found.
    pub fn elasticsearch(version: Option<&str>) -> Result<Self> {
        let Some(wanted) = version else {
            let (newest, older) = (ELASTICSEARCH_KNOWN[0].0, ELASTICSEARCH_KNOWN[1].0);
            if java::find(java_for_elasticsearch(newest)).is_ok() {
                return Ok(Self::Elasticsearch(newest.to_owned()));
            }
            java::find(java_for_elasticsearch(older))?;
            return Ok(Self::Elasticsearch(older.to_owned()));
        };
        let known = ELASTICSEARCH_KNOWN
            .iter()
            .find(|(version, _)| *version == wanted || version.starts_with(&format!("{wanted}.")));
        if let Some((version, _)) = known {
            return Ok(Self::Elasticsearch((*version).to_owned()));
        }
        let exact = wanted.split('.').count() == 3 && wanted.split('.').all(|part| part.parse::<u32>().is_ok());
        if !exact {
            let list: Vec<&str> = ELASTICSEARCH_KNOWN.iter().map(|(version, _)| *version).collect();
            bail!(
                "no Elasticsearch version fits {wanted:?}: known are {}; any other by its three numbers",
                list.join(", ")
            );
        }
        Ok(Self::Elasticsearch(wanted.to_owned()))
    }

    /// A line to tell when the Elasticsearch chosen is not the newest, because of the Java found.
    #[must_use]
    pub fn compromise(&self) -> Option<String> {
        let Self::Elasticsearch(version) = self else { return None };
        let newest = ELASTICSEARCH_KNOWN[0].0;
        if version == newest || java::find(java_for_elasticsearch(newest)).is_ok() {
            return None;
        }
        Some(format!("Elasticsearch {version} instead of {newest}, which needs Java 21 or newer; none was found"))
    }

    /// Its name, as `--only` takes it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Mysql => "mysql".to_owned(),
            Self::Mariadb => "mariadb".to_owned(),
            Self::Kafka => "kafka".to_owned(),
            Self::Zookeeper => "zookeeper".to_owned(),
            Self::Debezium => "debezium".to_owned(),
            Self::Canal => "canal".to_owned(),
            Self::Elasticsearch(version) => format!("es:{version}"),
        }
    }

    /// The folder's name below the cache folder. Another recipe gets another folder, so that an install never replaces
    /// files under a running stack of another checkout.
    #[must_use]
    pub fn folder(&self) -> String {
        match self {
            Self::Elasticsearch(version) => format!("elasticsearch-{version}"),
            other => format!("{}-{}", other.name(), &sha256_of_text(&other.recipe())[..8]),
        }
    }

    /// What is asked for, as text: a change of it makes an installed folder out of date.
    pub(super) fn recipe(&self) -> String {
        match self {
            Self::Mysql => format!("sid {} + template", MYSQL.join(" ")),
            Self::Mariadb => format!("bookworm {} + template", MARIADB.join(" ")),
            Self::Kafka => KAFKA.join(" "),
            Self::Zookeeper => ZOOKEEPER.join(" "),
            Self::Debezium => DEBEZIUM.join(" "),
            Self::Canal => CANAL.join(" "),
            Self::Elasticsearch(version) => format!("{ELASTICSEARCH}:{version}"),
        }
    }

    /// The SHA-256 that the downloaded archive must have, where we know it.
    pub(super) fn archive_sha256(&self) -> Option<&'static str> {
        let Self::Elasticsearch(wanted) = self else { return None };
        ELASTICSEARCH_KNOWN.iter().find(|(version, _)| version == wanted).map(|(_, sum)| *sum)
    }
}

/// The Java versions that an Elasticsearch runs on: 9 needs 21; before 8.19 it asks for the security manager, which
/// Java 24
/// dropped.
#[must_use]
pub fn java_for_elasticsearch(version: &str) -> std::ops::RangeInclusive<u32> {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    match (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) {
        (9.., _) => 21..=99,
        (8, 19..) => 17..=99,
        _ => 17..=23,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_by_their_beginning() {
        let version = |text| match Package::elasticsearch(Some(text)) {
            Ok(Package::Elasticsearch(version)) => version,
            other => format!("{other:?}"),
        };
        assert_eq!(version("8.19"), "8.19.7");
        assert_eq!(version("7"), "7.17.29");
        assert_eq!(version("9.0.1"), "9.0.1");
        assert!(version("8.1").contains("no Elasticsearch version fits"));
        assert!(version("newest").contains("no Elasticsearch version fits"));
        assert!(Package::named("oracle").is_err());
    }

    #[test]
    fn java_ranges_follow_the_version() {
        assert!(!java_for_elasticsearch("9.2.0").contains(&17));
        assert!(java_for_elasticsearch("8.19.7").contains(&17));
        assert!(!java_for_elasticsearch("7.17.29").contains(&25));
    }
}
