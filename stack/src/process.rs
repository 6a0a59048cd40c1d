//! Processes by identity: a pid alone may have been given to another program since; a pid with its start time and the
//! machine's boot cannot.
//!
//! Each service is a process group of its own, led by the process that was started. Every member inherits a marker in
//! its
//! environment, so that members are still known as ours when the leader has died.

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{Resource, Rlimit, prlimit};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant};

/// The environment variable that marks a process as ours; its value is the service's folder.
pub(crate) const MARKER: &str = "TOWPATH_STACK_SERVICE";

/// A process that cannot be mistaken for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its pid, and the id of its process group when we started it.
    pub pid: i32,
    /// When it started, in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub start_ticks: u64,
    /// The boot it belongs to.
    pub boot: String,
}

impl Identity {
    /// Of a running process.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let stat = Stat::read(pid)?;
        Some(Self { pid, start_ticks: stat.start_ticks, boot: boot() })
    }

    /// Of this process.
    ///
    /// # Errors
    /// When `/proc` cannot be read: this crate needs Linux.
    pub fn own() -> Result<Self> {
        let pid = i32::try_from(std::process::id()).context("a pid beyond 31 bits")?;
        Self::of(pid).context("/proc cannot be read: the stack runs on Linux only")
    }

    /// Whether that very process still runs (a zombie does not).
    #[must_use]
    pub fn alive(&self) -> bool {
        self.boot == boot()
            && Stat::read(self.pid).is_some_and(|stat| stat.start_ticks == self.start_ticks && !stat.ended())
    }

    /// Whether that process or any member of the group it led still runs, or is still ending: one that was killed keeps
    /// its sockets for a while after its memory, and with it its environment, is gone.
    #[must_use]
    pub fn group_alive(&self, marker: &str) -> bool {
        self.boot == boot() && (self.alive() || self.members(marker).any(|member| member != Member::Foreign))
    }

    /// Signals the whole group, if it is still ours.
    ///
    /// # Errors
    /// When the system refuses the signal.
    pub fn signal(&self, marker: &str, signal: Signal) -> Result<()> {
        let ours = self.boot == boot() && (self.alive() || self.members(marker).any(|member| member == Member::Ours));
        if !ours {
            return Ok(());
        }
        match killpg(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot send {signal} to process group {}", self.pid)),
        }
    }

    /// Stops the whole group where it is, if it is still ours; all of it stands still when this returns.
    ///
    /// # Errors
    /// When the system refuses the signal, or a process runs on.
    pub fn pause(&self, marker: &str) -> Result<()> {
        if !self.group_alive(marker) {
            return Ok(());
        }
        self.signal(marker, Signal::SIGSTOP)?;
        until_stopped(&self.in_group().collect::<Vec<_>>())
    }

    /// Lets the whole group run on these cores alone (numbers from 0); threads that start later inherit it.
    ///
    /// # Errors
    /// There is no such core, or the system refuses.
    pub fn bind(&self, marker: &str, cores: &[usize]) -> Result<()> {
        if !self.group_alive(marker) {
            return Ok(());
        }
        let mut set = CpuSet::new();
        for core in cores {
            set.set(*core).with_context(|| format!("there is no core {core}"))?;
        }
        for pid in self.in_group() {
            for thread in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let Some(thread) = thread.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
                match sched_setaffinity(Pid::from_raw(thread), &set) {
                    // One that has ended meanwhile runs nowhere.
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(error) => return Err(error).with_context(|| format!("process {pid} cannot be bound")),
                }
            }
        }
        Ok(())
    }

    /// Lets no process of the group write to a file any more, as on a full disk; what runs meets it at its next write.
    ///
    /// # Errors
    /// The system refuses.
    pub fn without_room(&self, marker: &str) -> Result<()> {
        if !self.group_alive(marker) {
            return Ok(());
        }
        for pid in self.in_group() {
            // The hard limit stays as it was by default, so that no privilege is needed.
            let none = Rlimit { current: Some(0), maximum: None };
            match prlimit(rustix::process::Pid::from_raw(pid), Resource::Fsize, none) {
                Ok(_) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error).with_context(|| format!("process {pid} cannot be limited")),
            }
        }
        Ok(())
    }

    /// All processes that have the group's id.
    fn in_group(&self) -> impl Iterator<Item = i32> + '_ {
        all_pids().filter(|pid| Stat::read(*pid).is_some_and(|stat| stat.group == self.pid))
    }

    /// The processes, younger than the leader, that now have the group's id.
    fn members<'a>(&'a self, marker: &'a str) -> impl Iterator<Item = Member> + 'a {
        let in_group = move |pid: &i32| {
            Stat::read(*pid)
                .is_some_and(|stat| stat.group == self.pid && stat.start_ticks >= self.start_ticks && !stat.ended())
        };
        all_pids().filter(in_group).map(move |pid| Member::of(pid, marker))
    }
}

