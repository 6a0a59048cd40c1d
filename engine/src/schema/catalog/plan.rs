//! What a statement does to a catalog.
//!
//! Must not change the catalog, nor fail: what cannot be told makes its table unclear, and says why.

use std::collections::BTreeMap;

use super::alter::{altered, with_key};
use super::build;
use super::{Catalog, Effect, Known, TableDefinition};
use crate::schema::TableSchema;
use crate::schema::ddl::{Alter, Create, Ddl, Definition, Dialect, TableName, TextClause};

/// How a statement is to be read.
pub struct Setting<'a> {
    /// The session's default database.
    pub database: &'a str,
    /// The statement's mode and server.
    pub dialect: &'a Dialect,
    /// Databases whose tables are followed.
    pub follows: &'a dyn Fn(&str) -> bool,
}

impl Setting<'_> {
    fn full(&self, name: &TableName) -> (String, String) {
        (name.database.clone().unwrap_or_else(|| self.database.to_owned()), name.table.clone())
    }

    fn follows(&self, (database, _): &(String, String)) -> bool {
        (self.follows)(database)
    }
}

fn unclear((database, table): (String, String), why: impl Into<String>) -> Effect {
    Effect::Unclear { database, table, why: why.into() }
}

fn forget((database, table): (String, String)) -> Effect {
    Effect::Forget { database, table }
}

impl Catalog {
    /// The effects of a statement that was read.
    pub fn plan(&self, ddl: &Ddl, setting: &Setting<'_>) -> Vec<Effect> {
        match ddl {
            Ddl::Create(create) => self.create(create, setting),
            Ddl::Alter(alter) => self.alter(alter, setting),
            Ddl::Rename(pairs) => self.rename(pairs, setting),
            Ddl::Drop(tables) => {
                let known = |name: &(String, String)| setting.follows(name) && self.table(&name.0, &name.1).is_some();
                tables.iter().map(|table| setting.full(table)).filter(known).map(forget).collect()
            }
            Ddl::Database { name, create, text } => self.database(name.as_deref(), *create, text, setting),
            Ddl::DropDatabase(name) if (setting.follows)(name) => vec![Effect::ForgetDatabase { name: name.clone() }],
            Ddl::DropDatabase(_) => Vec::new(),
        }
    }

    /// The effects of a statement on these tables that was not read.
    pub fn plan_unread(&self, targets: &[TableName], why: &str, setting: &Setting<'_>) -> Vec<Effect> {
        let names = targets.iter().map(|name| setting.full(name)).filter(|name| setting.follows(name));
        names.map(|name| unclear(name, why)).collect()
    }

    fn database(&self, name: Option<&str>, create: bool, text: &TextClause, setting: &Setting<'_>) -> Vec<Effect> {
        let name = name.unwrap_or(setting.database).to_owned();
        let known = self.databases.get(&self.folded(&name)).copied();
        // CREATE … IF NOT EXISTS of one that is there.
        if !(setting.follows)(&name) || (create && known.is_some()) || (!create && text.is_empty()) {
            return Vec::new();
        }
        let default = if create { setting.dialect.server_collation } else { known };
        match build::collation(text, default, setting.dialect) {
            Ok(Some(collation)) => vec![Effect::Database { name, collation }],
            _ => Vec::new(),
        }
    }

    fn create(&self, create: &Create, setting: &Setting<'_>) -> Vec<Effect> {
        let name = setting.full(&create.table);
        if !setting.follows(&name) {
            return Vec::new();
        }
        if create.if_not_exists && !create.or_replace {
            if self.table(&name.0, &name.1).is_some() {
                return Vec::new();
            }
            if self.awaiting.is_some() && !self.from_nothing {
                return vec![unclear(name, "it was created only if it did not exist, and that is not known")];
            }
        }
        let made = match &create.definition {
            Definition::Like(other) => self.like(&name, &setting.full(other)),
            Definition::Columns { columns, primary_key, text } => {
                let default = self.databases.get(&self.folded(&name.0)).copied().or(setting.dialect.server_collation);
                build::collation(text, default, setting.dialect).and_then(|collation| {
                    let made = columns.iter().map(|spec| build::column(spec, collation, None, setting.dialect));
                    let made = made.collect::<Result<Vec<_>, _>>()?;
                    let own = columns.iter().filter(|spec| spec.primary).map(|spec| spec.name.clone());
                    let key: Vec<String> = primary_key.iter().cloned().chain(own).collect();
                    let schema = with_key(name.0.clone(), name.1.clone(), made, &key)?;
                    Ok(TableDefinition { schema, collation })
                })
            }
        };
        vec![made.map_or_else(|why| unclear(name, why), Effect::Define)]
    }

    fn like(&self, name: &(String, String), other: &(String, String)) -> Result<TableDefinition, String> {
        match self.table(&other.0, &other.1) {
            Some(Known::Defined(definition)) => Ok(renamed(definition, name)),
            Some(Known::Unclear(why)) => Err(why.clone()),
            None => Err(format!("it was created like `{}`.`{}`, which is not known", other.0, other.1)),
        }
    }

    fn alter(&self, alter: &Alter, setting: &Setting<'_>) -> Vec<Effect> {
        let name = setting.full(&alter.table);
        let followed = setting.follows(&name);
        let new = alter.rename.as_ref().map(|new| setting.full(new));
        let database = self.databases.get(&self.folded(&name.0)).copied();
        let known = self.table(&name.0, &name.1).filter(|_| followed).map(|known| match known {
            Known::Defined(before) => match altered(before, alter, database, setting.dialect) {
                Ok(definition) => Known::Defined(definition),
                Err(why) => Known::Unclear(why),
            },
            unclear => unclear.clone(),
        });
        let Some(new) = new else {
            return known.map(|known| named(known, name)).into_iter().collect();
        };
        let mut effects = Vec::new();
        if known.is_some() {
            effects.push(forget(name.clone()));
        }
        if setting.follows(&new) {
            effects.push(match known {
                Some(known) => named(known, new),
                None => unclear(new, stranger(&name)),
            });
        }
        effects
    }

    /// One after the other, on what the pairs before have done.
    fn rename(&self, pairs: &[(TableName, TableName)], setting: &Setting<'_>) -> Vec<Effect> {
        let mut moved: BTreeMap<(String, String), Option<Known>> = BTreeMap::new();
        let mut effects = Vec::new();
        for (from, to) in pairs {
            let (from, to) = (setting.full(from), setting.full(to));
            let known = match moved.get(&from) {
                Some(known) => known.clone(),
                None => self.table(&from.0, &from.1).cloned(),
            };
            if setting.follows(&from) && known.is_some() {
                effects.push(forget(from.clone()));
            }
            moved.insert(from.clone(), None);
            if setting.follows(&to) {
                let known = known.unwrap_or_else(|| Known::Unclear(stranger(&from)));
                effects.push(named(known.clone(), to.clone()));
                moved.insert(to, Some(known));
            }
        }
        effects
    }
}

fn stranger((database, table): &(String, String)) -> String {
    format!("it was `{database}`.`{table}`, whose definition was not followed")
}

/// The effect that gives a name what is known.
fn named(known: Known, name: (String, String)) -> Effect {
    match known {
        Known::Defined(definition) => Effect::Define(renamed(&definition, &name)),
        Known::Unclear(why) => unclear(name, why),
    }
}

fn renamed(definition: &TableDefinition, (database, table): &(String, String)) -> TableDefinition {
    let schema = TableSchema { database: database.clone(), table: table.clone(), ..definition.schema.clone() };
    TableDefinition { schema, collation: definition.collation }
}
