//! Which scenarios there are, and a scenario as the plan that workers take.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

use crate::building::root;
use crate::worker::ask;

/// The shipped scenarios: name and file, by name.
///
/// # Errors
/// Their folder cannot be read.
pub fn shipped() -> Result<Vec<(String, PathBuf)>> {
    let folder = root().join("scenarios");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.extension().is_some_and(|suffix| suffix == "toml") && name != "Cargo" {
            found.push((name, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The plan of a scenario, named or by its file.
///
/// # Errors
/// There is none, or it is wrong: the message says where.
pub fn load(worker: &Path, scenario: &str) -> Result<String> {
    let shipped = shipped()?;
    let (name, file) = match shipped.iter().find(|(name, _)| name == scenario) {
        Some((name, file)) => (name.clone(), file.clone()),
        None if Path::new(scenario).is_file() => {
            let name = Path::new(scenario).file_stem().map(|name| name.to_string_lossy().into_owned());
            (name.unwrap_or_default(), PathBuf::from(scenario))
        }
        None => {
            let near = |(name, _): &&(String, PathBuf)| (strsim::jaro_winkler(name, scenario) * 1e6) as u64;
            match shipped.iter().max_by_key(near) {
                Some((name, _)) => bail!("no scenario `{scenario}`; did you mean `{name}`? `cargo sim list` has all"),
                None => bail!("no scenario `{scenario}`"),
            }
        }
    };
    ask(worker, &["check", &name, &file.to_string_lossy()])
}

/// As [`load`]; `swarm` is the scenario drawn from the seed.
///
/// # Errors
/// As [`load`].
pub fn load_for(worker: &Path, scenario: &str, seed: u64) -> Result<String> {
    if scenario == "swarm" { ask(worker, &["draw", &seed.to_string()]) } else { load(worker, scenario) }
}

/// Prints all scenarios with what one learns from them.
///
/// # Errors
/// One of them is wrong.
pub fn list(worker: &Path) -> Result<bool> {
    for (name, _) in shipped()? {
        let plan: serde_json::Value = serde_json::from_str(&load(worker, &name)?)?;
        println!("{name:<34} {}", plan["learn"].as_str().unwrap_or_default());
    }
    Ok(true)
}
