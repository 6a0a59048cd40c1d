//! A run of a scenario as one self-contained page: hosts as lanes, faults as bars, who leads, what processes said at
//! its time, curves below, and where the run was found wrong. The simulator and the runs on real processes share it.
//!
//! Must not load anything: the page is mailed and kept. Knows nothing of how a run is carried out.

#![forbid(unsafe_code)]

mod diagram;
#[cfg(test)]
mod tests;

pub use diagram::{Curve, Diagram};

const WIDTH: f64 = 1_100.0;
const LANE: f64 = 40.0;
const LEFT: f64 = 130.0;

const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:24px auto;max-width:1280px;color:#222}\
     .lane{stroke:#ddd}.fault{fill:#c0392b;opacity:.75}.lead{fill:#27ae60;opacity:.8}.warn{fill:#e67e22}\
     .join{fill:#2980b9}.violation{stroke:#c00;stroke-width:3}.bad{color:#c00;font-weight:600}\
     text{font-size:12px;fill:#333}.what{font-size:11px;fill:#922}.axis{stroke:#999}.grid{stroke:#eee}\
     polyline{fill:none;stroke-width:1.5}.grey{stroke:#888}.green{stroke:#27ae60}.purple{stroke:#8e44ad}\
     .dashed{stroke-dasharray:8 3}.point{fill:#8e44ad;opacity:.6}pre{white-space:pre-wrap;font-size:12px}.key span{margin-right:18px}";

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// The headline.
    pub title: String,
    /// What the run was found wrong in; none if it is right.
    pub objection: Option<String>,
    /// One sentence of figures.
    pub summary: String,
    /// The names of the hosts, from above.
    pub lanes: Vec<String>,
    /// How long the run took.
    pub seconds: f64,
    /// Faults.
    pub faults: Vec<Bar>,
    /// Who led from when to when.
    pub leaders: Vec<Bar>,
    /// Moments at which processes said something.
    pub marks: Vec<Mark>,
    /// Below the lanes.
    pub diagrams: Vec<Diagram>,
    /// Text that is folded away.
    pub said: String,
}

/// Something that lasted on one lane.
#[derive(Debug, Clone)]
pub struct Bar {
    /// What.
    pub what: String,
    /// The lane's name; of a name that no lane has, the first.
    pub host: String,
    /// Seconds of the run.
    pub from: f64,
    /// Seconds of the run.
    pub to: f64,
}

/// A moment on one lane.
#[derive(Debug, Clone)]
pub struct Mark {
    /// Its text, shown where the pointer rests.
    pub what: String,
    /// The lane's name.
    pub host: String,
    /// Seconds of the run.
    pub second: f64,
    /// Whether it is a warning; else somebody joins the election.
    pub warning: bool,
}

impl Run {
    /// The page.
    pub fn page(&self) -> String {
        let mut picture = Picture { lanes: &self.lanes, seconds: self.seconds.max(1.0), shapes: String::new() };
        picture.grid();
        self.leaders.iter().for_each(|bar| picture.leader(bar));
        self.faults.iter().for_each(|bar| picture.fault(bar));
        self.marks.iter().for_each(|mark| picture.mark(mark));
        let mut height = self.lanes.len() as f64 * LANE + 30.0;
        for diagram in &self.diagrams {
            picture.diagram(diagram, height);
            height += diagram::HEIGHT + 40.0;
        }
        let verdict = match &self.objection {
            Some(objection) => {
                picture.objection(objection, height);
                format!("<p class=\"bad\">{}</p>", escape(objection))
            }
            None => "<p>nothing was found wrong</p>".to_owned(),
        };
        format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style>\
             <h1>{title}</h1>{verdict}<p>{}</p><p class=\"key\"><span style=\"color:#c0392b\">&#9632; fault</span>\
             <span style=\"color:#27ae60\">&#9632; leads</span><span style=\"color:#e67e22\">&#9679; warning</span>\
             <span style=\"color:#2980b9\">&#9679; joins the election</span></p>\
             <svg width=\"{:.0}\" height=\"{height:.0}\">{}</svg>\
             <details><summary>what was said</summary><pre>{}</pre></details></html>",
            escape(&self.summary),
            LEFT + WIDTH + 20.0,
            picture.shapes,
            escape(&self.said),
            title = escape(&self.title),
        )
    }
}

/// The drawing as far as it is.
struct Picture<'a> {
    lanes: &'a [String],
    seconds: f64,
    shapes: String,
}

impl Picture<'_> {
    fn x(&self, second: f64) -> f64 {
        LEFT + (second / self.seconds).clamp(0.0, 1.0) * WIDTH
    }

    fn y(&self, host: &str) -> f64 {
        self.lanes.iter().position(|name| name == host).unwrap_or(0) as f64 * LANE + 20.0
    }

    /// Lanes with their names, and about twelve lines of time at round distances.
    fn grid(&mut self) {
        let bottom = self.lanes.len() as f64 * LANE;
        let step = [10, 30, 60, 300, 600].into_iter().find(|step| self.seconds / f64::from(*step) <= 13.0);
        let step = step.unwrap_or(3_600);
        for second in (0..=self.seconds as u32).step_by(step as usize) {
            let x = self.x(f64::from(second));
            self.shapes += &format!("<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"8\" y2=\"{bottom:.0}\" class=\"grid\"/>");
            self.shapes +=
                &format!("<text x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{second} s</text>", bottom + 12.0);
        }
        for host in self.lanes {
            let (y, right) = (self.y(host), LEFT + WIDTH);
            self.shapes += &format!("<text x=\"4\" y=\"{:.0}\">{}</text>", y + 4.0, escape(host));
            self.shapes += &format!("<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.0}\" y2=\"{y:.0}\" class=\"lane\"/>");
        }
    }

    fn leader(&mut self, bar: &Bar) {
        if !self.lanes.contains(&bar.host) {
            return;
        }
        let (from, to, y) = (self.x(bar.from), self.x(bar.to), self.y(&bar.host) + 4.0);
        let width = (to - from).max(1.0);
        self.shapes += &format!(
            "<rect x=\"{from:.1}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"4\" class=\"lead\"><title>leads from \
             {:.1} to {:.1} s</title></rect>",
            bar.from, bar.to
        );
    }

    fn fault(&mut self, bar: &Bar) {
        let (from, to, y) = (self.x(bar.from), self.x(bar.to), self.y(&bar.host));
        let (top, width, under) = (y - 8.0, (to - from).max(3.0), y + 19.0);
        self.shapes += &format!(
            "<rect x=\"{from:.1}\" y=\"{top:.0}\" width=\"{width:.1}\" height=\"11\" class=\"fault\"><title>{what}, \
             {:.1} to {:.1} s</title></rect><text x=\"{from:.1}\" y=\"{under:.0}\" class=\"what\">{what}</text>",
            bar.from,
            bar.to,
            what = escape(&bar.what)
        );
    }

    fn mark(&mut self, mark: &Mark) {
        let (cx, cy) = (self.x(mark.second), self.y(&mark.host) - 1.0);
        let class = if mark.warning { "warn" } else { "join" };
        self.shapes += &format!(
            "<circle cx=\"{cx:.1}\" cy=\"{cy:.0}\" r=\"3.5\" class=\"{class}\"><title>{}</title></circle>",
            escape(mark.what.trim())
        );
    }

    fn objection(&mut self, objection: &str, height: f64) {
        let end = self.x(self.seconds);
        self.shapes += &format!(
            "<line x1=\"{end:.0}\" x2=\"{end:.0}\" y1=\"0\" y2=\"{height:.0}\" class=\"violation\"><title>{}</title>\
             </line>",
            escape(objection)
        );
    }
}

/// The lane of a fault that names no host: the service that its name begins with.
pub fn service_of(fault: &str) -> &'static str {
    let known = ["mysql", "kafka", "zookeeper", "elasticsearch"];
    let other = if fault == "replicas-lag" { "mysql" } else { "kafka" };
    known.into_iter().find(|name| fault.starts_with(name)).unwrap_or(other)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
