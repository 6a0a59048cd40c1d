//! ALTER TABLE carried out on a definition, all clauses at once, as the server does: what is there is dropped, changed
//! or kept in its order first; then what has a place of its own is put or moved there, in the order of the clauses,
//! which may name columns by their new names only.

use super::TableDefinition;
use super::build;
use crate::schema::ddl::{Alter, ColumnSpec, DataType, Dialect, Place, Step, TextClause};
use crate::schema::{Column, TableSchema};

/// The definition after the statement, under its old name. `database`: the default collation of its database.
pub fn altered(
    before: &TableDefinition,
    alter: &Alter,
    database: Option<u16>,
    dialect: &Dialect,
) -> Result<TableDefinition, String> {
    let named = |text: &TextClause| build::collation(text, before.collation.or(database), dialect);
    let convert = match &alter.convert {
        // CONVERT TO CHARACTER SET DEFAULT.
        Some(text) if text.is_empty() => database,
        Some(text) => named(text)?,
        None => None,
    };
    if alter.convert.is_some() && convert.is_none() {
        return Err("the charset to convert to is not known".to_owned());
    }
    let default = if alter.text.is_empty() { convert.or(before.collation) } else { named(&alter.text)? };
    let made = |spec: &ColumnSpec| build::column(spec, default, convert, dialect);
    let changed = |from: &Column, spec: &ColumnSpec| {
        let mut column = made(spec)?;
        let bare = matches!(spec.data, DataType::Text(1..=3));
        if convert.is_some() && bare && !dialect.mariadb && dialect.version >= 80_000 {
            column.kind = build::refitted(from, column.collation)?;
        }
        Ok::<_, String>(column)
    };
    let kept = |column: &Column| match convert {
        Some(to) => build::converted(column, to, dialect),
        None => Ok(column.clone()),
    };
    let old = &before.schema.columns;
    let there = |name: &str| old.iter().any(|column| same(&column.name, name));
    for step in &alter.steps {
        let (name, optional) = match step {
            Step::Change { old, if_exists, .. } | Step::Rename { old, if_exists, .. } => (old, *if_exists),
            Step::Drop { name, if_exists } => (name, *if_exists),
            _ => continue,
        };
        if !optional && !there(name) {
            return Err(format!("it has no column `{name}` as far as is known"));
        }
    }
    let mut columns: Vec<Column> = Vec::with_capacity(old.len());
    // Names of the old columns from now on; `None`: dropped.
    let mut names: Vec<Option<String>> = Vec::with_capacity(old.len());
    for column in old {
        match fate(&alter.steps, &column.name) {
            Fate::Kept => {
                names.push(Some(column.name.clone()));
                columns.push(kept(column)?);
            }
            Fate::Dropped => names.push(None),
            Fate::Renamed(new) => {
                names.push(Some(new.to_owned()));
                columns.push(Column { name: new.to_owned(), ..kept(column)? });
            }
            // Also one that a clause moves: until then others may be put after it (MariaDB).
            Fate::Changed(spec) => {
                names.push(Some(spec.name.clone()));
                columns.push(changed(column, spec)?);
            }
        }
    }
    let mut primary: Vec<String> = before.schema.primary_key.iter().filter_map(|&at| names.get(at)?.clone()).collect();
    if alter.steps.contains(&Step::DropPrimaryKey) {
        primary.clear();
    }
    for step in &alter.steps {
        match step {
            // A clause before this one may have added it.
            Step::Add { spec, if_not_exists: true, .. }
                if there(&spec.name) || columns.iter().any(|column| same(&column.name, &spec.name)) =>
            {
                continue;
            }
            Step::Change { old, if_exists, .. } if *if_exists && !there(old) => continue,
            Step::Add { spec, place, .. } => insert(&mut columns, made(spec)?, place)?,
            Step::Change { old: name, spec, place, .. } if *place != Place::Same => {
                columns.retain(|column| !same(&column.name, &spec.name));
                let from = old.iter().find(|column| same(&column.name, name));
                let column = from.map_or_else(|| made(spec), |from| changed(from, spec))?;
                insert(&mut columns, column, place)?;
            }
            Step::AddPrimaryKey(key) => primary = key.clone(),
            _ => {}
        }
        if let Step::Add { spec, .. } | Step::Change { spec, .. } = step
            && spec.primary
        {
            primary = vec![spec.name.clone()];
        }
    }
    let collation = default;
    let schema = with_key(before.schema.database.clone(), before.schema.table.clone(), columns, &primary)?;
    Ok(TableDefinition { schema, collation })
}

enum Fate<'a> {
    Kept,
    Dropped,
    Renamed(&'a str),
    Changed(&'a ColumnSpec),
}

/// What the clauses do to a column that is there.
fn fate<'a>(steps: &'a [Step], name: &str) -> Fate<'a> {
    let dropped = steps.iter().any(|step| matches!(step, Step::Drop { name: gone, .. } if same(gone, name)));
    if dropped {
        return Fate::Dropped;
    }
    for step in steps {
        match step {
            Step::Change { old, spec, .. } if same(old, name) => return Fate::Changed(spec),
            Step::Rename { old, new, .. } if same(old, name) => return Fate::Renamed(new),
            _ => {}
        }
    }
    Fate::Kept
}

fn insert(columns: &mut Vec<Column>, column: Column, place: &Place) -> Result<(), String> {
    let at = match place {
        Place::Same => columns.len(),
        Place::First => 0,
        Place::After(name) => {
            let found = columns.iter().position(|column| same(&column.name, name));
            1 + found.ok_or_else(|| format!("it has no column `{name}` as far as is known"))?
        }
    };
    columns.insert(at, column);
    Ok(())
}

/// A schema with its key's columns found, which are never NULL.
pub fn with_key(
    database: String,
    table: String,
    mut columns: Vec<Column>,
    primary: &[String],
) -> Result<TableSchema, String> {
    let mut primary_key = Vec::with_capacity(primary.len());
    for name in primary {
        let found = columns.iter().position(|column| same(&column.name, name));
        let at = found.ok_or_else(|| format!("its primary key's column `{name}` is not known"))?;
        columns[at].nullable = false;
        primary_key.push(at);
    }
    Ok(TableSchema { database, table, columns, primary_key })
}

/// Columns' names are compared without case on every server.
pub fn same(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}
