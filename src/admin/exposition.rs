//! The Prometheus text format, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use towpath_engine::metrics::{Family, Kind};

/// The content type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All families in the order of their names.
pub fn text(families: &BTreeMap<&'static str, Family>) -> String {
    let mut out = String::new();
    for (name, family) in families {
        head(&mut out, name, family.kind, family.help);
        for (labels, metric) in &family.series {
            series(&mut out, name, labels, metric.get());
        }
    }
    out
}

/// The two lines before a family's series.
pub fn head(out: &mut String, name: &str, kind: Kind, help: &str) {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    };
    let help = help.replace('\\', "\\\\").replace('\n', "\\n");
    // A `String` takes every write.
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

/// One series. `labels` are rendered already (`pipeline="orders"`), or empty.
pub fn series(out: &mut String, name: &str, labels: &str, value: impl Display) {
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        labels => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

/// Renders label pairs, values escaped.
pub fn labels(pairs: &[(&str, &str)]) -> String {
    let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let rendered: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
    rendered.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_engine::metrics::Registry;

    #[test]
    fn families_have_help_type_and_escaped_labels() {
        let registry = Registry::default();
        registry.counter("towpath_rows_total", "Rows\nread \\ written", &[("pipeline", "a\"b\\c\nd")]).add(7);
        registry.gauge("towpath_lag_ms", "Lag", &[]).set(-1);
        let expected = "# HELP towpath_lag_ms Lag\n# TYPE towpath_lag_ms gauge\ntowpath_lag_ms -1\n\
                        # HELP towpath_rows_total Rows\\nread \\\\ written\n# TYPE towpath_rows_total counter\n\
                        towpath_rows_total{pipeline=\"a\\\"b\\\\c\\nd\"} 7\n";
        assert_eq!(text(&registry.snapshot()), expected);
        assert_eq!(labels(&[("a", "x\"y"), ("b", "z")]), "a=\"x\\\"y\",b=\"z\"");
    }
}
