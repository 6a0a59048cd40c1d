//! `cargo stack` as a user types it: exit status, JSON, a taken port, left-overs of a killed owner.
//!
//! Only ZooKeeper is started, the quickest. Belongs to the tier `services`.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use towpath_stack::{Identity, Stack, ports::fixed};

const ONLY_ZOOKEEPER: [&str; 5] = ["--no-mysql", "--kafka=0", "--es=none", "--zookeeper=1", "--json"];

fn towpath_stack() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towpath-stack"));
    command.stdin(Stdio::null()).env("RUST_BACKTRACE", "0");
    command
}

fn up(folder: &Path, more: &[&str]) -> Result<Output> {
    Ok(towpath_stack().arg("up").args(ONLY_ZOOKEEPER).args(more).arg("--data").arg(folder).output()?)
}

fn simple(verb: &str, folder: &Path, more: &[&str]) -> Result<Output> {
    Ok(towpath_stack().arg(verb).args(more).arg("--json").arg("--data").arg(folder).output()?)
}

fn json(output: &Output) -> Result<Value> {
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&told).with_context(|| format!("no JSON: {told} {}", String::from_utf8_lossy(&output.stderr)))
}

/// The identity of a stack's ZooKeeper.
fn zookeeper_of(details: &Value) -> Result<Identity> {
    let pid = details["services"][0]["pid"].as_i64().context("it does not run")?;
    Identity::of(i32::try_from(pid)?).context("the pid told is of no process")
}

#[test]
fn up_status_logs_and_down() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let none = simple("status", folder.path(), &[])?;
    assert_eq!(none.status.code(), Some(1), "nothing was started");
    assert!(String::from_utf8_lossy(&none.stderr).contains("cargo stack up"));

    let started = up(folder.path(), &["--free-ports"])?;
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    let details = json(&started)?;
    let process = zookeeper_of(&details)?;
    assert_eq!(details["services"][0]["ready"], true);
    let address = details["zookeeper"].as_str().context("no address")?;
    ensure!(std::net::TcpStream::connect(address).is_ok(), "nobody listens on {address}");
    let again = up(folder.path(), &["--free-ports"])?;
    assert_eq!(zookeeper_of(&json(&again)?)?, process, "it ran already");

    let status = simple("status", folder.path(), &[])?;
    assert!(status.status.success());
    assert_eq!(json(&status)?["zookeeper"], details["zookeeper"]);
    let logs = simple("logs", folder.path(), &["zookeeper-1", "--lines", "3"])?;
    assert!(json(&logs)?["path"].as_str().is_some_and(|path| path.ends_with("zookeeper-1.log")));
    assert_eq!(simple("logs", folder.path(), &["kafka-1"])?.status.code(), Some(1), "there is no such service");

    let down = simple("down", folder.path(), &[])?;
    assert_eq!(json(&down)?["stopped"][0], "zookeeper-1");
    assert!(!process.alive());
    assert_eq!(simple("status", folder.path(), &[])?.status.code(), Some(1), "nothing runs");
    assert_eq!(json(&simple("down", folder.path(), &["--purge"])?)?["stopped"], serde_json::json!([]));
    assert!(!folder.path().exists(), "purge leaves nothing");
    Ok(())
}

#[test]
fn a_taken_port_is_an_error_with_the_line_to_type() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // When it cannot be bound, somebody else holds it: that is the case to be told as well.
    let held = TcpListener::bind(("127.0.0.1", fixed::ZOOKEEPER));
    let output = up(folder.path(), &[])?;
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains(&format!("port {}", fixed::ZOOKEEPER)) && told.contains("cargo stack down"), "{told}");
    if held.is_ok() {
        assert!(told.contains(&format!("`kill {}`", std::process::id())), "{told}");
    }
    Ok(())
}

#[test]
fn a_command_runs_with_a_stack_of_its_own_and_its_status_is_passed_on() -> Result<()> {
    let root = tempfile::tempdir()?;
    let script = "grep -q zookeeper-1 \"$TOWPATH_STACK\" && exit 7";
    let mut command = towpath_stack();
    command.env("TOWPATH_STACK_DIR", root.path()).arg("run").args(ONLY_ZOOKEEPER);
    let status = command.args(["--", "sh", "-c", script]).status()?;
    assert_eq!(status.code(), Some(7));
    assert_eq!(std::fs::read_dir(root.path())?.count(), 0, "the stack's folder is left");
    Ok(())
}

/// A stack of a process of its own, to be killed, and the identity of its ZooKeeper.
struct Doomed {
    owner: Child,
    stack: Stack,
    zookeeper: Identity,
}

fn doomed(root: &Path) -> Result<Doomed> {
    let mut owner = towpath_stack();
    owner.env("TOWPATH_STACK_DIR", root).arg("run").args(ONLY_ZOOKEEPER).args(["--", "sleep", "30"]);
    let owner = owner.spawn()?;
    let stack = wait_for_stack(root)?;
    let pid = stack.service("zookeeper-1")?.pid().context("it does not run")?;
    Ok(Doomed { owner, stack, zookeeper: Identity::of(pid).context("it does not run")? })
}

#[test]
fn a_killed_owners_services_end_with_it() -> Result<()> {
    let root = tempfile::tempdir()?;
    let Doomed { mut owner, zookeeper, .. } = doomed(root.path())?;
    owner.kill()?;
    owner.wait()?;
    until_dead(&zookeeper).context("its service")
}

/// A signal is delivered, but a busy machine takes a moment to end the process.
fn until_dead(process: &Identity) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while process.alive() {
        ensure!(Instant::now() < deadline, "process {} still runs", process.pid);
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[tokio::test]
async fn what_a_killed_owner_and_its_killed_guard_left_is_ended_by_the_next_start() -> Result<()> {
    let root = tempfile::tempdir()?;
    let Doomed { mut owner, stack, zookeeper } = doomed(root.path())?;
    let beside = Stack::builder().zookeeper(1).below(root.path()).start().await?;
    assert!(zookeeper.alive(), "its owner lives: it is not a left-over");
    drop(beside);

    let guard: Identity = serde_json::from_str(&std::fs::read_to_string(stack.folder().join("guard.json"))?)?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(guard.pid), nix::sys::signal::Signal::SIGKILL)?;
    // Else the guard would still see its owner's end, and do its duty.
    until_dead(&guard).context("the guard")?;
    owner.kill()?;
    owner.wait()?;
    assert!(zookeeper.alive(), "nobody is left to end it");
    let next = Stack::builder().zookeeper(1).below(root.path()).start().await?;
    assert!(!zookeeper.alive(), "the left-over still runs");
    assert!(!stack.folder().exists(), "its folder is left");
    next.stop().await
}

/// The first complete stack below `root`, within a minute.
fn wait_for_stack(root: &Path) -> Result<Stack> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        for entry in std::fs::read_dir(root)? {
            if let Ok(stack) = Stack::attach(&entry?.path().join("stack.json")) {
                return Ok(stack);
            }
        }
        ensure!(Instant::now() < deadline, "no stack came up below {}", root.display());
        std::thread::sleep(Duration::from_millis(50));
    }
}
