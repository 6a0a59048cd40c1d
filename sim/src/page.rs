//! A run as one self-contained page: hosts as lanes, faults as bars, who leads, how far the checkpoint and the sinks
//! are, what processes said at its time, and where an oracle objected.
//!
//! Must not load anything: the page is mailed and kept.

use serde_json::Value;

use crate::worker::Outcome;

const WIDTH: f64 = 1_100.0;
const LANE: f64 = 40.0;
const LEFT: f64 = 130.0;
/// The height of a diagram of curves.
const CURVES: f64 = 120.0;

const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:24px auto;max-width:1280px;color:#222}\
     .lane{stroke:#ddd}.fault{fill:#c0392b;opacity:.75}.lead{fill:#27ae60;opacity:.8}.warn{fill:#e67e22}\
     .join{fill:#2980b9}.violation{stroke:#c00;stroke-width:3}.bad{color:#c00;font-weight:600}\
     text{font-size:12px;fill:#333}.what{font-size:11px;fill:#922}.axis{stroke:#999}.grid{stroke:#eee}\
     polyline{fill:none;stroke-width:1.5}.source{stroke:#888}.carried{stroke:#27ae60}.lag{stroke:#8e44ad}\
     pre{white-space:pre-wrap;font-size:12px}.key span{margin-right:18px}";

/// The page. `told` is what the worker said at level `info` with samples.
pub fn page(name: &str, plan: &str, told: &str, outcome: &Outcome) -> String {
    let plan: Value = serde_json::from_str(plan).unwrap_or_default();
    let seconds = (outcome.simulated_ms as f64 / 1000.0).max(1.0);
    let samples = samples(told);
    let mut picture = Picture { lanes: lanes(&plan), seconds, shapes: String::new() };
    picture.grid();
    picture.leaders(&samples);
    picture.events(told);
    let curves = picture.lanes.len() as f64 * LANE + 30.0;
    picture.curves(&samples, curves);
    let height = curves + 2.0 * (CURVES + 40.0);
    let verdict = match &outcome.violation {
        Some(violation) => {
            let end = picture.x(seconds);
            picture.shapes += &format!(
                "<line x1=\"{end:.0}\" x2=\"{end:.0}\" y1=\"0\" y2=\"{height:.0}\" class=\"violation\"><title>{}</title>\
                 </line>",
                escape(&violation.text)
            );
            format!("<p class=\"bad\">oracle {}: {}</p>", escape(&violation.oracle), escape(&violation.text))
        }
        None => "<p>every oracle is satisfied</p>".to_owned(),
    };
    let said: String =
        told.lines().filter(|line| !line.contains(" sample: ")).map(|line| escape(line) + "\n").collect();
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{name} seed {seed}</title>\
         <style>{STYLE}</style><h1>{name}, seed {seed}</h1>{verdict}<p>{seconds:.1} simulated seconds, \
         {} transactions, {} rows in the log, {} takeovers, at rest {:.1} s after the last fault.</p>\
         <p class=\"key\"><span style=\"color:#c0392b\">&#9632; fault</span><span style=\"color:#27ae60\">&#9632; leads\
         </span><span style=\"color:#e67e22\">&#9679; warning</span><span style=\"color:#2980b9\">&#9679; joins the \
         election</span></p><svg width=\"{:.0}\" height=\"{height:.0}\">{}</svg>\
         <details><summary>what was said</summary><pre>{said}</pre></details></html>",
        outcome.transactions,
        outcome.rows,
        outcome.takeovers,
        outcome.caught_up_ms as f64 / 1000.0,
        LEFT + WIDTH + 20.0,
        picture.shapes,
        name = escape(name),
        seed = outcome.seed,
    )
}

/// Where everything stood at a moment.
struct Sample {
    second: f64,
    leader: String,
    /// Transactions: executed at the source, and carried by the checkpoint.
    source: f64,
    carried: f64,
    /// Records that the slowest sink has not taken in.
    lag: f64,
}

fn samples(told: &str) -> Vec<Sample> {
    let number = |line: &str, name: &str| field(line, name).and_then(|text| text.parse().ok()).unwrap_or(0.0);
    let sample = |line: &str| {
        Some(Sample {
            second: second(line).filter(|_| line.contains(" sample: "))?,
            leader: field(line, "leader=").unwrap_or_default(),
            source: number(line, "source="),
            carried: number(line, "carried="),
            lag: number(line, "lag="),
        })
    };
    told.lines().filter_map(sample).collect()
}

struct Picture {
    lanes: Vec<String>,
    seconds: f64,
    shapes: String,
}

impl Picture {
    fn x(&self, second: f64) -> f64 {
        LEFT + second / self.seconds * WIDTH
    }

    fn y(&self, host: &str) -> f64 {
        self.lanes.iter().position(|name| name == host).unwrap_or(0) as f64 * LANE + 20.0
    }

    /// Lanes with their names, and a line each ten seconds.
    fn grid(&mut self) {
        let bottom = self.lanes.len() as f64 * LANE;
        for tens in 0..=(self.seconds / 10.0) as u32 {
            let x = self.x(f64::from(tens) * 10.0);
            self.shapes += &format!("<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"8\" y2=\"{bottom:.0}\" class=\"grid\"/>");
            self.shapes +=
                &format!("<text x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{} s</text>", bottom + 12.0, tens * 10);
        }
        for host in &self.lanes {
            let (y, right) = (self.y(host), LEFT + WIDTH);
            self.shapes += &format!("<text x=\"4\" y=\"{:.0}\">{}</text>", y + 4.0, escape(host));
            self.shapes += &format!("<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.0}\" y2=\"{y:.0}\" class=\"lane\"/>");
        }
    }

    /// A green bar while a process comes first in the election.
    fn leaders(&mut self, samples: &[Sample]) {
        for run in samples.chunk_by(|a, b| a.leader == b.leader) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            if !self.lanes.contains(&first.leader) {
                continue;
            }
            let (from, to, y) = (self.x(first.second), self.x(last.second + 0.5), self.y(&first.leader) + 4.0);
            let width = (to - from).max(1.0);
            self.shapes += &format!(
                "<rect x=\"{from:.1}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"4\" class=\"lead\"><title>leads from \
                 {:.1} to {:.1} s</title></rect>",
                first.second,
                last.second + 0.5
            );
        }
    }

    /// Faults as bars, what was said as points.
    fn events(&mut self, told: &str) {
        let mut open: Vec<(String, String, f64)> = Vec::new();
        for line in told.lines() {
            let Some(second) = second(line) else { continue };
            let (fault, host) = (field(line, "fault="), field(line, "host="));
            if let Some(fault) = fault {
                let host = host.filter(|host| self.lanes.contains(host)).unwrap_or_else(|| service(&fault));
                if line.contains(": begins") {
                    open.push((fault, host, second));
                } else if let Some(index) = open.iter().position(|(kind, at, _)| *kind == fault && *at == host) {
                    let (fault, host, began) = open.remove(index);
                    self.bar(&fault, &host, (began, second));
                }
            } else if let Some(host) = self.lanes.iter().find(|host| line.contains(&format!("\"{host}\""))) {
                let class = match line {
                    _ if line.contains("WARN") || line.contains("ERROR") => "warn",
                    _ if line.contains("joined the election") => "join",
                    _ => continue,
                };
                let (cx, cy) = (self.x(second), self.y(host) - 1.0);
                self.shapes += &format!(
                    "<circle cx=\"{cx:.1}\" cy=\"{cy:.0}\" r=\"3.5\" class=\"{class}\"><title>{}</title></circle>",
                    escape(line.trim())
                );
            }
        }
        for (fault, host, began) in open {
            self.bar(&fault, &host, (began, began));
        }
    }

    fn bar(&mut self, fault: &str, host: &str, (began, ended): (f64, f64)) {
        let (from, to, y) = (self.x(began), self.x(ended), self.y(host));
        let (top, width, under) = (y - 8.0, (to - from).max(3.0), y + 19.0);
        self.shapes += &format!(
            "<rect x=\"{from:.1}\" y=\"{top:.0}\" width=\"{width:.1}\" height=\"11\" class=\"fault\"><title>{0}, \
             {began:.1} to {ended:.1} s</title></rect><text x=\"{from:.1}\" y=\"{under:.0}\" class=\"what\">{0}</text>",
            escape(fault)
        );
    }

    /// How far source, checkpoint and sinks are.
    fn curves(&mut self, samples: &[Sample], top: f64) {
        let most = |of: fn(&Sample) -> f64| samples.iter().map(of).fold(1.0, f64::max);
        let source = most(|sample| sample.source.max(sample.carried));
        let below = top + CURVES + 40.0;
        self.axis("transactions", source, top);
        self.curve(samples, ("source", source), top, |sample| sample.source);
        self.curve(samples, ("carried", source), top, |sample| sample.carried);
        let lag = most(|sample| sample.lag);
        self.axis("records behind", lag, below);
        self.curve(samples, ("lag", lag), below, |sample| sample.lag);
        let (name, what) = (LEFT + 8.0, top + 14.0);
        self.shapes += &format!(
            "<text x=\"{name}\" y=\"{what:.0}\">grey: executed at the source, green: in the checkpoint</text>\
             <text x=\"{name}\" y=\"{:.0}\">the sink that is furthest behind</text>",
            below + 14.0
        );
    }

    fn axis(&mut self, name: &str, most: f64, top: f64) {
        let (bottom, right) = (top + CURVES, LEFT + WIDTH);
        self.shapes += &format!(
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom:.0}\" y2=\"{bottom:.0}\" class=\"axis\"/>\
             <line x1=\"{LEFT}\" x2=\"{LEFT}\" y1=\"{top:.0}\" y2=\"{bottom:.0}\" class=\"axis\"/>\
             <text x=\"4\" y=\"{:.0}\">{name}</text><text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{most:.0}</text>",
            top + CURVES / 2.0,
            LEFT - 6.0,
            top + 10.0
        );
    }

    fn curve(&mut self, samples: &[Sample], (class, most): (&str, f64), top: f64, of: fn(&Sample) -> f64) {
        let point = |sample: &Sample| {
            let height = of(sample) / most * (CURVES - 4.0);
            format!("{:.1},{:.1} ", self.x(sample.second), top + CURVES - height)
        };
        let points: String = samples.iter().map(point).collect();
        self.shapes += &format!("<polyline points=\"{points}\" class=\"{class}\"/>");
    }
}

fn second(line: &str) -> Option<f64> {
    line.split_whitespace().next()?.parse().ok()
}

fn lanes(plan: &Value) -> Vec<String> {
    let count = |key: &str| plan["topology"][key].as_u64().unwrap_or(0);
    let standbys = (1..=count("standbys")).map(|n| format!("mysql-{}", n + 1));
    let services = ["kafka", "zookeeper", "elasticsearch"].map(str::to_owned);
    let deployers = (1..=count("deployers")).map(|n| format!("deployer-{n}"));
    let adapters = (1..=count("adapters")).map(|n| format!("adapter-{n}"));
    std::iter::once("mysql".to_owned()).chain(standbys).chain(services).chain(deployers).chain(adapters).collect()
}

/// The service whose fault it is.
fn service(fault: &str) -> String {
    let known = ["mysql", "kafka", "zookeeper", "elasticsearch"];
    let other = if fault == "replicas-lag" { "mysql" } else { "kafka" };
    known.iter().find(|name| fault.starts_with(*name)).unwrap_or(&other).to_string()
}

/// The value of a field in a line of the trace.
fn field(line: &str, name: &str) -> Option<String> {
    let rest = &line[line.find(name)? + name.len()..];
    let end = rest.find([' ', '}']).unwrap_or(rest.len());
    Some(rest[..end].trim_matches('"').to_owned())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
