//! Changes within a JSON document (`binlog_row_value_options=PARTIAL_JSON`), applied to the document before them.
//!
//! Only what lies along the changed paths becomes a tree; all else stays bytes until it is written. Must not guess: a
//! change that the document cannot take exactly is refused, as the server does. Layout: MySQL's `json_diff.h`.

use std::borrow::Cow;

use super::container::{Container, Value, bad};
use super::{MAX_DEPTH, Walk};
use crate::binlog::read::Reader;
use crate::binlog::text::BadValue;

const REPLACE: u8 = 0;
const INSERT: u8 = 1;
const REMOVE: u8 = 2;

/// A document of JSON `null`: type and literal.
const NULL_LITERAL: &[u8] = &[super::kind::LITERAL, 0];

/// Writes the document that `diffs` make of `base`, as [`super::write`] does.
pub(crate) fn write_patched(base: &[u8], diffs: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    // As for a document alone: honest bytes are looked at once when opened, and written once.
    let budget = base.len() + diffs.len();
    let mut document = Document { root: Node::Bytes(split(base)?), budget };
    let mut reader = Reader::new(diffs);
    while !reader.is_empty() {
        document.apply(&mut reader)?;
    }
    let mut walk = Walk { out, budget: budget + 1 };
    walk.node(&document.root, 0)
}

const REFUSED: BadValue = BadValue::Expected("a change that its JSON document can take");

/// A part of the document.
enum Node<'a> {
    /// As it was written.
    Bytes(Value<'a>),
    Array(Vec<Node<'a>>),
    /// In the server's order: shorter keys first, then by their bytes.
    Object(Vec<(Cow<'a, [u8]>, Node<'a>)>),
}

/// One step of a path.
enum Leg<'a> {
    Member(Cow<'a, [u8]>),
    Cell(usize),
    /// So many before the last.
    FromLast(usize),
}

struct Document<'a> {
    root: Node<'a>,
    /// Members that may still be looked at, so that bytes that overlap cannot multiply.
    budget: usize,
}

impl<'a> Document<'a> {
    /// Reads one change and makes it.
    fn apply(&mut self, reader: &mut Reader<'a>) -> Result<(), BadValue> {
        let operation = bad(reader.u8("a JSON change's operation"))?;
        let length = bad(reader.packed_len("a JSON path's length"))?;
        let path = legs(bad(reader.str(length, "a JSON path"))?)?;
        let value = if operation == REMOVE {
            None
        } else {
            let length = bad(reader.packed_len("a JSON value's length"))?;
            Some(Node::Bytes(split(bad(reader.take(length, "a JSON value"))?)?))
        };
        let (last, parents) = path.split_last().ok_or(REFUSED)?;
        let parent = parents.iter().try_fold(&mut self.root, |node, leg| {
            open(node, &mut self.budget)?;
            child(node, leg).ok_or(REFUSED)
        })?;
        open(parent, &mut self.budget)?;
        match (operation, value) {
            (REPLACE, Some(value)) => *child(parent, last).ok_or(REFUSED)? = value,
            (INSERT, Some(value)) => insert(parent, last, value)?,
            (REMOVE, None) => remove(parent, last)?,
            _ => return Err(BadValue::Expected("a JSON change that replaces, inserts or removes")),
        }
        Ok(())
    }
}

/// Turns the bytes of a container into a list of its members.
fn open(node: &mut Node<'_>, budget: &mut usize) -> Result<(), BadValue> {
    let Node::Bytes(value) = node else { return Ok(()) };
    let Some(mut container) = Container::open(*value)? else { return Ok(()) };
    *budget = budget.checked_sub(container.count).ok_or(BadValue::Expected("JSON whose values do not overlap"))?;
    let count = container.count;
    *node = if container.object {
        let mut members = Vec::with_capacity(count);
        for _ in 0..count {
            let (key, value) = container.next()?;
            members.push((Cow::Borrowed(key), Node::Bytes(value)));
        }
        Node::Object(members)
    } else {
        let mut cells = Vec::with_capacity(count);
        for _ in 0..count {
            cells.push(Node::Bytes(container.next()?.1));
        }
        Node::Array(cells)
    };
    Ok(())
}

/// The member or cell that is there; scalars are not wrapped.
fn child<'n, 'a>(node: &'n mut Node<'a>, leg: &Leg<'_>) -> Option<&'n mut Node<'a>> {
    match (node, leg) {
        (Node::Object(members), Leg::Member(name)) => {
            members.iter_mut().find(|(key, _)| key == name).map(|(_, value)| value)
        }
        (Node::Array(cells), Leg::Cell(index)) => cells.get_mut(*index),
        (Node::Array(cells), Leg::FromLast(back)) => {
            let index = cells.len().checked_sub(back.checked_add(1)?)?;
            cells.get_mut(index)
        }
        _ => None,
    }
}

