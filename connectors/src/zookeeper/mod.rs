//! Port `Coordinator` on ZooKeeper 3.5 and later, by `zookeeper-client`.
//!
//! A pipeline's folder is `ROOT/PIPELINE`: its nodes (`state`, `previous`) lie in it, candidates below `election`.
//! Must not decide who leads or what a lost reply means: that is the engine's.

mod error;
mod names;

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use towpath_engine::ports::coordinator::{
    Candidate, Coordinator, CoordinatorError, CoordinatorFactory, NodeVersion, NodeWrite, SessionState,
};
use zookeeper_client::{self as zk, Acls, Client, CreateMode, MultiWriteResult};

use crate::{ConfigError, Secret};
use error::classify;

/// The folder of the candidates.
const ELECTION: &str = "election";
/// A packet's default limit on the server (`jute.maxbuffer`), less what surrounds the data.
const MAX_BYTES: usize = 0xf_ffff - 8_192;

/// The ensemble and the folder below which pipelines keep their state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZooKeeperConfig {
    /// `host:port,host:port`, without a path.
    pub servers: String,
    /// The root path, such as `/towpath`.
    pub root: String,
    /// The pipeline's folder below it.
    pub pipeline: String,
    /// How long the ensemble waits for a silent client before it ends the session.
    pub session_timeout: Duration,
    /// Whether an absent root path is created.
    pub create_root: bool,
    /// User and password of scheme `digest`; the nodes are then for this user alone.
    pub digest: Option<(String, Secret)>,
}

impl Default for ZooKeeperConfig {
    fn default() -> Self {
        Self {
            servers: String::new(),
            root: "/towpath".into(),
            pipeline: String::new(),
            session_timeout: Duration::from_secs(10),
            create_root: false,
            digest: None,
        }
    }
}

/// Makes sessions on one pipeline's folder.
#[derive(Debug, Clone)]
pub struct ZooKeeperFactory {
    config: ZooKeeperConfig,
}

impl ZooKeeperFactory {
    /// Checks the configuration; connects to nothing yet.
    pub fn new(config: ZooKeeperConfig) -> Result<Self, ConfigError> {
        if config.servers.trim().is_empty() || config.servers.contains('/') {
            return Err(ConfigError(format!(
                "zookeeper `servers` is \"{}\": write host:port,host:port, and the path on its own",
                config.servers
            )));
        }
        let bad_root = !config.root.starts_with('/')
            || config.root.contains("//")
            || (config.root.len() > 1 && config.root.ends_with('/'));
        if bad_root {
            return Err(ConfigError(format!("zookeeper path \"{}\": write it as /towpath", config.root)));
        }
        if config.pipeline.is_empty() || config.pipeline.contains('/') {
            return Err(ConfigError(format!("pipeline name \"{}\" is no ZooKeeper node name", config.pipeline)));
        }
        Ok(Self { config })
    }

    fn folder(&self) -> String {
        format!("{}/{}", self.config.root.trim_end_matches('/'), self.config.pipeline)
    }

