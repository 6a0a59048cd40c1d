//! `towpath schema show|resolve`: tables whose rows are held, and what a person knows of them.
//!
//! Resolving changes the state; whoever leads notices, and begins again where the table's rows began to be held.

use serde_json::json;
use towpath_engine::cause::{Cause, Stop};
use towpath_engine::deployer::resolve::{Rows, held, resolve};
use towpath_engine::ports::coordinator::{Coordinator, CoordinatorError};
use towpath_engine::ports::source::Flavor;
use towpath_engine::schema::catalog::{Book, Catalog, Effect, Setting, TableDefinition};
use towpath_engine::schema::ddl::{self, Dialect};
use towpath_engine::state::{self, PipelineState, Quarantine};

use super::position::{chosen, connect, one, unavailable, write};
use crate::admin::board::wall_ms;
use crate::cli::{ResolveArgs, SchemaCommand, ShowArgs};
use crate::config::{self, Pipeline};
use crate::exit::Failure;
use crate::output;
use crate::services::Services;

/// A leader writes its checkpoint in between at most so often.
const ATTEMPTS: usize = 10;

/// Carries it out.
pub fn schema(command: &SchemaCommand) -> Result<(), Failure> {
    super::block_on(async {
        match command {
            SchemaCommand::Show(args) => show(args).await,
            SchemaCommand::Resolve(args) => resolve_table(args).await,
        }
    })
}

async fn show(args: &ShowArgs) -> Result<(), Failure> {
    let config = config::load(&args.config.config)?;
    let mut shown = Vec::new();
    for pipeline in chosen(&config, args.pipeline.as_deref())? {
        let services = Services::new(pipeline)?;
        let coordinator = connect(pipeline, &services).await?;
        let state = read(pipeline, coordinator.as_ref()).await?.map(|(state, ..)| state);
        let schemas = state.as_ref().and_then(|state| state.schemas.as_ref());
        let held = schemas.map_or(&[][..], |schemas| &schemas.quarantine);
        if !args.json {
            output::text(&text(pipeline, schemas.is_some(), held));
        }
        shown.push(json!({
            "pipeline": pipeline.name,
            "followed": schemas.is_some(),
            "history": schemas.map(|schemas| &schemas.history),
            "held": held,
        }));
    }
    if args.json {
        output::line(json!({ "pipelines": shown }));
    }
    Ok(())
}

/// The held tables of one pipeline, for people.
fn text(pipeline: &Pipeline, followed: bool, held: &[Quarantine]) -> String {
    let mut out = format!("pipeline {}\n", pipeline.name);
    if !followed {
        out += "  the binlog names the columns: no definitions are kept\n";
    } else if held.is_empty() {
        out += "  no table's rows are held\n";
    }
    for entry in held {
        let name = format!("{}.{}", entry.database, entry.table);
        out += &format!("  {name}: rows held since transaction {} ({})\n", entry.transaction, entry.cause);
        out += &format!("    {}\n", entry.detail);
        out += &format!("    to resolve: towpath schema resolve --table {name} --define CREATE_TABLE.sql\n");
        out += "    (--from-source if no statement has changed it since; --discard gives the held rows up)\n";
    }
    out
}

type Read = (PipelineState, (Vec<u8>, i32), Option<i32>);

async fn read(pipeline: &Pipeline, coordinator: &dyn Coordinator) -> Result<Option<Read>, Failure> {
    let failed = |error: CoordinatorError| Failure::from(unavailable(&pipeline.name, &error));
    let Some((bytes, version)) = coordinator.read(state::NODE).await.map_err(failed)? else { return Ok(None) };
    let previous = coordinator.read(state::PREVIOUS).await.map_err(failed)?.map(|(_, version)| version);
    Ok(Some((state::decode(&bytes)?, (bytes, version), previous)))
}

