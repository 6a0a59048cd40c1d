//! One `towpath run` process: start, look at it through its admin port, stop, kill.

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::proc::{peak_rss, stat};
use super::wait_for;
use crate::process::{MARKER, until_stopped};

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub struct Towpath {
    child: Child,
    admin: SocketAddr,
    log: PathBuf,
    client: reqwest::Client,
}

/// What the process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Seconds of CPU, user and system.
    pub cpu_s: f64,
    /// The most memory resident at once, in bytes.
    pub peak_rss: u64,
}

/// The sum of a metric's series over all labels; 0 if there is none.
pub fn sum(series: &BTreeMap<String, f64>, name: &str) -> f64 {
    series.iter().filter(|(key, _)| key.split('{').next() == Some(name)).map(|(_, value)| value).sum()
}

impl Towpath {
    /// Starts `towpath run --config CONFIG --role ROLE` with further arguments; its log goes to `log` (appended).
    pub fn start(
        binary: &Path,
        config: &Path,
        role: &str,
        admin: SocketAddr,
        log: &Path,
        more: &[&str],
    ) -> Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let child = Command::new(binary)
            .args(["run", "--role", role, "--config"])
            .arg(config)
            .args(more)
            // The guard of the stack in whose folder the log lies ends this process too, should we be killed.
            .env(MARKER, log)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).no_proxy().build()?;
        Ok(Self { child, admin, log: log.to_owned(), client })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its admin server listens.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        crate::service::tail(&self.log, 30)
    }

    /// The body of `/readyz` and whether it said ready.
    pub async fn readyz(&self) -> Result<(bool, Value)> {
        let response = self.client.get(format!("http://{}/readyz", self.admin)).send().await?;
        let ready = response.status().is_success();
        Ok((ready, response.json().await?))
    }

    /// All series of `/metrics` by their full text (`name{labels}`).
    pub async fn metrics(&self) -> Result<BTreeMap<String, f64>> {
        let text = self.client.get(format!("http://{}/metrics", self.admin)).send().await?.text().await?;
        let series = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        Ok(series.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// The sum of a metric's series over all labels; 0 if it does not exist yet.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        Ok(sum(&self.metrics().await?, name))
    }

    /// Waits until `/readyz` says ready.
    pub async fn wait_ready(&self, patience: Duration) -> Result<()> {
        let result = wait_for("towpath to be ready", patience, || async {
            let (ready, body) = self.readyz().await?;
            if ready { Ok(Some(())) } else { bail!("/readyz says {body}") }
        })
        .await;
        let tail = self.log_tail();
        result.with_context(|| format!("the log ends:\n{tail}"))
    }

    /// The exit status if it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Stops it where it is (SIGSTOP): connections stay open and silent. It stands still when this returns.
    pub fn pause(&self) -> Result<()> {
        let pid = self.child.id().cast_signed();
        kill(Pid::from_raw(pid), Signal::SIGSTOP)?;
        until_stopped(&[pid])
    }

    /// Lets it go on after [`Towpath::pause`], believing what it believed.
    pub fn resume(&self) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGCONT)?)
    }

    /// Lets the process outlive this one; returns its id and its admin server's address.
    pub fn leave(self) -> (u32, SocketAddr) {
        let left = (self.child.id(), self.admin);
        // Dropping would end it; what is not given back is a handle and a path.
        std::mem::forget(self);
        left
    }

    /// SIGTERM, and waits for the orderly end.
    pub async fn stop(mut self, patience: Duration) -> Result<ExitStatus> {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM)?;
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if tokio::time::Instant::now() >= deadline {
                bail!("towpath did not end within {patience:?} of SIGTERM; its log ends:\n{}", self.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// CPU and memory so far, from the process' own accounting by the kernel.
    pub fn usage(&self) -> Result<Usage> {
        let pid = self.child.id();
        let cpu_s = stat(pid).with_context(|| format!("/proc/{pid}/stat is not understood"))?.cpu_s;
        Ok(Usage { cpu_s, peak_rss: peak_rss(pid)? })
    }
}

impl Drop for Towpath {
    fn drop(&mut self) {
        // An ended child is not an error here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