/// Whose a member of the group is. An id can be given again when a group has ended.
#[derive(Debug, PartialEq, Eq)]
enum Member {
    /// It carries our marker.
    Ours,
    /// It has no environment any more: it is ending.
    Ending,
    /// It has an environment without our marker.
    Foreign,
}

impl Member {
    fn of(pid: i32, marker: &str) -> Self {
        let wanted = format!("{MARKER}={marker}");
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if environment.is_empty() {
            return Self::Ending;
        }
        let marked = environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes());
        if marked { Self::Ours } else { Self::Foreign }
    }
}

/// What we need of `/proc/PID/stat`.
#[derive(Clone, Copy)]
struct Stat {
    state: char,
    group: i32,
    threads: u32,
    start_ticks: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The program's name is in brackets and may itself hold brackets and spaces: fields count from the last bracket.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            group: fields.get(2)?.parse().ok()?,
            threads: fields.get(17)?.parse().ok()?,
            start_ticks: fields.get(19)?.parse().ok()?,
        })
    }

    /// A killed process is shown as a zombie as soon as its first thread is gone; until the others are, its sockets and
    /// files are open.
    fn ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }
}

/// How long a process that was sent SIGSTOP may take.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// Waits until no thread of these processes runs any more. SIGSTOP is only on its way when `kill` returns: one thread
/// takes it for all, and until it does, the others run on and answer.
///
/// # Errors
/// When one still runs after ten seconds.
pub(crate) fn until_stopped(pids: &[i32]) -> Result<()> {
    let deadline = Instant::now() + STOPS_WITHIN;
    while let Some(pid) = pids.iter().find(|pid| !stopped(**pid)) {
        ensure!(Instant::now() < deadline, "process {pid} was sent SIGSTOP and runs on");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Whether all threads of a process are stopped, or it is gone (`/proc/PID/task/TID/stat`, proc(5)).
fn stopped(pid: i32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut stats = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    stats.all(|stat| Stat::parse(&stat).is_none_or(|stat| matches!(stat.state, 'T' | 't' | 'Z' | 'X')))
}

fn all_pids() -> impl Iterator<Item = i32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Who listens on a TCP port of this machine, as far as this user may know: `name (pid N)`.
#[must_use]
pub fn holder_of_port(port: u16) -> Option<String> {
    let inode = listening_inode(Path::new("/proc/net/tcp"), port)
        .or_else(|| listening_inode(Path::new("/proc/net/tcp6"), port))?;
    let socket = format!("socket:[{inode}]");
    all_pids().find_map(|pid| {
        let holds = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .ok()?
            .flatten()
            .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == socket.as_str()));
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        holds.then(|| format!("{} (pid {pid})", name.trim()))
    })
}

