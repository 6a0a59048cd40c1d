//! How each service is laid out in its folder: configuration, first initialisation, command.

pub(crate) mod elasticsearch;
pub(crate) mod kafka;
pub(crate) mod mariadb;
pub(crate) mod mysql;
pub(crate) mod zookeeper;

use crate::ports::Plan;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Password of the user `towpath` in MySQL, MariaDB and Kafka. They listen on 127.0.0.1 only.
pub const PASSWORD: &str = "towpath";

/// Where a service is being laid out.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// The stack's folder.
    pub stack: PathBuf,
    /// How ports are chosen.
    pub plan: Plan,
}

impl Site {
    /// The folder of a service, created.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.stack.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }
}

/// The folder, within an installed database server, of a freshly initialised data folder: copying it takes a fraction
/// of
/// the seconds that an initialisation takes.
pub(crate) const TEMPLATE: &str = "data-template";

/// Runs a command that prepares a service's data; its output goes to `log` and is quoted on failure.
pub(crate) fn prepare(mut command: Command, input: Option<&Path>, log: &Path, what: &str) -> Result<()> {
    let file = std::fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let stdin = match input {
        Some(path) => Stdio::from(std::fs::File::open(path)?),
        None => Stdio::null(),
    };
    command.stdin(stdin).stdout(file.try_clone()?).stderr(file);
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        bail!("{what} failed ({status}). The last lines of {}:\n{}", log.display(), crate::service::tail(log, 30));
    }
    Ok(())
}

/// Copies a folder's files and folders; links are not followed, and none is expected.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target).with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    Ok(())
}

/// A log4j 2 configuration: everything to the standard output, one line an event.
pub(crate) fn write_log4j(folder: &Path, level: &str) -> Result<PathBuf> {
    let path = folder.join("log4j2.properties");
    let text = format!(
        "appender.out.type = Console\nappender.out.name = out\nappender.out.layout.type = PatternLayout\n\
         appender.out.layout.pattern = %d{{ISO8601}} %p %m (%c{{1}})%n\n\
         rootLogger.level = {level}\nrootLogger.appenderRef.out.ref = out\n"
    );
    std::fs::write(&path, text)?;
    Ok(path)
}
