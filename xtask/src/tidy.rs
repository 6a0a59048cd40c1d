//! `cargo xtask tidy`: style as a test. It reads the files that git tracks and changes none.

use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;

use crate::command::root;
use crate::one_build;

const MAX_LINES: usize = 600;
const MAX_COLUMNS: usize = 120;
/// Words that say that something is unfinished. Split, so that this file does not contain them.
const BANNED: &[&str] =
    &[concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK"), concat!("TO", "DO"), concat!("#[ig", "nore")];

/// Prints every breach; `Ok(true)` if there is none.
pub fn run() -> Result<bool> {
    let listing = Command::new("git").args(["ls-files"]).current_dir(root()).output().context("cannot start git")?;
    let mut breaches = Vec::new();
    let mut files = 0usize;
    for name in String::from_utf8_lossy(&listing.stdout).lines() {
        let path = root().join(name);
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        files += 1;
        match Path::new(name).extension().and_then(|extension| extension.to_str()) {
            Some("rs") => rust(name, &text, &mut breaches),
            Some("md") => markdown(name, &text, &mut breaches),
            _ => {}
        }
    }
    manifests(&mut breaches)?;
    one_build::check(&mut breaches)?;
    for breach in &breaches {
        println!("{breach}");
    }
    println!("tidy: {files} files, {} breaches", breaches.len());
    Ok(breaches.is_empty() && files > 0)
}

/// Arrows that must not exist: (package folder, sections that count, dependencies that must be absent).
const FORBIDDEN: &[(&str, &[&str], &[&str])] = &[
    // The engine knows no client library and nothing of the packages above it.
    (
        "engine",
        &["dependencies", "dev-dependencies"],
        &["towpath-", "mysql_async", "rdkafka", "elasticsearch", "zookeeper", "reqwest", "axum"],
    ),
    // Models and demo link no C library, so that the embedded demo needs nothing but Rust.
    (
        "sim/models",
        &["dependencies"],
        &["towpath-connectors", "towpath-stack", "mysql_async", "rdkafka", "openssl", "reqwest"],
    ),
    // The models of the protocol depend on nothing: every name begins with the empty text.
    ("sim/protocol", &["dependencies", "dev-dependencies"], &[""]),
    (
        "scenarios",
        &["dependencies"],
        &["towpath-connectors", "towpath-stack", "towpath-models", "mysql_async", "rdkafka"],
    ),
    (
        "demo",
        &["dependencies"],
        &["towpath-connectors", "towpath-stack", "mysql_async", "rdkafka", "openssl", "reqwest"],
    ),
    // The simulator starts no thread of its own, and what starts it keeps the real clock.
    (
        "sim/worker",
        &["dependencies"],
        &["towpath-connectors", "towpath-stack", "mysql_async", "rdkafka", "openssl", "reqwest", "zookeeper"],
    ),
    (
        "sim",
        &["dependencies"],
        &[
            "towpath-engine",
            "towpath-models",
            "towpath-scenarios",
            "towpath-sim-worker",
            "mad-turmoil",
            "turmoil",
            "tokio",
        ],
    ),
    // Both who run scenarios draw with it.
    ("scenarios/picture", &["dependencies"], &[""]),
    // The production binary contains no model and no fault.
    (
        ".",
        &["dependencies"],
        &["towpath-models", "towpath-scenarios", "towpath-stack", "mysql_async", "rdkafka", "zookeeper"],
    ),
];

fn manifests(breaches: &mut Vec<String>) -> Result<()> {
    for (folder, sections, absent) in FORBIDDEN {
        let name = format!("{folder}/Cargo.toml");
        let text = std::fs::read_to_string(root().join(&name)).with_context(|| format!("cannot read {name}"))?;
        for dependency in dependencies(&text, sections) {
            if let Some(word) = absent.iter().find(|word| dependency.starts_with(**word)) {
                breaches.push(format!("{name}: depends on {dependency}; ARCHITECTURE.md forbids {word}* there"));
            }
        }
    }
    Ok(())
}

/// The names in the given dependency sections of a manifest.
fn dependencies<'a>(manifest: &'a str, sections: &[&str]) -> Vec<&'a str> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            inside = sections.contains(&section.trim_end_matches(']'));
        } else if inside && !line.starts_with('#') && line.contains('=') {
            names.push(line.split(['.', ' ', '=']).next().unwrap_or_default());
        }
    }
    names
}

fn rust(name: &str, text: &str, breaches: &mut Vec<String>) {
    if !text.starts_with("//!") {
        breaches.push(format!("{name}:1: no `//!` head that says what the file is for"));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        breaches.push(format!("{name}: {lines} lines, over {MAX_LINES}: is it one concern?"));
    }
    for (index, line) in text.lines().enumerate() {
        // A literal that is one text stays in one piece, as rustfmt leaves it.
        if line.chars().count() > MAX_COLUMNS && !line.contains('"') && !line.ends_with('\\') {
            breaches.push(format!("{name}:{}: over {MAX_COLUMNS} columns", index + 1));
        }
        if let Some(word) = BANNED.iter().find(|word| line.contains(**word)) {
            breaches.push(format!("{name}:{}: `{word}`: finish it, or say why not in the changelog", index + 1));
        }
    }
}

fn markdown(name: &str, text: &str, breaches: &mut Vec<String>) {
    let mut fenced = false;
    let mut titles = 0;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        titles += usize::from(line.starts_with("# "));
        for target in links(line) {
            let file = target.split('#').next().unwrap_or_default();
            let folder = root().join(name).parent().map(Path::to_path_buf).unwrap_or_default();
            if !file.is_empty() && !file.contains("://") && !folder.join(file).exists() {
                breaches.push(format!("{name}:{}: dead link to {file}", index + 1));
            }
        }
    }
    if titles != 1 {
        breaches.push(format!("{name}: {titles} titles, should be one"));
    }
}

/// The targets of `[text](target)` in a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_head_a_long_line_and_a_banned_word_are_breaches() {
        let mut breaches = Vec::new();
        rust("a.rs", &format!("fn main() {{}}\n// {}\n{}\n", BANNED[0], "x".repeat(130)), &mut breaches);
        assert_eq!(breaches.len(), 3, "{breaches:?}");
    }

    #[test]
    fn dependencies_are_read_by_section() {
        let manifest = "[dependencies]\nserde = \"1\"\ntokio.workspace = true\n[dev-dependencies]\nproptest = \"1\"\n";
        assert_eq!(dependencies(manifest, &["dependencies"]), ["serde", "tokio"]);
        assert_eq!(dependencies(manifest, &["dev-dependencies"]), ["proptest"]);
    }

    #[test]
    fn a_dead_link_is_a_breach_and_a_live_one_is_not() {
        let mut breaches = Vec::new();
        markdown("x.md", "# One\n[a](Cargo.toml) [b](no-such-file.md)\n", &mut breaches);
        assert_eq!(breaches, ["x.md:2: dead link to no-such-file.md"]);
    }
}
