//! On the real servers, at random: tables of every type, rows and changes under every setting; what is decoded from the
//! binlog must be what SELECT says.
//!
//! The seed comes from `TOWPATH_SEED` and is printed. A table that differs is made smaller as long as it still does,
//! and printed as SQL to reproduce. `TOWPATH_TABLES` sets the number of tables of each server and run.

mod case;
mod compare;
mod random;
mod replay;
mod run;
mod settings;
mod types;
mod values;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use towpath_stack::Stack;

use case::{COLUMNS, Case, ROWS};
use random::Random;
use run::Server;
use types::{Family, Maker};

/// Bytes of a rows event; it can be set at a server's start only, so each half of the runs has a server of its own.
const EVENT_SIZES: [(&str, &[&str]); 2] = [("default", &[]), ("256", &["--binlog-row-event-max-size=256"])];
/// Runs of each server: each has settings of its own.
const RUNS: usize = 6;
/// Tables of a run: with [`COLUMNS`] columns each there is room for every type.
const TABLES: usize = 13;
/// Attempts at making a failing table smaller.
const ATTEMPTS: usize = 150;

/// Values compared, by type, then by setting and value.
type Histogram = BTreeMap<String, BTreeMap<(usize, &'static str), usize>>;

#[tokio::test(flavor = "multi_thread")]
async fn mysql_rows_are_what_select_says() -> Result<()> {
    all(Family::MySql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_rows_are_what_select_says() -> Result<()> {
    all(Family::MariaDb).await
}

async fn all(family: Family) -> Result<()> {
    let seed: u64 = std::env::var("TOWPATH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("{family:?}: seed {seed}");
    let mut random = Random::new(seed ^ if family == Family::MySql { 0 } else { 1 << 63 });
    let makers = types::all(family);
    let mut histogram = Histogram::new();
    let mut tables = 0;
    for (size, options) in EVENT_SIZES {
        // Nothing here must survive a crash of the machine.
        let options = [&["--sync-binlog=0", "--innodb-flush-log-at-trx-commit=0"], options].concat();
        let builder = match family {
            Family::MySql => Stack::builder().mysql().mysql_options(&options),
            Family::MariaDb => Stack::builder().mariadb().mariadb_options(&options),
        };
        let stack = builder.start().await?;
        let server = Server::new(match family {
            Family::MySql => stack.mysql()?.root_url(),
            Family::MariaDb => stack.mariadb()?.root_url(),
        })?;
        for (number, values) in settings::deal(family, RUNS, &mut random).into_iter().enumerate() {
            let cases = deal(&makers, &mut random);
            let under = under(family, &values, size);
            let place = || format!("seed {seed}, run {number}, {}", describe(&under));
            for (case, outcome) in cases.iter().zip(server.run(family, &values, &cases).await.with_context(place)?) {
                match outcome {
                    Ok(compared) => count(&mut histogram, case, &under, &compared),
                    Err(error) => bail!("{}\n{}", place(), smallest(&server, family, &values, case, error).await?),
                }
            }
            tables += cases.len();
        }
        stack.stop().await?;
    }
    report(&histogram, &makers, family, tables)
}

/// Every type once, then at random, dealt to the tables.
fn deal(makers: &[Maker], random: &mut Random) -> Vec<Case> {
    let room = TABLES * COLUMNS;
    assert!(makers.len() <= room, "{} types do not fit {room} columns", makers.len());
    let mut deck: Vec<&Maker> = makers.iter().collect();
    while deck.len() < room {
        deck.push(random.pick(makers));
    }
    random.shuffle(&mut deck);
    deck.chunks(COLUMNS).enumerate().map(|(at, makers)| Case::new(format!("t{at}"), makers, random)).collect()
}

/// The settings' names and values of a run.
fn under(family: Family, values: &[usize], size: &'static str) -> Vec<(&'static str, &'static str)> {
    let settings = settings::of(family).iter().zip(values);
    let mut under: Vec<_> = settings.map(|(setting, &value)| (setting.name, setting.values[value].0)).collect();
    under.push(("event size", size));
    under
}

fn describe(under: &[(&str, &str)]) -> String {
    let parts: Vec<String> = under.iter().map(|(name, value)| format!("{name} {value}")).collect();
    parts.join(", ")
}

fn count(histogram: &mut Histogram, case: &Case, under: &[(&'static str, &'static str)], compared: &[usize]) {
    for (column, values) in case.columns.iter().zip(compared) {
        for (setting, (_, value)) in under.iter().enumerate() {
            *histogram.entry(column.kind.clone()).or_default().entry((setting, value)).or_default() += values;
        }
    }
}

/// The failing table made as small as it still fails, in words and as SQL.
async fn smallest(
    server: &Server,
    family: Family,
    values: &[usize],
    case: &Case,
    mut error: anyhow::Error,
) -> Result<String> {
    let mut case = case.clone();
    let mut left = ATTEMPTS;
    'smaller: while left > 0 {
        for candidate in case.smaller() {
            left = left.saturating_sub(1);
            if left == 0 {
                break;
            }
            let outcome = server.run(family, values, std::slice::from_ref(&candidate)).await?;
            if let Some(Err(other)) = outcome.into_iter().next() {
                (case, error) = (candidate, other);
                continue 'smaller;
            }
        }
        break;
    }
    let statements = run::preparation(family, values).into_iter().chain(case.statements());
    let sql: String = statements.map(|statement| format!("{statement};\n")).collect();
    Ok(format!("{error:#}\nto reproduce:\n{sql}{};", case.question()))
}

/// Prints the histogram; fails if a cell is empty.
fn report(histogram: &Histogram, makers: &[Maker], family: Family, tables: usize) -> Result<()> {
    let settings = settings::of(family);
    let mut cells: Vec<(usize, &str)> = Vec::new();
    for (at, setting) in settings.iter().enumerate() {
        cells.extend(setting.values.iter().map(|(value, _)| (at, *value)));
    }
    cells.extend(EVENT_SIZES.iter().map(|(size, _)| (settings.len(), *size)));
    let names = |at: usize| settings.get(at).map_or("event size", |setting| setting.name);
    let heads: Vec<String> = cells.iter().map(|(at, value)| format!("{} {value}", names(*at))).collect();
    println!("{family:?}: {tables} tables of {ROWS} rows; values compared, by type and setting");
    println!("{:<20} {}", "", heads.join(" | "));
    let (mut empty, mut sum) = (0, 0);
    for maker in makers {
        let row = histogram.get(&maker.name);
        let counts: Vec<usize> =
            cells.iter().map(|cell| row.and_then(|row| row.get(cell)).copied().unwrap_or(0)).collect();
        let possible = |(at, value): &(usize, &str)| settings::may_meet(family, &maker.name, names(*at), value);
        empty += counts.iter().zip(&cells).filter(|(count, cell)| **count == 0 && possible(cell)).count();
        // Each value is in one cell of each setting.
        sum += counts.iter().sum::<usize>() / (settings.len() + 1);
        let shown: Vec<String> =
            counts.iter().zip(&heads).map(|(count, head)| format!("{count:>width$}", width = head.len())).collect();
        println!("{:<20} {}", maker.name, shown.join(" | "));
    }
    println!("{family:?}: {tables} tables, {sum} values equal, {empty} empty cells");
    ensure!(empty == 0, "{empty} cells of the histogram are empty");
    ensure!(tables >= 2 * RUNS * TABLES, "only {tables} tables");
    Ok(())
}
