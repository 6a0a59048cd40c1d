//! What commands print on standard output. A reader that goes away (`| head`) is not an error.

use std::io::Write as _;

/// Prints text as it is.
pub fn text(text: &str) {
    let mut out = std::io::stdout().lock();
    // Whoever closed the pipe has read what he wanted; the exit status says the rest.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a line.
pub fn line(line: impl std::fmt::Display) {
    text(&format!("{line}\n"));
}
