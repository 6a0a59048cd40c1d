//! What `towpath check` has found, as text and as JSON.

use serde::Serialize;
use towpath_engine::cause::{Cause, Stop};

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// How it is, or what will be done.
    Info,
    /// It runs, but promises less than it could, or may surprise.
    Warning,
    /// `towpath run` would stop, or wait, for this.
    Problem,
}

/// One finding.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// How grave.
    pub level: Level,
    /// The cause with which `run` would stop or wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What is so.
    pub message: String,
    /// Lines to paste that mend it, where there are such.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paste: Vec<String>,
}

/// The findings about one part of a pipeline.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// `source`, `kafka`, `zookeeper`, `sink hot`.
    pub part: String,
    /// The findings, in the order in which they were made.
    pub findings: Vec<Finding>,
}

impl Part {
    /// A part without findings.
    pub fn new(part: impl Into<String>) -> Self {
        Self { part: part.into(), findings: Vec::new() }
    }

    /// Notes how something is.
    pub fn info(&mut self, message: impl Into<String>) {
        self.findings.push(Finding { level: Level::Info, cause: None, message: message.into(), paste: Vec::new() });
    }

    /// Notes what may surprise.
    pub fn warning(&mut self, message: impl Into<String>, paste: Vec<String>) {
        self.findings.push(Finding { level: Level::Warning, cause: None, message: message.into(), paste });
    }

    /// Notes what `run` would stop or wait for.
    pub fn problem(&mut self, stop: Stop, paste: Vec<String>) {
        self.findings.push(Finding { level: Level::Problem, cause: Some(stop.cause), message: stop.detail, paste });
    }
}

/// The findings about one pipeline.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineReport {
    /// Its name.
    pub pipeline: String,
    /// Its parts.
    pub parts: Vec<Part>,
}

/// The whole report.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The configuration's file.
    pub config: std::path::PathBuf,
    /// Whether services were left alone.
    pub offline: bool,
    /// The pipelines.
    pub pipelines: Vec<PipelineReport>,
}

impl Report {
    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.pipelines.iter().flat_map(|pipeline| &pipeline.parts).flat_map(|part| &part.findings)
    }

    /// How many findings are that grave.
    pub fn count(&self, level: Level) -> usize {
        self.findings().filter(|finding| finding.level == level).count()
    }

    /// The exit status: that of the first problem's cause in the catalogue's order, 0 without one.
    pub fn status(&self) -> u8 {
        let causes =
            self.findings().filter(|finding| finding.level == Level::Problem).filter_map(|finding| finding.cause);
        causes.min().map_or(0, Cause::exit_code)
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for pipeline in &self.pipelines {
            out.push_str(&format!("pipeline {}\n", pipeline.pipeline));
            for part in &pipeline.parts {
                out.push_str(&format!("  {}\n", part.part));
                for finding in &part.findings {
                    let mark = match finding.level {
                        Level::Info => "   ",
                        Level::Warning => " ! ",
                        Level::Problem => " ✗ ",
                    };
                    let cause = finding.cause.map(|cause| format!(" [{cause}]")).unwrap_or_default();
                    out.push_str(&format!("  {mark}{}{cause}\n", finding.message));
                    for line in &finding.paste {
                        out.push_str(&format!("         {line}\n"));
                    }
                }
            }
        }
        let (problems, warnings) = (self.count(Level::Problem), self.count(Level::Warning));
        let verdict = match problems {
            0 => "ready to run",
            _ => "not ready to run",
        };
        out.push_str(&format!("{verdict}: problems {problems}, warnings {warnings}\n"));
        out
    }

    /// For machines.
    pub fn json(&self) -> serde_json::Value {
        let mut value = serde_json::json!(self);
        value["problems"] = self.count(Level::Problem).into();
        value["warnings"] = self.count(Level::Warning).into();
        value
    }
}
