//! The history of each document (protocol §9, oracle 4; guards Rule 2).
//!
//! Accepted writes and deletes, kept here although the index forgets deletes, never go back in version; equal versions
//! have equal content, but for the time in a tombstone. Not judged with hard deletes: there an index that forgot a
//! delete accepts an older write, which is the weaker promise that goes with them.

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
}

impl History {
    /// The next accepted operation.
    ///
    /// # Errors
    /// It breaks the rule.
    pub fn accepted(&mut self, operation: Accepted) -> Result<(), Violation> {
        let key = (operation.index, operation.id);
        let now = (operation.version, operation.source);
        if let Some(last) = self.last.get(&key) {
            if now.0 < last.0 {
                let text = format!("document {} of {} went from version {} back to {}", key.1, key.0, last.0, now.0);
                return Err(Violation::new(NAME, text));
            }
            if now.0 == last.0 && now.1 != last.1 {
                let text = format!("document {} of {} has two contents at version {}", key.1, key.0, now.0);
                return Err(Violation::new(NAME, text));
            }
        }
        self.last.insert(key, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_rise_and_equal_versions_are_equal() {
        let operation = |version, source: Option<&str>| Accepted {
            index: "hot-v1".into(),
            id: "1".into(),
            version,
            source: source.map(str::to_owned),
        };
        let mut history = History::default();
        history.accepted(operation(1, Some("a"))).unwrap();
        history.accepted(operation(1, Some("a"))).unwrap();
        history.accepted(operation(5, None)).unwrap();
        assert!(history.accepted(operation(5, Some("a"))).is_err());
        assert!(history.accepted(operation(4, Some("a"))).is_err());
        history.accepted(operation(6, Some("b"))).unwrap();
    }
}
