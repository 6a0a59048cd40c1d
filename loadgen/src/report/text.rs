//! The report for a terminal.

use comfy_table::{Cell, CellAlignment, Table, presets};
use std::fmt::Write as _;

use super::{Distribution, Report};

/// Tables and a last line with the verdict.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{} · seed {} · scale {} · {:.0} s · {} cores shared by all\n{}, {} errors",
        report.profile,
        report.seed,
        report.scale,
        report.length_s,
        report.cores,
        report.load.sentence(),
        report.errors,
    );
    let _ = writeln!(text, "{}", figures(report));
    let _ = writeln!(text, "{}", processes(report));
    if let Some(sounds) = &report.sounds {
        let _ = writeln!(text, "sounds: {} played, {} twice, {} never", sounds.played, sounds.twice, sounds.never);
    }
    if let Some(found) = &report.documents {
        let _ = writeln!(
            text,
            "documents: {} of {} rows, {} lost, {} stale, {} doubled",
            found.documents, found.rows, found.lost, found.stale, found.doubled
        );
        for sample in &found.samples {
            let _ = writeln!(text, "  {sample}");
        }
    }
    if let Some(drain) = &report.drain {
        let _ = match (drain.drained_s, drain.orders_per_s) {
            (Some(seconds), Some(rate)) => writeln!(
                text,
                "outage: {} orders behind at its end, worked off in {seconds:.1} s, {rate:.0} orders/s",
                drain.backlog
            ),
            _ => writeln!(text, "outage: {} orders behind at its end, not worked off within the run", drain.backlog),
        };
    }
    for judged in &report.levels {
        let value = judged.value.map_or("not measured".to_owned(), |value| format!("{value:.3}"));
        let _ = writeln!(text, "{} {} ({value})", if judged.held { "holds " } else { "BROKEN" }, judged.level);
    }
    for sample in &report.error_samples {
        let _ = writeln!(text, "error: {sample}");
    }
    for reason in &report.reasons {
        let _ = writeln!(text, "- {reason}");
    }
    text.push_str(verdict(report));
    text
}

/// One word for a run.
pub fn verdict(report: &Report) -> &'static str {
    match (report.valid, report.passed) {
        (false, _) => "INVALID",
        (_, true) => "PASSED",
        _ => "FAILED",
    }
}

fn figures(report: &Report) -> Table {
    let mut table = plain(&["milliseconds", "count", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"]);
    for (name, figure) in &report.figures {
        let Distribution { count, mean, p50, p90, p99, p999, p9999, max, .. } = figure;
        let times = [mean, p50, p90, p99, p999, p9999, max].map(|ms| right(&format!("{ms:.1}")));
        table.add_row([Cell::new(name.replace('_', " ")), right(&count.to_string())].into_iter().chain(times));
    }
    table
}

fn processes(report: &Report) -> Table {
    let mut table = plain(&["process", "CPU s", "cores", "peak MB"]);
    let seconds = report.seconds.len().max(1) as f64;
    for used in &report.processes {
        table.add_row([
            Cell::new(&used.name),
            right(&format!("{:.2}", used.cpu_s)),
            right(&format!("{:.2}", used.cpu_s / seconds)),
            right(&format!("{:.0}", used.peak_rss_mb)),
        ]);
    }
    table
}

/// A table with aligned columns and no frame.
pub fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    let cells = header.iter().enumerate().map(|(place, name)| if place == 0 { Cell::new(name) } else { right(name) });
    table.load_style(presets::NOTHING).set_header(cells);
    table
}

/// A number's cell.
pub fn right(text: &str) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
