//! `[[pipeline.NAME.sink]]`: which rows become documents, where, and how.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use towpath_engine::adapter::condition;
use towpath_engine::adapter::config::{Deletes, FieldsConfig, OnDelete, SinkConfig, SourceConfig};
use towpath_engine::deployer::TableFilter;

use super::kafka::check_topic;
use super::pipeline::read_time_zone;
use super::reader::Section;
use super::text::{self, Secret};

/// One sink.
#[derive(Debug, Clone)]
pub struct Sink {
    /// What the adapter is told.
    pub config: SinkConfig,
    /// The line at which it starts.
    pub line: usize,
    /// The cluster.
    pub elasticsearch: Elasticsearch,
    /// The tables that feed it, as they are written.
    pub tables: Vec<String>,
    /// Whether each table's rank is given (needed when several pipelines write one index).
    pub ranked: bool,
}

/// A cluster and the account to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elasticsearch {
    /// `http://host:9200`, without account.
    pub urls: Vec<String>,
    /// The account, if any.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// An API key, instead of an account.
    pub api_key: Option<Secret>,
    /// The certificate authority to trust beside the system's.
    pub ca: Option<PathBuf>,
    /// The deadline of one request.
    pub timeout: Duration,
}

/// What a sink takes from its pipeline.
pub(super) struct Context<'a> {
    /// The pipeline's topic.
    pub topic: &'a str,
    /// The configuration's folder.
    pub folder: &'a Path,
    /// The pipeline's zone.
    pub time_zone: TimeZone,
}

/// Reads one sink; problems are noted in its section.
pub(super) fn read(section: Section<'_>, context: &Context<'_>) -> Option<Sink> {
    let name = read_name(&section);
    let elasticsearch = read_cluster(&section, context.folder);
    let index = read_index(&section);
    let (tables, sources, ranked) = read_sources(&section);
    let mut config =
        SinkConfig::new(name.clone().unwrap_or_default(), index.clone().unwrap_or_default(), "", context.topic);
    config.sources = sources;
    config.when = section.string("when").map(|text| text.value);
    if config.when.as_ref().is_some_and(|when| when.trim().is_empty()) {
        section.problem("when", "is empty: leave the key out to take every row");
    }
    if let Some(Err(stop)) = config.when.as_deref().filter(|when| !when.trim().is_empty()).map(condition::parse) {
        section.problem("when", stop.detail);
    }
    config.id = section.strings("id").into_iter().map(|text| text.value).collect();
    config.routing = section.string("routing").map(|text| text.value);
    config.deletes = section.choice("deletes", &[("soft", Deletes::Soft), ("hard", Deletes::Hard)], config.deletes);
    config.time_zone = read_time_zone(&section).unwrap_or_else(|| context.time_zone.clone());
    config.fields = read_fields(&section);
    read_bulk(&section, &mut config);
    read_create(&section, &mut config);
    read_dead_letter(&section, &mut config);
    let line = section.line();
    section.finish();
    name?;
    index?;
    Some(Sink { config, line, elasticsearch: elasticsearch?, tables, ranked })
}

