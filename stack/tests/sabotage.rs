//! The demo on the real services must fail when a document is missing, old or there twice. Belongs to the tier
//! `scenarios`.
//!
//! One run breaks three documents, each in another way, after all were right; each must show in its own figure.

use anyhow::{Context, Result};
use serde_json::Value;
use std::process::{Command, Stdio};

#[test]
fn each_broken_document_is_counted_and_fails_the_demo() -> Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_towpath-stack"))
        .args(["demo", "--orders", "300", "--json"])
        .args(["--sabotage", "drop", "--sabotage", "stale", "--sabotage", "double"])
        .stdin(Stdio::null())
        .output()?;
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{told}{errors}");
    let summary: Value = serde_json::from_str(&told).with_context(|| format!("no JSON: {told}{errors}"))?;
    for figure in ["lost", "stale", "doubled"] {
        assert_eq!(summary[figure], 1, "{figure}: {told}");
    }
    assert!(summary["documents"].as_u64().is_some_and(|documents| documents > 0), "{told}");
    Ok(())
}
