//! The source: who it is, its settings and privileges, the captured tables.

use towpath_engine::cause::{Cause, Stop};
use towpath_engine::deployer::{PartitionBy, epoch, settings};
use towpath_engine::ports::source::{Flavor, ServerIdentity, SourceError};
use towpath_engine::schema::{Column, ColumnType, TableSchema};
use towpath_engine::state::PipelineState;

use super::report::Part;
use crate::config::{Pipeline, nearest};

/// Lines to paste for a user that the source refuses.
pub fn account(error: &SourceError, pipeline: &Pipeline) -> Vec<String> {
    if !matches!(error, SourceError::Denied(_)) {
        return Vec::new();
    }
    let user = &pipeline.source.server.user;
    let mut lines = vec![format!("CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED BY '…';")];
    lines.push(format!("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{user}'@'%';"));
    lines.extend(databases(pipeline).map(|database| format!("GRANT SELECT ON {database}.* TO '{user}'@'%';")));
    lines
}

/// The databases that the patterns name, `*` as MySQL's grants write it.
fn databases(pipeline: &Pipeline) -> impl Iterator<Item = String> {
    let patterns = pipeline.deployer.tables.patterns().iter();
    let mut names: Vec<String> =
        patterns.filter_map(|pattern| pattern.split_once('.')).map(|(name, _)| name.to_owned()).collect();
    names.sort();
    names.dedup();
    names.into_iter().map(|name| match name.as_str() {
        "*" => "*".to_owned(),
        name => format!("`{}`", name.replace('_', "\\_").replace('*', "%").replace('?', "_")),
    })
}

/// Who answers, and what of its settings and the user's privileges is missing.
pub fn identity(pipeline: &Pipeline, server: &ServerIdentity, part: &mut Part) {
    let flavor = match server.flavor {
        Flavor::MySql => "MySQL",
        Flavor::MariaDb => "MariaDB",
    };
    part.info(format!(
        "{flavor} {} answers, server_uuid {}, server_id {}",
        server.version, server.server_uuid, server.server_id
    ));
    part.info(format!(
        "binlog_format={}, binlog_row_image={}, binlog_row_metadata={}, GTIDs {}",
        server.binlog_format,
        server.row_image,
        if server.row_metadata.is_empty() { "unknown" } else { &server.row_metadata },
        if server.gtid_mode { "on" } else { "off" },
    ));
    for stop in settings::findings(server, &pipeline.deployer) {
        let paste = statement(&stop.detail);
        part.problem(stop, paste);
    }
    if server.log_bin && server.row_metadata != "FULL" {
        part.warning(
            "the binlog does not name columns: they are read from information_schema at the first start, and a later \
             change of a captured table stops the pipeline (schema-changed)",
            vec!["SET PERSIST binlog_row_metadata = FULL;".to_owned()],
        );
    }
    if !pipeline.deployer.whole_rows && settings::partial_rows(server).is_some() {
        part.warning(
            "rows arrive without all their columns: records leave out what is unknown, and a row that comes without its \
             partition's columns stops the pipeline (partial-row)",
            vec!["SET PERSIST binlog_row_image = FULL;".to_owned()],
        );
    }
    if pipeline.deployer.semi_sync {
        semi_sync(server, part);
    }
    if !server.gtid_mode && server.log_bin {
        let paste = match server.flavor {
            Flavor::MySql => {
                vec!["SET PERSIST enforce_gtid_consistency = ON; -- then gtid_mode step by step to ON".to_owned()]
            }
            Flavor::MariaDb => Vec::new(),
        };
        part.warning("without GTIDs a position means nothing on another server: there is no failover", paste);
    }
}

/// Whether the source asks for the acknowledgements that it is to get, and what it means that it does.
fn semi_sync(server: &ServerIdentity, part: &mut Part) {
    let of_source = |name: &str| match server.flavor {
        Flavor::MySql => format!("rpl_semi_sync_source_{name}"),
        Flavor::MariaDb => format!("rpl_semi_sync_master_{name}"),
    };
    let Some(source) = &server.semi_sync else {
        return part.warning(
            "semi_sync is set, but the source has no semi-synchronous replication: its commits wait for nobody",
            vec!["INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so';".to_owned()],
        );
    };
    if !source.enabled {
        part.warning(
            "semi_sync is set, but semi-synchronous replication is switched off on the source: its commits wait for nobody",
            vec![format!("SET GLOBAL {} = ON;", of_source("enabled"))],
        );
    }
    if !source.lossless {
        part.warning(
            "other sessions see a transaction before it is acknowledged: one that was seen may be lost by a failover",
            vec![format!("SET GLOBAL {} = AFTER_SYNC;", of_source("wait_point"))],
        );
    }
    let (replicas, seconds) = (source.replicas, source.timeout.as_secs_f32());
    part.info(format!(
        "a commit waits for {replicas} replica{}, at most {seconds} s; then the source goes on asynchronously",
        if replicas == 1 { "" } else { "s" }
    ));
    let alone = match server.flavor {
        Flavor::MySql => vec![format!("SET PERSIST {} = {};", of_source("wait_for_replica_count"), replicas + 1)],
        Flavor::MariaDb => Vec::new(),
    };
    let counts = format!("semi_sync: Towpath counts among the {replicas} that the source waits for");
    if replicas == 1 {
        part.warning(
            format!(
                "{counts}: a commit may be confirmed by Towpath alone, so that no standby has it; a failover then loses \
                 it at the source although documents show it"
            ),
            alone,
        );
    } else {
        part.warning(format!("{counts}: so many standbys less have a commit for certain"), alone);
    }
}

