//! Random statements that define tables, from what tables there are.
//!
//! Must not judge: a statement that the server refuses is no failure.

use towpath_engine::env::Rng;
use towpath_engine::schema::TableSchema;

/// Types, as people write them; `?` stands for a charset clause, which may be empty.
const TYPES: &[&str] = &[
    "INT",
    "INT UNSIGNED",
    "TINYINT(1)",
    "BOOL",
    "BIGINT ZEROFILL",
    "MEDIUMINT",
    "DECIMAL(12,3) UNSIGNED",
    "NUMERIC",
    "FLOAT",
    "FLOAT(30)",
    "DOUBLE PRECISION",
    "REAL",
    "BIT(9)",
    "YEAR",
    "DATE",
    "TIME(3)",
    "DATETIME(6)",
    "DATETIME",
    "TIMESTAMP(2) NULL",
    "CHAR(7) ?",
    "NCHAR(3)",
    "BINARY(5)",
    "VARCHAR(90) ?",
    "VARCHAR(20000) ?",
    "NATIONAL VARCHAR(9)",
    "VARBINARY(300)",
    "CHARACTER VARYING(5) ?",
    "TEXT ?",
    "TEXT(70) ?",
    "TINYTEXT ?",
    "LONG VARCHAR",
    "LONGTEXT ?",
    "BLOB(300)",
    "MEDIUMBLOB",
    "ENUM('a','it''s','c  ') ?",
    "SET('x','y','z','1','2','3','4','5','6') ?",
    "JSON",
    "POINT",
];
/// Without UTF-16: converting members to it holds the table, as a test of its own shows.
const CHARSETS: &[&str] = &["latin1", "utf8mb4", "utf8mb3", "gbk", "ascii", "binary", "sjis", "latin2"];
const COLLATIONS: &[&str] = &["utf8mb4_bin", "latin1_bin", "gbk_bin", "utf8mb4_unicode_ci", "latin1_german1_ci"];
const ATTRIBUTES: &[&str] = &["", "", "NULL", "NOT NULL", "COMMENT 'a, b (c'", "DEFAULT NULL"];

/// Thinks of statements.
pub struct Generator {
    rng: Rng,
    mariadb: bool,
    names: u32,
}

