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

/// What a test runner's closing lines say in sum.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
}

/// Runs to the end, passing its output through and adding up the closing lines of cargo's test runner.
pub fn run_counting(command: &mut Command) -> Result<(bool, Counts)> {
    println!("$ {}", line(command));
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{}`", line(command)))?;
    let mut counts = Counts::default();
    if let Some(output) = child.stdout.take() {
        let mut stdout = std::io::stdout().lock();
        for text in BufReader::new(output).lines() {
            let text = text?;
            writeln!(stdout, "{text}")?;
            if let Some(more) = closing_line(&text) {
                counts.passed += more.passed;
                counts.failed += more.failed;
            }
        }
    }
    Ok((child.wait()?.success(), counts))
}

/// `test result: ok. 12 passed; 0 failed; …`
fn closing_line(text: &str) -> Option<Counts> {
    let rest = text.strip_prefix("test result: ")?;
    let number = |word: &str| -> Option<u64> { rest.split(word).next()?.trim_end().rsplit(' ').next()?.parse().ok() };
    Some(Counts { passed: number(" passed")?, failed: number(" failed")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_added_up() {
        let text = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.1s";
        assert_eq!(closing_line(text), Some(Counts { passed: 12, failed: 3 }));
        assert_eq!(closing_line("test one ... ok"), None);
    }
}
