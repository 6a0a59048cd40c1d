//! Mappings: which values a field takes, and what dynamic mapping makes of new fields.
//!
//! The types that documents of row changes need. A value of the wrong kind is refused with the server's error type.

use serde_json::Value;
use std::collections::BTreeMap;

/// Why a document is refused: `error.type` and `error.reason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub kind: &'static str,
    pub reason: String,
}

/// What is done with fields that the mapping does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dynamic {
    Add,
    Ignore,
    Refuse,
}

/// An index's mapping: field types by dotted path.
#[derive(Debug, Clone)]
pub(crate) struct Mapping {
    dynamic: Dynamic,
    fields: BTreeMap<String, Field>,
    /// `_meta`.
    pub meta: Value,
}

#[derive(Debug, Clone)]
struct Field {
    kind: String,
    /// A date's own formats: such texts are not looked into.
    own_format: bool,
}

impl Mapping {
    /// From the `mappings` object of a creation; `Err` names what is not understood.
    pub fn parse(mappings: &Value) -> Result<Self, Refused> {
        let dynamic = match mappings.get("dynamic") {
            Some(Value::String(text)) if text == "strict" => Dynamic::Refuse,
            Some(Value::String(text)) if text == "false" => Dynamic::Ignore,
            Some(Value::Bool(false)) => Dynamic::Ignore,
            _ => Dynamic::Add,
        };
        let meta = mappings.get("_meta").cloned().unwrap_or(Value::Null);
        let mut mapping = Self { dynamic, fields: BTreeMap::new(), meta };
        if let Some(properties) = mappings.get("properties") {
            mapping.add("", properties)?;
        }
        Ok(mapping)
    }

    fn add(&mut self, prefix: &str, properties: &Value) -> Result<(), Refused> {
        const KNOWN: [&str; 21] = [
            "keyword",
            "text",
            "long",
            "integer",
            "short",
            "byte",
            "unsigned_long",
            "double",
            "float",
            "half_float",
            "scaled_float",
            "boolean",
            "date",
            "date_nanos",
            "binary",
            "object",
            "nested",
            "flattened",
            "ip",
            "wildcard",
            "geo_point",
        ];
        for (name, definition) in properties.as_object().into_iter().flatten() {
            let path = format!("{prefix}{name}");
            let inner = definition.get("properties");
            let kind = definition.get("type").and_then(Value::as_str).unwrap_or("object");
            if !KNOWN.contains(&kind) {
                return Err(Refused {
                    kind: "mapper_parsing_exception",
                    reason: format!("no handler for type [{kind}] declared on field [{path}]"),
                });
            }
            let own_format = definition.get("format").is_some();
            self.fields.insert(path.clone(), Field { kind: kind.to_string(), own_format });
            if let Some(inner) = inner {
                self.add(&format!("{path}."), inner)?;
            }
        }
        Ok(())
    }

    /// Takes a document: checks every value, adds new fields where the mapping is dynamic. Nothing changes on refusal.
    pub fn accept(&mut self, source: &[u8]) -> Result<Value, Refused> {
        let document: Value =
            serde_json::from_slice(source).map_err(|error| parsing(format!("failed to parse: {error}")))?;
        if !document.is_object() {
            return Err(parsing("failed to parse: a document must be an object".into()));
        }
        let mut added = BTreeMap::new();
        self.walk("", &document, &mut added)?;
        self.fields.extend(added);
        Ok(document)
    }

    fn walk(&self, prefix: &str, object: &Value, added: &mut BTreeMap<String, Field>) -> Result<(), Refused> {
        for (name, value) in object.as_object().into_iter().flatten() {
            let path = format!("{prefix}{name}");
            match self.fields.get(&path).or_else(|| added.get(&path)).cloned() {
                Some(field) => self.check(&path, &field, value, added)?,
                None => self.discover(&path, value, added)?,
            }
        }
        Ok(())
    }

    /// A field that is mapped.
    fn check(
        &self,
        path: &str,
        field: &Field,
        value: &Value,
        added: &mut BTreeMap<String, Field>,
    ) -> Result<(), Refused> {
        if field.kind == "flattened" {
            return Ok(());
        }
        match value {
            Value::Null => Ok(()),
            Value::Array(items) => items.iter().try_for_each(|item| self.check(path, field, item, added)),
            Value::Object(_) if matches!(field.kind.as_str(), "object" | "nested") => {
                self.walk(&format!("{path}."), value, added)
            }
            Value::Object(_) if field.kind == "geo_point" => Ok(()),
            _ if matches!(field.kind.as_str(), "object" | "nested") => Err(parsing(format!(
                "object mapping for [{path}] tried to parse field [{path}] as object, but found a concrete value"
            ))),
            _ if fits(field, value) => Ok(()),
            _ => Err(parsing(format!("failed to parse field [{path}] of type [{}]", field.kind))),
        }
    }