/// The statement within a finding's sentence, as a line to paste.
fn statement(detail: &str) -> Vec<String> {
    let found = ["SET PERSIST ", "GRANT "].iter().find_map(|start| detail.find(start));
    let line = found.map(|at| detail[at..].split(" (").next().unwrap_or_default().trim_end_matches('.').to_owned());
    line.map(|line| format!("{line};")).into_iter().collect()
}

/// Whether a first start can begin where it is told to.
pub fn start(
    pipeline: &Pipeline,
    (server, standbys): (&ServerIdentity, &[Result<ServerIdentity, SourceError>]),
    state: Option<&PipelineState>,
    part: &mut Part,
) {
    match (state, &pipeline.deployer.start) {
        (Some(state), _) if state.epoch.number > 0 && state.epoch.server != server.server_uuid => {
            let began_on = &state.epoch.server;
            let place = standbys.iter().position(|one| one.as_ref().is_ok_and(|one| one.server_uuid == *began_on));
            let detail = format!("the source is {}, the epoch was begun on {began_on}", server.server_uuid);
            match place {
                Some(place) => part.info(format!("{detail}, which is standby {}: it is read", place + 1)),
                None => part.problem(Stop::new(Cause::OtherServer, detail), Vec::new()),
            }
        }
        (None, Some(start)) => match epoch::anchor(start, server) {
            Ok(_) => part.info("the source has all that follows the first start's position"),
            Err(stop) => part.problem(stop, Vec::new()),
        },
        _ => {}
    }
}

/// The captured tables: that there are some, that each has a key and the partition's columns, and where Canal differs.
pub fn tables(pipeline: &Pipeline, tables: &[TableSchema], part: &mut Part) {
    for pattern in pipeline.deployer.tables.patterns() {
        if !tables.iter().any(|table| matches(pattern, table)) {
            let names: Vec<String> = tables.iter().map(full_name).collect();
            let hint = nearest(pattern, names.iter().map(String::as_str)).map(|near| format!("; did you mean {near}?"));
            let detail = format!(
                "source.tables has {pattern}, but the source shows no such table (or no SELECT on it){}",
                hint.unwrap_or_default()
            );
            if pattern.contains(['*', '?']) {
                part.warning(detail, Vec::new());
            } else {
                part.problem(Stop::new(Cause::Config, detail), Vec::new());
            }
        }
    }
    for table in tables {
        one_table(pipeline, table, part);
    }
    let differs: Vec<String> = tables.iter().flat_map(canal_differs).collect();
    if !differs.is_empty() && !pipeline.deployer.canal_quirks {
        part.info(format!("values that Canal writes differently: {}", differs.join(", ")));
    }
}

fn one_table(pipeline: &Pipeline, table: &TableSchema, part: &mut Part) {
    let name = full_name(table);
    if table.primary_key.is_empty() {
        let detail = format!("table {name} has no primary key: its rows cannot be told apart");
        part.problem(Stop::new(Cause::NoPrimaryKey, detail), vec![format!("ALTER TABLE {name} ADD PRIMARY KEY (…);")]);
    }
    let PartitionBy::Columns(columns) = &pipeline.deployer.partition_by else { return };
    for column in columns.iter().filter(|column| table.column_index(column).is_none()) {
        let hint = nearest(column, table.columns.iter().map(|column| column.name.as_str()));
        let hint = hint.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        let detail = format!("kafka.partition_by names {column}, which table {name} does not have{hint}");
        part.problem(Stop::new(Cause::Config, detail), Vec::new());
    }
}

/// Columns whose text is not Canal's (design §5): ENUM and SET by name instead of by number, TIMESTAMP in UTC instead
/// of the Canal server's zone, GEOMETRY and VECTOR as text instead of bytes, text by its column's charset instead of
/// one
/// for all.
fn canal_differs(table: &TableSchema) -> Vec<String> {
    let differs = |column: &&Column| match &column.kind {
        ColumnType::Enum { .. } | ColumnType::Set { .. } | ColumnType::Timestamp { .. } => true,
        ColumnType::Geometry | ColumnType::Vector => true,
        ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Blob { .. } => {
            use towpath_engine::schema::charset::{BINARY, Charset};
            column.collation.is_some_and(|id| id != BINARY && Charset::of(id) != Some(Charset::UTF8))
        }
        _ => false,
    };
    table.columns.iter().filter(differs).map(|column| format!("{}.{}", full_name(table), column.name)).collect()
}

fn full_name(table: &TableSchema) -> String {
    format!("{}.{}", table.database, table.table)
}

fn matches(pattern: &str, table: &TableSchema) -> bool {
    use towpath_engine::deployer::TableFilter;
    TableFilter::new([pattern]).is_ok_and(|filter| filter.accepts(&table.database, &table.table))
}