/// Inserts a member that is not there yet, or a cell before the one that is (behind the last if there is none).
fn insert<'a>(parent: &mut Node<'a>, leg: &Leg<'a>, value: Node<'a>) -> Result<(), BadValue> {
    match (parent, leg) {
        (Node::Object(members), Leg::Member(name)) => {
            let order = |(key, _): &(Cow<'_, [u8]>, Node<'_>)| (key.len(), &key[..]).cmp(&(name.len(), &name[..]));
            let place = members.binary_search_by(order).err().ok_or(REFUSED)?;
            members.insert(place, (name.clone(), value));
        }
        (Node::Array(cells), Leg::Cell(index)) => cells.insert((*index).min(cells.len()), value),
        (Node::Array(cells), Leg::FromLast(back)) => {
            let place = cells.len().saturating_sub(back.saturating_add(1));
            cells.insert(place, value);
        }
        _ => return Err(REFUSED),
    }
    Ok(())
}

fn remove(parent: &mut Node<'_>, leg: &Leg<'_>) -> Result<(), BadValue> {
    match (parent, leg) {
        (Node::Object(members), Leg::Member(name)) => {
            let place = members.iter().position(|(key, _)| key == name).ok_or(REFUSED)?;
            members.remove(place);
        }
        (Node::Array(cells), Leg::Cell(index)) if *index < cells.len() => drop(cells.remove(*index)),
        (Node::Array(cells), Leg::FromLast(back)) if *back < cells.len() => {
            cells.remove(cells.len() - 1 - back);
        }
        _ => return Err(REFUSED),
    }
    Ok(())
}

/// A document's type and bytes; none at all are `null`.
fn split(raw: &[u8]) -> Result<Value<'_>, BadValue> {
    let raw = if raw.is_empty() { NULL_LITERAL } else { raw };
    raw.split_first().map(|(&kind, rest)| (kind, rest)).ok_or(REFUSED)
}

const PATH: BadValue = BadValue::Expected("a JSON path without wildcards");

/// The steps of a path as the server writes it: `$.name."quoted name"[3][last-1]`.
fn legs(path: &str) -> Result<Vec<Leg<'_>>, BadValue> {
    let mut rest = path.trim_ascii().strip_prefix('$').ok_or(PATH)?.trim_ascii_start();
    let mut legs = Vec::new();
    while !rest.is_empty() {
        if legs.len() >= MAX_DEPTH as usize {
            return Err(BadValue::Expected("a JSON path of at most 100 legs"));
        }
        let leg;
        (leg, rest) = if let Some(cell) = rest.strip_prefix('[') {
            let (cell, rest) = cell.split_once(']').ok_or(PATH)?;
            (cell_leg(cell.trim_ascii())?, rest)
        } else {
            let name = rest.strip_prefix('.').ok_or(PATH)?.trim_ascii_start();
            if name.starts_with('"') { quoted(name)? } else { plain(name)? }
        };
        legs.push(leg);
        rest = rest.trim_ascii_start();
    }
    Ok(legs)
}

fn cell_leg<'a>(text: &str) -> Result<Leg<'a>, BadValue> {
    let number = |text: &str| text.parse::<usize>().map_err(|_| PATH);
    let Some(back) = text.strip_prefix("last") else { return Ok(Leg::Cell(number(text)?)) };
    match back.trim_ascii_start().strip_prefix('-') {
        Some(back) => Ok(Leg::FromLast(number(back.trim_ascii())?)),
        None if back.trim_ascii().is_empty() => Ok(Leg::FromLast(0)),
        None => Err(PATH),
    }
}

/// A name of letters, digits, `_` and `$`: to the next leg.
fn plain(text: &str) -> Result<(Leg<'_>, &str), BadValue> {
    let end = text.find(|c: char| c == '.' || c == '[' || c.is_ascii_whitespace()).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name.contains('*') {
        return Err(PATH);
    }
    Ok((Leg::Member(Cow::Borrowed(name.as_bytes())), rest))
}

/// A name as a JSON string.
fn quoted(text: &str) -> Result<(Leg<'_>, &str), BadValue> {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    let (name, rest) = text.split_at(end.ok_or(PATH)? + 2);
    let name: Cow<'_, str> = if name.contains('\\') {
        Cow::Owned(serde_json::from_str(name).map_err(|_| PATH)?)
    } else {
        Cow::Borrowed(&name[1..name.len() - 1])
    };
    let name = match name {
        Cow::Borrowed(name) => Cow::Borrowed(name.as_bytes()),
        Cow::Owned(name) => Cow::Owned(name.into_bytes()),
    };
    Ok((Leg::Member(name), rest))
}