async fn resolve_table(args: &ResolveArgs) -> Result<(), Failure> {
    let config = config::load(&args.config.config)?;
    let pipeline = one(&config, args.pipeline.as_deref())?;
    let (database, table) = args
        .table
        .split_once('.')
        .ok_or_else(|| Failure::Usage(format!("--table {} is not DATABASE.TABLE", args.table)))?;
    let services = Services::new(pipeline)?;
    let coordinator = connect(pipeline, &services).await?;
    let definition = definition(args, &services, database, table).await?;
    if definition.schema.primary_key.is_empty() {
        return Err(Stop::new(Cause::NoPrimaryKey, format!("{} would have no primary key", args.table)).into());
    }
    let rows = if args.discard { Rows::Discard } else { Rows::Replay };
    for _ in 0..ATTEMPTS {
        let Some((mut state, current, previous)) = read(pipeline, coordinator.as_ref()).await? else {
            return Err(Failure::Other(format!("pipeline {} has no state", pipeline.name)));
        };
        if let Some(entry) = held(&state, database, table).filter(|_| rows == Rows::Replay) {
            reachable(&services, entry).await?;
        }
        let Some(what) = resolve(&mut state, definition.clone(), rows, wall_ms()) else {
            let message = format!("pipeline {}: no rows of {} are held", pipeline.name, args.table);
            return Err(Failure::Other(message));
        };
        if !args.dry_run {
            match write(coordinator.as_ref(), state, Some(current), previous).await {
                Ok(()) => {}
                // The leader wrote its checkpoint: look again.
                Err(Err(CoordinatorError::Conflict)) => continue,
                Err(failed) => {
                    let stop = failed.unwrap_or_else(|error| unavailable(&pipeline.name, &error));
                    return Err(stop.into());
                }
            }
        }
        report(args, pipeline, &what, &definition);
        return Ok(());
    }
    Err(Failure::Other(format!("pipeline {}: the state changes too fast; try again", pipeline.name)))
}

fn report(args: &ResolveArgs, pipeline: &Pipeline, what: &str, definition: &TableDefinition) {
    if args.json {
        output::line(json!({
            "pipeline": pipeline.name, "what": what, "written": !args.dry_run, "dry_run": args.dry_run,
            "definition": definition,
        }));
        return;
    }
    let dry = if args.dry_run { " (dry run: nothing written)" } else { "" };
    output::line(format_args!("pipeline {}: {what}{dry}", pipeline.name));
    let schema = &definition.schema;
    for (at, column) in schema.columns.iter().enumerate() {
        let key = if schema.primary_key.contains(&at) { ", key" } else { "" };
        output::line(format_args!("  {} {}{key}", column.name, column.mysql_type()));
    }
}

/// The definition that a person gives.
async fn definition(
    args: &ResolveArgs,
    services: &Services,
    database: &str,
    table: &str,
) -> Result<TableDefinition, Failure> {
    let source = services.source.as_ref();
    let failed = |error| Failure::from(Stop::new(Cause::SourceUnavailable, format!("{error}")));
    let snapshot = source.table_schemas(&|d, t| (d, t) == (database, table)).await.map_err(failed)?;
    let book = snapshot.book();
    let Some(file) = &args.definition.define else {
        return book.tables.into_iter().next().ok_or_else(|| {
            Failure::Other(format!("the source has no table {}, or its user may not see it", args.table))
        });
    };
    let sql = std::fs::read_to_string(file).map_err(|error| Failure::Other(format!("{}: {error}", file.display())))?;
    let server = source.identify().await.map_err(failed)?;
    let version = server.version.split(|c: char| !c.is_ascii_digit()).take(3);
    let version = version.fold(0, |number, part| number * 100 + part.parse::<u32>().unwrap_or(0));
    let dialect = if server.flavor == Flavor::MariaDb { Dialect::mariadb(version) } else { Dialect::mysql(version) };
    let unread = |why: String| Failure::Other(format!("{}: {why}", file.display()));
    let statement = sql.trim().trim_end_matches(';');
    let read = ddl::parse(statement, &dialect).map_err(|why| unread(why.to_string()))?;
    let catalog = Catalog::at(Book { databases: book.databases, tables: Vec::new() }, snapshot.fold_names);
    let setting = Setting { database, dialect: &dialect, follows: &|_| true };
    let effects = read.map(|ddl| catalog.plan(&ddl, &setting)).unwrap_or_default();
    match effects.into_iter().next() {
        Some(Effect::Define(mut definition)) => {
            definition.schema.database = database.to_owned();
            definition.schema.table = table.to_owned();
            Ok(definition)
        }
        Some(Effect::Unclear { why, .. }) => Err(unread(why)),
        _ => Err(unread("it holds no CREATE TABLE".to_owned())),
    }
}

/// Whether the source still has what the held rows are read again from.
async fn reachable(services: &Services, entry: &Quarantine) -> Result<(), Failure> {
    use towpath_engine::deployer::{Start, epoch};
    use towpath_engine::position::Position;
    let server = services.source.identify().await;
    let server = server.map_err(|error| Failure::from(Stop::new(Cause::SourceUnavailable, format!("{error}"))))?;
    let start = match &entry.resume.resume {
        Position::Gtid(set) => Start::Gtid(set.clone()),
        Position::File(at) => Start::File(at.clone()),
        // Asked by the leader: the source says itself whether it can.
        Position::MariaDb(_) => return Ok(()),
    };
    epoch::anchor(&start, &server).map(|_| ()).map_err(|stop| {
        let detail = format!("{}; --discard gives the held rows up", stop.detail);
        Failure::from(Stop::new(stop.cause, detail))
    })
}
