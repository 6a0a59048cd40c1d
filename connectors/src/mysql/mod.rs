//! Port `BinlogSource` on MySQL 5.7 to 9.x and MariaDB, by `mysql_async`.
//!
//! The library authenticates, encrypts and frames; decoding of rows is the engine's. The library parses each event's
//! header, format descriptions and table maps on its way; [`events`] puts the bytes together again and checks their
//! CRC32. Every method opens its own connection: none is kept, so none can be half-open when it is needed.

mod connect;
mod dump;
mod error;
mod events;
mod identify;
mod json;
mod rows;
mod schema;
mod semi_sync;
mod transaction;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use towpath_engine::ports::source::{
    BinlogSource, BinlogStream, DumpRequest, RowsRead, RowsWanted, SchemaSnapshot, ServerIdentity, SourceError,
};
use towpath_engine::position::FilePosition;

use crate::{ConfigError, Secret};

/// How the connection is encrypted. The names are those of MySQL's own client (`--ssl-mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// Never.
    Disabled,
    /// If the server offers it; its certificate is not checked.
    #[default]
    Preferred,
    /// Always; its certificate is not checked.
    Required,
    /// Always; the certificate must come from a trusted authority.
    VerifyCa,
    /// Always; the certificate must come from a trusted authority and name the host.
    VerifyIdentity,
}

/// One server, with the account to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceConfig {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Account.
    pub user: String,
    /// Its password; empty = none.
    pub password: Secret,
    /// Encryption.
    pub tls: TlsMode,
    /// PEM file of the authorities to trust; only these then, not the system's.
    pub ca: Option<PathBuf>,
    /// PKCS#12 file with a client certificate and its key.
    pub identity: Option<PathBuf>,
    /// The PKCS#12 file's password.
    pub identity_password: Secret,
    /// Deadline of connecting and authenticating.
    pub connect_timeout: Duration,
    /// Deadline of each statement, and of reading one transaction.
    pub query_timeout: Duration,
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 3306,
            user: String::new(),
            password: Secret::default(),
            tls: TlsMode::default(),
            ca: None,
            identity: None,
            identity_password: Secret::default(),
            connect_timeout: Duration::from_secs(10),
            query_timeout: Duration::from_secs(30),
        }
    }
}

impl SourceConfig {
    /// From `mysql://user:password@host:port`, percent-encoded where needed; without path or parameters.
    pub fn from_url(url: &str) -> Result<Self, ConfigError> {
        let wrong = |why: &str| ConfigError(format!("the source's url is not mysql://USER:PASSWORD@HOST:PORT: {why}"));
        if url.contains('?') {
            return Err(wrong("it has parameters, which are settings of their own here"));
        }
        let opts = Opts::from_url(url).map_err(|err| wrong(&err.to_string()))?;
        if opts.db_name().is_some_and(|name| !name.is_empty()) {
            return Err(wrong("it names a database; `tables` says what is captured"));
        }
        Ok(Self {
            host: opts.ip_or_hostname().to_string(),
            port: opts.tcp_port(),
            user: opts.user().unwrap_or_default().to_string(),
            password: Secret::new(opts.pass().unwrap_or_default()),
            ..Self::default()
        })
    }
}

/// A MySQL or MariaDB server.
#[derive(Debug, Clone)]
pub struct MySqlSource {
    config: SourceConfig,
}

impl MySqlSource {
    /// Checks the configuration; connects to nothing.
    pub fn new(config: SourceConfig) -> Result<Self, ConfigError> {
        if config.host.is_empty() {
            return Err(ConfigError("the source's host is empty: name the MySQL server".into()));
        }
        if config.tls == TlsMode::Disabled && (config.ca.is_some() || config.identity.is_some()) {
            return Err(ConfigError("the source's certificates need `tls`, which is disabled".into()));
        }
        Ok(Self { config })
    }

    /// Ends the connection in order; an error at this point changes nothing.
    async fn close(&self, conn: Conn) {
        if tokio::time::timeout(Duration::from_secs(1), conn.disconnect()).await.is_err() {
            tracing::debug!("the source did not answer to the connection's end");
        }
    }

    /// Runs `work` on a connection under the statement deadline.
    async fn with_deadline<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, mysql_async::Error>>,
    ) -> Result<T, SourceError> {
        match tokio::time::timeout(self.config.query_timeout, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(err)) => Err(error::classify_logged_in(&err, &self.config.user)),
            Err(_) => Err(SourceError::Unavailable(format!(
                "no answer to {what} within {} s",
                self.config.query_timeout.as_secs()
            ))),
        }
    }

    /// A statement without rows.
    async fn execute(&self, conn: &mut Conn, statement: &str) -> Result<(), SourceError> {
        self.with_deadline(statement, conn.query_drop(statement)).await
    }
}

#[async_trait]
impl BinlogSource for MySqlSource {
    async fn identify(&self) -> Result<ServerIdentity, SourceError> {
        let mut conn = self.connect().await?;
        let identity = identify::identify(self, &mut conn).await;
        self.close(conn).await;
        identity
    }

    async fn dump(&self, request: DumpRequest) -> Result<Box<dyn BinlogStream>, SourceError> {
        Ok(Box::new(dump::start(self, request).await?))
    }

    async fn open_transaction(&self, at: &FilePosition) -> Result<Box<dyn BinlogStream>, SourceError> {
        Ok(Box::new(transaction::open(self, at).await?))
    }

    async fn table_schemas(
        &self,
        accept: &(dyn for<'a> Fn(&'a str, &'a str) -> bool + Send + Sync),
    ) -> Result<SchemaSnapshot, SourceError> {
        let mut conn = self.connect().await?;
        let snapshot = schema::read(self, &mut conn, accept).await;
        self.close(conn).await;
        snapshot
    }

    async fn read_rows(&self, wanted: RowsWanted<'_>) -> Result<RowsRead, SourceError> {
        let mut conn = self.connect().await?;
        let rows = rows::read(self, &mut conn, wanted).await;
        self.close(conn).await;
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_their_parameters_refused() {
        let config = SourceConfig::from_url("mysql://canal:p%40ss@db:3307").unwrap();
        assert_eq!((config.host.as_str(), config.port, config.user.as_str()), ("db", 3307, "canal"));
        assert_eq!(config.password.reveal(), "p@ss");
        for wrong in ["mysql://db?require_ssl=true", "mysql://db/orders", "http://db", "db:3306"] {
            let err = SourceConfig::from_url(wrong).unwrap_err();
            assert!(err.0.contains("mysql://USER:PASSWORD@HOST:PORT"), "{err}");
        }
    }

    #[test]
    fn certificates_without_encryption_are_refused() {
        let config = SourceConfig { tls: TlsMode::Disabled, ca: Some("ca.pem".into()), ..SourceConfig::default() };
        assert!(MySqlSource::new(config).unwrap_err().0.contains("disabled"));
    }
}
