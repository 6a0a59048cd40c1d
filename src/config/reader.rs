//! Reads a TOML document key by key and collects *every* problem, each with its line, instead of stopping at the first.
//!
//! A key that nobody asked for is unknown: [`Section::finish`] reports it with the nearest key that was asked for. Must
//! not know what any key means.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::text::{self, Secret, Text};

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The line in the file, from 1; 0 if it belongs to no line.
    pub line: usize,
    /// The key's full path (`pipeline.orders.source.url`); empty for the document.
    pub key: String,
    /// What is wrong and what to do, in one sentence.
    pub message: String,
}

/// Where strings come from beside the document itself: environment variables and files.
pub trait Surroundings {
    /// The value of an environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// The content of a file; the path is relative to the configuration's folder.
    fn file(&self, path: &Path) -> Result<String, String>;
}

/// What all sections of one document share.
pub struct Document<'a> {
    line_starts: Vec<usize>,
    surroundings: &'a dyn Surroundings,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Document<'a> {
    /// For a document of this text.
    pub fn new(text: &str, surroundings: &'a dyn Surroundings) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { line_starts, surroundings, problems: RefCell::new(Vec::new()) }
    }

    /// The line (from 1) of a byte offset.
    pub fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= offset)
    }

    /// Notes a problem.
    pub fn problem(&self, line: usize, key: impl Into<String>, message: impl Into<String>) {
        let problem = Problem { line, key: key.into(), message: message.into() };
        self.problems.borrow_mut().push(problem);
    }

    /// All problems found so far, by line.
    pub fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.line);
        problems
    }
}

/// One table of the document, with the keys that have been asked for.
pub struct Section<'d> {
    document: &'d Document<'d>,
    table: &'d DeTable<'d>,
    path: String,
    line: usize,
    known: RefCell<BTreeSet<&'static str>>,
}

type Value<'d> = &'d Spanned<DeValue<'d>>;

impl<'d> Section<'d> {
    /// The document's outermost table.
    pub fn root(document: &'d Document<'d>, table: &'d DeTable<'d>) -> Self {
        Self { document, table, path: String::new(), line: 1, known: RefCell::default() }
    }

    /// The full path of one of its keys.
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The line at which it starts.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The line of a key, or of the section if the key is absent.
    pub fn line_of(&self, key: &str) -> usize {
        self.table.get_key_value(key).map_or(self.line, |(name, _)| self.document.line(name.span().start))
    }

    /// Notes a problem with one of its keys.
    pub fn problem(&self, key: &str, message: impl Into<String>) {
        self.document.problem(self.line_of(key), self.path_of(key), message);
    }

    /// Whether the key is present. Makes it known.
    pub fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    /// Notes a problem with something below one of its keys, at a line of its own.
    pub fn problem_at(&self, line: usize, below: &str, message: impl Into<String>) {
        self.document.problem(line, self.path_of(below), message);
    }

