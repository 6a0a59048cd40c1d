//! What keys must agree on: between source and sinks, between sinks, and between pipelines.
//!
//! Only what the file itself can tell; what needs the tables' columns is checked by `towpath check` and at the start.

use std::collections::{BTreeMap, BTreeSet};

use towpath_engine::deployer::TableFilter;

use super::pipeline::Pipeline;
use super::reader::Section;
use super::sink::Sink;

/// Checks within one pipeline.
pub(super) fn within_pipeline(section: &Section<'_>, captured: &TableFilter, sinks: &[Sink]) {
    for (at, sink) in sinks.iter().enumerate() {
        let name = &sink.config.name;
        if let Some(other) = sinks[..at].iter().find(|other| other.config.name == *name) {
            let message = format!("\"{name}\" is already the name of the sink at line {}", other.line);
            section.problem_at(sink.line, &format!("sink[{at}].name"), message);
        }
        for table in &sink.tables {
            let overlaps = |pattern: &String| overlap(pattern.as_bytes(), table.as_bytes());
            if captured.is_empty() || captured.patterns().iter().any(overlaps) {
                continue;
            }
            let message = format!("{table} is not captured: source.tables has {}", captured.patterns().join(", "));
            section.problem_at(sink.line, &format!("sink[{at}].table"), message);
        }
    }
}

/// Whether some name matches both patterns (`*` any text, `?` one character).
fn overlap(left: &[u8], right: &[u8]) -> bool {
    match (left.first(), right.first()) {
        (None, None) => true,
        (Some(b'*'), _) => overlap(&left[1..], right) || (!right.is_empty() && overlap(left, &right[1..])),
        (_, Some(b'*')) => overlap(right, left),
        (Some(a), Some(b)) => (a == b || *a == b'?' || *b == b'?') && overlap(&left[1..], &right[1..]),
        _ => false,
    }
}

/// Checks over all pipelines of the file.
pub(super) fn across_pipelines(root: &Section<'_>, pipelines: &[Pipeline]) {
    shared_indices(root, pipelines);
    shared_topics(root, pipelines);
}

/// Versions of two binlogs cannot be compared: several sources of one index need different ranks (protocol §1).
fn shared_indices(root: &Section<'_>, pipelines: &[Pipeline]) {
    let mut writers: BTreeMap<(&str, &str), Vec<(&Pipeline, &Sink)>> = BTreeMap::new();
    for pipeline in pipelines {
        for sink in &pipeline.sinks {
            for url in &sink.elasticsearch.urls {
                writers.entry((url, &sink.config.index)).or_default().push((pipeline, sink));
            }
        }
    }
    let mut told = BTreeSet::new();
    for ((_, index), writers) in writers {
        for (pipeline, sink) in &writers {
            let clashes = |(other, rival): &&(&Pipeline, &Sink)| {
                other.name != pipeline.name
                    && (!sink.ranked || ranks(sink).intersection(&ranks(rival)).next().is_some())
            };
            let Some((other, rival)) = writers.iter().find(clashes) else { continue };
            if !told.insert(sink.line) {
                continue;
            }
            let (other, line) = (&other.name, rival.line);
            let message = if sink.ranked {
                format!("is also a rank of the pipeline {other} at line {line}, which writes index {index} too")
            } else {
                format!(
                    "is needed: the pipeline {other} also writes index {index} (line {line}); \
                     give each source its place in the order in which rows move, hot 0, cold 1"
                )
            };
            let key = format!("pipeline.{}.sink \"{}\".rank", pipeline.name, sink.config.name);
            root.problem_at(sink.line, &key, message);
        }
    }
}

fn ranks(sink: &Sink) -> BTreeSet<u8> {
    sink.config.sources.iter().map(|source| source.rank).collect()
}

/// Two pipelines in one topic would fence each other and mix two orders.
fn shared_topics(root: &Section<'_>, pipelines: &[Pipeline]) {
    for (at, pipeline) in pipelines.iter().enumerate() {
        let topic = &pipeline.deployer.topic;
        let same = |other: &&Pipeline| other.deployer.topic == *topic && other.kafka.brokers == pipeline.kafka.brokers;
        if let Some(other) = pipelines[..at].iter().find(same) {
            let message = format!("{topic} is already the topic of the pipeline {}", other.name);
            root.problem_at(pipeline.line, &format!("pipeline.{}.kafka.topic", pipeline.name), message);
        }
        for sink in &pipeline.sinks {
            let letters = &sink.config.dead_letter;
            if pipelines.iter().any(|other| other.deployer.topic == *letters) {
                let message = format!("{letters} is a pipeline's topic: dead letters need their own");
                let key = format!("pipeline.{}.sink \"{}\".dead_letter", pipeline.name, sink.config.name);
                root.problem_at(sink.line, &key, message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn patterns_that_can_name_one_table_overlap() {
        let overlaps = |left: &str, right: &str| overlap(left.as_bytes(), right.as_bytes());
        assert!(overlaps("orders.*", "orders.order_main"));
        assert!(overlaps("o*.x", "*s.x"));
        assert!(overlaps("a.b?", "a.bc"));
        assert!(!overlaps("o*.x", "p*.x"));
        assert!(!overlaps("orders.a", "orders.b"));
    }
}
