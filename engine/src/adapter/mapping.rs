//! The body with which an index is created: settings, and a mapping made from the columns' types.
//!
//! Must not create anything: [`super::meta`] does. An existing index keeps its own mapping.

use serde_json::{Map, Value, json};

use super::config::SinkConfig;
use super::document::{TOMBSTONE_FIELD, field_name, has_field};
use super::shape::Shape;
use crate::format::TypeKind;

/// Lucene's longest term is 32,766 bytes: so many characters of four bytes each fit. Longer texts are kept, not
/// indexed.
const KEYWORD_LIMIT: u32 = 8_191;

/// Settings and mapping for a sink's index, from the tables that feed it.
///
/// - Integers are `long`. BIGINT UNSIGNED too: `unsigned_long` is not in every distribution; a value above
///   2^63-1 is dead-lettered, which an override in `mapping` avoids.
/// - DECIMAL is `double` for searching; `_source` keeps every digit.
/// - CHAR, VARCHAR, TEXT, ENUM, SET, TIME are `keyword`; DATE, DATETIME, TIMESTAMP `date`; bytes `binary`.
/// - JSON and GEOMETRY are kept and not searched (`enabled: false`): whatever lies in them, no mapping conflict arises.
///   VECTOR is kept as numbers. An override in `mapping` makes a `geo_shape` or a `dense_vector` of what fits into one.
/// - A column added later is mapped by Elasticsearch, texts as `keyword`, and never guessed to be a date.
pub fn index_body(sink: &SinkConfig, shapes: &[&Shape]) -> Value {
    let mut properties = Map::new();
    properties.insert(TOMBSTONE_FIELD.into(), json!({"type": "boolean"}));
    properties.insert("at".into(), json!({"type": "date"}));
    for shape in shapes {
        for column in shape.columns.iter().filter(|column| has_field(sink, &column.name)) {
            if let Some(mapping) = field_mapping(&column.kind) {
                properties.insert(field_name(sink, &column.name).to_owned(), mapping);
            }
        }
    }
    for (field, mapping) in &sink.create.mapping {
        properties.insert(field.clone(), mapping.clone());
    }
    let mut settings = Map::new();
    let refresh = format!("{}ms", sink.create.refresh_interval.as_millis());
    settings.insert("refresh_interval".into(), Value::String(refresh));
    for (name, value) in &sink.create.settings {
        settings.insert(name.clone(), value.clone());
    }
    json!({
        "settings": {"index": settings},
        "mappings": {
            "date_detection": false,
            "dynamic_templates": [{"texts": {"match_mapping_type": "string", "mapping": keyword()}}],
            "properties": properties,
        },
    })
}

fn keyword() -> Value {
    json!({"type": "keyword", "ignore_above": KEYWORD_LIMIT})
}

fn field_mapping(kind: &TypeKind) -> Option<Value> {
    Some(match kind {
        TypeKind::Int | TypeKind::UInt | TypeKind::Bit | TypeKind::Year => json!({"type": "long"}),
        TypeKind::Float => json!({"type": "float"}),
        TypeKind::Double | TypeKind::Decimal => json!({"type": "double"}),
        TypeKind::Date | TypeKind::DateTime | TypeKind::Timestamp => json!({"type": "date"}),
        TypeKind::Text | TypeKind::Enum(_) | TypeKind::Set(_) | TypeKind::Time => keyword(),
        TypeKind::Bytes => json!({"type": "binary"}),
        TypeKind::Vector => json!({"type": "float", "index": false}),
        TypeKind::Json | TypeKind::Geometry => json!({"type": "object", "enabled": false}),
        TypeKind::Unknown => return None,
    })
}

/// The filter of the alias that queries use: tombstones are hidden.
pub fn alias_filter() -> Value {
    json!({"bool": {"must_not": {"exists": {"field": TOMBSTONE_FIELD}}}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::testing::orders_shape;

    #[test]
    fn the_mapping_follows_the_columns_and_the_configuration() {
        let mut sink = SinkConfig::new("hot", "hot", "orders.order_main", "orders");
        sink.fields.rename.insert("status".into(), "state".into());
        sink.fields.exclude.push("remark".into());
        sink.create.mapping.insert("amount".into(), json!({"type": "keyword"}));
        sink.create.settings.insert("number_of_shards".into(), json!(3));
        let body = index_body(&sink, &[&orders_shape()]);
        let properties = &body["mappings"]["properties"];
        assert_eq!(properties["order_id"]["type"], "long");
        assert_eq!(properties["state"]["type"], "long");
        assert_eq!(properties["amount"]["type"], "keyword");
        assert_eq!(properties["address"]["enabled"], false);
        assert_eq!(properties["created_at"]["type"], "date");
        assert_eq!(properties[TOMBSTONE_FIELD]["type"], "boolean");
        assert!(properties.get("remark").is_none() && properties.get("status").is_none());
        assert_eq!(body["settings"]["index"]["number_of_shards"], 3);
        assert_eq!(body["settings"]["index"]["refresh_interval"], "500ms");
    }
}
