//! Statements and what they do to a catalog. What the servers make of the same statements is tests/ddl_real.rs' part.

use super::*;
use crate::schema::ddl::{self, Dialect};

struct Lab {
    catalog: Catalog,
    dialect: Dialect,
}

impl Lab {
    fn new() -> Self {
        let databases = [("d".to_owned(), 255), ("l".to_owned(), 8)].into();
        let catalog = Catalog::at(Book { databases, tables: Vec::new() }, false);
        Self { catalog, dialect: Dialect::mysql(90_700) }
    }

    /// Runs statements in database `d`; databases beginning with `x` are not followed.
    fn run(&mut self, statements: &[&str]) -> &mut Self {
        for sql in statements {
            let setting =
                Setting { database: "d", dialect: &self.dialect, follows: &|database| !database.starts_with('x') };
            let effects = match ddl::parse(sql, &self.dialect) {
                Ok(Some(ddl)) => self.catalog.plan(&ddl, &setting),
                Ok(None) => Vec::new(),
                Err(why) => self.catalog.plan_unread(&ddl::targets(sql, &self.dialect), &why.0, &setting),
            };
            let before = self.catalog.clone();
            effects.iter().for_each(|effect| self.catalog.apply(effect));
            let mut again = before;
            for effect in &effects {
                let text = serde_json::to_string(effect).unwrap();
                again.apply(&serde_json::from_str(&text).unwrap());
            }
            assert_eq!(again, self.catalog, "{sql}: the effects as they are kept");
        }
        self
    }

    /// `name type[!], …; key`: `!` is NOT NULL.
    fn show(&self, database: &str, table: &str) -> String {
        match self.catalog.table(database, table) {
            None => "none".to_owned(),
            Some(Known::Unclear(why)) => format!("unclear: {why}"),
            Some(Known::Defined(TableDefinition { schema, .. })) => {
                let columns = schema.columns.iter().map(|column| {
                    let charset = column.collation.and_then(crate::schema::charset::names::charset);
                    let charset = charset.map(|name| format!(" {name}")).unwrap_or_default();
                    format!(
                        "{} {}{charset}{}",
                        column.name,
                        column.mysql_type(),
                        if column.nullable { "" } else { "!" }
                    )
                });
                let key: Vec<&str> = schema.primary_key.iter().map(|&at| schema.columns[at].name.as_str()).collect();
                format!("{}; {}", columns.collect::<Vec<_>>().join(", "), key.join(","))
            }
        }
    }
}

fn after(statements: &[&str]) -> String {
    Lab::new().run(statements).show("d", "t")
}

#[test]
fn a_column_is_added_once_however_often_a_statement_says_so() {
    let mut lab = Lab::new();
    lab.dialect = Dialect::mariadb(101_100);
    let add = ["c INT", "C TEXT", "a DATE"].map(|column| format!("ADD COLUMN IF NOT EXISTS {column}")).join(", ");
    lab.run(&["CREATE TABLE t (a INT)", &format!("ALTER TABLE t {add}")]);
    assert_eq!(lab.show("d", "t"), "a int, c int; ");
}

