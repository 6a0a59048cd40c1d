//! One or several runs as one self-contained page. Must not load anything: the page is mailed and kept.

use std::fmt::Write as _;

use super::svg::{Line, bars, columns, escape, lines};
use super::text::verdict;
use super::{Report, SecondRow};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884}body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1200px;\
padding:0 1rem}h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem}.verdict{font-weight:700;padding:.1em .5em;\
border-radius:4px;color:#fff}.PASSED{background:#2a7d52}.FAILED{background:#b3332a}.INVALID{background:#8a6d00}\
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:1rem}figure{margin:0}\
figcaption{font-weight:600}.legend{font-weight:400;font-size:.85em}.legend span{margin-right:1em;white-space:nowrap}\
.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.35em}svg{width:100%;height:auto}\
svg text{font:11px system-ui,sans-serif;fill:currentColor}svg text.y{text-anchor:end}svg text.x{text-anchor:middle}\
svg line{stroke:var(--line)}svg path{fill:none;stroke-width:1.6}table{border-collapse:collapse;margin:.5rem 0}\
td,th{padding:.15em .8em;border-bottom:1px solid var(--line);text-align:right;font-variant-numeric:tabular-nums}\
td:first-child,th:first-child{text-align:left}.scroll{overflow-x:auto}";

/// The page. Several reports are shown side by side in a table first.
pub fn page(reports: &[&Report]) -> String {
    let names: Vec<&str> = reports.iter().map(|report| report.profile.as_str()).collect();
    let title = escape(&names.join(", "));
    let mut body = String::new();
    if reports.len() > 1 {
        body += &side_by_side(reports);
    }
    reports.iter().for_each(|report| body += &section(report));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Load: {title}</title>\
         <link rel=\"icon\" href=\"data:,\"><style>{STYLE}</style></head><body>\n{body}</body></html>\n"
    )
}

/// What tells runs apart: the cluster that devices polled, else the seed.
pub fn label(report: &Report) -> String {
    let sounds = report.sounds_on.as_ref().map(|cluster| format!(", sounds on {cluster}")).unwrap_or_default();
    format!("{}{sounds}, seed {}", report.profile, report.seed)
}

fn side_by_side(reports: &[&Report]) -> String {
    let mut table = String::from("<h1>Side by side</h1><div class=\"scroll\"><table><tr><th>p50 / p99, ms</th>");
    for report in reports {
        let _ = write!(table, "<th>{}</th>", escape(&label(report)));
    }
    table.push_str("</tr>");
    let names: std::collections::BTreeSet<&String> = reports.iter().flat_map(|report| report.figures.keys()).collect();
    for name in names {
        let _ = write!(table, "<tr><td>{}</td>", escape(&name.replace('_', " ")));
        for report in reports {
            let cell = report.figures.get(name).map_or("–".to_owned(), |f| format!("{:.1} / {:.1}", f.p50, f.p99));
            let _ = write!(table, "<td>{cell}</td>");
        }
        table.push_str("</tr>");
    }
    table + "</table></div>"
}

fn section(report: &Report) -> String {
    let verdict = verdict(report);
    let mut body = format!(
        "<h1>{} <span class=\"verdict {verdict}\">{verdict}</span></h1>\
         <p>{}, {} errors in {:.0} s; scale {}, {} cores shared by all processes.</p>",
        escape(&label(report)),
        report.load.sentence(),
        report.errors,
        report.length_s,
        report.scale,
        report.cores,
    );
    if !report.reasons.is_empty() {
        let items: String = report.reasons.iter().map(|reason| format!("<li>{}</li>", escape(reason))).collect();
        body += &format!("<ul>{items}</ul>");
    }
    body += &facts(report);
    body += "<div class=\"plots\">\n";
    body += &over_time(report);
    body += &distributions(report);
    body += "</div>";
    body + &table_of_figures(report)
}

fn facts(report: &Report) -> String {
    let mut items = String::new();
    for judged in &report.levels {
        let value = judged.value.map_or("not measured".to_owned(), |value| format!("{value:.2}"));
        let held = if judged.held { "holds" } else { "<b>broken</b>" };
        let _ = write!(items, "<tr><td>{}</td><td>{value}</td><td>{held}</td></tr>", escape(&judged.level));
    }
    if let Some(found) = &report.documents {
        let _ = write!(
            items,
            "<tr><td>documents of {} rows</td><td>{}</td><td>{} lost, {} stale, {} doubled</td></tr>",
            found.rows, found.documents, found.lost, found.stale, found.doubled
        );
    }
    if let Some(sounds) = &report.sounds {
        let _ = write!(
            items,
            "<tr><td>sounds played</td><td>{}</td><td>{} twice, {} never</td></tr>",
            sounds.played, sounds.twice, sounds.never
        );
    }
    if let Some(drain) = &report.drain {
        let took =
            drain.drained_s.map_or("not worked off".to_owned(), |seconds| format!("worked off in {seconds:.0} s"));
        let _ = write!(items, "<tr><td>behind after the outage</td><td>{}</td><td>{took}</td></tr>", drain.backlog);
    }
    format!("<table>{items}</table>")
}

