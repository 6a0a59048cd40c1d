//! What searches show (protocol §9, oracle 7; guards Rule 2 as users see it).
//!
//! No search shows an older order than one shown before: `updated_at` of an order never falls from one look at an alias
//! to the next. Not judged with hard deletes (see `history`), nor while a range is replayed, which no scenario does.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Violation;

const NAME: &str = "search";

/// The oracle's memory.
#[derive(Debug, Default)]
pub struct Searches {
    newest: BTreeMap<(String, String), String>,
}

impl Searches {
    /// A document that a search through an alias shows. `updated_at` is a text whose order is that of time.
    ///
    /// # Errors
    /// It breaks the rule.
    pub fn shows(&mut self, alias: &str, id: &str, source: &Value) -> Result<(), Violation> {
        let Some(updated) = source.get("updated_at").and_then(Value::as_str) else { return Ok(()) };
        let newest = self.newest.entry((alias.to_owned(), id.to_owned())).or_default();
        if updated < newest.as_str() {
            let text = format!("{alias} shows order {id} of {updated} after {newest}");
            return Err(Violation::new(NAME, text));
        }
        updated.clone_into(newest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_order_does_not_grow_younger() {
        let mut searches = Searches::default();
        let order = |at: &str| json!({ "updated_at": at });
        searches.shows("hot", "1", &order("2026-01-01T00:00:00.002Z")).unwrap();
        searches.shows("full", "1", &order("2026-01-01T00:00:00.001Z")).unwrap();
        assert!(searches.shows("hot", "1", &order("2026-01-01T00:00:00.001Z")).is_err());
    }
}
