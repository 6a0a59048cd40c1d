//! Names of candidate nodes: `ID-0000000042`, the number given by the ensemble.

/// What stands before the number.
pub(super) fn prefix(id: &str) -> String {
    format!("{id}-")
}

/// Id and number of a candidate; `None` for a foreign name.
fn split(name: &str) -> Option<(&str, i64)> {
    // The number has ten digits or, where the ensemble counts in 64 bits, nineteen; ids may hold dashes.
    let at = name.rfind('-')?;
    let digits = &name[at + 1..];
    let fits = digits.len() >= 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    (fits && at > 0).then_some(())?;
    Some((&name[..at], digits.parse().ok()?))
}

/// A candidate's id.
pub(super) fn id_of(name: &str) -> Option<&str> {
    split(name).map(|(id, _)| id)
}

/// The candidates among the names, lowest number first.
pub(super) fn in_order(names: Vec<String>) -> Vec<String> {
    let mut numbered: Vec<(i64, String)> = names
        .into_iter()
        .filter_map(|name| split(&name).map(|(_, number)| number).map(|number| (number, name)))
        .collect();
    numbered.sort();
    numbered.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_order_not_ids() {
        let names = ["b-7-0000000002", "a-9-0000000010", "c-0000000001", "foreign", "x-12", "-0000000003"];
        let names = names.iter().map(ToString::to_string).collect();
        assert_eq!(in_order(names), ["c-0000000001", "b-7-0000000002", "a-9-0000000010"]);
        assert_eq!(id_of("b-7-0000000002"), Some("b-7"));
        assert!(format!("{}0000000002", prefix("b-7")).starts_with("b-7-0"));
    }
}
