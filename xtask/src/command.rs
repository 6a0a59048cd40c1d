//! Starting other programs from the repository's root, with their output on ours.

use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The repository's root: the parent of this package.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// The cargo that started us, in the root, without a `RUSTFLAGS` variable (it would replace the configured flags and
/// rebuild everything).
pub fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root()).env_remove("RUSTFLAGS");
    command
}

/// A command as a person would type it.
pub fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    std::iter::once(program)
        .chain(command.get_args().map(|argument| argument.to_string_lossy().into_owned()))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs to the end; `Ok(true)` if it exits with 0.
pub fn run(command: &mut Command) -> Result<bool> {
    println!("$ {}", line(command));
    let status = command.status().with_context(|| format!("cannot start `{}`", line(command)))?;
    Ok(status.success())
}

/// As [`run`], without naming the command: its output is the report.
pub fn run_quietly(command: &mut Command) -> Result<bool> {
    let status = command.status().with_context(|| format!("cannot start `{}`", line(command)))?;
    Ok(status.success())
}

/// What a test runner's output says in sum.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Of each failed test its name and the first lines of what it died of.
    pub reasons: Vec<String>,
}

/// Runs to the end, passing its output through and adding up the closing lines of cargo's test runner.
pub fn run_counting(command: &mut Command) -> Result<(bool, Counts)> {
    println!("$ {}", line(command));
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{}`", line(command)))?;
    let mut counts = Counts::default();
    let mut failures = Failures::default();
    if let Some(output) = child.stdout.take() {
        let mut stdout = std::io::stdout().lock();
        for text in BufReader::new(output).lines() {
            let text = text?;
            writeln!(stdout, "{text}")?;
            failures.line(&text);
            if let Some((passed, failed)) = closing_line(&text) {
                counts.passed += passed;
                counts.failed += failed;
            }
        }
    }
    counts.reasons = failures.reasons;
    Ok((child.wait()?.success(), counts))
}

/// Reads the sections in which the test runner repeats what failed tests have printed.
#[derive(Debug, Default)]
struct Failures {
    test: String,
    /// Lines of the reason still to take.
    take: usize,
    reasons: Vec<String>,
}

impl Failures {
    /// Lines kept of a panic or an error.
    const LINES: usize = 12;

    fn line(&mut self, text: &str) {
        if let Some(test) = text.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.test = test.to_owned();
            self.take = 0;
        } else if text.is_empty() && self.take < Self::LINES || text.starts_with("stack backtrace:") {
            self.take = 0;
        } else if !self.test.is_empty() && (text.contains("panicked at ") || text.starts_with("Error: ")) {
            self.reasons.push(std::mem::take(&mut self.test));
            self.take = Self::LINES;
        }
        if self.take > 0 {
            self.take -= 1;
            self.reasons.push(format!("    {text}"));
        }
    }
}

/// `test result: ok. 12 passed; 0 failed; …`
fn closing_line(text: &str) -> Option<(u64, u64)> {
    let rest = text.strip_prefix("test result: ")?;
    let number = |word: &str| -> Option<u64> { rest.split(word).next()?.trim_end().rsplit(' ').next()?.parse().ok() };
    Some((number(" passed")?, number(" failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_added_up() {
        let text = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.1s";
        assert_eq!(closing_line(text), Some((12, 3)));
        assert_eq!(closing_line("test one ... ok"), None);
    }

    #[test]
    fn reasons_of_failures_are_kept_for_the_end() {
        let output = "---- a::one stdout ----\nkill 1\nError: waited in vain\nfor b\n\nother\n\n\
                      ---- two stdout ----\n\nthread 'two' panicked at x.rs:1:2:\nleft != right\n\
                      stack backtrace:\n   0: main\n\nfailures:\n    two\n";
        let mut failures = Failures::default();
        output.lines().for_each(|line| failures.line(line));
        let expected = [
            "a::one",
            "    Error: waited in vain",
            "    for b",
            "two",
            "    thread 'two' panicked at x.rs:1:2:",
            "    left != right",
        ];
        assert_eq!(failures.reasons, expected);
    }
}