impl Generator {
    /// For one family of servers.
    pub fn new(rng: Rng, mariadb: bool) -> Self {
        Self { rng, mariadb, names: 0 }
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.rng.below(chances) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.below(of.len() as u64) as usize]
    }

    fn new_name(&mut self) -> String {
        self.names += 1;
        let kind = self.pick(&["c", "Mixed", "with space", "quo`te", "order"]);
        format!("{kind}{}", self.names)
    }

    /// The next statement.
    pub fn statement(&mut self, tables: &[TableSchema]) -> String {
        if tables.is_empty() || (tables.len() < 4 && self.one_in(6)) {
            return self.create(tables);
        }
        let table = &tables[self.rng.below(tables.len() as u64) as usize];
        let name = quoted(&table.table);
        match self.rng.below(16) {
            0 => {
                let (a, b) = (self.new_name(), self.new_name());
                format!(
                    "RENAME TABLE {name} TO {}, {} TO {name}, {} TO {}",
                    quoted(&a),
                    quoted(&tables[0].table),
                    quoted(&a),
                    quoted(&b)
                )
            }
            1 => format!("RENAME TABLE {name} TO {}", quoted(&self.new_name())),
            2 => format!("CREATE TABLE {} LIKE {name}", quoted(&self.new_name())),
            3 if tables.len() > 2 => format!("DROP TABLE IF EXISTS {name}, nothing_there"),
            4 => format!("ALTER DATABASE CHARACTER SET {}", self.pick(&CHARSETS[..6])),
            _ => {
                let count = 1 + self.rng.below(3);
                let clauses: Vec<String> = (0..count).map(|_| self.clause(table)).collect();
                let clauses = clauses.join(", ");
                match self.rng.below(8) {
                    0 => format!("/*!40101 ALTER TABLE {name} {clauses} */"),
                    1 => format!("ALTER TABLE ddl . {name} {clauses} # the end"),
                    // MariaDB 10.11 keeps the old table too where its file's name is not its name.
                    2 if !self.mariadb || table.table.chars().all(|c| c.is_ascii_alphanumeric()) => {
                        format!("alter table {name} {clauses}, RENAME TO {}", quoted(&self.new_name()))
                    }
                    _ => format!("ALTER TABLE {name} {clauses}"),
                }
            }
        }
    }

    fn create(&mut self, tables: &[TableSchema]) -> String {
        let name = format!("t{}", tables.len() + 10 * self.names as usize);
        let mut columns = vec!["id INT NOT NULL".to_owned()];
        for _ in 0..1 + self.rng.below(6) {
            let name = self.new_name();
            columns.push(self.column(&name));
        }
        columns.push("PRIMARY KEY USING BTREE (id)".to_owned());
        let at = self.rng.below(columns.len() as u64) as usize;
        columns.swap(0, at);
        let options = match self.rng.below(4) {
            0 => format!(" ENGINE=InnoDB DEFAULT CHARSET={} COMMENT='x'", self.pick(CHARSETS)),
            1 => format!(" COLLATE {}", self.pick(COLLATIONS)),
            2 => " /*!50100 PARTITION BY KEY (id) PARTITIONS 2 */".to_owned(),
            _ => String::new(),
        };
        format!("CREATE TABLE IF NOT EXISTS `{name}` ({}){options}", columns.join(", "))
    }

    fn column(&mut self, name: &str) -> String {
        let charset = match self.rng.below(6) {
            0 => format!("CHARACTER SET {}", self.pick(CHARSETS)),
            1 => format!("COLLATE {}", self.pick(COLLATIONS)),
            2 => "BINARY".to_owned(),
            _ => String::new(),
        };
        let kind = self.pick(TYPES).replace('?', &charset);
        let attribute = if kind.starts_with("JSON") || kind == "POINT" { "" } else { self.pick(ATTRIBUTES) };
        let attribute = if kind.ends_with("NULL") { "" } else { attribute };
        format!("{} {kind} {attribute}", quoted(name))
    }

    fn place(&mut self, table: &TableSchema) -> String {
        match self.rng.below(4) {
            0 => " FIRST".to_owned(),
            1 => format!(" AFTER {}", self.existing(table)),
            _ => String::new(),
        }
    }

    /// A column that is there, quoted.
    fn existing(&mut self, table: &TableSchema) -> String {
        quoted(&table.columns[self.rng.below(table.columns.len() as u64) as usize].name)
    }

    /// A column that is there and not the key, quoted.
    fn other(&mut self, table: &TableSchema) -> String {
        let others: Vec<&str> =
            table.columns.iter().map(|column| column.name.as_str()).filter(|name| *name != "id").collect();
        if others.is_empty() { "nothing_there".to_owned() } else { quoted(self.pick(&others)) }
    }

    fn clause(&mut self, table: &TableSchema) -> String {
        let new = self.new_name();
        match self.rng.below(15) {
            0..=2 => format!("ADD COLUMN {}{}", self.column(&new), self.place(table)),
            3 => {
                let second = self.new_name();
                format!("ADD ({}, {})", self.column(&new), self.column(&second))
            }
            4 => format!("DROP {}", self.other(table)),
            5 | 6 => {
                let name = self.other(table).replace("``", "`");
                let inner = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')).unwrap_or(&name).to_owned();
                format!("MODIFY {}{}", self.column(&inner), self.place(table))
            }
            7 | 8 => format!("CHANGE COLUMN {} {}{}", self.other(table), self.column(&new), self.place(table)),
            9 => format!("RENAME COLUMN {} TO {}", self.other(table), quoted(&new)),
            10 => format!("CONVERT TO CHARACTER SET {}", self.pick(CHARSETS)),
            11 => format!("DEFAULT CHARACTER SET = {}", self.pick(CHARSETS)),
            12 => format!("DROP PRIMARY KEY, ADD PRIMARY KEY (id, {})", self.other(table)),
            13 if self.mariadb => format!("ADD COLUMN IF NOT EXISTS {}", self.column("often")),
            13 => format!("ADD INDEX {} (id), ALGORITHM=DEFAULT", quoted(&new)),
            _ => format!("ADD {} INT GENERATED ALWAYS AS (id + 1) VIRTUAL", quoted(&new)),
        }
    }
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
