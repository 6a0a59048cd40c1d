//! `zookeeper`: the ensemble and the path below which pipelines keep their state.

use std::time::Duration;

use towpath_engine::deployer::DeployerConfig;

use super::reader::Section;
use super::text::{Secret, Text};

/// The ensemble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZooKeeper {
    /// `host:port,host:port`, without the path.
    pub servers: String,
    /// The root path (`/towpath`), without a slash at its end; the pipeline's folder lies below it.
    pub root: String,
    /// How long the ensemble waits before it gives a silent session up.
    pub session_timeout: Duration,
    /// Whether the root path may be created.
    pub create: bool,
    /// User and password of the scheme `digest`.
    pub account: Option<(String, Secret)>,
}

/// The root path where `servers` names none.
const DEFAULT_ROOT: &str = "/towpath";

/// Reads the section; problems are noted there.
pub(super) fn read(section: Section<'_>, deployer: &mut DeployerConfig) -> Option<ZooKeeper> {
    let servers = section.string("servers");
    if servers.is_none() && !section.has("servers") {
        section.missing("servers", "for example servers = \"zk1:2181,zk2:2181,zk3:2181/towpath\"");
    }
    let allowed = Duration::from_secs(2)..=Duration::from_secs(120);
    let session_timeout = section.duration("session_timeout", allowed, deployer.session_timeout);
    deployer.session_timeout = session_timeout;
    let create = section.boolean("create", false);
    let account = match (section.string("user"), section.secret("password")) {
        (Some(user), Some(password)) => Some((user.value, password)),
        (None, None) => None,
        _ => {
            section.problem("user", "and `password` belong together");
            None
        }
    };
    let parts = servers.and_then(|text| split(&section, &text));
    section.finish();
    let (servers, root) = parts?;
    Some(ZooKeeper { servers, root, session_timeout, create, account })
}

fn split(section: &Section<'_>, text: &Text) -> Option<(String, String)> {
    let (servers, root) = match text.value.find('/') {
        Some(at) => (&text.value[..at], text.value[at..].trim_end_matches('/')),
        None => (text.value.as_str(), DEFAULT_ROOT),
    };
    let root = if root.is_empty() { DEFAULT_ROOT } else { root };
    if root.contains("//") || root.split('/').any(|part| part == "." || part == "..") {
        section.problem("servers", format!("\"{root}\" is not a ZooKeeper path"));
        return None;
    }
    let servers = host_ports(section, "servers", servers, 2181)?;
    Some((servers, root.to_owned()))
}

/// Checks `host[:port],host[:port]` and fills in missing ports.
pub(super) fn host_ports(section: &Section<'_>, key: &str, list: &str, default_port: u16) -> Option<String> {
    let mut out = Vec::new();
    for server in list.split(',').map(str::trim) {
        let (host, port) = match server.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') && (!host.contains(':') || host.ends_with(']')) => {
                (host, port.parse::<u16>().ok())
            }
            _ => (server, Some(default_port)),
        };
        let legal = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/' || c == '@');
        match port {
            Some(port) if legal && port > 0 => out.push(format!("{host}:{port}")),
            _ => {
                section.problem(key, format!("\"{server}\" is not HOST:PORT"));
                return None;
            }
        }
    }
    Some(out.join(","))
}
