//! Installs the services once into the user's cache folder, and finds them there.
//!
//! Each package is built in a folder beside its place and renamed into it with a stamp, so that what has a stamp is
//! complete. A lock file keeps two installs apart. Nothing is installed into the system, and nothing is started.

mod apt;
pub mod java;
mod maven;
mod packages;
mod progress;
mod stamp;
mod wrappers;

pub use packages::{Package, java_for_elasticsearch};

use crate::paths;
use crate::services::{TEMPLATE, mariadb, mysql};
use anyhow::{Context, Result, bail};
use progress::Progress;
use serde::Serialize;
use stamp::Stamp;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What an install did with one package.
#[derive(Debug, Serialize)]
pub struct Installed {
    /// The package's name.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Whether it was brought now (else it was there).
    pub fresh: bool,
    /// Seconds it took.
    pub seconds: f64,
    /// What it resolved to: packages or libraries with their versions.
    pub resolved: Vec<String>,
}

/// The folder in which an installed package lies, verified by its stamp.
///
/// # Errors
/// When it is not installed or was changed: the message says what to type.
pub fn installed(package: &Package) -> Result<PathBuf> {
    let root = place(package)?;
    let how = format!("type `cargo stack install --only {}`", package.name());
    let Some(stamp) = Stamp::read(&root).filter(|stamp| stamp.recipe == package.recipe()) else {
        bail!("{} is not installed: {how}", package.name());
    };
    stamp.check(&root).with_context(|| format!("the installed {} was changed: {how}", package.name()))?;
    Ok(root)
}

/// Installs what is missing or changed; `fully` hashes every installed file instead of comparing sizes and times.
///
/// # Errors
/// When a download or an unpacking fails, or the cache folder cannot be written.
pub fn install(packages: &[Package], fully: bool) -> Result<Vec<Installed>> {
    let cache = paths::cache_dir()?;
    std::fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let mut done = Vec::new();
    if let Some(found) = all_present(packages, fully) {
        return Ok(found);
    }
    let _lock = lock(&cache)?;
    for package in packages {
        done.push(one(package, &cache, fully)?);
    }
    // Everything was copied out of it; Maven brings its own tools again when it is next needed.
    remove(&cache.join("maven"))?;
    remove(&cache.join("work"))?;
    wrappers::write(&cache)?;
    Ok(done)
}

/// Every package with its folder, when nothing is to be done: no lock is taken, so running stacks are not disturbed.
fn all_present(packages: &[Package], fully: bool) -> Option<Vec<Installed>> {
    packages.iter().map(|package| present(package, fully)).collect()
}

