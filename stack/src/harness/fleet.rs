//! The processes of one pipeline: deployers and adapters by name, killed and started again.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::config::Pipeline;
use super::towpath::{Towpath, sum};
use super::wait_for;

/// Which half of the pipeline a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Binlog to Kafka.
    Deployer,
    /// Kafka to Elasticsearch.
    Adapter,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Deployer => "deployer",
            Self::Adapter => "adapter",
        }
    }

    /// The metric of work taken in whose outcome is still open: what a SIGKILL throws away.
    fn open_work(self) -> &'static str {
        match self {
            Self::Deployer => "towpath_in_flight_bytes",
            Self::Adapter => "towpath_sink_buffered_bytes",
        }
    }
}

/// The processes of one pipeline.
#[derive(Debug)]
pub struct Fleet {
    pipeline: Pipeline,
    binary: PathBuf,
    folder: PathBuf,
    running: BTreeMap<String, (Role, Towpath)>,
}

impl Fleet {
    /// No process yet; configurations and logs go to `folder`.
    pub fn new(pipeline: Pipeline, binary: &Path, folder: &Path) -> Self {
        Self { pipeline, binary: binary.to_owned(), folder: folder.to_owned(), running: BTreeMap::new() }
    }

    /// Starts a process under a name that is not in use.
    pub fn start(&mut self, name: &str, role: Role) -> Result<()> {
        let pipeline = self.pipeline.clone();
        self.start_with(name, role, &pipeline)
    }

    /// The same with addresses of its own: a process behind links that can be cut.
    pub fn start_with(&mut self, name: &str, role: Role, pipeline: &Pipeline) -> Result<()> {
        let (config, admin) = pipeline.write(&self.folder, name)?;
        let log = self.folder.join(format!("{}-{name}.log", self.pipeline.name));
        let process = Towpath::start(&self.binary, &config, role.name(), admin, &log, &[])?;
        self.running.insert(name.to_owned(), (role, process));
        Ok(())
    }

    /// A running process.
    pub fn process(&self, name: &str) -> Result<&Towpath> {
        self.running.get(name).map(|(_, process)| process).with_context(|| format!("no process {name} runs"))
    }

    /// The names of all processes of a role.
    pub fn names(&self, role: Role) -> Vec<String> {
        self.running.iter().filter(|(_, (its, _))| *its == role).map(|(name, _)| name.clone()).collect()
    }

    /// The deployer that leads, when there is exactly one.
    pub async fn leader(&self) -> Result<Option<String>> {
        let mut leaders = Vec::new();
        for name in self.names(Role::Deployer) {
            // One that is starting has no metrics yet.
            if self.process(&name)?.metric("towpath_leading").await.unwrap_or(0.0) > 0.0 {
                leaders.push(name);
            }
        }
        Ok(if leaders.len() == 1 { leaders.pop() } else { None })
    }

    /// Waits for a leader.
    pub async fn wait_leader(&mut self, patience: Duration) -> Result<String> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            self.all_alive()?;
            if let Some(name) = self.leader().await? {
                return Ok(name);
            }
            if tokio::time::Instant::now() >= deadline {
                bail!("waited {patience:?} in vain for a leading deployer:\n{}", self.log_tails());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for a moment at which the process has work open, and sends SIGKILL at that moment. Returns the open bytes.
    pub async fn kill_with_open_work(&mut self, name: &str, patience: Duration) -> Result<u64> {
        let (role, process) = self.running.get(name).with_context(|| format!("no process {name} runs"))?;
        let metric = role.open_work();
        let open = wait_for(&format!("{name} to have work open"), patience, || async {
            let bytes = sum(&process.metrics().await?, metric);
            Ok((bytes > 0.0).then_some(bytes as u64))
        })
        .await
        .with_context(|| format!("the log of {name} ends:\n{}", process.log_tail()))?;
        if let Some((_, mut process)) = self.running.remove(name) {
            process.kill()?;
        }
        Ok(open)
    }

    /// SIGKILL at once, whatever the process is doing.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        let (_, mut process) = self.running.remove(name).with_context(|| format!("no process {name} runs"))?;
        process.kill()
    }

    /// Takes a process out of the fleet, to be stopped.
    ///
    /// # Errors
    /// No such process runs.
    pub fn take(&mut self, name: &str) -> Result<Towpath> {
        Ok(self.running.remove(name).with_context(|| format!("no process {name} runs"))?.1)
    }

    /// Of each process that has ended by itself its name, exit status and the end of its log; it is forgotten then.
    pub fn ended(&mut self) -> Result<Vec<(String, Option<i32>, String)>> {
        let mut ended = Vec::new();
        for (name, (_, process)) in &mut self.running {
            if let Some(status) = process.ended()? {
                ended.push((name.clone(), status.code(), process.log_tail()));
            }
        }
        for (name, ..) in &ended {
            self.running.remove(name);
        }
        Ok(ended)
    }

    /// An error with the log of any process that has ended by itself.
    pub fn all_alive(&mut self) -> Result<()> {
        for (name, (_, process)) in &mut self.running {
            if let Some(status) = process.ended()? {
                bail!("{name} ended with {status}; its log ends:\n{}", process.log_tail());
            }
        }
        Ok(())
    }

    /// SIGTERM to all, and their orderly ends.
    pub async fn stop(mut self, patience: Duration) -> Result<()> {
        for (name, (_, process)) in std::mem::take(&mut self.running) {
            let status = process.stop(patience).await.with_context(|| name.clone())?;
            if !status.success() {
                bail!("{name} ended with {status} after SIGTERM");
            }
        }
        Ok(())
    }

    /// Leaves all processes running, for people to look at: name, process id, address of the admin server.
    pub fn leave(mut self) -> Vec<(String, u32, SocketAddr)> {
        let left = std::mem::take(&mut self.running).into_iter();
        left.map(|(name, (_, process))| {
            let (pid, admin) = process.leave();
            (name, pid, admin)
        })
        .collect()
    }

    /// The ends of all logs, for a failure's message.
    pub fn log_tails(&self) -> String {
        let tail = |(name, (_, process)): (&String, &(Role, Towpath))| format!("{name}:\n{}\n", process.log_tail());
        self.running.iter().map(tail).collect()
    }
}
