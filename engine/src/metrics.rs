//! Counters and gauges that the engine keeps and the binary shows. No exposition format here.
//!
//! A metric is a name, a help text, labels and a 64-bit number. Components register theirs once and keep the handle.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Whether a metric only rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises; its name ends in `_total`.
    Counter,
    /// Rises and falls.
    Gauge,
}

/// A handle to one number. Cheap to clone; updates never block.
#[derive(Debug, Clone, Default)]
pub struct Metric(Arc<AtomicI64>);

impl Metric {
    /// Adds to it.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n as i64, Ordering::Relaxed);
    }

    /// Sets it (gauges).
    pub fn set(&self, n: i64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One metric family with its series by label text (`pipeline="orders",sink="hot"`).
#[derive(Debug, Clone)]
pub struct Family {
    /// Counter or gauge.
    pub kind: Kind,
    /// What it means, with its unit.
    pub help: &'static str,
    /// The series, by their rendered labels.
    pub series: BTreeMap<String, Metric>,
}

/// All metrics of a process, or of one pipeline in it.
#[derive(Debug, Clone, Default)]
pub struct Registry(Arc<Mutex<BTreeMap<&'static str, Family>>>);

impl Registry {
    /// Registers a series, or finds it if it exists: `labels` are (name, value) pairs.
    pub fn register(&self, kind: Kind, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Metric {
        let rendered: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escape(value))).collect();
        let mut families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let family = families.entry(name).or_insert_with(|| Family { kind, help, series: BTreeMap::new() });
        family.series.entry(rendered.join(",")).or_default().clone()
    }

    /// A counter.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Metric {
        self.register(Kind::Counter, name, help, labels)
    }

    /// A gauge.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Metric {
        self.register(Kind::Gauge, name, help, labels)
    }

    /// All families as they are now, by name.
    pub fn snapshot(&self) -> BTreeMap<&'static str, Family> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