#[test]
fn every_type_with_its_synonyms() {
    for (column, expected) in [
        ("c INT(11) UNSIGNED ZEROFILL", "c int unsigned"),
        ("c INT3", "c mediumint"),
        ("c SERIAL", "c bigint unsigned!"),
        ("c BOOL NOT NULL DEFAULT TRUE", "c tinyint!"),
        ("c FLOAT(25)", "c double"),
        ("c FLOAT(7,4)", "c float"),
        ("c DOUBLE PRECISION UNSIGNED", "c double unsigned"),
        ("c REAL", "c double"),
        ("c DEC", "c decimal(10,0)"),
        ("c NUMERIC(5) UNSIGNED", "c decimal(5,0) unsigned"),
        ("c FIXED(65,30) DEFAULT -1.5e3", "c decimal(65,30)"),
        ("c BIT", "c bit(1)"),
        ("c YEAR(4)", "c year"),
        ("c TIMESTAMP(3) NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)", "c timestamp(3)"),
        ("c CHAR", "c char(1) utf8mb4"),
        ("c CHAR(5) BYTE", "c binary(5) binary"),
        ("c CHARACTER VARYING(7) CHARSET latin1", "c varchar(7) latin1"),
        ("c NATIONAL VARCHAR(7)", "c varchar(7) utf8mb3"),
        ("c NCHAR(7)", "c char(7) utf8mb3"),
        ("c VARCHAR(9) ASCII", "c varchar(9) latin1"),
        ("c VARCHAR(9) CHARACTER SET binary", "c varbinary(9) binary"),
        ("c VARCHAR(20000)", "c mediumtext utf8mb4"),
        ("c VARBINARY(65535)", "c varbinary(65535) binary"),
        ("c TEXT(63)", "c tinytext utf8mb4"),
        ("c TEXT(64)", "c text utf8mb4"),
        ("c BLOB(65536)", "c mediumblob binary"),
        ("c LONG VARCHAR", "c mediumtext utf8mb4"),
        ("c LONG VARBINARY", "c mediumblob binary"),
        ("c TEXT CHARACTER SET binary", "c blob binary"),
        ("c ENUM('a','it''s','b  ') COLLATE latin1_bin", "c enum('a','it''s','b') latin1"),
        ("c ENUM('a','b  ') CHARACTER SET binary", "c enum('a','b  ') binary"),
        ("c SET('x','y') CHARACTER SET gbk", "c set('x','y') gbk"),
        ("c JSON", "c json"),
        ("c POINT SRID 4326 NOT NULL", "c geometry!"),
        ("c VECTOR(3)", "c vector"),
        ("c INT GENERATED ALWAYS AS (1 + (2)) STORED COMMENT 'x, y' INVISIBLE", "c int"),
        ("c INT AS (a + 1) VIRTUAL NOT NULL", "c int!"),
        ("c INT CONSTRAINT x CHECK (c > 0) NOT ENFORCED REFERENCES u (a) ON DELETE SET NULL", "c int"),
        ("c VARCHAR(3) DEFAULT _utf8mb4'a' 'b' UNIQUE KEY", "c varchar(3) utf8mb4"),
        ("c INT DEFAULT (uuid()) COLUMN_FORMAT FIXED STORAGE DISK", "c int"),
    ] {
        assert_eq!(after(&[&format!("CREATE TABLE t ({column})")]), format!("{expected}; "), "{column}");
    }
}

#[test]
fn charsets_come_from_column_table_database_and_server() {
    let mut lab = Lab::new();
    lab.run(&[
        "CREATE TABLE a (c CHAR(2), e CHAR(2) BINARY) DEFAULT CHARSET=gbk COMMENT='charset=latin1'",
        "CREATE TABLE l.b (c CHAR(2), d TEXT CHARACTER SET utf8mb4)",
        "CREATE DATABASE n",
        "CREATE DATABASE s COLLATE sjis_bin",
        "CREATE TABLE s.c (c CHAR(2))",
        "ALTER DATABASE s CHARSET latin2",
        "CREATE TABLE s.d (c CHAR(2))",
        "CREATE TABLE n.e (c CHAR(2))",
        "CREATE TABLE n.f (c INT)",
    ]);
    assert_eq!(lab.show("d", "a"), "c char(2) gbk, e char(2) gbk; ");
    assert_eq!(lab.show("l", "b"), "c char(2) latin1, d text utf8mb4; ");
    assert_eq!((lab.show("s", "c"), lab.show("s", "d")), ("c char(2) sjis; ".into(), "c char(2) latin2; ".into()));
    assert!(lab.show("n", "e").contains("default charset, which is not known"), "{}", lab.show("n", "e"));
    assert_eq!(lab.show("n", "f"), "c int; ");
    lab.dialect.server_collation = Some(8);
    assert_eq!(lab.run(&["CREATE TABLE n.e (c CHAR(2))"]).show("n", "e"), "c char(2) latin1; ");
}