impl Walk<'_> {
    fn node(&mut self, node: &Node<'_>, depth: u32) -> Result<(), BadValue> {
        let (open, close) = match node {
            Node::Bytes(value) => return self.value(*value, depth),
            Node::Array(_) => (b'[', b']'),
            Node::Object(_) => (b'{', b'}'),
        };
        self.spend(1)?;
        if depth >= MAX_DEPTH {
            return Err(BadValue::Expected("JSON of at most 100 levels"));
        }
        self.out.push(open);
        match node {
            Node::Bytes(_) => {}
            Node::Array(cells) => {
                for (index, cell) in cells.iter().enumerate() {
                    self.separate(index);
                    self.node(cell, depth + 1)?;
                }
            }
            Node::Object(members) => {
                for (index, (key, value)) in members.iter().enumerate() {
                    self.separate(index);
                    self.key(key)?;
                    self.node(value, depth + 1)?;
                }
            }
        }
        self.out.push(close);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"a": 1, "bc": [true, "x"]}` in binary.
    const DOCUMENT: &[u8] = &[
        0, 2, 0, 33, 0, 18, 0, 1, 0, 19, 0, 2, 0, 5, 1, 0, 2, 21, 0, b'a', b'b', b'c', 2, 0, 12, 0, 4, 1, 0, 12, 10, 0,
        1, b'x',
    ];

    fn diff(operation: u8, path: &str, value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![operation, path.len() as u8];
        bytes.extend(path.as_bytes());
        if operation != REMOVE {
            bytes.push(value.len() as u8);
            bytes.extend(value);
        }
        bytes
    }

    fn patched(diffs: &[Vec<u8>]) -> Result<String, BadValue> {
        let mut out = Vec::new();
        write_patched(DOCUMENT, &diffs.concat(), &mut out)?;
        Ok(serde_json::from_str(&format!("\"{}\"", String::from_utf8(out).unwrap())).unwrap())
    }

    const SEVEN: &[u8] = &[5, 7, 0];

    #[test]
    fn changes_are_made_in_order() {
        for (diffs, expected) in [
            (vec![], r#"{"a": 1, "bc": [true, "x"]}"#),
            (vec![diff(REPLACE, "$.a", SEVEN)], r#"{"a": 7, "bc": [true, "x"]}"#),
            (vec![diff(REPLACE, "$.bc[1]", SEVEN)], r#"{"a": 1, "bc": [true, 7]}"#),
            (vec![diff(REPLACE, "$.bc[last-1]", SEVEN)], r#"{"a": 1, "bc": [7, "x"]}"#),
            (vec![diff(REPLACE, "$.bc[ last ]", SEVEN)], r#"{"a": 1, "bc": [true, 7]}"#),
            (vec![diff(REMOVE, "$.a", b"")], r#"{"bc": [true, "x"]}"#),
            (vec![diff(REMOVE, "$.bc[0]", b"")], r#"{"a": 1, "bc": ["x"]}"#),
            (vec![diff(INSERT, "$.bc[1]", SEVEN)], r#"{"a": 1, "bc": [true, 7, "x"]}"#),
            (vec![diff(INSERT, "$.bc[99]", SEVEN)], r#"{"a": 1, "bc": [true, "x", 7]}"#),
            // Shorter keys come first, whatever their letters.
            (vec![diff(INSERT, "$.z", SEVEN)], r#"{"a": 1, "z": 7, "bc": [true, "x"]}"#),
            (vec![diff(INSERT, r#"$."b \"c""#, SEVEN)], r#"{"a": 1, "bc": [true, "x"], "b \"c": 7}"#),
            (
                vec![diff(REPLACE, "$.a", DOCUMENT), diff(REMOVE, "$.a.bc", b""), diff(REPLACE, "$.a.a", SEVEN)],
                r#"{"a": {"a": 7}, "bc": [true, "x"]}"#,
            ),
        ] {
            assert_eq!(patched(&diffs).as_deref(), Ok(expected), "{diffs:?}");
        }
    }

    #[test]
    fn what_the_document_cannot_take_is_refused() {
        for (operation, path) in [
            (REPLACE, "$.x"),
            (REPLACE, "$.bc[2]"),
            (REPLACE, "$.bc.a"),
            (REPLACE, "$.a[0]"),
            (REPLACE, "$.a.x"),
            (REPLACE, "$"),
            (REPLACE, "$.*"),
            (REPLACE, "$[*]"),
            (REPLACE, "$**.a"),
            (REPLACE, "a"),
            (REPLACE, "$."),
            (REPLACE, "$.\"a"),
            (REPLACE, "$.bc[x]"),
            (REPLACE, "$.bc[0"),
            (INSERT, "$.a"),
            (INSERT, "$.bc.x"),
            (INSERT, "$[0]"),
            (REMOVE, "$.x"),
            (REMOVE, "$.bc[2]"),
            (REMOVE, "$.bc[last-2]"),
            (9, "$.a"),
        ] {
            assert!(patched(&[diff(operation, path, SEVEN)]).is_err(), "{operation} {path}");
        }
        let cut = diff(REPLACE, "$.a", SEVEN);
        for length in 1..cut.len() {
            assert!(patched(&[cut[..length].to_vec()]).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn bytes_that_overlap_cannot_multiply() {
        // An array of 30 cells that all are the array itself.
        let mut raw = vec![2];
        raw.extend([30u16, 94].map(u16::to_le_bytes).concat());
        raw.extend([2, 0, 0].repeat(30));
        let diffs: Vec<u8> = (0..30).flat_map(|cell| diff(REPLACE, &format!("$[{cell}][0]"), SEVEN)).collect();
        let mut out = Vec::new();
        assert!(write_patched(&raw, &diffs, &mut out).is_err());
        assert!(out.len() < 4 * (raw.len() + diffs.len()));
    }
}
