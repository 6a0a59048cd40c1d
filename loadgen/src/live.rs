//! One line in the terminal while a run goes on.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

use crate::meter::{Figure, Meter, Second};

/// The line; hidden where nobody watches.
#[derive(Debug, Clone)]
pub struct View(ProgressBar);

impl View {
    /// For a run of so many seconds.
    pub fn new(name: &str, seconds: u64, shown: bool) -> Self {
        let bar = if shown { ProgressBar::new(seconds) } else { ProgressBar::hidden() };
        // The template is a constant; if it were wrong, the plain style would do.
        if let Ok(style) = ProgressStyle::with_template("{prefix} {pos:>3}/{len} s {bar:20} {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        Self(bar)
    }

    /// What is being waited for.
    pub fn say(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }

    /// Shows the last whole second.
    pub fn second(&self, meter: &Meter, passed: Duration, backlog: Option<i64>, oldest: Duration) {
        self.0.set_position(passed.as_secs());
        let Some(place) = (passed.as_secs() as usize).checked_sub(1) else { return };
        let Some(second) = meter.seconds.get(place) else { return };
        let backlog = backlog.map_or("–".to_owned(), |orders| orders.to_string());
        self.0.set_message(format!(
            "writes {}/s p99 {} ms · polls p99 {} ms · lists p99 {} ms · sound p99 {} ms · backlog {backlog} \
             (oldest {:.1} s) · queries {}/s · errors {}",
            second.done[0],
            p99(second, Figure::WriteLatency),
            p99(second, Figure::PollLatency),
            p99(second, Figure::ListLatency),
            p99(second, Figure::SoundDelay),
            oldest.as_secs_f64(),
            second.done[1],
            meter.seconds.iter().map(|second| second.errors).sum::<u64>(),
        ));
    }

    /// Removes the line.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}

fn p99(second: &Second, figure: Figure) -> String {
    let value = second.figures.get(&figure).map(|histogram| histogram.value_at_quantile(0.99) as f64 / 1000.0);
    value.map_or("–".to_owned(), |ms| if ms < 10.0 { format!("{ms:.1}") } else { format!("{ms:.0}") })
}