    /// A field that is not mapped yet.
    fn discover(&self, path: &str, value: &Value, added: &mut BTreeMap<String, Field>) -> Result<(), Refused> {
        match self.dynamic {
            Dynamic::Ignore => return Ok(()),
            Dynamic::Refuse => {
                let (parent, name) = path.rsplit_once('.').unwrap_or(("_doc", path));
                return Err(Refused {
                    kind: "strict_dynamic_mapping_exception",
                    reason: format!(
                        "mapping set to strict, dynamic introduction of [{name}] within [{parent}] is not allowed"
                    ),
                });
            }
            Dynamic::Add => {}
        }
        let first = match value {
            Value::Array(items) => items.iter().find(|item| !item.is_null()),
            other => Some(other),
        };
        let kind = match first {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Bool(_)) => "boolean",
            Some(Value::Number(number)) if number.is_f64() => "float",
            Some(Value::Number(_)) => "long",
            Some(Value::String(text)) if is_date(text) => "date",
            Some(Value::String(_)) => "text",
            Some(Value::Object(_) | Value::Array(_)) => "object",
        };
        let field = Field { kind: kind.into(), own_format: false };
        added.insert(path.to_string(), field.clone());
        self.check(path, &field, value, added)
    }
}

fn parsing(reason: String) -> Refused {
    Refused { kind: "document_parsing_exception", reason }
}

/// Whether a scalar fits a type (`coerce` is on, as by default: numbers in texts, fractions cut from whole numbers).
fn fits(field: &Field, value: &Value) -> bool {
    let number = || match value {
        Value::Number(n) => n.as_f64(),
        Value::String(text) => text.trim().parse::<f64>().ok().filter(|n| n.is_finite()),
        _ => None,
    };
    let whole = |low: f64, high: f64| number().is_some_and(|n| (low..=high).contains(&n.trunc()));
    match field.kind.as_str() {
        "long" => whole(i64::MIN as f64, i64::MAX as f64) && !beyond_i64(value),
        "integer" => whole(f64::from(i32::MIN), f64::from(i32::MAX)),
        "short" => whole(f64::from(i16::MIN), f64::from(i16::MAX)),
        "byte" => whole(f64::from(i8::MIN), f64::from(i8::MAX)),
        "unsigned_long" => whole(0.0, u64::MAX as f64),
        "double" | "scaled_float" => number().is_some(),
        "float" => number().is_some_and(|n| (n as f32).is_finite()),
        "half_float" => number().is_some_and(|n| n.abs() < 65520.0),
        "boolean" => match value {
            Value::Bool(_) => true,
            Value::String(text) => matches!(text.as_str(), "true" | "false" | ""),
            _ => false,
        },
        "date" | "date_nanos" => match value {
            Value::String(text) => field.own_format || is_date(text) || text.parse::<i64>().is_ok(),
            Value::Number(n) => n.is_i64() || n.is_u64(),
            _ => false,
        },
        "binary" => value.is_string(),
        "ip" => value.as_str().is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok()),
        _ => true,
    }
}

/// 2^63 as `f64` equals `i64::MAX as f64`: whole numbers above need the exact look.
fn beyond_i64(value: &Value) -> bool {
    match value {
        Value::Number(n) => n.as_i64().is_none() && n.is_u64(),
        Value::String(text) => text.trim().parse::<i128>().is_ok_and(|n| i64::try_from(n).is_err()),
        _ => false,
    }
}

/// `strict_date_optional_time`: a date, perhaps a `T` and a time, perhaps a zone.
fn is_date(text: &str) -> bool {
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    let mut parts = date.split('-');
    let digits = |part: Option<&str>, length: usize, high: u32| {
        part.is_some_and(|p| p.len() == length && p.parse::<u32>().is_ok_and(|n| n <= high && (length == 4 || n > 0)))
    };
    let dashes = date.matches('-').count();
    let date_fits = digits(parts.next(), 4, 9999)
        && (dashes < 1 || digits(parts.next(), 2, 12))
        && (dashes < 2 || digits(parts.next(), 2, 31))
        && dashes <= 2;
    let time_fits = |time: &str| {
        let clock = time.trim_end_matches('Z');
        let clock = clock.rfind(['+', '-']).map_or(clock, |at| &clock[..at]);
        clock.len() >= 2 && clock.chars().all(|c| c.is_ascii_digit() || matches!(c, ':' | '.' | ','))
    };
    date_fits && time.is_none_or(time_fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn wrong_values_are_refused_with_the_server_s_type() {
        let mut mapping = Mapping::parse(&json!({"properties": {"n": {"type": "integer"}, "d": {"type": "date"},
            "o": {"properties": {"x": {"type": "boolean"}}}}}))
        .unwrap();
        let kind = |mapping: &mut Mapping, text: &str| mapping.accept(text.as_bytes()).err().map(|e| e.kind);
        for good in [r#"{"n":1,"d":"2026-11-23T01:02:03.5Z"}"#, r#"{"n":"7","o":{"x":true}}"#, r#"{"n":null,"new":1}"#]
        {
            assert_eq!(kind(&mut mapping, good), None, "{good}");
        }
        for bad in [
            r#"{"n":"x"}"#,
            r#"{"n":3000000000}"#,
            r#"{"d":"2026-11-23 01:02"}"#,
            r#"{"o":1}"#,
            r#"{"o":{"x":2}}"#,
            r#"{"new":"text"}"#,
            r#"[1]"#,
            r#"{"#,
        ] {
            assert_eq!(kind(&mut mapping, bad), Some("document_parsing_exception"), "{bad}");
        }
        let mut strict = Mapping::parse(&json!({"dynamic": "strict", "properties": {}})).unwrap();
        assert_eq!(kind(&mut strict, r#"{"a":1}"#), Some("strict_dynamic_mapping_exception"));
    }
}
