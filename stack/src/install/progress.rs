//! What the user sees while things are downloaded: one bar a package on a terminal, one line a package elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

/// The progress of one package.
pub struct Progress {
    bar: ProgressBar,
    name: String,
    plain: bool,
}

impl Progress {
    /// Begins; without a terminal only begin and end are told, on standard error.
    #[must_use]
    pub fn begin(name: &str) -> Self {
        let plain = !std::io::stderr().is_terminal();
        let bar = if plain { ProgressBar::hidden() } else { ProgressBar::new(100) };
        // The template is a constant: were it wrong, the default style shows and every install still works.
        if let Ok(style) = ProgressStyle::with_template("{prefix:16} {bar:30} {percent:>3}% {elapsed:>4} {wide_msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        if plain {
            eprintln!("{name}: installing");
        }
        Self { bar, name: name.to_owned(), plain }
    }

    /// What is being done now.
    pub fn say(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    /// How far the whole is, 0 to 100.
    pub fn at(&self, percent: u64) {
        self.bar.set_position(percent.min(100));
    }

    /// Ends with what was installed.
    pub fn end(self, what: &str) {
        if self.plain {
            eprintln!("{}: {what}", self.name);
        }
        self.bar.set_position(100);
        self.bar.finish_with_message(what.to_owned());
    }
}