    fn acls(&self) -> Acls<'static> {
        if self.config.digest.is_some() { Acls::creator_all() } else { Acls::anyone_all() }
    }

    async fn client(&self) -> Result<Client, CoordinatorError> {
        let config = &self.config;
        let mut connector = Client::connector().with_session_timeout(config.session_timeout);
        if let Some((user, password)) = &config.digest {
            connector = connector.with_auth("digest", format!("{user}:{}", password.reveal()).as_bytes());
        }
        let servers = config.servers.clone();
        match tokio::time::timeout(config.session_timeout, connector.connect(&servers)).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(zk::Error::Timeout | zk::Error::NoHosts)) | Err(_) => Err(CoordinatorError::Unknown(format!(
                "none of {servers} answers within {} s",
                config.session_timeout.as_secs_f32()
            ))),
            Ok(Err(err)) => Err(classify(&err, &servers)),
        }
    }

    /// Makes sure that the pipeline's folders exist.
    async fn prepare(&self, session: &Session) -> Result<(), CoordinatorError> {
        let config = &self.config;
        let folder_options = CreateMode::Persistent.with_acls(self.acls());
        let root = &config.root;
        let exists = root == "/" || session.call(root, session.client.check_stat(root)).await?.is_some();
        if !exists {
            if !config.create_root {
                return Err(CoordinatorError::NoPath(format!(
                    "{root} on {servers}; run `zkCli.sh -server {servers} create {root}`, or let it be created by \
                     `create = true`",
                    servers = config.servers
                )));
            }
            session.call(root, session.client.mkdir(root, &folder_options)).await?;
        }
        let folder = self.folder();
        for path in [folder.clone(), format!("{folder}/{ELECTION}")] {
            // Whoever may use the folder need not be allowed to create it.
            if session.call(&path, session.client.check_stat(&path)).await?.is_some() {
                continue;
            }
            let creating = async {
                match session.client.create(&path, b"", &folder_options).await {
                    Ok(_) | Err(zk::Error::NodeExists) => Ok(()),
                    Err(err) => Err(err),
                }
            };
            session.call(&path, creating).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl CoordinatorFactory for ZooKeeperFactory {
    async fn connect(&self) -> Result<Box<dyn Coordinator>, CoordinatorError> {
        let client = self.client().await?;
        let state = follow(&client);
        let session =
            Session { client, state, folder: self.folder(), acls: self.acls(), limit: self.config.session_timeout };
        self.prepare(&session).await?;
        Ok(Box::new(session))
    }
}

/// Translates the library's states until the session is over or nobody looks any more.
fn follow(client: &Client) -> watch::Receiver<SessionState> {
    let mut watcher = client.state_watcher();
    let (sender, receiver) = watch::channel(translate(watcher.state()));
    tokio::spawn(async move {
        loop {
            let state = tokio::select! {
                biased;
                () = sender.closed() => return,
                state = watcher.changed() => state,
            };
            let over = translate(state) == SessionState::Expired;
            if sender.send(translate(state)).is_err() || over {
                return;
            }
        }
    });
    receiver
}

fn translate(state: zk::SessionState) -> SessionState {
    match state {
        zk::SessionState::SyncConnected => SessionState::Connected,
        // A server without a quorum answers reads only: as good as none.
        zk::SessionState::Disconnected | zk::SessionState::ConnectedReadOnly => SessionState::Disconnected,
        zk::SessionState::Expired | zk::SessionState::AuthFailed | zk::SessionState::Closed => SessionState::Expired,
    }
}

/// One session. Dropping it ends the session, and its candidate node goes.
struct Session {
    client: Client,
    state: watch::Receiver<SessionState>,
    folder: String,
    acls: Acls<'static>,
    /// Deadline of each call: later the session may be over anyway.
    limit: Duration,
}

impl Session {
    fn path(&self, node: &str) -> String {
        format!("{}/{node}", self.folder)
    }

    fn candidate_path(&self, node: &str) -> String {
        format!("{}/{ELECTION}/{node}", self.folder)
    }

    /// Starts nothing while the session is not connected: the library would queue it and send it at some later time.
    fn check_connected(&self) -> Result<(), CoordinatorError> {
        match translate(self.client.state()) {
            SessionState::Connected => Ok(()),
            SessionState::Disconnected => Err(CoordinatorError::Unknown("not connected".into())),
            SessionState::Expired => Err(CoordinatorError::Expired),
        }
    }

    async fn call<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, zk::Error>>,
    ) -> Result<T, CoordinatorError> {
        self.check_connected()?;
        match tokio::time::timeout(self.limit, work).await {
            Ok(result) => result.map_err(|err| classify(&err, what)),
            Err(_) => Err(self.late(what)),
        }
    }

    fn late(&self, what: &str) -> CoordinatorError {
        CoordinatorError::Unknown(format!("no reply about {what} within {} s", self.limit.as_secs_f32()))
    }

    /// The candidates' node names, in order.
    async fn candidate_names(&self) -> Result<Vec<String>, CoordinatorError> {
        let folder = self.path(ELECTION);
        let names = self.call(&folder, self.client.list_children(&folder)).await?;
        Ok(names::in_order(names))
    }

    async fn candidate(&self, node: String) -> Result<Option<(Candidate, i64)>, CoordinatorError> {
        let path = self.candidate_path(&node);
        let stat = self.call(&path, self.client.check_stat(&path)).await?;
        Ok(stat.map(|stat| (Candidate { node, czxid: stat.czxid }, stat.ephemeral_owner)))
    }
}

#[async_trait]
impl Coordinator for Session {
    fn session(&self) -> watch::Receiver<SessionState> {
        self.state.clone()
    }

    async fn join(&self, id: &str) -> Result<Candidate, CoordinatorError> {
        // A node of an earlier attempt whose reply was lost counts, if it is of this session: one of an earlier session
        // goes when that one expires. The sync makes this server know what any server has answered.
        let folder = self.path(ELECTION);
        self.call(&folder, self.client.sync(&folder)).await?;
        let session = self.client.session_id().0;
        for name in self.candidate_names().await? {
            if names::id_of(&name) == Some(id) {
                if let Some((candidate, owner)) = self.candidate(name).await? {
                    if owner == session {
                        return Ok(candidate);
                    }
                }
            }
        }
        let prefix = self.candidate_path(&names::prefix(id));
        let options = CreateMode::EphemeralSequential.with_acls(self.acls);
        let (stat, sequence) = self.call(&prefix, self.client.create(&prefix, b"", &options)).await?;
        Ok(Candidate { node: format!("{}{sequence}", names::prefix(id)), czxid: stat.czxid })
    }

    async fn candidates(&self) -> Result<Vec<Candidate>, CoordinatorError> {
        let mut candidates = Vec::new();
        for name in self.candidate_names().await? {
            // Gone in between: no candidate any more.
            candidates.extend(self.candidate(name).await?.map(|(candidate, _)| candidate));
        }
        Ok(candidates)
    }

    async fn candidates_changed(&self, seen: &[Candidate]) -> Result<(), CoordinatorError> {
        let folder = self.path(ELECTION);
        let (names, watcher) = self.call(&folder, self.client.list_and_watch_children(&folder)).await?;
        // What changed between `seen` and the watch shows in the list that came with the watch.
        if !names::in_order(names).iter().eq(seen.iter().map(|candidate| &candidate.node)) {
            return Ok(());
        }
        let event = watcher.changed().await;
        match event.event_type {
            zk::EventType::Session if event.session_state.is_terminated() => Err(CoordinatorError::Expired),
            _ => Ok(()),
        }
    }

    async fn resign(&self, candidate: &Candidate) -> Result<(), CoordinatorError> {
        let path = self.candidate_path(&candidate.node);
        let deleting = async {
            match self.client.delete(&path, None).await {
                Err(zk::Error::NoNode) => Ok(()),
                other => other,
            }
        };
        self.call(&path, deleting).await
    }

    async fn read(&self, node: &str) -> Result<Option<(Vec<u8>, NodeVersion)>, CoordinatorError> {
        let path = self.path(node);
        // A follower may lag behind: without the sync a new leader could read its predecessor's last state but one.
        self.call(&path, self.client.sync(&path)).await?;
        let reading = async {
            match self.client.get_data(&path).await {
                Ok((data, stat)) => Ok(Some((data, stat.version))),
                Err(zk::Error::NoNode) => Ok(None),
                Err(err) => Err(err),
            }
        };
        self.call(&path, reading).await
    }

    async fn write(
        &self,
        candidate: Option<&Candidate>,
        nodes: &[NodeWrite<'_>],
    ) -> Result<Vec<NodeVersion>, CoordinatorError> {
        let size: usize = nodes.iter().map(|write| write.data.len()).sum();
        if size > MAX_BYTES {
            return Err(CoordinatorError::TooLarge(format!("{size} bytes, at most {MAX_BYTES} fit")));
        }
        self.check_connected()?;
        let refused = |err: zk::Error| classify(&err, &self.folder);
        let mut writer = self.client.new_multi_writer();
        if let Some(candidate) = candidate {
            // Any version: what counts is that this very node exists. Sequential names never come back.
            writer.add_check_version(&self.candidate_path(&candidate.node), -1).map_err(refused)?;
        }
        let options = CreateMode::Persistent.with_acls(self.acls);
        for write in nodes {
            let path = self.path(write.node);
            match write.expected {
                Some(version) => writer.add_set_data(&path, write.data, Some(version)).map_err(refused)?,
                None => writer.add_create(&path, write.data, &options).map_err(refused)?,
            }
        }
        let results = match tokio::time::timeout(self.limit, writer.commit()).await {
            Ok(Ok(results)) => results,
            Ok(Err(err)) => return Err(error::of_write(err, candidate.is_some(), &self.folder)),
            Err(_) => return Err(self.late("a write")),
        };
        let versions = results.into_iter().filter_map(|result| match result {
            MultiWriteResult::SetData { stat } => Some(stat.version),
            // Servers before 3.7.1 answer a created node in a multi without its stat; a new node's version is 0.
            MultiWriteResult::Create { .. } => Some(0),
            _ => None,
        });
        Ok(versions.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factory(servers: &str, root: &str, pipeline: &str) -> Result<ZooKeeperFactory, ConfigError> {
        ZooKeeperFactory::new(ZooKeeperConfig {
            servers: servers.into(),
            root: root.into(),
            pipeline: pipeline.into(),
            ..ZooKeeperConfig::default()
        })
    }

    #[test]
    fn paths_are_checked_and_joined() {
        assert_eq!(factory("zk:2181", "/towpath", "orders").unwrap().folder(), "/towpath/orders");
        assert_eq!(factory("zk:2181", "/", "orders").unwrap().folder(), "/orders");
        for (servers, root, pipeline) in [
            ("", "/towpath", "orders"),
            ("zk:2181/towpath", "/towpath", "orders"),
            ("zk:2181", "towpath", "orders"),
            ("zk:2181", "/towpath/", "orders"),
            ("zk:2181", "/towpath", ""),
            ("zk:2181", "/towpath", "a/b"),
        ] {
            assert!(factory(servers, root, pipeline).is_err(), "{servers} {root} {pipeline}");
        }
    }
}