    fn get(&self, key: &'static str) -> Option<Value<'d>> {
        self.known.borrow_mut().insert(key);
        self.table.get(key)
    }

    fn line_at(&self, span: Range<usize>) -> usize {
        self.document.line(span.start)
    }

    /// Notes that the key is needed, and why.
    pub fn missing(&self, key: &'static str, why: &str) {
        self.known.borrow_mut().insert(key);
        self.document.problem(self.line, self.path_of(key), format!("is missing: {why}"));
    }

    /// A string with its `${VARIABLE}`s filled in, or the content of `{ file = "path" }`.
    pub fn string(&self, key: &'static str) -> Option<Text> {
        let value = self.get(key)?;
        self.text(&self.path_of(key), value, text::verbatim)
    }

    /// Like [`Self::string`], for a URL: a variable's value in the part before `@` is taken literally, whatever
    /// characters the password has.
    pub fn url(&self, key: &'static str) -> Option<Text> {
        let value = self.get(key)?;
        self.text(&self.path_of(key), value, text::escape_in_user_info)
    }

    /// A string that is never shown.
    pub fn secret(&self, key: &'static str) -> Option<Secret> {
        self.string(key).map(|text| Secret::new(text.value))
    }

    /// One string or a list of strings; empty if the key is absent.
    pub fn strings(&self, key: &'static str) -> Vec<Text> {
        self.list(key, text::verbatim)
    }

    /// One URL or a list of URLs; empty if the key is absent.
    pub fn urls(&self, key: &'static str) -> Vec<Text> {
        self.list(key, text::escape_in_user_info)
    }

    fn list(&self, key: &'static str, fill: text::Fill) -> Vec<Text> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let path = self.path_of(key);
        match value.get_ref() {
            DeValue::Array(items) if items.is_empty() => {
                self.problem(key, "is an empty list: give at least one string");
                Vec::new()
            }
            DeValue::Array(items) => items.iter().filter_map(|item| self.text(&path, item, fill)).collect(),
            _ => self.text(&path, value, fill).into_iter().collect(),
        }
    }

    fn text(&self, path: &str, value: Value<'d>, fill: text::Fill) -> Option<Text> {
        let line = self.line_at(value.span());
        let outcome = match value.get_ref() {
            DeValue::String(raw) => fill(raw, &|name| self.document.surroundings.variable(name)),
            DeValue::Table(table) => self.content_of(path, table),
            other => Err(format!("must be a string, not {}", kind(other))),
        };
        match outcome {
            Ok(value) => Some(Text { value, line, path: path.to_owned() }),
            Err(message) => {
                self.document.problem(line, path, message);
                None
            }
        }
    }

    fn content_of(&self, path: &str, table: &'d DeTable<'d>) -> Result<String, String> {
        match (table.len(), table.get("file").map(|value| value.get_ref())) {
            (1, Some(DeValue::String(file))) => {
                let content = self.document.surroundings.file(Path::new(file.as_ref()));
                let content = content.map_err(|why| format!("the file {file} cannot be read: {why}"))?;
                Ok(content.trim_end_matches(['\r', '\n']).to_owned())
            }
            _ => Err(format!("must be a string or {{ file = \"path\" }} ({path} holds another table)")),
        }
    }

    /// An integer within the range, or the default.
    pub fn integer(&self, key: &'static str, range: RangeInclusive<u64>, default: u64) -> u64 {
        self.optional_integer(key, range).unwrap_or(default)
    }

    /// An integer within the range, if the key is present.
    pub fn optional_integer(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.get(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(digits) => u64::from_str_radix(digits.as_str(), digits.radix()).ok(),
            _ => None,
        };
        if number.is_some_and(|number| range.contains(&number)) {
            return number;
        }
        self.problem(key, format!("must be an integer from {} to {}", range.start(), range.end()));
        None
    }

    /// A truth value, or the default.
    pub fn boolean(&self, key: &'static str, default: bool) -> bool {
        match self.get(key).map(|value| value.get_ref()) {
            None => default,
            Some(DeValue::Boolean(value)) => *value,
            Some(other) => {
                self.problem(key, format!("must be true or false, not {}", kind(other)));
                default
            }
        }
    }

    /// A duration such as `"500ms"`, `"30s"`, `"5m"`, `"1h"`, `"7d"` within the range, or the default.
    pub fn duration(&self, key: &'static str, range: RangeInclusive<Duration>, default: Duration) -> Duration {
        let Some(found) = self.string(key) else { return default };
        match text::duration(&found.value) {
            Some(value) if range.contains(&value) => value,
            Some(_) => {
                self.problem(key, format!("must be from {:?} to {:?}", range.start(), range.end()));
                default
            }
            None => {
                self.problem(key, "must be a duration such as \"500ms\", \"30s\", \"5m\" or \"1h\"");
                default
            }
        }
    }

    /// A size such as `"64KB"`, `"256MB"`, `"1GB"` (powers of 1024) within the range in bytes, or the default.
    pub fn size(&self, key: &'static str, range: RangeInclusive<u64>, default: u64) -> u64 {
        let Some(found) = self.string(key) else { return default };
        match text::size(&found.value) {
            Some(value) if range.contains(&value) => value,
            Some(_) => {
                self.problem(key, format!("must be from {} to {} bytes", range.start(), range.end()));
                default
            }
            None => {
                self.problem(key, "must be a size such as \"64KB\", \"256MB\" or \"1GB\"");
                default
            }
        }
    }

    /// One of the named choices, or the default.
    pub fn choice<T: Copy>(&self, key: &'static str, choices: &[(&'static str, T)], default: T) -> T {
        let Some(found) = self.string(key) else { return default };
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == found.value) {
            return *value;
        }
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let hint = text::nearest(&found.value, choices.iter().map(|(name, _)| *name))
            .map(|name| format!("; did you mean \"{name}\"?"))
            .unwrap_or_default();
        self.problem(key, format!("\"{}\" is not one of {}{hint}", found.value, names.join(", ")));
        default
    }

    /// The table under a key, `None` if the key is absent (or, reported, no table).
    pub fn section(&self, key: &'static str) -> Option<Section<'d>> {
        let value = self.get(key)?;
        self.as_section(self.path_of(key), value)
    }

    /// The tables of an array of tables (`[[…]]`), or the one table.
    pub fn sections(&self, key: &'static str) -> Vec<Section<'d>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let path = self.path_of(key);
        match value.get_ref() {
            DeValue::Array(items) => {
                let numbered = items.iter().enumerate();
                numbered.filter_map(|(at, item)| self.as_section(format!("{path}[{at}]"), item)).collect()
            }
            _ => self.as_section(path, value).into_iter().collect(),
        }
    }

    /// All tables of this section by their free names (`[pipeline.NAME]`). Nothing else may be in it.
    pub fn named_sections(&self) -> Vec<(String, Section<'d>)> {
        let mut found = Vec::new();
        for (name, value) in self.table {
            if let Some(section) = self.as_section(self.path_of(name.get_ref()), value) {
                found.push((name.get_ref().to_string(), section));
            }
        }
        found
    }

    /// All entries of this section as strings by their free names (`properties`). Numbers and truth values become text.
    pub fn named_strings(&self) -> Vec<(String, Text)> {
        let mut found = Vec::new();
        for (name, value) in self.table {
            let path = self.path_of(name.get_ref());
            let line = self.line_at(value.span());
            let plain = match value.get_ref() {
                DeValue::Integer(number) => Some(number.as_str().to_owned()),
                DeValue::Float(number) => Some(number.as_str().to_owned()),
                DeValue::Boolean(value) => Some(value.to_string()),
                _ => None,
            };
            let text = match plain {
                Some(value) => Some(Text { value, line, path }),
                None => self.text(&path, value, text::verbatim),
            };
            found.extend(text.map(|text| (name.get_ref().to_string(), text)));
        }
        found
    }

    /// Whether the key holds a table (and not a string or a list).
    pub fn is_table(&self, key: &'static str) -> bool {
        self.get(key).is_some_and(|value| matches!(value.get_ref(), DeValue::Table(_)))
    }

    /// A free table as JSON (an index' settings or mappings).
    pub fn json(&self, key: &'static str) -> Option<serde_json::Value> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Table(_) => Some(to_json(value.get_ref())),
            other => {
                self.problem(key, format!("must be a table, not {}", kind(other)));
                None
            }
        }
    }

    fn as_section(&self, path: String, value: Value<'d>) -> Option<Section<'d>> {
        let line = self.line_at(value.span());
        match value.get_ref() {
            DeValue::Table(table) => {
                Some(Section { document: self.document, table, path, line, known: RefCell::default() })
            }
            other => {
                self.document.problem(line, path, format!("must be a table, not {}", kind(other)));
                None
            }
        }
    }

    /// Reports every key that nobody asked for; ends the section, so that none is asked for later.
    pub fn finish(self) {
        self.report_unknown();
    }

    /// [`Self::finish`] for a section that others still look at.
    pub fn report_unknown(&self) {
        let known = self.known.borrow();
        for (name, _) in self.table {
            let key = name.get_ref().as_ref();
            if known.contains(key) {
                continue;
            }
            let hint = match text::nearest(key, known.iter().copied()) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("known here: {}", known.iter().copied().collect::<Vec<_>>().join(", ")),
            };
            let line = self.line_at(name.span());
            self.document.problem(line, self.path_of(key), format!("is not a known key; {hint}"));
        }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn to_json(value: &DeValue<'_>) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        DeValue::String(text) => Json::String(text.to_string()),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .map_or(Json::Null, |number| Json::Number(number.into())),
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Json::Null, Json::from),
        DeValue::Boolean(value) => Json::Bool(*value),
        DeValue::Datetime(date) => Json::String(date.to_string()),
        DeValue::Array(items) => Json::Array(items.iter().map(|item| to_json(item.get_ref())).collect()),
        DeValue::Table(table) => {
            Json::Object(table.iter().map(|(key, item)| (key.get_ref().to_string(), to_json(item.get_ref()))).collect())
        }
    }
}
