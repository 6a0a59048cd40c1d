//! The history of each document (protocol §9, oracle 4; guards Rule 2).
//!
//! Accepted writes and deletes, kept here although the index forgets deletes, never go back in version; equal versions
//! have equal content, but for the time in a tombstone. A row that was read instead of streamed may be read twice at
//! one boundary and have changed in between: then the event of that change lies above, and must be accepted too. Not
//! judged with hard deletes: there an index that forgot a delete accepts an older write, which is the weaker promise
//! that goes with them.

use std::collections::BTreeMap;

use super::Violation;

const NAME: &str = "history";

/// An accepted operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The concrete index.
    pub index: String,
    /// The document.
    pub id: String,
    /// Its version.
    pub version: u64,
    /// The source as text; `None` for a delete, and for a tombstone whose time may differ.
    pub source: Option<String>,
}

/// The oracle's memory.
#[derive(Debug, Default)]
pub struct History {
    last: BTreeMap<(String, String), (u64, Option<String>)>,
    /// Versions at which a document had two contents, where the log had no streamed row of that version yet.
    unlike: BTreeMap<(String, String), u64>,
}

impl History {
    /// The next accepted operation. `is_streamed`: whether the log has a streamed row of this version.
    ///
    /// # Errors
    /// It breaks the rule.
    pub fn accepted(&mut self, operation: Accepted, is_streamed: impl Fn(u64) -> bool) -> Result<(), Violation> {
        let key = (operation.index, operation.id);
        let now = (operation.version, operation.source);
        if let Some(last) = self.last.get(&key) {
            if now.0 < last.0 {
                let text = format!("document {} of {} went from version {} back to {}", key.1, key.0, last.0, now.0);
                return Err(Violation::new(NAME, text));
            }
            if now.0 == last.0 && now.1 != last.1 {
                if is_streamed(now.0) {
                    return Err(two_contents(&key, now.0));
                }
                self.unlike.insert(key.clone(), now.0);
            }
        }
        self.last.insert(key, now);
        Ok(())
    }

    /// At rest, when the log has everything.
    ///
    /// # Errors
    /// A version that had two contents is a streamed row's, or nothing was accepted above it.
    pub fn at_rest(&self, is_streamed: impl Fn(u64) -> bool) -> Result<(), Violation> {
        let is_newest = |key, version| self.last.get(key).is_none_or(|last| last.0 <= version);
        match self.unlike.iter().find(|(key, version)| is_streamed(**version) || is_newest(*key, **version)) {
            Some((key, version)) => Err(two_contents(key, *version)),
            None => Ok(()),
        }
    }
}

fn two_contents((index, id): &(String, String), version: u64) -> Violation {
    Violation::new(NAME, format!("document {id} of {index} has two contents at version {version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(version: u64, source: Option<&str>) -> Accepted {
        Accepted { index: "hot-v1".into(), id: "1".into(), version, source: source.map(str::to_owned) }
    }

    #[test]
    fn versions_rise_and_equal_versions_are_equal() {
        let streamed = |_| true;
        let mut history = History::default();
        history.accepted(operation(1, Some("a")), streamed).unwrap();
        history.accepted(operation(1, Some("a")), streamed).unwrap();
        history.accepted(operation(5, None), streamed).unwrap();
        assert!(history.accepted(operation(5, Some("a")), streamed).is_err());
        assert!(history.accepted(operation(4, Some("a")), streamed).is_err());
        history.accepted(operation(6, Some("b")), streamed).unwrap();
        assert!(history.at_rest(streamed).is_ok());
    }

    #[test]
    fn a_row_that_is_read_twice_may_have_changed_if_the_change_follows() {
        let read = |_| false;
        let mut history = History::default();
        history.accepted(operation(23, Some("a")), read).unwrap();
        history.accepted(operation(23, Some("b")), read).unwrap();
        assert!(history.at_rest(read).is_err(), "the event of the change is missing");
        history.accepted(operation(90, Some("b")), read).unwrap();
        assert!(history.at_rest(read).is_ok());
        assert!(history.at_rest(|version| version == 23).is_err(), "the log says later that it was a streamed row");
    }
}
