//! A run as one self-contained page: hosts as lanes, faults as bars, what processes said at its time.
//!
//! Must not load anything: the page is mailed and kept.

use serde_json::Value;

use crate::worker::Outcome;

const WIDTH: f64 = 1_100.0;
const LANE: f64 = 34.0;
const LEFT: f64 = 130.0;

/// The page. `told` is what the worker said at level `info`.
pub fn page(name: &str, plan: &str, told: &str, outcome: &Outcome) -> String {
    let plan: Value = serde_json::from_str(plan).unwrap_or_default();
    let seconds = (outcome.simulated_ms as f64 / 1000.0).max(1.0);
    let x = |second: f64| LEFT + second / seconds * WIDTH;
    let lanes = lanes(&plan);
    let lane = |host: &str| lanes.iter().position(|name| name == host).unwrap_or(0) as f64 * LANE + 20.0;
    let mut shapes = String::new();
    for host in &lanes {
        let y = lane(host);
        shapes += &format!("<text x=\"4\" y=\"{:.0}\">{}</text>", y + 5.0, escape(host));
        shapes +=
            &format!("<line x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{y:.0}\" y2=\"{y:.0}\" class=\"lane\"/>", LEFT + WIDTH);
    }
    let mut open: Vec<(String, String, f64)> = Vec::new();
    for line in told.lines() {
        let Some(second) = line.split_whitespace().next().and_then(|text| text.parse::<f64>().ok()) else { continue };
        let (fault, host) = (field(line, "fault="), field(line, "host="));
        if let Some(fault) = fault {
            let host = host.filter(|host| lanes.contains(host)).unwrap_or_else(|| service(&fault));
            if line.contains(": begins") {
                open.push((fault, host, second));
            } else if let Some(index) = open.iter().position(|(kind, at, _)| *kind == fault && *at == host) {
                let (fault, host, began) = open.remove(index);
                shapes += &bar(&fault, x(began), x(second), lane(&host));
            }
        } else if line.contains("joined the election") || line.contains("WARN") {
            let host = field(line, "name=").unwrap_or_default();
            let class = if line.contains("WARN") { "warn" } else { "join" };
            let (cx, cy) = (x(second), lane(&host));
            shapes += &format!("<circle cx=\"{cx:.1}\" cy=\"{cy:.0}\" r=\"3\" class=\"{class}\">");
            shapes += &format!("<title>{}</title></circle>", escape(line.trim()));
        }
    }
    for (fault, host, began) in open {
        shapes += &bar(&fault, x(began), x(began) + 4.0, lane(&host));
    }
    let height = lanes.len() as f64 * LANE + 40.0;
    let verdict = match &outcome.violation {
        Some(violation) => {
            let end = x(seconds);
            shapes +=
                &format!("<line x1=\"{end:.0}\" x2=\"{end:.0}\" y1=\"0\" y2=\"{height:.0}\" class=\"violation\"/>");
            format!("<p class=\"bad\">oracle {}: {}</p>", escape(&violation.oracle), escape(&violation.text))
        }
        None => "<p>every oracle is satisfied</p>".to_owned(),
    };
    let style = "body{font:14px system-ui;margin:24px}.lane{stroke:#ccc}.bar{fill:#c55;opacity:.7}.warn{fill:#d80}\
                 .join{fill:#36c}.violation{stroke:#c00;stroke-width:3}.bad{color:#c00}text{font-size:12px}";
    format!(
        "<!doctype html><meta charset=\"utf-8\"><title>{name} seed {seed}</title><style>{style}</style>\
         <h1>{name}, seed {seed}</h1>{verdict}<p>{seconds:.1} simulated seconds, {} transactions, {} rows in the log, \
         {} takeovers, at rest {:.1} s after the last fault.</p><svg width=\"{:.0}\" height=\"{height:.0}\">{shapes}</svg>\
         <details><summary>what was said</summary><pre>{}</pre></details>",
        outcome.transactions,
        outcome.rows,
        outcome.takeovers,
        outcome.caught_up_ms as f64 / 1000.0,
        LEFT + WIDTH + 20.0,
        escape(told),
        name = escape(name),
        seed = outcome.seed,
    )
}

fn lanes(plan: &Value) -> Vec<String> {
    let count = |key: &str| plan["topology"][key].as_u64().unwrap_or(0);
    let services = ["mysql", "kafka", "zookeeper", "elasticsearch"].map(str::to_owned);
    let deployers = (1..=count("deployers")).map(|n| format!("deployer-{n}"));
    let adapters = (1..=count("adapters")).map(|n| format!("adapter-{n}"));
    services.into_iter().chain(deployers).chain(adapters).collect()
}

/// The service whose fault it is.
fn service(fault: &str) -> String {
    let known = ["mysql", "kafka", "zookeeper", "elasticsearch"];
    known.iter().find(|name| fault.starts_with(*name)).unwrap_or(&"kafka").to_string()
}

/// The value of a field in a line of the trace.
fn field(line: &str, name: &str) -> Option<String> {
    let rest = &line[line.find(name)? + name.len()..];
    let end = rest.find([' ', '}']).unwrap_or(rest.len());
    Some(rest[..end].trim_matches('"').to_owned())
}

fn bar(fault: &str, from: f64, to: f64, y: f64) -> String {
    let (top, width, under) = (y - 7.0, (to - from).max(3.0), y + 18.0);
    format!(
        "<rect x=\"{from:.1}\" y=\"{top:.0}\" width=\"{width:.1}\" height=\"14\" class=\"bar\"><title>{0}</title></rect>\
         <text x=\"{from:.1}\" y=\"{under:.0}\">{0}</text>",
        escape(fault)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
