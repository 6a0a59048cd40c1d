//! Part of `cargo xtask tidy`: the documented commands share the tests' build. A dependency that a command asks for
//! with other features than the tests do would be built twice, and with it all that stands on it.

use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};

use crate::command;
use crate::test::packages;

/// The programs that share the tests' build. (The embedded demo does not: it needs few dependencies, and soon.)
pub const SHARING: &[&str] = &["towpath", "towpath-stack", "towpath-load"];

/// The features to name in a selection of packages, so that the programs come out alike in each.
pub fn features() -> String {
    SHARING.iter().map(|name| format!("{name}/one-build")).collect::<Vec<_>>().join(",")
}

/// One line for each dependency that a program, built alone, has with other features than the tests' build.
pub fn check(breaches: &mut Vec<String>) -> Result<()> {
    let mut tests = command::cargo();
    // Without build scripts: these run on the host, whose dependencies have features of their own.
    packages(tests.args(["tree", "--features", &features(), "--edges", "normal,dev"]));
    let built = resolved(&mut tests)?;
    for name in SHARING {
        let mut alone = command::cargo();
        alone.args(["tree", "--package", name, "--features", "one-build", "--edges", "normal"]);
        for (dependency, sets) in resolved(&mut alone)? {
            let expected = built.get(&dependency);
            if expected != Some(&sets) {
                let expected = expected.map(|sets| sets.iter().cloned().collect::<Vec<_>>().join(" and "));
                breaches.push(format!(
                    "{name} alone: {dependency} with {}, the tests' build: {}; mend xtask/one-build/Cargo.toml",
                    sets.iter().cloned().collect::<Vec<_>>().join(" and "),
                    expected.as_deref().unwrap_or("nothing"),
                ));
            }
        }
    }
    Ok(())
}

/// Dependencies, each with the sets of features with which cargo builds it for this machine.
fn resolved(tree: &mut std::process::Command) -> Result<BTreeMap<String, BTreeSet<String>>> {
    tree.args(["--locked", "--prefix", "none", "--format", "{p}\t[{f}]"]);
    let output = tree.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("`{}`: {}", command::line(tree), String::from_utf8_lossy(&output.stderr).trim());
    }
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Some((dependency, features)) = line.split_once('\t') else { continue };
        // Our own packages differ on purpose: they carry the switch.
        if !dependency.starts_with("towpath") && !dependency.starts_with("xtask") {
            let dependency = dependency.trim_end_matches(" (proc-macro)").to_owned();
            found.entry(dependency).or_default().insert(features.trim_end_matches(" (*)").to_owned());
        }
    }
    Ok(found)
}
