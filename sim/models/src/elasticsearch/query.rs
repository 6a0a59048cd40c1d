//! The queries that filters, checks and tools use: match_all, match_none, term, terms, ids, exists, range, bool.

use serde_json::Value;

/// Whether a document matches; `Err` for a query that the model does not know.
pub(crate) fn matches(query: &Value, id: &str, source: &Value) -> Result<bool, String> {
    let Some((kind, body)) = query.as_object().filter(|query| query.len() == 1).and_then(|q| q.iter().next()) else {
        return Err(format!("a query is an object with one key, not {query}"));
    };
    match kind.as_str() {
        "match_all" => Ok(true),
        "match_none" => Ok(false),
        "term" => {
            let (field, wanted) = single(body)?;
            let wanted = wanted.get("value").unwrap_or(wanted);
            Ok(any(source, id, field, |value| same(value, wanted)))
        }
        "terms" => {
            let (field, wanted) = single(body)?;
            let wanted = wanted.as_array().ok_or("terms needs an array")?;
            Ok(any(source, id, field, |value| wanted.iter().any(|wanted| same(value, wanted))))
        }
        "ids" => {
            let ids = body.get("values").and_then(Value::as_array).ok_or("ids needs values")?;
            Ok(ids.iter().any(|wanted| wanted.as_str() == Some(id)))
        }
        "exists" => {
            let field = body.get("field").and_then(Value::as_str).ok_or("exists needs a field")?;
            Ok(any(source, id, field, |value| !value.is_null()))
        }
        "range" => {
            let (field, bounds) = single(body)?;
            Ok(any(source, id, field, |value| within(value, bounds)))
        }
        "bool" => boolean(body, id, source),
        other => Err(format!("unknown query [{other}]")),
    }
}

fn boolean(body: &Value, id: &str, source: &Value) -> Result<bool, String> {
    let clauses = |name: &str| match body.get(name) {
        Some(Value::Array(items)) => items.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    };
    for clause in clauses("must").iter().chain(&clauses("filter")) {
        if !matches(clause, id, source)? {
            return Ok(false);
        }
    }
    for clause in &clauses("must_not") {
        if matches(clause, id, source)? {
            return Ok(false);
        }
    }
    let should = clauses("should");
    if should.is_empty() || body.get("must").is_some() || body.get("filter").is_some() {
        return Ok(true);
    }
    for clause in &should {
        if matches(clause, id, source)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn single(body: &Value) -> Result<(&str, &Value), String> {
    let entry = body.as_object().filter(|body| body.len() == 1).and_then(|body| body.iter().next());
    entry.map(|(field, value)| (field.as_str(), value)).ok_or_else(|| format!("one field, not {body}"))
}

/// Whether one of the field's values (a dotted path through objects and arrays) satisfies the test.
fn any(source: &Value, id: &str, path: &str, test: impl Fn(&Value) -> bool) -> bool {
    if path == "_id" {
        return test(&Value::String(id.to_string()));
    }
    // `keyword` is the sub-field that dynamic mapping gives to texts.
    let path = path.strip_suffix(".keyword").unwrap_or(path);
    let mut found = Vec::new();
    collect(source, path, &mut found);
    found.into_iter().any(test)
}

fn collect<'a>(value: &'a Value, path: &str, out: &mut Vec<&'a Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, path, out)),
        // An object at the path's end counts as present by whatever lies in it.
        Value::Object(map) if path.is_empty() => map.values().for_each(|item| collect(item, path, out)),
        Value::Object(map) => {
            if let Some(item) = map.get(path) {
                collect(item, "", out);
            }
            if let Some((head, rest)) = path.split_once('.')
                && let Some(item) = map.get(head)
            {
                collect(item, rest, out);
            }
        }
        scalar if path.is_empty() => out.push(scalar),
        _ => {}
    }
}

/// Equal as terms are: numbers by value, also in texts; booleans also as texts.
fn same(value: &Value, wanted: &Value) -> bool {
    if value == wanted {
        return true;
    }
    match (number(value), number(wanted)) {
        (Some(a), Some(b)) => a == b,
        _ => text(value).is_some_and(|a| text(wanted).is_some_and(|b| a == b)),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(n) => n.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn within(value: &Value, bounds: &Value) -> bool {
    bounds.as_object().into_iter().flatten().all(|(kind, bound)| {
        let order = match (number(value), number(bound)) {
            (Some(a), Some(b)) => a.partial_cmp(&b),
            _ => text(value).zip(text(bound)).map(|(a, b)| a.cmp(&b)),
        };
        order.is_some_and(|order| match kind.as_str() {
            "gt" => order.is_gt(),
            "gte" => order.is_ge(),
            "lt" => order.is_lt(),
            "lte" => order.is_le(),
            _ => true,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn clauses_match_as_documented() {
        let doc = json!({"a": 1, "b": {"c": ["x", "y"]}, "gone": null, "flag": true, "d": 2.5});
        for (query, expected) in [
            (json!({"term": {"a": 1}}), true),
            (json!({"term": {"b.c": {"value": "y"}}}), true),
            (json!({"terms": {"a": [2, 1]}}), true),
            (json!({"exists": {"field": "gone"}}), false),
            (json!({"exists": {"field": "b"}}), true),
            (json!({"bool": {"must_not": {"exists": {"field": "flag"}}}}), false),
            (
                json!({"bool": {"must_not": [{"term": {"flag": false}}], "filter": {"range": {"d": {"gte": 2, "lt": 3}}}}}),
                true,
            ),
            (json!({"bool": {"should": [{"term": {"a": 9}}, {"ids": {"values": ["k"]}}]}}), true),
        ] {
            assert_eq!(matches(&query, "k", &doc), Ok(expected), "{query}");
        }
        assert!(matches(&json!({"fuzzy": {}}), "k", &doc).is_err());
    }
}
