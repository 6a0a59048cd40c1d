//! How an Elasticsearch cluster keeps versioned documents.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;
use towpath_engine::ports::index::{AliasSpec, BulkOp, IndexError, ItemResult};
use towpath_engine::version::Version;

use crate::lab::ElasticsearchLab;

crate::bodies! { Elasticsearch:
    "es-external-gte-equal-overwrites" => equal_overwrites,
    "es-external-gte-lower-409" => lower,
    "es-version-zero-and-highest-accepted" => extremes,
    "es-delete-missing-404-no-error" => delete_missing,
    "es-delete-lower-409" => delete_lower,
    "es-delete-then-get-none" => delete_get,
    "es-delete-then-index-equal-version" => delete_index_equal,
    "es-delete-version-remembered" => remembered,
    "es-delete-missing-leaves-version" => missing_leaves_version,
    "es-delete-version-forgotten" => forgotten,
    "es-restart-forgets-deletes" => restart,
    "es-items-in-order" => items_in_order,
    "es-mapping-error-fails-one-item" => mapping_error,
    "es-object-and-concrete-value" => object_error,
    "es-strict-dynamic-mapping" => strict,
    "es-write-block-403" => write_block,
    "es-blocked-writes-refused-and-read" => blocked_writes,
    "es-deleted-index-is-gone" => deleted_index,
    "es-closed-index-400" => closed,
    "es-bulk-to-missing-index-creates-it" => missing_index,
    "es-refresh-visibility" => refresh,
    "es-filtered-alias-hides" => filtered_alias,
    "es-alias-replaced-at-once" => alias_replaced,
    "es-write-through-alias" => alias_write,
    "es-meta-replaced-whole" => meta,
    "es-create-index-twice" => create_twice,
    "es-create-index-bad-mapping" => bad_mapping,
    "es-scan-pages-by-id" => pages,
    "es-get-from-missing-index" => get_missing_index,
    "es-stopped-is-unavailable" => stopped,
}

const WAIT: Duration = Duration::from_secs(60);

fn version(number: u64) -> Version {
    // Every number up to 2^63-1 is a version.
    Version::from_number(number as i64).unwrap_or_else(|| unreachable!("{number} is negative as i64"))
}

fn op(index: &str, id: &str, number: u64, source: Option<&Value>) -> BulkOp {
    BulkOp {
        index: index.into(),
        id: id.into(),
        routing: None,
        version: version(number),
        source: source.map(|source| Bytes::from(source.to_string())),
    }
}

async fn index_with(lab: &dyn ElasticsearchLab, remember: bool, mappings: Value) -> Result<String> {
    let name = lab.fresh();
    ensure!(lab.index().create_index(&name, &lab.body(remember, mappings)).await?, "{name} existed");
    Ok(name)
}

async fn index(lab: &dyn ElasticsearchLab) -> Result<String> {
    index_with(lab, true, json!({})).await
}

async fn one(lab: &dyn ElasticsearchLab, op: BulkOp) -> Result<ItemResult> {
    let mut results = lab.index().bulk(&[op]).await?;
    ensure!(results.len() == 1, "{} results", results.len());
    results.pop().context("no result")
}

async fn put(lab: &dyn ElasticsearchLab, index: &str, id: &str, number: u64, source: &Value) -> Result<ItemResult> {
    one(lab, op(index, id, number, Some(source))).await
}

async fn delete(lab: &dyn ElasticsearchLab, index: &str, id: &str, number: u64) -> Result<ItemResult> {
    one(lab, op(index, id, number, None)).await
}

fn is(result: &ItemResult, status: u16, error: Option<&str>) -> Result<()> {
    ensure!(result.status == status && result.error_type.as_deref() == error, "{result:?}, not {status} {error:?}");
    Ok(())
}

const CONFLICT: Option<&str> = Some("version_conflict_engine_exception");

