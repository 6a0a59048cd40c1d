//! Every column type under test: how it is declared, what its values are in SQL, and how the server says what it holds.

use super::random::Random;
use super::values::{self, Characters};

/// Which server a type, or a run, is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    MySql,
    MariaDb,
}

/// How a decoded text is compared with what the server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// The texts are the same.
    Text,
    /// The text is the bytes as ISO-8859-1.
    Bytes,
    /// The text is the shortest that reads back as the FLOAT.
    Float,
    /// The text is an array of the numbers that the bytes are, as FLOAT.
    Vector,
    /// The text reads as the DOUBLE, where the server's own text has other digits.
    Double,
    /// The texts are the same, unless the server's is a CAST that had no room for this one and wrote an exponent.
    Real,
}

/// A column of a table under test.
#[derive(Debug, Clone)]
pub struct Column {
    /// The name in the histogram.
    pub kind: String,
    /// What stands behind the column's name in CREATE TABLE.
    pub definition: String,
    /// An SQL expression of `{}`, the column, whose bytes the server says in hexadecimal.
    pub asked: &'static str,
    pub compare: Compare,
    /// Takes no value in INSERT and UPDATE.
    pub generated: bool,
    pub values: Values,
}

/// What values a column has.
#[derive(Debug, Clone)]
pub enum Values {
    Integer { bytes: u32, unsigned: bool },
    Decimal { precision: u64, scale: u64, unsigned: bool },
    Real { single: bool, unsigned: bool },
    Bit(u64),
    Year,
    Date,
    Time(u64),
    DateTime(u64),
    Timestamp(u64),
    Text { characters: &'static Characters, most: u64 },
    Binary { most: u64 },
    Enum(Vec<String>),
    Set(Vec<String>),
    JsonMySql,
    JsonText,
    Geometry { srid: bool },
    Point,
    Vector(u64),
    None,
}

const TEXT: &str = "CAST({} AS CHAR CHARACTER SET utf8mb4)";
const RAW: &str = "{}";
const HEX: &str = "HEX({})";
const NUMBER: &str = "CAST(CAST({} AS DOUBLE) AS CHAR)";

/// The types of a server: their makers, by name. Each is dealt in every run.
pub fn all(family: Family) -> Vec<Maker> {
    let mut all: Vec<Maker> = Vec::new();
    let mut add =
        |name: &str, make: Box<dyn Fn(&mut Random) -> Column>| all.push(Maker { name: name.to_owned(), make });
    integers(&mut add);
    numbers(&mut add);
    times(&mut add);
    strings(&mut add);
    members(&mut add);
    for characters in values::CHARSETS.iter().filter(|set| set.family.is_none_or(|only| only == family)) {
        charset(&mut add, characters);
    }
    for (name, definition) in [
        ("stored generated", "BIGINT AS (id * 3) STORED"),
        ("virtual generated", "VARCHAR(40) AS (CONCAT('v', id)) VIRTUAL"),
    ] {
        add(
            name,
            Box::new(move |_| Column {
                generated: true,
                ..column(name, definition, TEXT, Compare::Text, Values::None)
            }),
        );
    }
    add(
        "invisible",
        Box::new(|_| {
            column(
                "invisible",
                "INT INVISIBLE DEFAULT 7",
                TEXT,
                Compare::Text,
                Values::Integer { bytes: 4, unsigned: false },
            )
        }),
    );
    own(&mut add, family);
    all
}

/// Makes columns of one type.
pub struct Maker {
    pub name: String,
    make: Box<dyn Fn(&mut Random) -> Column>,
}

impl Maker {
    pub fn make(&self, random: &mut Random) -> Column {
        (self.make)(random)
    }
}

fn column(kind: &str, definition: impl Into<String>, asked: &'static str, compare: Compare, values: Values) -> Column {
    Column { kind: kind.to_owned(), definition: definition.into(), asked, compare, generated: false, values }
}

type Add<'a> = dyn FnMut(&str, Box<dyn Fn(&mut Random) -> Column>) + 'a;

fn integers(add: &mut Add<'_>) {
    for (name, bytes) in [("TINYINT", 1), ("SMALLINT", 2), ("MEDIUMINT", 3), ("INT", 4), ("BIGINT", 8)] {
        for unsigned in [false, true] {
            let name = if unsigned { format!("{name} UNSIGNED") } else { name.to_owned() };
            let declared = name.clone();
            let values = Values::Integer { bytes, unsigned };
            add(&name, Box::new(move |_| column(&declared, &declared, TEXT, Compare::Text, values.clone())));
        }
    }
}

fn numbers(add: &mut Add<'_>) {
    for (name, unsigned) in [("DECIMAL", false), ("DECIMAL UNSIGNED", true)] {
        add(
            name,
            Box::new(move |random| {
                let precision = if random.once_in(4) { 65 } else { random.between(1, 65) };
                let scale = random.between(0, precision.min(30));
                let sign = if unsigned { " UNSIGNED" } else { "" };
                let values = Values::Decimal { precision, scale, unsigned };
                column(name, format!("DECIMAL({precision},{scale}){sign}"), TEXT, Compare::Text, values)
            }),
        );
    }
    for (name, single, unsigned) in [
        ("FLOAT", true, false),
        ("FLOAT UNSIGNED", true, true),
        ("DOUBLE", false, false),
        ("DOUBLE UNSIGNED", false, true),
    ] {
        let (asked, compare) = if single { (NUMBER, Compare::Float) } else { (TEXT, Compare::Real) };
        add(name, Box::new(move |_| column(name, name, asked, compare, Values::Real { single, unsigned })));
    }
    add(
        "DOUBLE(M,D)",
        Box::new(|_| {
            let values = Values::Decimal { precision: 10, scale: 3, unsigned: false };
            column("DOUBLE(M,D)", "DOUBLE(10,3)", NUMBER, Compare::Double, values)
        }),
    );
    add(
        "BIT",
        Box::new(|random| {
            let bits = if random.once_in(3) { 64 } else { random.between(1, 64) };
            column(
                "BIT",
                format!("BIT({bits})"),
                "CAST(CAST({} AS UNSIGNED) AS CHAR)",
                Compare::Text,
                Values::Bit(bits),
            )
        }),
    );
}

fn times(add: &mut Add<'_>) {
    add("YEAR", Box::new(|_| column("YEAR", "YEAR", TEXT, Compare::Text, Values::Year)));
    add("DATE", Box::new(|_| column("DATE", "DATE", TEXT, Compare::Text, Values::Date)));
    let kinds: [(&str, &str, fn(u64) -> Values); 3] = [
        ("TIME", "", Values::Time),
        ("DATETIME", "", Values::DateTime),
        ("TIMESTAMP", " NULL DEFAULT NULL", Values::Timestamp),
    ];
    for (name, rest, values) in kinds {
        add(
            name,
            Box::new(move |random| {
                let fsp = random.below(7);
                column(name, format!("{name}({fsp}){rest}"), TEXT, Compare::Text, values(fsp))
            }),
        );
    }
}

fn strings(add: &mut Add<'_>) {
    let text = |most| Values::Text { characters: &values::CHARSETS[0], most };
    add(
        "CHAR",
        Box::new(move |random| {
            let most = if random.once_in(3) { 255 } else { random.between(1, 80) };
            column("CHAR", format!("CHAR({most})"), TEXT, Compare::Text, text(most))
        }),
    );
    add(
        "VARCHAR",
        Box::new(move |random| {
            let most = if random.once_in(3) { random.between(64, 1500) } else { random.between(1, 63) };
            column("VARCHAR", format!("VARCHAR({most})"), TEXT, Compare::Text, text(most))
        }),
    );
    for (name, most) in [("TINYTEXT", 60), ("TEXT", 2000), ("MEDIUMTEXT", 40_000), ("LONGTEXT", 70_000)] {
        add(name, Box::new(move |_| column(name, name, TEXT, Compare::Text, text(most))));
    }
    add(
        "BINARY",
        Box::new(|random| {
            let most = if random.once_in(3) { 255 } else { random.between(1, 40) };
            column("BINARY", format!("BINARY({most})"), RAW, Compare::Bytes, Values::Binary { most })
        }),
    );
    add(
        "VARBINARY",
        Box::new(|random| {
            let most = if random.once_in(3) { random.between(256, 3000) } else { random.between(1, 255) };
            column("VARBINARY", format!("VARBINARY({most})"), RAW, Compare::Bytes, Values::Binary { most })
        }),
    );
    for (name, most) in [("TINYBLOB", 255), ("BLOB", 3000), ("MEDIUMBLOB", 30_000), ("LONGBLOB", 70_000)] {
        add(name, Box::new(move |_| column(name, name, RAW, Compare::Bytes, Values::Binary { most })));
    }
}

fn members(add: &mut Add<'_>) {
    for (name, counts) in [("ENUM", (1, 255)), ("ENUM over 255", (256, 700))] {
        add(
            name,
            Box::new(move |random| {
                let members = values::members(random, counts);
                column(name, format!("ENUM({})", values::list(&members)), TEXT, Compare::Text, Values::Enum(members))
            }),
        );
    }
    for (name, counts) in [("SET", (1, 63)), ("SET of 64", (64, 64))] {
        add(
            name,
            Box::new(move |random| {
                let members = values::members(random, counts);
                column(name, format!("SET({})", values::list(&members)), TEXT, Compare::Text, Values::Set(members))
            }),
        );
    }
}

fn charset(add: &mut Add<'_>, characters: &'static Characters) {
    let kind = format!("charset {}", characters.name);
    add(
        &kind.clone(),
        Box::new(move |random| {
            let most = random.between(1, 60);
            let set = characters.name;
            let text = Values::Text { characters, most };
            // information_schema, from which members are known without full metadata, holds no more than utf8mb3.
            let known = characters.words.iter().filter(|word| word.chars().all(|c| c <= '\u{ffff}'));
            let members: Vec<String> = known.map(|word| (*word).to_owned()).collect();
            let (definition, values) = match random.below(5) {
                0 => (format!("CHAR({most}) CHARACTER SET {set}"), text),
                1 | 2 => (format!("VARCHAR({most}) CHARACTER SET {set}"), text),
                3 => (format!("TEXT CHARACTER SET {set}"), Values::Text { characters, most: 500 }),
                _ => {
                    let list = values::list(&members);
                    (format!("ENUM({list}) CHARACTER SET {set}"), Values::Enum(members))
                }
            };
            column(&kind, definition, TEXT, Compare::Text, values)
        }),
    );
}

/// What only one of the servers has, or each has in its own way.
fn own(add: &mut Add<'_>, family: Family) {
    let json = if family == Family::MySql { Values::JsonMySql } else { Values::JsonText };
    add("JSON", Box::new(move |_| column("JSON", "JSON", TEXT, Compare::Text, json.clone())));
    add(
        "GEOMETRY",
        Box::new(move |random| {
            let srid = family == Family::MySql && random.once_in(2);
            column("GEOMETRY", "GEOMETRY", HEX, Compare::Text, Values::Geometry { srid })
        }),
    );
    add("POINT", Box::new(|_| column("POINT", "POINT", HEX, Compare::Text, Values::Point)));
    if family == Family::MySql {
        add(
            "VECTOR",
            Box::new(|random| {
                let dimensions = random.between(1, 60);
                column("VECTOR", format!("VECTOR({dimensions})"), RAW, Compare::Vector, Values::Vector(dimensions))
            }),
        );
    }
}
