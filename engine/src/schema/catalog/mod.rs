//! The catalog: tables as they are at one point of the binlog, followed through statements.
//!
//! Pure: a statement gives [`Effect`]s, effects change the catalog, and the effects are what a schema history keeps, so
//! that it can be read again whatever becomes of the parser. Must not know which tables are captured, nor stop any.

mod alter;
mod build;
mod plan;
pub use plan::Setting;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::TableSchema;

/// A table with what later statements on it depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDefinition {
    /// Its columns and key.
    pub schema: TableSchema,
    /// Its default collation: that of columns which name none. `None` where it is not known.
    pub collation: Option<u16>,
}

/// What is known of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Its definition.
    Defined(TableDefinition),
    /// Only that it was created or changed in a way that was not understood: why.
    Unclear(String),
}

/// What a statement did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "effect")]
pub enum Effect {
    /// The table is so from now on.
    Define(TableDefinition),
    /// The table was created or changed, and it is not known how.
    Unclear {
        /// The database.
        database: String,
        /// The table.
        table: String,
        /// Why it is not known.
        why: String,
    },
    /// The table is gone.
    Forget {
        /// The database.
        database: String,
        /// The table.
        table: String,
    },
    /// The database's default collation.
    Database {
        /// The database.
        name: String,
        /// The collation.
        collation: u16,
    },
    /// The database is gone, its tables with it.
    ForgetDatabase {
        /// The database.
        name: String,
    },
    /// From here on the tables are those that were read from the server: see [`Catalog::awaiting`].
    Adopt,
}

/// Databases and tables as they were read from a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    /// The databases' default collations.
    pub databases: BTreeMap<String, u16>,
    /// The tables.
    pub tables: Vec<TableDefinition>,
}

/// Tables at one point of the binlog.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// The server compares names in lower case (`lower_case_table_names=1`).
    fold: bool,
    databases: BTreeMap<String, u16>,
    tables: BTreeMap<(String, String), Known>,
    /// What was read from the server and holds only from a later point on. Until then a table that no statement created
    /// is not known.
    awaiting: Option<Book>,
    /// Nothing existed before the first statement followed.
    from_nothing: bool,
}

impl Catalog {
    /// A catalog that is the book.
    pub fn at(book: Book, fold: bool) -> Self {
        let mut catalog = Self { fold, ..Self::default() };
        catalog.adopt(book);
        catalog
    }

    /// A catalog at a point before the book was read. `from_nothing`: the binlog holds every statement since the
    /// server's beginning.
    pub fn before(book: Book, fold: bool, from_nothing: bool) -> Self {
        Self { fold, awaiting: Some(book), from_nothing, ..Self::default() }
    }

    /// The book that holds from a later point on, if that point has not been passed.
    pub fn awaiting(&self) -> Option<&Book> {
        self.awaiting.as_ref()
    }

    /// Another book holds from a later point on, in place of the one that was awaited.
    pub fn await_book(&mut self, book: Book) {
        self.awaiting = Some(book);
    }

    /// All that is known.
    pub fn tables(&self) -> impl Iterator<Item = (&str, &str, &Known)> {
        self.tables.iter().map(|((database, table), known)| (database.as_str(), table.as_str(), known))
    }

    /// All tables that are defined.
    pub fn definitions(&self) -> impl Iterator<Item = &TableDefinition> {
        self.tables.values().filter_map(|known| match known {
            Known::Defined(definition) => Some(definition),
            Known::Unclear(_) => None,
        })
    }

    /// What is known of a table.
    pub fn table(&self, database: &str, table: &str) -> Option<&Known> {
        self.tables.get(&self.key(database, table))
    }

    /// The catalog as a book: its databases and the tables that are defined.
    pub fn book(&self) -> Book {
        Book { databases: self.databases.clone(), tables: self.definitions().cloned().collect() }
    }

    /// Whether names are compared in lower case.
    pub fn folds(&self) -> bool {
        self.fold
    }

    /// Whether every statement since the server's beginning is followed.
    pub fn is_from_nothing(&self) -> bool {
        self.from_nothing
    }

    /// Carries an effect out.
    pub fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Define(definition) => {
                let key = self.key(&definition.schema.database, &definition.schema.table);
                self.tables.insert(key, Known::Defined(definition.clone()));
            }
            Effect::Unclear { database, table, why } => {
                let key = self.key(database, table);
                self.tables.insert(key, Known::Unclear(why.clone()));
            }
            Effect::Forget { database, table } => {
                let key = self.key(database, table);
                self.tables.remove(&key);
            }
            Effect::Database { name, collation } => {
                let name = self.folded(name);
                self.databases.insert(name, *collation);
            }
            Effect::ForgetDatabase { name } => {
                let name = self.folded(name);
                self.databases.remove(&name);
                self.tables.retain(|(database, _), _| *database != name);
            }
            Effect::Adopt => {
                if let Some(book) = self.awaiting.take() {
                    self.adopt(book);
                }
            }
        }
    }

    fn adopt(&mut self, book: Book) {
        self.databases = book.databases;
        self.tables = BTreeMap::new();
        for definition in book.tables {
            self.apply(&Effect::Define(definition));
        }
    }

    fn folded(&self, name: &str) -> String {
        if self.fold { name.to_lowercase() } else { name.to_owned() }
    }

    fn key(&self, database: &str, table: &str) -> (String, String) {
        (self.folded(database), self.folded(table))
    }
}
