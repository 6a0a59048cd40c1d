//! The configuration: one TOML file, checked as a whole before anything starts.
//!
//! [`load`] gives either a [`Config`] in which everything is valid as far as the file alone can tell, or all problems
//! at once. Must not connect to anything: what the services say is `towpath check`'s and the engine's business.

mod alarms;
mod kafka;
mod pipeline;
mod reader;
mod rules;
mod sink;
mod text;
mod zookeeper;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use kafka::{Compression, Kafka, REFUSED_PROPERTIES};
pub use pipeline::{Pipeline, Server, Source, SourceTls};
pub use reader::{Problem, Surroundings};
pub use sink::{Elasticsearch, Sink};
pub use text::{Secret, nearest};
pub use zookeeper::ZooKeeper;

use crate::alarms::AlarmConfig;
use reader::{Document, Section};

/// A whole configuration file.
#[derive(Debug, Clone)]
pub struct Config {
    /// The pipelines, in order of their names.
    pub pipelines: Vec<Pipeline>,
    /// Where `/metrics`, `/healthz` and `/readyz` listen; `None` = nowhere.
    pub admin: Option<SocketAddr>,
    /// Bytes that all buffers of this process may hold together (Rule 5).
    pub memory: u64,
    /// How the log is written.
    pub log: Log,
    /// When a condition is told, and to whom.
    pub alarms: AlarmConfig,
}

/// How the log is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Text or JSON.
    pub format: LogFormat,
    /// A filter such as `info` or `info,towpath_engine=debug`.
    pub level: String,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Everything that is wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problems {
    /// The file as it was named.
    pub file: PathBuf,
    /// The problems, by line.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.problems.len() {
            1 => writeln!(f, "{file} has a problem:")?,
            n => writeln!(f, "{file} has {n} problems:")?,
        }
        for problem in &self.problems {
            let key = if problem.key.is_empty() { String::new() } else { format!("{}: ", problem.key) };
            match problem.line {
                0 => writeln!(f, "  {file}: {key}{}", problem.message)?,
                line => writeln!(f, "  {file}:{line}: {key}{}", problem.message)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The process' environment, and files beside the configuration.
struct Process<'a> {
    folder: &'a Path,
}

impl Surroundings for Process<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &Path) -> Result<String, String> {
        std::fs::read_to_string(self.folder.join(path)).map_err(|error| error.to_string())
    }
}

/// Reads and checks a configuration file.
pub fn load(file: &Path) -> Result<Config, Problems> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let one = |message: String| Problems {
        file: file.to_owned(),
        problems: vec![Problem { line: 0, key: String::new(), message }],
    };
    let text = std::fs::read_to_string(file).map_err(|error| one(format!("the file cannot be read: {error}")))?;
    parse(&text, folder, &Process { folder }).map_err(|problems| Problems { file: file.to_owned(), problems })
}

/// Checks a configuration's text. Paths of certificates are resolved against `folder`.
pub fn parse(text: &str, folder: &Path, surroundings: &dyn Surroundings) -> Result<Config, Vec<Problem>> {
    let document = Document::new(text, surroundings);
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            let line = error.span().map_or(0, |span| document.line(span.start));
            document.problem(line, "", format!("is not TOML: {}", error.message()));
            return Err(document.into_problems());
        }
    };
    let config = read(&Section::root(&document, table.get_ref()), folder);
    let problems = document.into_problems();
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

fn read(root: &Section<'_>, folder: &Path) -> Config {
    let mut pipelines = Vec::new();
    match root.section("pipeline") {
        Some(section) => {
            let named = section.named_sections();
            if named.is_empty() {
                root.problem("pipeline", "holds no pipeline: write at least one [pipeline.NAME]");
            }
            for (name, section) in named {
                pipelines.extend(pipeline::read(name, section, folder));
            }
        }
        None => root.missing("pipeline", "write at least one [pipeline.NAME]"),
    }
    rules::across_pipelines(root, &pipelines);
    let admin = root.section("admin").and_then(|section| {
        let listen = section.string("listen");
        if listen.is_none() && !section.has("listen") {
            section.missing("listen", "for example listen = \"127.0.0.1:9464\"");
        }
        let address = listen.and_then(|text| match text.value.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                section.problem("listen", format!("\"{}\" is not ADDRESS:PORT, as in \"127.0.0.1:9464\"", text.value));
                None
            }
        });
        section.finish();
        address
    });
    let memory = root.section("limits").map_or(DEFAULT_MEMORY, |section| {
        let memory = section.size("memory", MEMORY_RANGE, DEFAULT_MEMORY);
        section.finish();
        memory
    });
    let log = root.section("log").map_or_else(Log::default, |section| {
        let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        let format = section.choice("format", &formats, LogFormat::Text);
        let level = section.string("level").map_or_else(|| "info".to_owned(), |text| text.value);
        if let Err(why) = crate::logging::filter(&level) {
            section.problem("level", why);
        }
        section.finish();
        Log { format, level }
    });
    let alarms = root.section("alarms").map_or_else(AlarmConfig::default, alarms::read);
    root.report_unknown();
    Config { pipelines, admin, memory, log, alarms }
}

/// The default of `limits.memory`.
pub const DEFAULT_MEMORY: u64 = 192 << 20;
/// What `limits.memory` may be: below, one transaction's buffers do not fit; above, a number was mistyped.
const MEMORY_RANGE: std::ops::RangeInclusive<u64> = (16 << 20)..=(64 << 30);

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}