async fn stored(lab: &dyn ElasticsearchLab, index: &str, id: &str) -> Result<Option<(i64, Value)>> {
    let found = lab.index().get(index, id, None).await?;
    found.map(|found| Ok((found.version, serde_json::from_slice(&found.source)?))).transpose()
}

async fn equal_overwrites(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index(lab).await?;
    is(&put(lab, &index, "a", 7, &json!({"n": 1})).await?, 201, None)?;
    is(&put(lab, &index, "a", 7, &json!({"n": 2})).await?, 200, None)?;
    let found = stored(lab, &index, "a").await?;
    ensure!(found == Some((7, json!({"n": 2}))), "{found:?}");
    Ok(())
}

async fn lower(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index(lab).await?;
    put(lab, &index, "a", 200, &json!({"n": 1})).await?;
    let refused = put(lab, &index, "a", 150, &json!({"n": 2})).await?;
    is(&refused, 409, CONFLICT)?;
    let reason = refused.reason.unwrap_or_default();
    ensure!(reason.contains("current version [200]") && reason.contains("[150]"), "the reason is {reason:?}");
    let found = stored(lab, &index, "a").await?;
    ensure!(found == Some((200, json!({"n": 1}))), "{found:?}");
    Ok(())
}

async fn extremes(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index(lab).await?;
    is(&put(lab, &index, "a", 0, &json!({"n": 0})).await?, 201, None)?;
    is(&put(lab, &index, "a", i64::MAX as u64, &json!({"n": 1})).await?, 200, None)?;
    let found = stored(lab, &index, "a").await?;
    ensure!(found == Some((i64::MAX, json!({"n": 1}))), "{found:?}");
    is(&delete(lab, &index, "a", i64::MAX as u64).await?, 200, None)
}

async fn delete_missing(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index(lab).await?;
    is(&delete(lab, &index, "never", 5).await?, 404, None)
}

async fn delete_lower(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index(lab).await?;
    put(lab, &index, "a", 200, &json!({})).await?;
    is(&delete(lab, &index, "a", 150).await?, 409, CONFLICT)?;
    ensure!(stored(lab, &index, "a").await?.is_some(), "a lower delete took effect");
    Ok(())
}

async fn delete_get(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index(lab).await?;
    put(lab, &index, "a", 1, &json!({})).await?;
    is(&delete(lab, &index, "a", 1).await?, 200, None)?;
    let found = stored(lab, &index, "a").await?;
    ensure!(found.is_none(), "{found:?}");
    Ok(())
}

async fn delete_index_equal(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index(lab).await?;
    put(lab, &index, "a", 50, &json!({})).await?;
    is(&delete(lab, &index, "a", 100).await?, 200, None)?;
    // Whichever comes last wins: two writers that disagree at one version are never settled.
    is(&put(lab, &index, "a", 100, &json!({"n": 1})).await?, 201, None)
}

async fn remembered(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index(lab).await?;
    put(lab, &index, "a", 100, &json!({})).await?;
    delete(lab, &index, "a", 200).await?;
    is(&put(lab, &index, "a", 150, &json!({})).await?, 409, CONFLICT)
}

async fn missing_leaves_version(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index(lab).await?;
    delete(lab, &index, "never", 200).await?;
    is(&put(lab, &index, "never", 150, &json!({})).await?, 409, CONFLICT)
}

