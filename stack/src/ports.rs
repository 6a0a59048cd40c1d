//! Ports on 127.0.0.1: fixed ones for the stack started by hand, free ones for tests.

use crate::process::holder_of_port;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// The ports of a service by their use: `main`, `controller`, `peer`, …
pub type Ports = BTreeMap<String, u16>;

/// Ports of `cargo stack up`. All lie below 32768, where Linux begins to give ports to outgoing connections, so that
/// none
/// is taken by chance. `examples/orders.toml` names them.
pub mod fixed {
    /// MySQL; replica N has this port plus N.
    pub const MYSQL: u16 = 13306;
    /// MariaDB.
    pub const MARIADB: u16 = 13406;
    /// Kafka's first broker; the others follow.
    pub const KAFKA: u16 = 19092;
    /// Kafka's first controller.
    pub const KAFKA_CONTROLLER: u16 = 19192;
    /// Kafka's first SASL listener.
    pub const KAFKA_SASL: u16 = 19292;
    /// ZooKeeper's first server; the others follow.
    pub const ZOOKEEPER: u16 = 12181;
    /// ZooKeeper's first port between servers.
    pub const ZOOKEEPER_PEER: u16 = 12281;
    /// ZooKeeper's first port for elections.
    pub const ZOOKEEPER_ELECTION: u16 = 12381;
    /// Elasticsearch's first HTTP port: hot, full and remind in this order, others after them.
    pub const ELASTICSEARCH: u16 = 19200;
    /// Elasticsearch's first transport port.
    pub const ELASTICSEARCH_TRANSPORT: u16 = 19300;
}

/// How ports are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Those of [`fixed`]; a taken one is an error.
    Fixed,
    /// Free ones.
    Free,
}

impl Plan {
    /// One port; `number` is the fixed choice.
    pub(crate) fn pick(self, number: u16, service: &str) -> Result<u16> {
        match self {
            Self::Fixed => require_free(number, service).map(|()| number),
            Self::Free => free(),
        }
    }
}

/// Where the search for free ports stands; tests in other processes begin elsewhere, by their pid.
static CURSOR: AtomicU16 = AtomicU16::new(0);

/// A port that nobody listens on, below the range of outgoing connections and apart from the fixed ones.
fn free() -> Result<u16> {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    let begin = u16::try_from(std::process::id().wrapping_mul(7919) % u32::from(COUNT)).unwrap_or(0);
    for _ in 0..COUNT {
        let step = CURSOR.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (begin + step % COUNT) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port of 127.0.0.1 from {FIRST} to {} is free", FIRST + COUNT - 1)
}

/// # Errors
/// When somebody listens on it: names the service that wants it, who holds it, and what to type.
fn require_free(port: u16, service: &str) -> Result<()> {
    if TcpListener::bind(("127.0.0.1", port)).is_ok() {
        return Ok(());
    }
    let (holder, advice) = match holder_of_port(port) {
        Some(holder) => {
            let pid = holder.split("pid ").nth(1).unwrap_or("").trim_end_matches(')').to_owned();
            (holder, format!("end it with `kill {pid}`"))
        }
        None => ("another program".to_owned(), format!("find it with `ss -ltnp 'sport = :{port}'`")),
    };
    bail!(
        "port {port}, which {service} needs, is held by {holder}: {advice}, or `cargo stack down` if it is an earlier stack"
    )
}

/// A port from a map.
pub(crate) fn get(ports: &Ports, name: &str) -> Result<u16> {
    ports.get(name).copied().with_context(|| format!("the service has no port named {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_distinct_and_a_taken_one_is_told() {
        let (a, b) = (free().unwrap(), free().unwrap());
        assert_ne!(a, b);
        let _held = TcpListener::bind(("127.0.0.1", a)).unwrap();
        let error = Plan::Fixed.pick(a, "mysql").unwrap_err().to_string();
        let told = [format!("port {a}"), "mysql".to_owned(), format!("`kill {}`", std::process::id())];
        assert!(told.iter().all(|part| error.contains(part)), "{error}");
    }
}
