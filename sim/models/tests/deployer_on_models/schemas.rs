//! Definitions followed through statements where the binlog does not name columns: whatever is restarted and whenever,
//! the rows are the same; a table that is not understood holds its own rows up and nobody else's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use towpath_engine::cause::Cause;
use towpath_engine::deployer::resolve::{Rows, resolve};
use towpath_engine::deployer::store::Store;
use towpath_engine::deployer::{DeployerConfig, Fencing, Start};
use towpath_engine::ports::coordinator::CoordinatorFactory;
use towpath_engine::schema::catalog::TableDefinition;
use towpath_engine::schema::{Column, ColumnType, TableSchema};
use towpath_models::mysql::{MySqlConfig, RowOp, Value};

use super::harness::{World, assert_stop, mysql_config, schema};

fn unnamed() -> World {
    World::with(MySqlConfig { row_metadata_full: false, ..mysql_config() })
}

fn number(name: &str) -> Column {
    Column { name: name.into(), kind: ColumnType::BigInt, unsigned: false, nullable: true, collation: None }
}

/// Statements, and the table's columns after each.
fn chain() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        ("ALTER TABLE order_main ADD COLUMN a BIGINT AFTER id", vec!["id", "a", "number", "note"]),
        ("ALTER TABLE order_main CHANGE a b BIGINT FIRST, ADD c BIGINT", vec!["b", "id", "number", "note", "c"]),
        ("ALTER TABLE order_main RENAME COLUMN b TO a, DROP c", vec!["a", "id", "number", "note"]),
        ("ALTER TABLE order_main MODIFY number BIGINT FIRST", vec!["number", "a", "id", "note"]),
        ("ALTER TABLE order_main CHANGE a c BIGINT, CHANGE number a BIGINT", vec!["a", "c", "id", "note"]),
        ("ALTER TABLE order_main DROP a, ADD a BIGINT", vec!["c", "id", "note", "a"]),
    ]
}

fn table(columns: &[&str]) -> TableSchema {
    let known = schema("order_main");
    let column = |name: &&str| known.columns.iter().find(|column| column.name == **name).cloned();
    let columns: Vec<Column> = columns.iter().map(|name| column(name).unwrap_or_else(|| number(name))).collect();
    let primary_key = vec![columns.iter().position(|column| column.name == "id").unwrap()];
    TableSchema { columns, primary_key, ..known }
}

/// Runs the statement and inserts a row whose values tell their columns.
fn step(world: &mut World, at: usize, sql: &str, columns: &[&str]) {
    let after = table(columns);
    world.mysql.alter_table(after.clone(), sql, &|_| (0..after.columns.len()).map(|_| Value::Null).collect()).unwrap();
    insert(world, at as i64, &after);
}

fn insert(world: &mut World, id: i64, table: &TableSchema) {
    let value = |(at, column): (usize, &Column)| match column.name.as_str() {
        "id" => Value::Int(id),
        "note" => Value::Text(format!("note {id}")),
        _ => Value::Int(id * 100 + at as i64),
    };
    let row = table.columns.iter().enumerate().map(value).collect();
    world.mysql.commit(&[RowOp::insert("orders", &table.table, row)]).unwrap();
}

/// The rows of all records, with their names, in any order and once.
fn rows(world: &World) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    for record in world.kafka.records("orders") {
        let message: serde_json::Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
        for row in message["data"].as_array().into_iter().flatten() {
            let values = row.as_object().unwrap().iter();
            // Whatever the order of the map's fields.
            let values: BTreeMap<&str, &str> =
                values.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or("null"))).collect();
            let values: Vec<String> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
            rows.insert(format!("{}: {}", message["table"].as_str().unwrap(), values.join(" ")));
        }
    }
    rows
}

fn config(world: &World, instance: u32, start: Start, checkpoint: Duration) -> DeployerConfig {
    let mut config = world.config(instance, Fencing::Transactions);
    config.start = Some(start);
    config.checkpoint_interval = checkpoint;
    config
}

