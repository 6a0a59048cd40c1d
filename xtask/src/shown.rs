//! `cargo xtask shown`: runs every command that README and docs promise.
//!
//! A promise is a line of a fenced block with the info string `sh shown`; it must exit with 0. Blocks run in the
//! order of the documents, each line in the repository's root by `bash -e`.

use anyhow::{Context, Result};
use std::process::Command;

use crate::command::root;

/// Runs (or lists) the promised commands; `Ok(false)` if one fails.
pub fn run(list: bool) -> Result<bool> {
    let mut failed = Vec::new();
    let mut total = 0usize;
    for (document, line) in promised()? {
        total += 1;
        println!("{document}: $ {line}");
        if list {
            continue;
        }
        let status = Command::new("bash")
            .args(["-e", "-o", "pipefail", "-c", &line])
            .current_dir(root())
            .env_remove("RUSTFLAGS")
            .status()
            .context("cannot start bash")?;
        if !status.success() {
            failed.push(format!("{document}: `{line}` ended with {status}"));
        }
    }
    for failure in &failed {
        println!("{failure}");
    }
    println!("shown: {total} commands, {} failed", failed.len());
    Ok(failed.is_empty() && total > 0)
}

/// Every promised line with its document, README first, then docs/ by name.
fn promised() -> Result<Vec<(String, String)>> {
    let mut documents = vec!["README.md".to_owned()];
    let folder = root().join("docs");
    if folder.is_dir() {
        for entry in std::fs::read_dir(&folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".md") {
                documents.push(format!("docs/{name}"));
            }
        }
    }
    documents[1..].sort();
    let mut found = Vec::new();
    for document in documents {
        let text =
            std::fs::read_to_string(root().join(&document)).with_context(|| format!("cannot read {document}"))?;
        found.extend(lines(&text).into_iter().map(|line| (document.clone(), line)));
    }
    Ok(found)
}

fn lines(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        match line.trim_end() {
            "```sh shown" => inside = true,
            fence if fence.starts_with("```") => inside = false,
            // What stands behind `#` is for the reader.
            command if inside && !command.trim().is_empty() && !command.starts_with('#') => {
                found.push(command.split("  #").next().unwrap_or(command).trim_end().to_owned());
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marked_blocks_count_and_remarks_are_cut() {
        let text = "```sh\nrm x\n```\n```sh shown\ncargo demo  # a remark\n# a remark\n\nls\n```\nno\n";
        assert_eq!(lines(text), ["cargo demo", "ls"]);
    }
}