fn over_time(report: &Report) -> String {
    let seconds = &report.seconds;
    let line = |name: &str, of: &dyn Fn(&SecondRow) -> Option<f64>| Line {
        name: name.to_owned(),
        points: seconds.iter().enumerate().map(|(second, row)| (second as f64, of(row))).collect(),
    };
    let mut plots = lines(
        "Throughput against schedule, a second",
        "s",
        false,
        &[
            line("transactions planned", &|row| Some(row.planned[0] as f64)),
            line("transactions done", &|row| Some(row.done[0] as f64)),
            line("queries planned", &|row| Some(row.planned[1] as f64)),
            line("queries answered", &|row| Some(row.done[1] as f64)),
            line("errors", &|row| Some(row.errors as f64)),
        ],
    );
    for figure in ["sound_delay", "freshness_searchable", "poll_latency", "list_latency", "write_latency"] {
        if report.figures.contains_key(figure) {
            let at = |place: usize| move |row: &SecondRow| row.figures.get(figure).map(|values| values[place]);
            let title = format!("{}, ms", figure.replace('_', " "));
            let percentiles = [line("p50", &at(0)), line("p90", &at(1)), line("p99", &at(2)), line("largest", &at(3))];
            plots += &lines(&title, "s", true, &percentiles);
        }
    }
    if seconds.iter().any(|row| row.backlog.is_some()) {
        let backlog = [line("orders", &|row| row.backlog.map(|orders| orders as f64))];
        plots += &lines("Backlog: orders that no search finds yet", "s", false, &backlog);
    }
    plots
}

fn distributions(report: &Report) -> String {
    let mut plots = String::new();
    for figure in ["sound_delay", "query_latency", "freshness_searchable"] {
        if let Some(found) = report.figures.get(figure) {
            let upper = |ms: f64| if ms < 10.0 { format!("{ms:.1}") } else { format!("{ms:.0}") };
            let steps: Vec<(String, f64)> = found.steps.iter().map(|(ms, count)| (upper(*ms), *count as f64)).collect();
            plots += &columns(&format!("{}: how many took up to so many ms", figure.replace('_', " ")), &steps);
        }
    }
    let at = |figure: &str, of: fn(&super::Distribution) -> f64| report.figures.get(figure).map(of);
    let stages = |of: fn(&super::Distribution) -> f64| -> Option<Vec<f64>> {
        let (kafka, known) = (at("freshness_kafka", of)?, at("freshness_acknowledged", of)?);
        let found = at("freshness_searchable", of)?;
        Some(vec![kafka, (known - kafka).max(0.0), (found - known.max(kafka)).max(0.0)])
    };
    if let (Some(p50), Some(p99)) = (stages(|f| f.p50), stages(|f| f.p99)) {
        let legend = ["commit → Kafka", "Kafka → acknowledged", "acknowledged → searchable"];
        plots += &bars("Freshness by stage", &legend, &[("p50".to_owned(), p50), ("p99".to_owned(), p99)], "ms");
    }
    let seconds = report.seconds.len().max(1) as f64;
    let cpu = report.processes.iter().map(|used| (used.name.clone(), vec![used.cpu_s / seconds])).collect::<Vec<_>>();
    plots += &bars("CPU, cores", &[], &cpu, "cores");
    let memory = report.processes.iter().map(|used| (used.name.clone(), vec![used.peak_rss_mb])).collect::<Vec<_>>();
    plots + &bars("Memory at its peak", &[], &memory, "MB")
}

fn table_of_figures(report: &Report) -> String {
    let mut table = String::from(
        "<h2>Figures</h2><div class=\"scroll\"><table><tr><th>milliseconds</th><th>count</th><th>mean</th><th>p50</th>\
         <th>p90</th><th>p99</th><th>p99.9</th><th>p99.99</th><th>max</th></tr>",
    );
    for (name, f) in &report.figures {
        let _ = write!(table, "<tr><td>{}</td><td>{}</td>", escape(&name.replace('_', " ")), f.count);
        for value in [f.mean, f.p50, f.p90, f.p99, f.p999, f.p9999, f.max] {
            let _ = write!(table, "<td>{value:.1}</td>");
        }
        table.push_str("</tr>");
    }
    table + "</table></div>"
}
