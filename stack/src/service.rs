//! One service as a process group: start, stop, kill, pause, and its log.

use crate::ports::Ports;
use crate::probe::Probe;
use crate::process::{Identity, MARKER};
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Lines of the log that a failed start quotes.
const TAIL: usize = 30;
/// How often a condition is looked at while waiting for it.
const STEP: Duration = Duration::from_millis(50);
/// How long a service may take to end after SIGTERM before it is killed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// MySQL, the primary or a replica.
    Mysql,
    /// MariaDB.
    Mariadb,
    /// One Kafka broker (and controller).
    Kafka,
    /// One ZooKeeper server.
    Zookeeper,
    /// One Elasticsearch cluster of one node.
    Elasticsearch,
}

/// The command that runs a service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment beside the search path; nothing else is passed on.
    pub env: Vec<(String, String)>,
    /// User and group to run as, when not the caller's.
    pub user: Option<(u32, u32)>,
}

/// All that is needed to start a service again, by this process or another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// Its name within the stack: `mysql`, `kafka-1`, `es-hot`.
    pub name: String,
    /// Which service it is.
    pub kind: Kind,
    /// The command.
    pub launch: Launch,
    /// Its folder: data, configuration; the working folder of the process.
    pub folder: PathBuf,
    /// Its ports by their use.
    pub ports: Ports,
    /// How to ask whether it is ready.
    pub probe: Probe,
    /// Facts that connection details are made of: user names, certificate paths.
    pub facts: std::collections::BTreeMap<String, String>,
}

/// A service of a stack.
#[derive(Debug)]
pub struct Service {
    spec: Spec,
    stack: PathBuf,
    /// The process, when this program started it: ended children must be waited for.
    child: Mutex<Option<Child>>,
}

impl Service {
    /// Of the stack whose folder is `stack`.
    #[must_use]
    pub(crate) fn new(spec: Spec, stack: &Path) -> Self {
        Self { spec, stack: stack.to_path_buf(), child: Mutex::new(None) }
    }

