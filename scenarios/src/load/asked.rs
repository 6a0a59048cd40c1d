//! What devices and people ask a cluster, as Elasticsearch's queries: real load and simulated load ask the same.
//!
//! Must not know pages or sorting: those are whoever's who asks.

use crate::workload::status;

/// The orders of this merchant whose sound must still play: JSON text.
pub fn sounding(merchant: u32) -> String {
    format!(
        "{{\"bool\":{{\"filter\":[{{\"term\":{{\"merchant_id\":{merchant}}}}},{{\"terms\":{{\"status\":[{},{}]}}}},\
         {{\"term\":{{\"prompt_flag\":1}}}}]}}}}",
        status::CREATED,
        status::PAID
    )
}

/// All orders of this merchant: JSON text.
pub fn listed(merchant: u32) -> String {
    format!("{{\"bool\":{{\"filter\":[{{\"term\":{{\"merchant_id\":{merchant}}}}}]}}}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_is_asked_is_json_and_names_the_merchant() {
        let parsed = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        let merchant = json!({ "term": { "merchant_id": 7 } });
        assert_eq!(parsed(listed(7)), json!({ "bool": { "filter": [merchant] } }));
        let rings = [merchant, json!({ "terms": { "status": [1, 2] } }), json!({ "term": { "prompt_flag": 1 } })];
        assert_eq!(parsed(sounding(7)), json!({ "bool": { "filter": rings } }));
    }
}
