//! `SearchIndex` on Elasticsearch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use serde_json::json;
use towpath_connectors::{ElasticsearchConfig, ElasticsearchIndex};
use towpath_engine::adapter::config::SinkConfig;
use towpath_engine::adapter::document::DocumentPlan;
use towpath_engine::adapter::mapping::index_body;
use towpath_engine::adapter::shape::{Row, Shape, ShapeColumn};
use towpath_engine::format::{Field, TypeKind};
use towpath_engine::ports::index::{AliasSpec, BulkOp, IndexError, SearchIndex};
use towpath_engine::version::Version;

use crate::services::{answering, run, stack, unique};

fn index(urls: &[String]) -> ElasticsearchIndex {
    let config = ElasticsearchConfig { urls: urls.to_vec(), ..ElasticsearchConfig::default() };
    ElasticsearchIndex::new(config).unwrap()
}

fn op(index: &str, id: &str, offset: u64, source: Option<&str>) -> BulkOp {
    BulkOp {
        index: index.into(),
        id: id.into(),
        routing: None,
        version: Version::new(0, 1, offset).unwrap(),
        source: source.map(|text| Bytes::copy_from_slice(text.as_bytes())),
    }
}

async fn one(es: &ElasticsearchIndex, op: BulkOp) -> (u16, Option<String>) {
    let results = es.bulk(&[op]).await.unwrap();
    assert_eq!(results.len(), 1);
    (results[0].status, results[0].error_type.clone())
}

