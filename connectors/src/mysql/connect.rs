//! Connections: options, encryption, deadline. Must not know what a connection is for.

use mysql_async::{ClientIdentity, Conn, DriverError, Error, Opts, OptsBuilder, SslOpts};
use towpath_engine::ports::source::SourceError;

use super::{MySqlSource, TlsMode, error};

/// Events can be larger than the server's `max_allowed_packet`: replicas take up to 1 GiB too.
const MAX_PACKET: usize = 1 << 30;

impl MySqlSource {
    /// Connects and authenticates within the deadline. `Preferred` falls back to plain text only where the server
    /// offers no encryption, never because encryption failed.
    pub(super) async fn connect(&self) -> Result<Conn, SourceError> {
        self.connect_at(self.config.host.clone(), self.config.port).await
    }

    /// The same, where the server is reached at another address.
    pub(super) async fn connect_at(&self, host: String, port: u16) -> Result<Conn, SourceError> {
        let limit = self.config.connect_timeout;
        let options = |encrypted| self.options(host.clone(), port, encrypted);
        let attempt = async {
            match Conn::new(options(self.config.tls != TlsMode::Disabled)).await {
                Err(Error::Driver(DriverError::NoClientSslFlagFromServer)) if self.config.tls == TlsMode::Preferred => {
                    Conn::new(options(false)).await
                }
                other => other,
            }
        };
        let place = format!("{}:{}", self.config.host, self.config.port);
        match tokio::time::timeout(limit, attempt).await {
            Ok(Ok(conn)) => Ok(conn),
            Ok(Err(err)) => Err(at(&place, error::classify(&err, &self.config.user))),
            Err(_) => {
                Err(SourceError::Unavailable(format!("{place} does not answer within {} s", limit.as_secs_f32())))
            }
        }
    }

    fn options(&self, host: String, port: u16, encrypted: bool) -> Opts {
        let config = &self.config;
        let password = config.password.reveal();
        OptsBuilder::default()
            .ip_or_hostname(host)
            .tcp_port(port)
            .user(Some(config.user.clone()))
            .pass((!password.is_empty()).then(|| password.to_string()))
            // A local socket would be another server behind a forwarded port.
            .prefer_socket(false)
            .tcp_keepalive(Some(std::time::Duration::from_secs(30)))
            .max_allowed_packet(Some(MAX_PACKET))
            .wait_timeout(Some(28_800))
            .stmt_cache_size(0)
            .ssl_opts(encrypted.then(|| self.tls_options()))
            .into()
    }

    fn tls_options(&self) -> SslOpts {
        let config = &self.config;
        let unverified = matches!(config.tls, TlsMode::Preferred | TlsMode::Required);
        let mut tls = SslOpts::default()
            .with_danger_accept_invalid_certs(unverified)
            .with_danger_skip_domain_validation(config.tls != TlsMode::VerifyIdentity);
        if let Some(ca) = &config.ca {
            tls = tls.with_root_certs(vec![ca.clone().into()]).with_disable_built_in_roots(true);
        }
        if let Some(path) = &config.identity {
            let identity = ClientIdentity::new(path.clone().into());
            let password = config.identity_password.reveal().to_string();
            tls = tls.with_client_identity(Some(identity.with_password(password)));
        }
        tls
    }
}

/// Names the server in a connection's error.
fn at(place: &str, err: SourceError) -> SourceError {
    match err {
        SourceError::Unavailable(text) => SourceError::Unavailable(format!("{place}: {text}")),
        SourceError::Denied(text) => SourceError::Denied(format!("{place}: {text}")),
        SourceError::Refused(text) => SourceError::Refused(format!("{place}: {text}")),
        other => other,
    }
}