    /// Its name within the stack.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its command, folder and ports.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Where its output goes; kept over restarts.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.stack.join("logs").join(format!("{}.log", self.spec.name))
    }

    /// The pid of its leading process, while the service runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.identity().filter(|identity| identity.group_alive(&self.marker())).map(|identity| identity.pid)
    }

    /// Whether any of its processes runs, ready or not, paused or not.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.pid().is_some()
    }

    /// Starts it and waits until it is ready. Does nothing when it runs.
    ///
    /// # Errors
    /// When it ends or is not ready in time; the error quotes the last lines of its log, and what was started is ended.
    pub async fn start(&self) -> Result<()> {
        if self.is_running() {
            return Ok(());
        }
        self.spawn()?;
        let waited = self.wait_ready().await;
        if waited.is_err() {
            self.kill_now()?;
            self.wait_gone(PATIENCE).await;
        }
        waited
    }

    /// Asks it to end and waits for it; kills it when it does not end in time. Does nothing when it does not run.
    ///
    /// # Errors
    /// When the system refuses a signal, or it cannot be ended.
    pub async fn stop(&self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        self.signal(Signal::SIGCONT)?; // a paused process takes SIGTERM only when it goes on
        if !self.wait_gone(PATIENCE).await {
            return self.kill().await;
        }
        self.forget()
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// When the system refuses the signal, or processes remain.
    pub async fn kill(&self) -> Result<()> {
        self.kill_now()?;
        if !self.wait_gone(PATIENCE).await {
            bail!("{} (pid {:?}) remains after SIGKILL", self.spec.name, self.pid());
        }
        self.forget()
    }

    /// [`Service::stop`], then [`Service::start`], on the same data and ports.
    ///
    /// # Errors
    /// As these.
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.start().await
    }

    /// Stops its processes where they are (SIGSTOP): connections stay open and silent.
    ///
    /// # Errors
    /// When the system refuses the signal, or a process runs on.
    pub fn pause(&self) -> Result<()> {
        self.identity().map_or(Ok(()), |identity| identity.pause(&self.marker()))
    }

    /// Lets it go on after [`Service::pause`].
    ///
    /// # Errors
    /// When the system refuses the signal.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Lets it run on these cores alone, numbers from 0, until it is started again.
    ///
    /// # Errors
    /// There is no such core, or the system refuses.
    pub fn bind(&self, cores: &[usize]) -> Result<()> {
        self.identity().map_or(Ok(()), |identity| identity.bind(&self.marker(), cores))
    }

    /// Its writes to files fail from now on, as on a full disk, until it is started again.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn fill_disk(&self) -> Result<()> {
        self.identity().map_or(Ok(()), |identity| identity.without_room(&self.marker()))
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log_path(), lines)
    }

    /// Sends SIGKILL and does not wait: for destructors.
    pub(crate) fn kill_now(&self) -> Result<()> {
        self.signal(Signal::SIGKILL)
    }

    /// Waits for an ended child, so that no zombie is left.
    pub(crate) fn reap(&self) {
        if let Some(child) = self.child().as_mut() {
            // Nothing to do about an error here: the process is not ours to wait for any more.
            let _ = child.try_wait();
        }
    }

    pub(crate) fn forget(&self) -> Result<()> {
        match std::fs::remove_file(self.pid_path()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("cannot remove a pid file")
            }
            _ => Ok(()),
        }
    }

    fn spawn(&self) -> Result<()> {
        let log_path = self.log_path();
        for folder in [log_path.parent(), self.pid_path().parent()].into_iter().flatten() {
            std::fs::create_dir_all(folder)?;
        }
        let log = File::options().create(true).append(true).open(&log_path)?;
        if matches!(self.spec.kind, Kind::Mysql | Kind::Mariadb) {
            // A killed server leaves it with a pid; a server that is given that pid's number again would not start.
            let _ = std::fs::remove_file(self.spec.folder.join("data/mysql.sock.lock"));
        }
        let launch = &self.spec.launch;
        let mut command = Command::new(&launch.program);
        command.args(&launch.args).env_clear().envs(launch.env.iter().map(|(name, value)| (name, value)));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env(MARKER, self.marker());
        command.current_dir(&self.spec.folder).process_group(0);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        if let Some((user, group)) = launch.user {
            command.gid(group).uid(user);
        }
        let child = command.spawn().with_context(|| format!("cannot start {}", launch.program.display()))?;
        let pid = i32::try_from(child.id()).context("a pid beyond 31 bits")?;
        *self.child() = Some(child);
        // A child that has ended already is a zombie until it is waited for, and still has its identity.
        let identity = Identity::of(pid).context("/proc cannot be read: the stack runs on Linux only")?;
        std::fs::write(self.pid_path(), serde_json::to_string(&identity)?)?;
        Ok(())
    }

    async fn wait_ready(&self) -> Result<()> {
        // A service that dies is noticed at once; a busy machine takes minutes to start three clusters.
        let patience = Duration::from_secs(300);
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.exit_status()? {
                bail!("{} ended while it started ({status}). {}", self.spec.name, self.quote());
            }
            let Err(why) = self.spec.probe.ask().await else { return Ok(()) };
            if Instant::now() >= deadline {
                let seconds = patience.as_secs();
                bail!("{} is not ready after {seconds} s ({why:#}). {}", self.spec.name, self.quote());
            }
            sleep(STEP).await;
        }
    }

    fn exit_status(&self) -> Result<Option<String>> {
        let Some(status) = self.child().as_mut().map(Child::try_wait).transpose()?.flatten() else { return Ok(None) };
        let how = status.signal().map_or(status.to_string(), |signal| format!("killed by signal {signal}"));
        Ok(Some(how))
    }

    fn quote(&self) -> String {
        format!("The last lines of {}:\n{}", self.log_path().display(), self.log_tail(TAIL))
    }

    async fn wait_gone(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            if !self.is_running() {
                self.reap(); // a zombie keeps its pid, by which a server would think that its predecessor lives
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            sleep(STEP).await;
        }
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match self.identity() {
            Some(identity) => identity.signal(&self.marker(), signal),
            None => Ok(()),
        }
    }

    fn identity(&self) -> Option<Identity> {
        serde_json::from_str(&std::fs::read_to_string(self.pid_path()).ok()?).ok()
    }

    fn pid_path(&self) -> PathBuf {
        self.stack.join("pids").join(format!("{}.json", self.spec.name))
    }

    /// The marker's value: unique on this machine.
    fn marker(&self) -> String {
        self.stack.join(&self.spec.name).display().to_string()
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last lines of a file, of at most its last 64 KiB; empty when it cannot be read.
#[must_use]
pub fn tail(path: &Path, lines: usize) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(64 << 10)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