fn present(package: &Package, fully: bool) -> Option<Installed> {
    let begun = Instant::now();
    let path = installed(package).ok()?;
    let stamp = Stamp::read(&path)?;
    if fully {
        stamp.check_fully(&path).ok()?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    Some(Installed { name: package.name(), path, fresh: false, seconds, resolved: stamp.resolved })
}

fn lock(cache: &Path) -> Result<File> {
    let path = cache.join("install.lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("another install is at work in {}: waiting for it", cache.display());
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

fn one(package: &Package, cache: &Path, fully: bool) -> Result<Installed> {
    // Another install may have brought it while we waited for the lock.
    if let Some(found) = present(package, fully) {
        return Ok(found);
    }
    let begun = Instant::now();
    let place = place(package)?;
    let progress = Progress::begin(&package.name());
    let building = place.with_file_name(format!("{}.building", package.folder()));
    let work = cache.join("work").join(package.folder());
    for folder in [&building, &work] {
        remove(folder)?;
    }
    std::fs::create_dir_all(&building).with_context(|| format!("cannot create {}", building.display()))?;
    let resolved = bring(package, cache, &work, &building, &progress)
        .with_context(|| format!("{} could not be installed", package.name()))?;
    progress.say("hashing what was unpacked");
    progress.at(95);
    Stamp::write(&building, &package.recipe(), resolved.clone())?;
    remove(&place)?;
    std::fs::rename(&building, &place).with_context(|| format!("cannot move into {}", place.display()))?;
    remove(&work)?;
    let seconds = begun.elapsed().as_secs_f64();
    progress.end(&format!("installed in {seconds:.0} s"));
    Ok(Installed { name: package.name(), path: place, fresh: true, seconds, resolved })
}

fn bring(package: &Package, cache: &Path, work: &Path, root: &Path, progress: &Progress) -> Result<Vec<String>> {
    let repository = cache.join("maven");
    match package {
        Package::Mysql => {
            let request = apt::Request { suite: "sid", packages: packages::MYSQL, work, root };
            let resolved = apt::bring(&request, progress)?;
            progress.say("initialising a data folder");
            mysql::initialize(root, &root.join(TEMPLATE), &work.join("initialize.log"))?;
            Ok(resolved)
        }
        Package::Mariadb => {
            let request = apt::Request { suite: "bookworm", packages: packages::MARIADB, work, root };
            let resolved = apt::bring(&request, progress)?;
            progress.say("initialising a data folder");
            mariadb::initialize(root, &root.join(TEMPLATE), &work.join("initialize.log"))?;
            Ok(resolved)
        }
        Package::Kafka => maven::copy_libraries(packages::KAFKA, &repository, work, root, progress),
        Package::Zookeeper => maven::copy_libraries(packages::ZOOKEEPER, &repository, work, root, progress),
        Package::Debezium => maven::copy_libraries(packages::DEBEZIUM, &repository, work, root, progress),
        Package::Canal => maven::copy_libraries(packages::CANAL, &repository, work, root, progress),
        Package::Elasticsearch(version) => {
            let coordinate = format!("{}:{version}", packages::ELASTICSEARCH);
            let archive = maven::copy_archive(&coordinate, &repository, work, progress)?;
            verify_archive(package, &archive)?;
            maven::unpack_archive(&coordinate, &repository, work, root, progress)?;
            readable_by_all(root)?;
            Ok(vec![format!("elasticsearch {version}")])
        }
    }
}

fn verify_archive(package: &Package, archive: &Path) -> Result<()> {
    let sum = stamp::sha256(archive)?;
    match package.archive_sha256() {
        Some(known) if known != sum => {
            bail!("{} has the SHA-256 {sum}, expected {known}: the download is damaged, try again", archive.display())
        }
        Some(_) => Ok(()),
        None => {
            eprintln!("{}: no checksum is known for this version; SHA-256 is {sum}", package.name());
            Ok(())
        }
    }
}

/// Elasticsearch runs as another user when root starts it: that user must read it.
fn readable_by_all(root: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            let mode = meta.permissions().mode();
            let wanted = if meta.is_dir() || mode & 0o100 != 0 { mode | 0o055 } else { mode | 0o044 };
            if wanted != mode && !meta.is_symlink() {
                std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(wanted))?;
            }
            if meta.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o755))?)
}

/// Where a package lies. Elasticsearch refuses root and runs as another user: when that user cannot reach root's cache
/// folder, it lies in the system's.
fn place(package: &Package) -> Result<PathBuf> {
    let cache = paths::cache_dir()?;
    let others_run_it = matches!(package, Package::Elasticsearch(_)) && nix::unistd::geteuid().is_root();
    let base = if others_run_it && !paths::open_to_others(&cache) { paths::system_cache_dir() } else { cache };
    Ok(base.join(package.folder()))
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn a_second_install_waits_for_the_first() {
        let cache = tempfile::tempdir().unwrap();
        let first = lock(cache.path()).unwrap();
        let (told, hears) = mpsc::channel();
        let path = cache.path().to_path_buf();
        let second = std::thread::spawn(move || {
            let _lock = lock(&path).unwrap();
            told.send(()).unwrap();
        });
        assert!(hears.recv_timeout(Duration::from_millis(200)).is_err(), "the lock was given twice");
        drop(first);
        hears.recv_timeout(Duration::from_secs(10)).expect("the lock was not passed on");
        second.join().unwrap();
    }
}
