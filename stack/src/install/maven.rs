//! Java libraries by the machine's own Maven, with its own settings (mirrors, proxies), into a folder of ours.
//!
//! Maven keeps its repository below our cache folder: two of our installs cannot meet there (the install lock), and
//! what
//! we bring does not grow the user's own repository. Checksums: Maven's strict mode for libraries; the Elasticsearch
//! archives have none in the repository, so theirs are written in `packages`.

use super::progress::Progress;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// `group:artifact:version`.
pub(super) type Coordinate<'a> = &'a str;

/// Copies the libraries and all they depend on into `out`; returns their file names.
pub(super) fn copy_libraries(
    wanted: &[Coordinate<'_>],
    repository: &Path,
    work: &Path,
    out: &Path,
    progress: &Progress,
) -> Result<Vec<String>> {
    std::fs::create_dir_all(work)?;
    let pom = work.join("pom.xml");
    std::fs::write(&pom, pom_of(wanted)?)?;
    progress.say("resolving and downloading by Maven");
    progress.at(10);
    let mut command = maven(repository);
    command.arg("--strict-checksums").arg("-f").arg(&pom).arg("dependency:copy-dependencies");
    command.arg(format!("-DoutputDirectory={}", out.display()));
    run(&mut command)?;
    progress.at(80);
    let mut names: Vec<String> = std::fs::read_dir(out)
        .with_context(|| format!("Maven copied nothing into {}", out.display()))?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().trim_end_matches(".jar").to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// Downloads one archive into `out` and returns its path.
pub(super) fn copy_archive(
    coordinate: Coordinate<'_>,
    repository: &Path,
    out: &Path,
    progress: &Progress,
) -> Result<PathBuf> {
    progress.say("downloading by Maven");
    progress.at(10);
    let mut command = maven(repository);
    command.arg("dependency:copy").arg(format!("-Dartifact={coordinate}:zip"));
    command.arg(format!("-DoutputDirectory={}", out.display()));
    run(&mut command)?;
    progress.at(60);
    std::fs::read_dir(out)
        .with_context(|| format!("Maven copied nothing into {}", out.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|ext| ext == "zip"))
        .with_context(|| format!("Maven copied no archive of {coordinate}"))
}

/// Unpacks a zip by Maven's own unarchiver, so that no `unzip` is needed; it keeps permissions.
pub(super) fn unpack_archive(
    coordinate: Coordinate<'_>,
    repository: &Path,
    work: &Path,
    out: &Path,
    progress: &Progress,
) -> Result<()> {
    progress.say("unpacking");
    let mut command = maven(repository);
    // Maven notes what it has unpacked, and would skip it another time: such notes go where they are removed.
    command.current_dir(work).arg(format!("-DmarkersDirectory={}", work.join("markers").display()));
    // The archive is in the repository by now: no network is asked.
    command.arg("--offline").arg("dependency:unpack").arg(format!("-Dartifact={coordinate}:zip"));
    command.arg(format!("-DoutputDirectory={}", out.display()));
    run(&mut command)?;
    progress.at(80);
    Ok(())
}

fn maven(repository: &Path) -> Command {
    let mut command = Command::new("mvn");
    command.args(["--batch-mode", "--quiet"]).arg(format!("-Dmaven.repo.local={}", repository.display()));
    command.arg("-Dmdep.useBaseVersion=true").env("LC_ALL", "C");
    command
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().context("mvn cannot be run: install Maven, e.g. `apt-get install maven`")?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let told: Vec<&str> =
        text.lines().filter(|line| line.contains("ERROR") && !line.contains("[Help")).take(6).collect();
    bail!("Maven failed ({}):\n  {}", output.status, told.join("\n  "))
}

fn pom_of(wanted: &[Coordinate<'_>]) -> Result<String> {
    let mut dependencies = String::new();
    for coordinate in wanted {
        let parts: Vec<&str> = coordinate.split(':').collect();
        let [group, artifact, version] = parts[..] else { bail!("{coordinate} is not group:artifact:version") };
        dependencies += &format!(
            "  <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>\n"
        );
    }
    Ok(format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n <modelVersion>4.0.0</modelVersion>\n \
         <groupId>towpath</groupId><artifactId>stack</artifactId><version>1</version><packaging>pom</packaging>\n \
         <dependencies>\n{dependencies} </dependencies>\n</project>\n"
    ))
}