fn read_name(section: &Section<'_>) -> Option<String> {
    let Some(name) = section.string("name") else {
        if !section.has("name") {
            section.missing("name", "name the sink, for example name = \"hot\"");
        }
        return None;
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.value.is_empty() || name.value.len() > 64 || !name.value.chars().all(legal) {
        section.problem("name", format!("\"{}\" is not a sink's name: 1 to 64 letters, digits, `_`, `-`", name.value));
    }
    Some(name.value)
}

/// Elasticsearch's own rule for names of indices and aliases, with room for `-v1`.
fn read_index(section: &Section<'_>) -> Option<String> {
    let Some(index) = section.string("index") else {
        if !section.has("index") {
            section.missing("index", "name the alias that queries use");
        }
        return None;
    };
    let value = &index.value;
    let bad = |c: char| c.is_uppercase() || c.is_whitespace() || "\\/*?\"<>|,#:".contains(c);
    if value.is_empty() || value.len() > 240 || value.starts_with(['-', '_', '+', '.']) || value.contains(bad) {
        section.problem(
            "index",
            format!("\"{value}\" is not an index' name: lower case, none of \\ / * ? \" < > | , # :"),
        );
    }
    Some(index.value)
}

/// `table` with `rank` and `on_delete` for all of them, or `[[…sink.source]]` with its own for each.
fn read_sources(section: &Section<'_>) -> (Vec<String>, Vec<SourceConfig>, bool) {
    let parts = section.sections("source");
    if !parts.is_empty() {
        for key in ["table", "rank", "on_delete"] {
            if section.has(key) {
                section.problem(key, "belongs into each `source` when there are several");
            }
        }
        let read: Vec<_> = parts.iter().map(read_source).collect();
        parts.into_iter().for_each(Section::finish);
        let ranked = read.iter().all(|(_, _, ranked)| *ranked);
        let (mut tables, mut sources) = (Vec::new(), Vec::new());
        for (names, configs, _) in read {
            tables.extend(names);
            sources.extend(configs);
        }
        return (tables, sources, ranked);
    }
    read_source(section)
}

fn read_source(section: &Section<'_>) -> (Vec<String>, Vec<SourceConfig>, bool) {
    if !section.has("table") {
        section.missing("table", "name the table (or tables) whose rows become documents");
    }
    let mut tables = Vec::new();
    for text in section.strings("table") {
        match TableFilter::new([text.value.clone()]) {
            Ok(_) => tables.push(text.value),
            Err(stop) => section.problem("table", stop.detail),
        }
    }
    let choices = [("delete", OnDelete::Delete), ("keep", OnDelete::Keep)];
    let on_delete = section.choice("on_delete", &choices, OnDelete::Delete);
    let rank = section.optional_integer("rank", 0..=3);
    let source = |table: &String| {
        let mut source = SourceConfig::new(table);
        source.on_delete = on_delete;
        source.rank = rank.unwrap_or(0) as u8;
        source
    };
    let sources = tables.iter().map(source).collect();
    (tables, sources, rank.is_some())
}

fn read_cluster(section: &Section<'_>, folder: &Path) -> Option<Elasticsearch> {
    let given = section.urls("elasticsearch");
    if given.is_empty() && !section.has("elasticsearch") {
        section.missing("elasticsearch", "for example elasticsearch = [\"http://es:9200\"]");
    }
    let mut user = section.string("user").map(|text| text.value);
    let mut password = section.secret("password");
    let api_key = section.secret("api_key");
    let mut urls = Vec::new();
    for text in &given {
        match cluster_url(&text.value) {
            Ok((url, account)) => {
                urls.push(url);
                if let Some((name, secret)) = account {
                    user.get_or_insert(name);
                    password.get_or_insert(Secret::new(secret));
                }
            }
            Err(why) => section.problem("elasticsearch", why),
        }
    }
    if api_key.is_some() && user.is_some() {
        section.problem("api_key", "and an account exclude each other");
    }
    let ca = section.string("ca").map(|text| folder.join(text.value));
    let allowed = Duration::from_secs(1)..=Duration::from_secs(600);
    let timeout = section.duration("timeout", allowed, Duration::from_secs(30));
    (!urls.is_empty()).then_some(Elasticsearch { urls, user, password, api_key, ca, timeout })
}

type Account = (String, String);

fn cluster_url(value: &str) -> Result<(String, Option<Account>), String> {
    let url = url::Url::parse(value).map_err(|_| "is not a URL, as in \"http://es:9200\"".to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err("must be http://HOST:PORT or https://HOST:PORT".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end after host, port and path".to_owned());
    }
    let account = (!url.username().is_empty())
        .then(|| (text::percent_decode(url.username()), text::percent_decode(url.password().unwrap_or_default())));
    let mut bare = url;
    // Neither fails for http and https, which have a host.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    Ok((bare.as_str().trim_end_matches('/').to_owned(), account))
}

/// `fields = ["a", "b"]` (only these), or `fields = { include = […], exclude = […], rename = { column = "field" } }`.
fn read_fields(section: &Section<'_>) -> FieldsConfig {
    if !section.is_table("fields") {
        let include = section.strings("fields").into_iter().map(|text| text.value).collect();
        return FieldsConfig { include, ..FieldsConfig::default() };
    }
    let Some(fields) = section.section("fields") else { return FieldsConfig::default() };
    let include: Vec<String> = fields.strings("include").into_iter().map(|text| text.value).collect();
    let exclude: Vec<String> = fields.strings("exclude").into_iter().map(|text| text.value).collect();
    if !include.is_empty() && !exclude.is_empty() {
        fields.problem("exclude", "and `include` exclude each other: what is not included is left out");
    }
    let rename: BTreeMap<String, String> = fields.section("rename").map_or_else(BTreeMap::new, |rename| {
        rename.named_strings().into_iter().map(|(column, field)| (column, field.value)).collect()
    });
    fields.finish();
    FieldsConfig { include, exclude, rename }
}

fn read_bulk(section: &Section<'_>, config: &mut SinkConfig) {
    let Some(bulk) = section.section("bulk") else { return };
    let to = &mut config.bulk;
    to.operations = bulk.integer("operations", 1..=100_000, to.operations as u64) as usize;
    to.bytes = bulk.size("bytes", (1 << 10)..=(100 << 20), to.bytes as u64) as usize;
    to.linger = bulk.duration("linger", Duration::ZERO..=Duration::from_secs(60), to.linger);
    to.concurrency = bulk.integer("concurrency", 1..=64, to.concurrency as u64) as usize;
    bulk.finish();
}

fn read_create(section: &Section<'_>, config: &mut SinkConfig) {
    let Some(create) = section.section("create") else { return };
    let allowed = Duration::from_millis(10)..=Duration::from_secs(3600);
    let refresh = create.duration("refresh_interval", allowed, config.create.refresh_interval);
    config.create.refresh_interval = refresh;
    if let Some(serde_json::Value::Object(settings)) = create.json("settings") {
        config.create.settings = settings;
    }
    if let Some(serde_json::Value::Object(mapping)) = create.json("mapping") {
        config.create.mapping = mapping.into_iter().collect();
    }
    create.finish();
}

fn read_dead_letter(section: &Section<'_>, config: &mut SinkConfig) {
    let Some(letters) = section.section("dead_letter") else { return };
    if let Some(topic) = letters.string("topic") {
        if let Err(why) = check_topic(&topic.value) {
            letters.problem("topic", why);
        }
        config.dead_letter = topic.value;
    }
    let most = letters.integer("most", 0..=u64::from(u32::MAX), u64::from(config.breaker.dead_letters));
    config.breaker.dead_letters = most as u32;
    let allowed = Duration::from_secs(1)..=Duration::from_secs(86_400);
    config.breaker.window = letters.duration("within", allowed, config.breaker.window);
    letters.finish();
}