#[test]
fn clauses_of_one_statement_are_carried_out_at_once() {
    let table = "CREATE TABLE t (a INT, b INT, c INT, PRIMARY KEY (b, a))";
    for (alter, expected) in [
        ("ADD d INT, ADD COLUMN e INT FIRST, ADD f INT AFTER a", "e int, a int!, f int, b int!, c int, d int; b,a"),
        ("ADD (d INT, e INT), DROP c", "a int!, b int!, d int, e int; b,a"),
        ("DROP a, ADD a VARCHAR(1) AFTER b", "b int!, a varchar(1) utf8mb4, c int; b"),
        ("CHANGE a x BIGINT, ADD y INT AFTER x", "x bigint!, y int, b int!, c int; b,x"),
        ("MODIFY c INT FIRST, MODIFY a INT AFTER c", "c int, a int!, b int!; b,a"),
        ("ADD d INT AFTER b, MODIFY b INT FIRST", "b int!, a int!, d int, c int; b,a"),
        ("CHANGE a z INT AFTER c, CHANGE b a INT FIRST", "a int!, c int, z int!; a,z"),
        ("CHANGE a b INT, CHANGE b a INT", "b int!, a int!, c int; a,b"),
        ("RENAME COLUMN a TO b, RENAME COLUMN b TO a", "b int!, a int!, c int; a,b"),
        ("RENAME COLUMN C TO d, ALGORITHM=INSTANT, LOCK=NONE", "a int!, b int!, d int; b,a"),
        ("DROP PRIMARY KEY, ADD PRIMARY KEY (c)", "a int!, b int!, c int!; c"),
        ("DROP PRIMARY KEY, MODIFY c INT PRIMARY KEY", "a int!, b int!, c int!; c"),
        ("ADD INDEX (c), ENGINE=InnoDB, ROW_FORMAT=DYNAMIC", "a int!, b int!, c int; b,a"),
        ("ADD CONSTRAINT x UNIQUE (c), DROP FOREIGN KEY f, ALTER c SET DEFAULT 3", "a int!, b int!, c int; b,a"),
        ("ORDER BY a, b", "a int!, b int!, c int; b,a"),
        ("PARTITION BY HASH (a) PARTITIONS 4", "a int!, b int!, c int; b,a"),
        ("DROP PARTITION p0, p1", "a int!, b int!, c int; b,a"),
        ("ADD COLUMN IF NOT EXISTS c BIGINT, DROP COLUMN IF EXISTS z", "a int!, b int!, c int; b,a"),
        ("ADD d INT AFTER z", "unclear: it has no column `z` as far as is known"),
        ("DROP z", "unclear: it has no column `z` as far as is known"),
        ("ADD d KLINGON", "unclear: a data type was expected, `KLINGON` stands there"),
    ] {
        assert_eq!(after(&[table, &format!("ALTER TABLE t {alter}")]), expected, "{alter}");
    }
}

#[test]
fn converting_keeps_the_characters_and_not_the_bytes() {
    let table =
        "CREATE TABLE t (a VARCHAR(30000) CHARSET latin1, b TEXT, c TINYTEXT, d BLOB, e ENUM('x')) CHARSET latin1";
    let after_it = after(&[table, "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4, ADD f CHAR(2)"]);
    let expected = "a mediumtext utf8mb4, b mediumtext utf8mb4, c text utf8mb4, d blob binary, e enum('x') utf8mb4, \
        f char(2) utf8mb4; ";
    assert_eq!(after_it, expected);
    let later =
        after(&[table, "ALTER TABLE t DEFAULT CHARSET=utf8mb4", "ALTER TABLE t ADD f CHAR(2), MODIFY c CHAR(3)"]);
    let expected = "a varchar(30000) latin1, b text latin1, c char(3) utf8mb4, d blob binary, e enum('x') latin1, \
        f char(2) utf8mb4; ";
    assert_eq!(later, expected);
}

#[test]
fn a_later_default_does_not_change_what_is_converted_to() {
    let mut lab = Lab::new();
    lab.dialect = Dialect::mariadb(101_100);
    lab.run(&[
        "CREATE TABLE t (a TEXT) CHARSET latin1",
        "ALTER TABLE t CONVERT TO CHARACTER SET binary, DEFAULT CHARACTER SET = gbk, ADD b CHAR(2)",
        "ALTER TABLE t ADD c CHAR(2)",
    ]);
    assert_eq!(lab.show("d", "t"), "a blob binary, b binary(2) binary, c char(2) gbk; ");
}