/// Runs the chain with a restart at a point; `None`: without one.
async fn run(start: Start, restart: Option<usize>, kill: bool, checkpoint: Duration) -> BTreeSet<String> {
    let mut world = unnamed();
    let mut running = world.start(config(&world, 1, start.clone(), checkpoint));
    running.leads().await;
    insert(&mut world, 1_000, &schema("order_main"));
    for (at, (sql, columns)) in chain().into_iter().enumerate() {
        if restart == Some(at) {
            if kill {
                running.kill().await;
            } else {
                running.drain().await;
            }
            step(&mut world, at + 1, sql, &columns);
            running = world.start(config(&world, 2, start.clone(), checkpoint));
            running.leads().await;
        } else {
            step(&mut world, at + 1, sql, &columns);
        }
        let expected = at + 2;
        world.until("the row is in the log", |world| rows(world).len() >= expected).await;
    }
    running.drain().await;
    rows(&world)
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_a_chain_of_statements_changes_no_row() {
    let (often, never) = (Duration::from_millis(50), Duration::from_secs(100_000));
    let whole = run(Start::Now, None, false, often).await;
    assert_eq!(whole.len(), chain().len() + 1);
    let last = "order_main: a=603 c=600 id=6 note=note 6";
    assert!(whole.contains(last), "{whole:#?}");
    for restart in 0..chain().len() {
        for (kill, checkpoint) in [(false, often), (true, often), (true, never)] {
            for start in [Start::Now, Start::Oldest] {
                let found = run(start, Some(restart), kill, checkpoint).await;
                assert_eq!(found, whole, "restart at {restart}, kill {kill}, checkpoint {checkpoint:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_rises_goes_back_to_the_definitions_at_its_anchor() {
    let mut world = unnamed();
    let replica = world.add_replica(2);
    replica.configure(|config| config.row_metadata_full = false);
    let running = world.start(config(&world, 1, Start::Now, Duration::from_millis(50)));
    running.leads().await;
    let mut chain = chain().into_iter().enumerate();
    for _ in 0..2 {
        let (at, (sql, columns)) = chain.next().unwrap();
        step(&mut world, at + 1, sql, &columns);
        world.until_checkpointed().await;
    }
    replica.catch_up().unwrap();
    // Carried, and lost with the primary: definitions that never were on the replica.
    for (at, (sql, columns)) in chain {
        step(&mut world, at + 1, sql, &columns);
        world.until_checkpointed().await;
    }
    world.fail_over_to(&replica);
    let sql = "ALTER TABLE order_main DROP note, ADD d BIGINT FIRST";
    step(&mut world, 9, sql, &["d", "b", "id", "number", "c"]);
    world.until_settled().await;
    assert_eq!((world.state().unwrap().epoch.number, running.metric("towpath_tables_held")), (2, 0));
    let found = rows(&world);
    assert!(found.contains("order_main: b=901 c=904 d=900 id=9 number=903"), "{found:#?}");
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn from_the_oldest_transaction_on_the_binlogs_own_statements_serve() {
    let mut world = unnamed();
    insert(&mut world, 7, &schema("order_main"));
    step(&mut world, 8, "ALTER TABLE order_main ADD a BIGINT", &["id", "number", "note", "a"]);
    let running = world.start(config(&world, 1, Start::Oldest, Duration::from_secs(1)));
    world.until("both rows are in the log", |world| rows(world).len() == 2).await;
    running.drain().await;
    // Without them the named cause.
    let mut world = unnamed();
    world.mysql.rotate();
    let last = world.mysql.binlog_files().pop().unwrap().0;
    world.mysql.purge_to(&last).unwrap();
    insert(&mut world, 7, &schema("order_main"));
    let stop = world.stops(config(&world, 1, Start::Oldest, Duration::from_secs(1))).await;
    assert_stop(&stop, Cause::SchemaMismatch, "orders.order_main");
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_not_understood_holds_only_its_own_rows() {
    let mut world = unnamed();
    let other = TableSchema { table: "other".into(), ..schema("order_main") };
    world.mysql.create_table(other.clone()).unwrap();
    let often = Duration::from_millis(50);
    let running = world.start(config(&world, 1, Start::Now, often));
    running.leads().await;
    insert(&mut world, 1, &schema("order_main"));
    // Tables that nobody captures never matter.
    world.mysql.statement("elsewhere", "ALTER TABLE t ADD order_main KLINGON");
    world.mysql.statement("elsewhere", "CREATE TABLE t (a KLINGON)");
    step(&mut world, 2, "ALTER TABLE order_main ADD more KLINGON", &["id", "number", "note", "more"]);
    insert(&mut world, 3, &other);
    world.until_checkpointed().await;
    let held = running.status().held;
    assert!(held.len() == 1 && held[0].cause == Cause::SchemaChanged, "{held:?}");
    assert!(held[0].detail.contains("orders.order_main") && held[0].detail.contains("KLINGON"), "{held:?}");
    assert_eq!((rows(&world).len(), running.metric("towpath_tables_held")), (2, 1));
    running.drain().await;
    // So it stays in the next life.
    let running = world.start(config(&world, 2, Start::Now, often));
    running.leads().await;
    step(&mut world, 4, "ALTER TABLE order_main DROP number", &["id", "note", "more"]);
    insert(&mut world, 5, &other);
    world.until_checkpointed().await;
    assert_eq!((rows(&world).len(), running.metric("towpath_tables_held")), (3, 1));
    // With its definition all of its rows come, by their names at their time.
    let definition = TableDefinition { schema: table(&["id", "number", "note", "more"]), collation: Some(255) };
    decide(&world, definition, Rows::Replay).await;
    world.until("the held rows are in the log", |world| rows(world).len() == 5).await;
    world.until_checkpointed().await;
    let found = rows(&world);
    for row in ["order_main: id=2 more=203 note=note 2 number=201", "order_main: id=4 more=402 note=note 4"] {
        assert!(found.contains(row), "{row} in {found:#?}");
    }
    assert!(world.state().unwrap().schemas.is_some_and(|s| s.quarantine.is_empty() && s.orders.is_empty()));
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn rows_that_contradict_the_definition_are_held_and_can_be_given_up() {
    let mut world = unnamed();
    let running = world.start(config(&world, 1, Start::Now, Duration::from_millis(50)));
    running.leads().await;
    // The statement says one column more than the rows have.
    world.mysql.statement("orders", "ALTER TABLE order_main ADD COLUMN more INT");
    insert(&mut world, 1, &schema("order_main"));
    world.until_checkpointed().await;
    let held = running.status().held;
    assert!(held.len() == 1 && held[0].cause == Cause::SchemaMismatch, "{held:?}");
    decide(&world, TableDefinition { schema: schema("order_main"), collation: Some(255) }, Rows::Discard).await;
    world
        .until("nothing is held", |world| {
            world
                .state()
                .and_then(|state| state.schemas)
                .is_some_and(|s| s.quarantine.is_empty() && s.orders.is_empty())
        })
        .await;
    insert(&mut world, 2, &schema("order_main"));
    world.until("the next row is in the log", |world| rows(world).len() == 1).await;
    running.drain().await;
}

/// Decides as a person would, while a deployer leads.
async fn decide(world: &World, definition: TableDefinition, rows: Rows) {
    loop {
        let coordinator = world.zookeeper.factory("/towpath", "orders").connect().await.unwrap();
        let mut store = Store::open(coordinator.into(), None).await.unwrap();
        let mut state = store.state().unwrap().unwrap();
        resolve(&mut state, definition.clone(), rows, 1).expect("the table's rows are held");
        // The leader's checkpoint may come between.
        if store.write(&mut state).await.is_ok() {
            return;
        }
    }
}