#[test]
fn versions_decide_which_write_stays() {
    run(async {
        let stack = stack().await;
        let es = index(&[stack.es("hot").unwrap().url()]);
        let name = unique("versions");
        let body = json!({"mappings": {"dynamic": "strict", "properties": {"n": {"type": "integer"}}}});
        assert!(es.create_index(&name, &body).await.unwrap());
        assert!(!es.create_index(&name, &body).await.unwrap());

        assert_eq!(one(&es, op(&name, "1", 10, Some(r#"{"n":1}"#))).await, (201, None));
        assert_eq!(one(&es, op(&name, "1", 10, Some(r#"{"n":2}"#))).await, (200, None), "equal overwrites");
        let conflict = Some("version_conflict_engine_exception".to_string());
        assert_eq!(one(&es, op(&name, "1", 9, Some(r#"{"n":3}"#))).await, (409, conflict.clone()));
        assert_eq!(one(&es, op(&name, "1", 9, None)).await, (409, conflict.clone()));
        let found = es.get(&name, "1", None).await.unwrap().unwrap();
        assert_eq!(Version::from_number(found.version), Version::new(0, 1, 10));
        assert_eq!(&found.source[..], br#"{"n":2}"#);

        assert_eq!(one(&es, op(&name, "1", 11, None)).await, (200, None));
        assert_eq!(es.get(&name, "1", None).await.unwrap(), None);
        assert_eq!(one(&es, op(&name, "never", 5, None)).await, (404, None), "a delete of what is not there");
        assert_eq!(one(&es, op(&name, "1", 10, Some(r#"{"n":4}"#))).await, (409, conflict), "a delete has a version");

        let results = es
            .bulk(&[
                op(&name, "a", 1, Some(r#"{"n":"no number"}"#)),
                op(&name, "b", 1, Some(r#"{"m":1}"#)),
                op(&name, "c\"/é", 1, Some(r#"{"n":7}"#)),
            ])
            .await
            .unwrap();
        assert_eq!(results[0].error_type.as_deref(), Some("document_parsing_exception"));
        assert_eq!(results[1].error_type.as_deref(), Some("strict_dynamic_mapping_exception"));
        assert_eq!((results[2].status, &results[2].error_type), (201, &None));
        assert!(results[0].reason.as_ref().is_some_and(|reason| reason.contains("[n]")), "{results:?}");
        assert!(es.get(&name, "c\"/é", None).await.unwrap().is_some());
    });
}

/// The cells of one row.
struct Cells([&'static str; 5]);

impl Row for Cells {
    fn cell(&self, column: usize) -> Field<'_> {
        Field::Text(self.0[column])
    }
}

#[test]
fn geometries_vectors_and_json_can_be_searched_as_what_they_are() {
    run(async {
        let stack = stack().await;
        let es = index(&[stack.es("hot").unwrap().url()]);
        let name = unique("values");
        let kinds = [
            ("id", TypeKind::Int),
            ("g", TypeKind::Geometry),
            ("kept", TypeKind::Geometry),
            ("v", TypeKind::Vector),
            ("j", TypeKind::Json),
        ];
        let columns = kinds.map(|(name, kind)| ShapeColumn { name: name.into(), kind }).to_vec();
        let shape = Arc::new(Shape { database: "d".into(), table: "t".into(), columns, primary_key: vec![0] });
        let mut sink = SinkConfig::new("hot", &name, "d.t", "d");
        sink.create.mapping.insert("g".into(), json!({"type": "geo_point"}));
        sink.create.mapping.insert("v".into(), json!({"type": "dense_vector", "dims": 3}));
        assert!(es.create_index(&name, &index_body(&sink, &[&shape])).await.unwrap());
        let mut plan = DocumentPlan::new(&sink, shape).unwrap();
        let mut buffer = BytesMut::new();
        let rows = [
            Cells([
                "1",
                r#"{"type":"Point","coordinates":[20,10]}"#,
                "POINT(500 500)",
                "[1,-0.5,1e-30]",
                r#"{"a": [1, {"b": null}]}"#,
            ]),
            Cells(["2", "SRID=4326;POINT(20.5 10)", r#"{"type":"Point","coordinates":[1e20,0]}"#, "[0.1,0.2,3]", "7"]),
            Cells(["3", "POINT(1 0)", "E610000001", "[3,2,1]", "\"text\""]),
        ];
        let operations: Vec<BulkOp> = rows
            .iter()
            .enumerate()
            .map(|(place, row)| {
                let source = plan.source(&mut buffer, row).unwrap();
                BulkOp { source: Some(source), ..op(&name, row.0[0], place as u64, None) }
            })
            .collect();
        let results = es.bulk(&operations).await.unwrap();
        assert!(results.iter().all(|result| result.status == 201), "{results:?}");
        es.refresh(&name).await.unwrap();
        let near = json!({"geo_distance": {"distance": "100km", "g": {"lon": 20, "lat": 10}}});
        let found: Vec<String> = es.scan(&name, &near, None, 9).await.unwrap().into_iter().map(|(id, _)| id).collect();
        assert_eq!(found, ["1", "2"]);
        // It is a vector of three dimensions, and no other numbers.
        let short = Cells(["4", "POINT(1 0)", "POINT(1 0)", "[3,2]", "{}"]);
        let short = BulkOp { source: Some(plan.source(&mut buffer, &short).unwrap()), ..op(&name, "4", 9, None) };
        assert_eq!(one(&es, short).await, (400, Some("document_parsing_exception".to_owned())));
    });
}

#[test]
fn aliases_hide_and_pages_show_everything_once() {
    run(async {
        let stack = stack().await;
        let es = index(&[stack.es("hot").unwrap().url()]);
        let name = unique("pages");
        let (concrete, alias) = (format!("{name}-v1"), name.clone());
        let mappings = json!({"mappings": {"properties": {"gone": {"type": "boolean"}}}});
        assert!(es.create_index(&concrete, &mappings).await.unwrap());
        let spec = AliasSpec {
            alias: alias.clone(),
            index: concrete.clone(),
            filter: Some(json!({"bool": {"must_not": {"term": {"gone": true}}}})),
        };
        es.put_alias(&spec).await.unwrap();
        es.put_alias(&spec).await.unwrap();
        let operations: Vec<BulkOp> = (0..25)
            .map(|n| op(&concrete, &format!("id-{n:02}"), n, Some(if n % 5 == 0 { r#"{"gone":true}"# } else { "{}" })))
            .collect();
        assert!(es.bulk(&operations).await.unwrap().iter().all(|result| result.status == 201));
        es.refresh(&concrete).await.unwrap();
        let all = json!({"match_all": {}});
        for (through, expected) in [(&alias, 20), (&concrete, 25)] {
            let mut ids = Vec::new();
            loop {
                let page = es.scan(through, &all, ids.last().map(String::as_str), 7).await.unwrap();
                if page.is_empty() {
                    break;
                }
                ids.extend(page.into_iter().map(|(id, _)| id));
            }
            assert_eq!(ids.len(), expected);
            assert!(ids.is_sorted());
        }
        // The alias moves to another index at once.
        let second = format!("{name}-v2");
        es.create_index(&second, &mappings).await.unwrap();
        es.put_alias(&AliasSpec { index: second.clone(), filter: None, alias: alias.clone() }).await.unwrap();
        assert!(es.scan(&alias, &all, None, 7).await.unwrap().is_empty());
    });
}

#[test]
fn the_mapping_keeps_a_note() {
    run(async {
        let stack = stack().await;
        let es = index(&[stack.es("hot").unwrap().url()]);
        let name = unique("meta");
        assert_eq!(es.meta(&name).await.unwrap(), None);
        es.create_index(&name, &json!({})).await.unwrap();
        assert_eq!(es.meta(&name).await.unwrap(), Some(serde_json::Value::Null));
        let note = json!({"towpath": {"epoch": 7}});
        es.put_meta(&name, &note).await.unwrap();
        assert_eq!(es.meta(&name).await.unwrap(), Some(note));
        let absent = es.get(&unique("absent"), "1", None).await.unwrap_err();
        assert!(
            matches!(&absent, IndexError::Other { status: 404, reason }
            if reason.contains("index_not_found_exception")),
            "{absent:?}"
        );
    });
}

#[test]
fn what_is_not_elasticsearch_is_named_or_unavailable_in_time() {
    run(async {
        // It says that it closes: else the next request can meet a connection that is about to be closed.
        let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 27\r\nconnection: close\r\n\r\n\
                    <html>Welcome to us!</html>";
        let html = index(&[format!("http://{}", answering(Some(page)).await)]);
        let results = [
            html.bulk(&[op("a", "1", 1, Some("{}"))]).await.map(drop),
            html.get("a", "1", None).await.map(drop),
            html.create_index("a", &json!({})).await.map(drop),
            html.meta("a").await.map(drop),
            html.refresh("a").await,
            html.put_meta("a", &json!({})).await,
            html.scan("a", &json!({}), None, 1).await.map(drop),
        ];
        for result in results {
            let err = result.unwrap_err();
            assert!(matches!(&err, IndexError::NotElasticsearch(text) if text.contains("<html>Welcome")), "{err:?}");
        }
        let garbage = index(&[format!("http://{}", answering(Some("220 smtp ready\r\n")).await)]);
        assert!(matches!(garbage.meta("a").await.unwrap_err(), IndexError::Unavailable(_)));
        for url in ["http://127.0.0.1:1".to_string(), format!("http://{}", answering(None).await)] {
            let timeout = Duration::from_millis(500);
            let config = ElasticsearchConfig { urls: vec![url.clone()], timeout, ..ElasticsearchConfig::default() };
            let begun = Instant::now();
            let err = ElasticsearchIndex::new(config).unwrap().meta("a").await.unwrap_err();
            assert!(matches!(&err, IndexError::Unavailable(text) if text.contains(&url)), "{err:?}");
            assert!(begun.elapsed() < Duration::from_secs(5));
        }
    });
}

#[test]
fn nodes_take_turns() {
    run(async {
        let stack = stack().await;
        let es = index(&["http://127.0.0.1:1".to_string(), stack.es("hot").unwrap().url()]);
        let name = unique("turns");
        let answers = [es.meta(&name).await, es.meta(&name).await, es.meta(&name).await, es.meta(&name).await];
        let reached: Vec<bool> = answers.iter().map(Result::is_ok).collect();
        assert_eq!(reached, [false, true, false, true]);
    });
}