#[test]
fn a_default_that_stands_before_is_kept_by_mariadb() {
    let mut lab = Lab::new();
    lab.dialect = Dialect::mariadb(101_100);
    lab.run(&[
        "CREATE TABLE t (a TEXT) CHARSET gbk",
        "ALTER TABLE t DEFAULT CHARACTER SET = latin2, CONVERT TO CHARACTER SET latin1, ADD b CHAR(2)",
        "ALTER TABLE t ADD c CHAR(2)",
    ]);
    assert_eq!(lab.show("d", "t"), "a text latin1, b char(2) latin1, c char(2) latin2; ");
}

#[test]
fn a_text_beside_convert_is_as_wide_as_the_column_was() {
    let create = "CREATE TABLE t (a INT, b VARCHAR(300), c TEXT, d JSON, e SET('x','y'), f DECIMAL(65,2)) CHARSET ";
    let change = "CONVERT TO CHARACTER SET latin1, MODIFY a MEDIUMTEXT, CHANGE b g TEXT FIRST, MODIFY c MEDIUMBLOB, \
                  MODIFY d TINYTEXT, MODIFY e LONGTEXT, MODIFY f TEXT(300)";
    let statements = [format!("{create} utf8mb4"), format!("ALTER TABLE t {change}")];
    let statements = statements.each_ref().map(String::as_str);
    let wide = "d longtext latin1, e longtext latin1, f text latin1; ";
    assert_eq!(after(&statements), format!("g tinytext latin1, a tinytext latin1, c blob binary, {wide}"));
    let mut lab = Lab::new();
    lab.dialect = Dialect::mariadb(101_100);
    lab.run(&statements);
    let said = "d tinytext latin1, e longtext latin1, f text latin1; ";
    assert_eq!(lab.show("d", "t"), format!("g text latin1, a mediumtext latin1, c mediumblob binary, {said}"));
    let statements = [
        "CREATE TABLE t (a DECIMAL(65,2)) CHARSET gbk",
        "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4, MODIFY a TINYTEXT",
    ];
    assert_eq!(after(&statements), "a text utf8mb4; ");
}

#[test]
fn a_binary_column_keeps_its_order_where_it_is_converted() {
    let mut lab = Lab::new();
    lab.run(&["CREATE TABLE t (a INT)", "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4, ADD b CHAR(2) BINARY"]);
    let Some(Known::Defined(table)) = lab.catalog.table("d", "t") else { panic!("{}", lab.show("d", "t")) };
    assert_eq!(table.schema.columns[1].collation, Some(46), "utf8mb4_bin");
}

#[test]
fn json_of_mariadb_has_no_order_of_its_own_where_it_is_converted() {
    let collation = |alter: &str| {
        let mut lab = Lab::new();
        lab.dialect = Dialect::mariadb(101_100);
        lab.run(&["CREATE TABLE t (a INT) CHARSET gbk", alter]);
        let Some(Known::Defined(table)) = lab.catalog.table("d", "t") else { panic!("{}", lab.show("d", "t")) };
        table.schema.columns[1].collation
    };
    assert_eq!(collation("ALTER TABLE t ADD b JSON"), Some(46), "utf8mb4_bin");
    assert_eq!(collation("ALTER TABLE t CONVERT TO CHARACTER SET latin1, ADD b JSON"), Some(8), "latin1_swedish_ci");
    assert_eq!(collation("ALTER TABLE t ADD b JSON COLLATE utf8mb4_general_ci"), Some(45), "utf8mb4_general_ci");
}

#[test]
fn converting_a_long_varchar_gives_the_text_that_the_server_chooses() {
    let statements =
        ["CREATE TABLE t (a VARCHAR(20000)) CHARSET gbk", "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4"];
    assert_eq!(after(&statements), "a text utf8mb4; ");
    let mut lab = Lab::new();
    lab.dialect = Dialect::mariadb(101_100);
    assert_eq!(lab.run(&statements).show("d", "t"), "a mediumtext utf8mb4; ");
}

