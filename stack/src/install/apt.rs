//! Debian packages by the machine's own apt-get, unpacked into a folder of ours.
//!
//! A private configuration (own source list, lists, cache, empty status file) lets apt resolve, download and verify; it
//! needs no root, changes nothing of the system and starts nothing. The mirror is the one that the machine's own
//! configuration names. An empty status file makes apt bring every library along, the C library too, so what is
//! unpacked
//! runs with its own loader on any distribution that has apt and a Debian mirror.

use super::progress::Progress;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What to bring.
pub(super) struct Request<'a> {
    /// Suites, in apt's words: `sid`, `bookworm`.
    pub suite: &'a str,
    /// Package names; apt resolves the rest.
    pub packages: &'a [&'a str],
    /// Folder for apt's own files, kept only while installing.
    pub work: &'a Path,
    /// Where to unpack.
    pub root: &'a Path,
}

/// Downloads and unpacks; returns what it resolved to, as `name version` lines.
pub(super) fn bring(request: &Request<'_>, progress: &Progress) -> Result<Vec<String>> {
    let config = write_config(request)?;
    progress.say(format!("reading the package list of {}", request.suite));
    run(apt(&config).arg("update"), progress, 0..15)?;
    progress.say("downloading");
    let mut install = apt(&config);
    install.args(["install", "--yes", "--download-only"]).args(request.packages);
    run(&mut install, progress, 15..75)?;
    unpack(request, progress)
}

fn apt(config: &Path) -> Command {
    let mut command = Command::new("apt-get");
    command
        .arg("-c")
        .arg(config)
        .args(["-o", "APT::Status-Fd=1"])
        .env("LC_ALL", "C")
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn write_config(request: &Request<'_>) -> Result<PathBuf> {
    let work = request.work;
    for folder in ["lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(work.join(folder))?;
    }
    std::fs::write(work.join("status"), "")?;
    let keyring = Path::new("/usr/share/keyrings/debian-archive-keyring.gpg");
    let signed = if keyring.exists() { format!("[signed-by={}] ", keyring.display()) } else { String::new() };
    let mirrors = mirrors()?;
    let mut sources = format!("deb {signed}{} {} main\n", mirrors.main, request.suite);
    if let (Some(security), true) = (&mirrors.security, request.suite != "sid") {
        sources += &format!("deb {signed}{security} {}-security main\n", request.suite);
    }
    std::fs::write(work.join("sources.list"), sources)?;
    let at = work.display();
    // Hooks of the machine (cleaning its archives, telling desktop tools) concern its own folders: cleared here.
    let config = format!(
        r#"Dir::Etc::sourcelist "{at}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::status "{at}/status";
Dir::State::lists "{at}/lists";
Dir::State::extended_states "{at}/extended_states";
Dir::Cache "{at}/cache";
APT::Sandbox::User "";
APT::Install-Recommends "false";
APT::Get::AllowUnauthenticated "false";
Acquire::Languages "none";
Acquire::Retries "3";
#clear Acquire::IndexTargets::deb::DEP-11;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
"#
    );
    let path = work.join("apt.conf");
    std::fs::write(&path, config)?;
    Ok(path)
}

struct Mirrors {
    main: String,
    security: Option<String>,
}

/// The machine's own Debian mirrors, from `apt-get indextargets`.
fn mirrors() -> Result<Mirrors> {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"])
        .output()
        .context(
            "apt-get cannot be run: MySQL and MariaDB are taken from Debian packages, so a machine with apt is needed",
        )?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    pick_mirrors(&text).context(
        "this machine's apt knows no Debian mirror: add one, e.g. a `deb URL bookworm main` line in /etc/apt/sources.list.d",
    )
}

fn pick_mirrors(targets: &str) -> Option<Mirrors> {
    let pairs: Vec<(&str, &str)> = targets.lines().filter_map(|line| line.trim().split_once(' ')).collect();
    let of_debian = |(site, release): &&(&str, &str)| site.contains("debian") && !release.contains("security");
    let main = pairs.iter().find(of_debian)?.0.to_owned();
    let security = pairs.iter().find(|(site, release)| *release == "bookworm-security" && site.contains("debian"));
    Some(Mirrors { main, security: security.map(|(site, _)| (*site).to_owned()) })
}

/// Runs apt-get, moves the bar along `span` percent of the whole, and on failure quotes its last lines.
fn run(command: &mut Command, progress: &Progress, span: std::ops::Range<u64>) -> Result<()> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
        bail!("apt-get gave no output");
    };
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text).unwrap_or_default()
    });
    let mut tail = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        // dlstatus:ITEM:PERCENT:TEXT, see apt's README.progress-reporting.
        let mut parts = line.splitn(4, ':');
        if parts.next() == Some("dlstatus") {
            let percent: f64 = parts.nth(1).and_then(|p| p.parse().ok()).unwrap_or(0.0);
            let width = (span.end - span.start) as f64;
            progress.at(span.start + (percent / 100.0 * width) as u64);
        } else {
            tail.push(line);
        }
    }
    let errors = errors.join().unwrap_or_default();
    let status = child.wait()?;
    if !status.success() {
        tail.extend(errors.lines().map(str::to_owned));
        let last = tail[tail.len().saturating_sub(12)..].join("\n  ");
        bail!("apt-get failed ({status}):\n  {last}");
    }
    progress.at(span.end);
    Ok(())
}

fn unpack(request: &Request<'_>, progress: &Progress) -> Result<Vec<String>> {
    let mut archives: Vec<PathBuf> = std::fs::read_dir(request.work.join("cache/archives"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ext| ext == "deb"))
        .collect();
    archives.sort();
    if archives.is_empty() {
        bail!("apt-get downloaded nothing for {}", request.packages.join(", "));
    }
    std::fs::create_dir_all(request.root)?;
    let mut resolved = Vec::new();
    for (done, archive) in archives.iter().enumerate() {
        let name = archive.file_stem().unwrap_or_default().to_string_lossy().replacen('_', " ", 1);
        progress.say(format!("unpacking {name}"));
        let output =
            Command::new("dpkg").arg("-x").arg(archive).arg(request.root).output().context("cannot run dpkg")?;
        if !output.status.success() {
            bail!("dpkg cannot unpack {}: {}", archive.display(), String::from_utf8_lossy(&output.stderr).trim());
        }
        resolved.push(name.rsplit_once('_').map_or(name.clone(), |(left, _)| left.replace("%3a", ":")));
        progress.at(75 + 20 * (done as u64 + 1) / archives.len() as u64);
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_come_from_what_apt_says() {
        let targets = "http://m.example/debian-security bookworm-security\nhttp://m.example/debian bookworm\nhttp://x.example/other nodistro\n";
        let mirrors = pick_mirrors(targets).unwrap();
        assert_eq!(mirrors.main, "http://m.example/debian");
        assert_eq!(mirrors.security.as_deref(), Some("http://m.example/debian-security"));
        assert!(pick_mirrors("http://x.example/ubuntu noble\n").is_none());
    }
}