/// Fields of `/proc/net/tcp`: 1 local address in hexadecimal, 3 state (0A listens), 9 inode.
fn listening_inode(table: &Path, port: u16) -> Option<String> {
    let suffix = format!(":{port:04X}");
    std::fs::read_to_string(table).ok()?.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == "0A";
        listens.then(|| (*fields.get(9).unwrap_or(&"")).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let mut fields = vec!["S", "1", "4242"];
        fields.extend(["0"; 14]);
        fields.extend(["3", "0", "987654"]);
        let stat = Stat::parse(&format!("77 (a) b (c)) {}", fields.join(" "))).unwrap();
        assert_eq!((stat.state, stat.group, stat.threads, stat.start_ticks), ('S', 4242, 3, 987_654));
        assert!(!Stat { state: 'Z', ..stat }.ended(), "other threads hold its files");
        assert!(Stat { state: 'Z', threads: 1, ..stat }.ended());
    }

    #[test]
    fn identity_ends_with_the_process_and_differs_from_a_reused_pid() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let identity = Identity::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(identity.alive());
        let reused = Identity { start_ticks: identity.start_ticks + 1, ..identity.clone() };
        assert!(!reused.alive(), "the same pid of another time is another process");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!identity.alive());
    }

    /// A shell that leads a group with this marker, and has started one other process.
    fn group_of_two(script: &str, marker: &str) -> (std::process::Child, Identity) {
        use std::os::unix::process::CommandExt;
        let mut leader = std::process::Command::new("sh");
        leader.args(["-c", script]).env(MARKER, marker).process_group(0);
        let leader = leader.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let identity = Identity::of(i32::try_from(leader.id()).unwrap()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while identity.members(marker).count() < 2 {
            assert!(Instant::now() < deadline, "the shell starts no other");
        }
        (leader, identity)
    }

    #[test]
    fn a_member_outlives_its_leader_and_is_known_by_the_marker() {
        let (mut leader, identity) = group_of_two("sleep 60 & read line", "here");
        drop(leader.stdin.take());
        leader.wait().unwrap();
        assert!(!identity.alive() && identity.group_alive("here"));
        assert!(!identity.group_alive("elsewhere"), "a group without our marker is not ours");
        identity.signal("elsewhere", Signal::SIGKILL).unwrap();
        assert!(identity.group_alive("here"), "a signal reached what is not ours");
        identity.signal("here", Signal::SIGKILL).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while identity.group_alive("here") {
            assert!(Instant::now() < deadline, "the member was not killed");
        }
    }

    #[test]
    fn a_paused_group_stands_still_when_pausing_returns() {
        let (mut leader, identity) = group_of_two("while :; do :; done & while :; do :; done", "busy");
        assert!(!stopped(identity.pid));
        for _ in 0..100 {
            identity.pause("busy").unwrap();
            let running =
                |pid: &i32| Stat::read(*pid).is_some_and(|stat| stat.group == identity.pid && stat.state == 'R');
            assert_eq!(all_pids().find(running), None, "it runs on");
            identity.signal("busy", Signal::SIGCONT).unwrap();
        }
        identity.signal("busy", Signal::SIGKILL).unwrap();
        leader.wait().unwrap();
        assert!(stopped(identity.pid), "what is gone does not run");
    }

    #[test]
    fn a_bound_group_runs_on_its_cores_alone() {
        let (mut leader, identity) = group_of_two("sleep 60 & read line", "bound");
        identity.bind("bound", &[0]).unwrap();
        let members: Vec<i32> = identity.in_group().collect();
        assert_eq!(members.len(), 2);
        for pid in members {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            assert!(status.lines().any(|line| line == "Cpus_allowed_list:\t0"), "{status}");
        }
        assert!(identity.bind("bound", &[1_000_000]).is_err());
        identity.signal("bound", Signal::SIGKILL).unwrap();
        leader.wait().unwrap();
    }

    #[test]
    fn the_holder_of_a_port_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let holder = holder_of_port(port).unwrap();
        assert!(holder.contains(&format!("pid {}", std::process::id())), "{holder}");
        drop(listener);
        assert_eq!(holder_of_port(port), None);
    }
}