/// Writes a lower version until it is accepted.
async fn until_accepted(lab: &dyn ElasticsearchLab, index: &str) -> Result<()> {
    let deadline = Instant::now() + WAIT;
    loop {
        let result = put(lab, index, "a", 150, &json!({"old": true})).await?;
        if result.status == 201 {
            return Ok(());
        }
        is(&result, 409, CONFLICT)?;
        ensure!(Instant::now() < deadline, "the delete's version is still remembered");
        lab.index().refresh(index).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn forgotten(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index_with(lab, false, json!({})).await?;
    put(lab, &index, "a", 100, &json!({})).await?;
    is(&delete(lab, &index, "a", 200).await?, 200, None)?;
    until_accepted(lab, &index).await
}

async fn restart(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index(lab).await?;
    put(lab, &index, "kept", 7, &json!({"n": 1})).await?;
    put(lab, &index, "a", 100, &json!({})).await?;
    delete(lab, &index, "a", 200).await?;
    lab.stop().await?;
    lab.start().await?;
    let found = stored(lab, &index, "kept").await?;
    ensure!(found == Some((7, json!({"n": 1}))), "{found:?} after the restart");
    is(&put(lab, &index, "kept", 6, &json!({})).await?, 409, CONFLICT)?;
    // Remembered for an hour, said the setting; but in memory only.
    is(&put(lab, &index, "a", 150, &json!({})).await?, 201, None)
}

async fn items_in_order(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index(lab).await?;
    let (first, second) = (json!({"n": 1}), json!({"n": 2}));
    let operations = [
        op(&index, "a", 5, Some(&first)),
        op(&index, "b", 5, None),
        op(&index, "a", 4, Some(&second)),
        op(&index, "a", 6, None),
        op(&index, "a", 6, Some(&second)),
    ];
    let statuses: Vec<u16> = lab.index().bulk(&operations).await?.iter().map(|result| result.status).collect();
    ensure!(statuses == [201, 404, 409, 200, 201], "{statuses:?}");
    Ok(())
}

fn typed() -> Value {
    json!({"properties": {"n": {"type": "integer"}, "at": {"type": "date"}, "o": {"properties": {"x": {"type": "long"}}}}})
}

const PARSING: Option<&str> = Some("document_parsing_exception");

async fn mapping_error(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index_with(lab, true, typed()).await?;
    let (good, bad, date) = (json!({"n": 1}), json!({"n": "no number"}), json!({"at": "yesterday"}));
    let operations = [op(&index, "a", 1, Some(&good)), op(&index, "b", 1, Some(&bad)), op(&index, "c", 1, Some(&date))];
    let results = lab.index().bulk(&operations).await?;
    is(&results[0], 201, None)?;
    is(&results[1], 400, PARSING)?;
    is(&results[2], 400, PARSING)?;
    ensure!(stored(lab, &index, "b").await?.is_none(), "a refused document is there");
    is(&put(lab, &index, "d", 1, &json!({"n": 3_000_000_000_i64})).await?, 400, PARSING)?;
    is(&put(lab, &index, "e", 1, &json!({"n": "42", "at": "2026-11-23T01:02:03.004Z"})).await?, 201, None)
}

async fn object_error(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index_with(lab, true, typed()).await?;
    is(&put(lab, &index, "a", 1, &json!({"o": 1})).await?, 400, PARSING)?;
    is(&put(lab, &index, "b", 1, &json!({"n": {"x": 1}})).await?, 400, PARSING)?;
    is(&put(lab, &index, "c", 1, &json!({"new": {"x": 1}})).await?, 201, None)?;
    is(&put(lab, &index, "d", 1, &json!({"new": 1})).await?, 400, PARSING)
}

async fn strict(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index_with(lab, true, json!({"dynamic": "strict", "properties": {"n": {"type": "integer"}}})).await?;
    is(&put(lab, &index, "a", 1, &json!({"n": 1})).await?, 201, None)?;
    is(&put(lab, &index, "b", 1, &json!({"m": 1})).await?, 400, Some("strict_dynamic_mapping_exception"))
}

async fn write_block(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index(lab).await?;
    put(lab, &index, "a", 1, &json!({})).await?;
    lab.write_block(&index, true).await?;
    is(&put(lab, &index, "a", 2, &json!({})).await?, 403, Some("cluster_block_exception"))?;
    ensure!(stored(lab, &index, "a").await?.map(|found| found.0) == Some(1), "reading is blocked too");
    lab.write_block(&index, false).await?;
    is(&put(lab, &index, "a", 2, &json!({})).await?, 200, None)
}

/// A journal that was sealed: nothing more goes in, all that is in can be read.
async fn blocked_writes(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index_with(lab, true, json!({"dynamic": false})).await?;
    let entry = json!({"value": "{\"a\":1}", "headers": [["towpath-epoch", "1"]]});
    put(lab, &index, "a", 1, &entry).await?;
    lab.index().block_writes(&index).await?;
    lab.index().block_writes(&index).await.context("again")?;
    for id in ["a", "b"] {
        is(&put(lab, &index, id, 1, &entry).await?, 403, Some("cluster_block_exception"))?;
    }
    lab.index().refresh(&index).await?;
    let found = lab.index().scan(&index, &json!({"match_all": {}}), None, 10).await?;
    ensure!(found.len() == 1 && serde_json::from_slice::<Value>(&found[0].1)? == entry, "{found:?}");
    match lab.index().block_writes(&lab.fresh()).await {
        Err(_) => Ok(()),
        Ok(()) => bail!("an absent index was sealed"),
    }
}

async fn deleted_index(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index(lab).await?;
    put(lab, &index, "a", 1, &json!({})).await?;
    lab.index().delete_index(&index).await?;
    ensure!(lab.index().meta(&index).await?.is_none(), "it is still there");
    lab.index().delete_index(&index).await.context("an absent one is as good as deleted")
}

async fn closed(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index(lab).await?;
    lab.close(&index).await?;
    is(&put(lab, &index, "a", 1, &json!({})).await?, 400, Some("index_closed_exception"))
}

async fn missing_index(lab: &dyn ElasticsearchLab) -> Result<()> {
    let name = lab.fresh();
    is(&put(lab, &name, "a", 1, &json!({"n": 1})).await?, 201, None)?;
    // Without the mapping and settings it was meant to have: a reason to create indexes before writing.
    ensure!(lab.index().meta(&name).await? == Some(Value::Null), "no index was made");
    Ok(())
}

async fn ids(lab: &dyn ElasticsearchLab, index: &str, query: &Value) -> Result<Vec<String>> {
    Ok(lab.index().scan(index, query, None, 100).await?.into_iter().map(|(id, _)| id).collect())
}

fn all() -> Value {
    json!({"match_all": {}})
}

async fn refresh(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index(lab).await?;
    put(lab, &index, "a", 1, &json!({"n": 1})).await?;
    ensure!(ids(lab, &index, &all()).await?.is_empty(), "searchable before a refresh");
    ensure!(stored(lab, &index, "a").await?.is_some(), "not realtime by id");
    lab.index().refresh(&index).await?;
    ensure!(ids(lab, &index, &all()).await? == ["a"], "not searchable after a refresh");
    delete(lab, &index, "a", 2).await?;
    ensure!(ids(lab, &index, &all()).await? == ["a"], "a delete shows before a refresh");
    lab.index().refresh(&index).await?;
    ensure!(ids(lab, &index, &all()).await?.is_empty(), "a delete does not show after a refresh");
    Ok(())
}

async fn filtered_alias(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index(lab).await?;
    for filter in [
        json!({"bool": {"must_not": {"exists": {"field": "_towpath_deleted"}}}}),
        json!({"bool": {"must_not": [{"term": {"_towpath_deleted": true}}]}}),
    ] {
        let alias = lab.fresh();
        let spec = AliasSpec { alias: alias.clone(), index: index.clone(), filter: Some(filter.clone()) };
        lab.index().put_alias(&spec).await?;
        put(lab, &index, "live", 1, &json!({"n": 1})).await?;
        put(lab, &index, "dead", 1, &json!({"_towpath_deleted": true})).await?;
        lab.index().refresh(&index).await?;
        ensure!(ids(lab, &alias, &all()).await? == ["live"], "{filter} shows {:?}", ids(lab, &alias, &all()).await?);
        ensure!(ids(lab, &index, &all()).await? == ["dead", "live"], "the index itself is filtered");
    }
    Ok(())
}

async fn alias_replaced(lab: &dyn ElasticsearchLab) -> Result<()> {
    let (old, new, alias) = (index(lab).await?, index(lab).await?, lab.fresh());
    put(lab, &old, "of-old", 1, &json!({})).await?;
    put(lab, &new, "of-new", 1, &json!({})).await?;
    for index in [&old, &new] {
        lab.index().refresh(index).await?;
        lab.index().put_alias(&AliasSpec { alias: alias.clone(), index: index.clone(), filter: None }).await?;
    }
    let found = ids(lab, &alias, &all()).await?;
    ensure!(found == ["of-new"], "{found:?}");
    Ok(())
}

async fn alias_write(lab: &dyn ElasticsearchLab) -> Result<()> {
    let (index, alias) = (index(lab).await?, lab.fresh());
    lab.index().put_alias(&AliasSpec { alias: alias.clone(), index: index.clone(), filter: None }).await?;
    is(&put(lab, &alias, "a", 1, &json!({})).await?, 201, None)?;
    ensure!(stored(lab, &index, "a").await?.is_some(), "not in the index behind the alias");
    Ok(())
}

async fn meta(lab: &dyn ElasticsearchLab) -> Result<()> {
    ensure!(lab.index().meta(&lab.fresh()).await?.is_none(), "an index that does not exist has _meta");
    let index = index_with(lab, true, json!({"_meta": {"a": 1}, "properties": {"n": {"type": "integer"}}})).await?;
    ensure!(lab.index().meta(&index).await? == Some(json!({"a": 1})), "not what it was created with");
    lab.index().put_meta(&index, &json!({"towpath": {"epoch": {"orders": 3}}})).await?;
    let found = lab.index().meta(&index).await?;
    ensure!(found == Some(json!({"towpath": {"epoch": {"orders": 3}}})), "{found:?}");
    is(&put(lab, &index, "a", 1, &json!({"n": "x"})).await?, 400, PARSING).context("the fields were replaced too")
}

async fn create_twice(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index(lab).await?;
    ensure!(!lab.index().create_index(&index, &lab.body(true, json!({}))).await?, "created twice");
    Ok(())
}

async fn bad_mapping(lab: &dyn ElasticsearchLab) -> Result<()> {
    let body = lab.body(true, json!({"properties": {"n": {"type": "no_such_type"}}}));
    let error = lab.index().create_index(&lab.fresh(), &body).await.err();
    ensure!(matches!(error, Some(IndexError::Rejected { status: 400, .. })), "{error:?}");
    Ok(())
}

async fn pages(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index_with(lab, true, json!({"properties": {"k": {"type": "keyword"}}})).await?;
    let source = json!({"k": "x"});
    let operations: Vec<BulkOp> = [3, 1, 10, 2].iter().map(|n| op(&index, &format!("{n}"), 1, Some(&source))).collect();
    lab.index().bulk(&operations).await?;
    lab.index().refresh(&index).await?;
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = lab.index().scan(&index, &json!({"term": {"k": "x"}}), after.as_deref(), 3).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        found.extend(page.into_iter().map(|(id, _)| id));
        ensure!(found.len() <= 4, "pages repeat: {found:?}");
    }
    ensure!(found == ["1", "10", "2", "3"], "{found:?}");
    Ok(())
}

async fn get_missing_index(lab: &dyn ElasticsearchLab) -> Result<()> {
    match lab.index().get(&lab.fresh(), "a", None).await {
        Err(IndexError::Other { status: 404, .. }) => Ok(()),
        other => bail!("{other:?}"),
    }
}

async fn stopped(lab: &dyn ElasticsearchLab) -> Result<()> {
    let index = index(lab).await?;
    lab.stop().await?;
    let result = put(lab, &index, "a", 1, &json!({})).await;
    lab.start().await?;
    let Err(error) = result else { bail!("a stopped cluster answers") };
    let unavailable = matches!(error.downcast_ref::<IndexError>(), Some(IndexError::Unavailable(_)));
    ensure!(unavailable, "{error:?}");
    is(&put(lab, &index, "a", 1, &json!({})).await?, 201, None)
}
