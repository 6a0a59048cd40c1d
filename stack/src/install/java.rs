//! Finds a Java that fits. Nothing is installed: a machine with an old Java gets an older Elasticsearch, said aloud.

use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Java home and its feature version (17, 21, 25, …).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Java {
    /// The folder that holds `bin/java`.
    pub home: PathBuf,
    /// The feature version.
    pub version: u32,
}

impl Java {
    /// The `java` program.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.home.join("bin").join("java")
    }
}

/// The lowest-versioned Java within `versions`. Looked at: `JAVA_HOME`, the usual folders of JVMs (or, when set, the
/// colon-separated homes in `TOWPATH_JVMS` instead of these), `java` on the path.
///
/// # Errors
/// When none fits: the message lists those found and says what to install.
pub fn find(versions: std::ops::RangeInclusive<u32>) -> Result<Java> {
    let mut found = all();
    found.sort_by_key(|java| java.version);
    if let Some(java) = found.iter().find(|java| versions.contains(&java.version)) {
        return Ok(java.clone());
    }
    let seen = match found.as_slice() {
        [] => "none was found".to_owned(),
        some => {
            let list: Vec<String> = some.iter().map(|j| format!("{} in {}", j.version, j.home.display())).collect();
            format!("found {}", list.join(", "))
        }
    };
    bail!(
        "Java {} to {} is needed ({seen}): install one, e.g. `apt-get install openjdk-17-jre-headless`, or set JAVA_HOME",
        versions.start(),
        versions.end()
    )
}

/// Every Java found, each home once.
#[must_use]
pub fn all() -> Vec<Java> {
    homes()
        .into_iter()
        .filter(|home| home.join("bin/java").is_file())
        .filter_map(|home| version_of(&home).map(|version| Java { home, version }))
        .collect()
}

fn homes() -> BTreeSet<PathBuf> {
    let mut homes = BTreeSet::new();
    let mut add = |path: PathBuf| {
        if let Ok(path) = path.canonicalize() {
            homes.insert(path);
        }
    };
    if let Some(list) = std::env::var_os("TOWPATH_JVMS") {
        std::env::split_paths(&list).for_each(add);
        return homes;
    }
    if let Some(home) = std::env::var_os("JAVA_HOME") {
        add(PathBuf::from(home));
    }
    let mut folders = vec![PathBuf::from("/usr/lib/jvm"), PathBuf::from("/usr/java"), PathBuf::from("/opt/java")];
    if let Some(home) = std::env::var_os("HOME") {
        folders.push(Path::new(&home).join(".sdkman/candidates/java"));
        folders.push(Path::new(&home).join(".jdks"));
    }
    for folder in folders {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            add(entry.path());
        }
    }
    for folder in std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()) {
        if let Ok(program) = folder.join("java").canonicalize()
            && let Some(home) = program.parent().and_then(Path::parent)
        {
            add(home.to_path_buf());
        }
    }
    homes
}

/// From the `release` file that a JDK carries; a home without one is asked.
fn version_of(home: &Path) -> Option<u32> {
    let release = std::fs::read_to_string(home.join("release")).unwrap_or_default();
    let line = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="));
    if let Some(version) = line.and_then(|text| feature(text.trim_matches('"'))) {
        return Some(version);
    }
    let output = Command::new(home.join("bin/java")).arg("-version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    feature(text.split('"').nth(1)?)
}

/// `17.0.15` is 17, `1.8.0_402` is 8.
fn feature(version: &str) -> Option<u32> {
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    let first: u32 = parts.next()?.parse().ok()?;
    if first == 1 { parts.next()?.parse().ok() } else { Some(first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_java_writes_them() {
        for (text, expected) in [("17.0.15", 17), ("1.8.0_402", 8), ("25", 25), ("21-ea", 21)] {
            assert_eq!(feature(text), Some(expected), "{text}");
        }
        assert_eq!(feature("none"), None);
    }
}