#[test]
fn members_that_converting_would_make_other_text_are_not_followed() {
    for (from, members, to, followed) in [
        ("latin1", "'a','it''s'", "utf8mb4", true),
        ("latin1", "'né'", "utf8mb4", false),
        ("latin1", "'a'", "utf16", false),
        ("utf16", "'a'", "latin1", false),
        ("utf16", "'né'", "utf16 COLLATE utf16_bin", true),
        ("utf8mb3", "'né'", "utf8mb4", true),
        ("utf8mb4", "'né'", "utf8mb3", true),
        ("utf8mb4", "'🔔'", "utf8mb3", false),
        ("binary", "'né'", "utf8mb4", true),
    ] {
        for kind in ["ENUM", "SET"] {
            let table = format!("CREATE TABLE t (a {kind}({members})) CHARSET {from}");
            let convert = format!("ALTER TABLE t CONVERT TO CHARACTER SET {to}");
            let found = after(&[&table, &convert]);
            assert_eq!(!found.starts_with("unclear: CONVERT TO leaves the members of `a`"), followed, "{found}");
            let anew = format!("{convert}, MODIFY a {kind}({members})");
            assert!(!after(&[&table, &anew]).starts_with("unclear"), "{anew}");
        }
    }
}

#[test]
fn names_move_with_their_definitions() {
    let mut lab = Lab::new();
    lab.run(&[
        "CREATE TABLE t (a INT PRIMARY KEY)",
        "CREATE TABLE _t_gho LIKE t",
        "ALTER TABLE _t_gho ADD b INT",
        "RENAME TABLE t TO _t_del, _t_gho TO t",
        "DROP TABLE IF EXISTS _t_del, nothing",
    ]);
    assert_eq!(lab.show("d", "t"), "a int!, b int; a");
    assert_eq!((lab.show("d", "_t_del"), lab.show("d", "_t_gho")), ("none".into(), "none".into()));
    lab.run(&["RENAME TABLE t TO a, a TO b", "ALTER TABLE b ADD c INT, RENAME TO l.t"]);
    assert_eq!(lab.show("l", "t"), "a int!, b int, c int; a");
    lab.run(&["RENAME TABLE x.other TO t"]);
    assert!(lab.show("d", "t").contains("`x`.`other`, whose definition was not followed"), "{}", lab.show("d", "t"));
    lab.run(&["CREATE TABLE x.y (a KLINGON)", "CREATE OR REPLACE TABLE t (z INT)"]);
    assert_eq!((lab.show("x", "y"), lab.show("d", "t")), ("none".into(), "z int; ".into()));
    lab.run(&["CREATE TABLE IF NOT EXISTS t (other INT)"]);
    assert_eq!(lab.show("d", "t"), "z int; ");
    lab.run(&["DROP DATABASE d"]);
    assert_eq!((lab.show("d", "t"), lab.show("l", "t")), ("none".into(), "a int!, b int, c int; a".into()));
}

#[test]
fn before_the_book_holds_only_what_was_created_is_known() {
    let mut book = Lab::new();
    book.run(&["CREATE TABLE old (a INT)", "CREATE TABLE t (a INT, b INT)"]);
    let mut lab = Lab::new();
    lab.catalog = Catalog::before(book.catalog.book(), false, false);
    lab.run(&["ALTER TABLE old ADD b INT", "CREATE TABLE t (a INT)", "CREATE TABLE IF NOT EXISTS u (a INT)"]);
    assert_eq!((lab.show("d", "old"), lab.show("d", "t")), ("none".into(), "a int; ".into()));
    assert!(lab.show("d", "u").starts_with("unclear: it was created only if"), "{}", lab.show("d", "u"));
    lab.catalog.apply(&Effect::Adopt);
    assert_eq!((lab.show("d", "old"), lab.show("d", "t")), ("a int; ".into(), "a int, b int; ".into()));
    assert_eq!(lab.show("d", "u"), "none");
    let mut lab = Lab::new();
    lab.catalog = Catalog::before(Book::default(), true, true);
    lab.dialect.server_collation = Some(8);
    lab.run(&["CREATE TABLE IF NOT EXISTS D.T (a CHAR(1))"]);
    assert_eq!(lab.show("d", "t"), "a char(1) latin1; ", "names without case, and nothing was there before");
}
