//! Values as SQL literals, edges more often than chance would have them.

use super::random::Random;
use super::types::{Family, Values};

/// A charset with characters that it has.
#[derive(Debug)]
pub struct Characters {
    pub name: &'static str,
    /// The server that has it; `None` for both.
    pub family: Option<Family>,
    /// Pieces that texts are made of.
    pub words: &'static [&'static str],
}

const fn both(name: &'static str, words: &'static [&'static str]) -> Characters {
    Characters { name, family: None, words }
}

/// The first is the tables' own. Servers' other sets are compared in whole by tests/decode_real.rs.
pub static CHARSETS: &[Characters] = &[
    both(
        "utf8mb4",
        &["a", "Z ", "é", "ß", "中", "한", "🔔", "𝄞", "\"", "\\", "'", "\n", "\u{1}", "\u{7f}", "\u{2028}", "  "],
    ),
    both("utf8mb3", &["a", "é", "中", "한", "€", "\u{ffed}"]),
    both("latin1", &["a", "é", "ß", "€", "ÿ", "¤", "\t"]),
    both("latin2", &["a", "ő", "ł", "č"]),
    both("ascii", &["a", "~", "\u{7f}", "\"", " "]),
    both("cp1250", &["a", "ě", "š", "€"]),
    both("cp1251", &["a", "Привет", "ё", "№"]),
    both("koi8r", &["a", "Привет", "ё", "░"]),
    both("greek", &["a", "α", "Ω", "ά"]),
    both("hebrew", &["a", "ש", "ל"]),
    both("tis620", &["a", "ก", "ไ"]),
    both("gbk", &["a", "中", "繁", "简", "€", "鎔", "\\"]),
    Characters { name: "gb18030", family: Some(Family::MySql), words: &["a", "中", "𠀀", "€", "🔔", "é"] },
    both("gb2312", &["a", "中", "国"]),
    both("big5", &["a", "中", "體", "功", "許"]),
    both("sjis", &["a", "日", "ｶ", "ソ", "表"]),
    both("cp932", &["a", "日", "ｶ", "①", "ソ"]),
    both("euckr", &["a", "한", "국", "뷁"]),
    both("ujis", &["a", "日", "ｶ", "ア"]),
    both("eucjpms", &["a", "日", "①", "ｶ"]),
    both("ucs2", &["a", "中", "é", "\u{ffed}"]),
    both("utf16", &["a", "中", "🔔", "é"]),
    both("utf16le", &["a", "中", "🔔", "é"]),
    both("utf32", &["a", "中", "🔔", "é"]),
];

/// Distinct members of an ENUM or SET.
pub fn members(random: &mut Random, (least, most): (u64, u64)) -> Vec<String> {
    let count = random.between(least, most);
    let word = |random: &mut Random| *random.pick(&["new", "it's", "größe", "中文", "a b", "\"q\"", "back\\slash"]);
    (0..count).map(|index| format!("{} {index}", word(random))).collect()
}

/// A list of texts in SQL.
pub fn list(members: &[String]) -> String {
    let quoted: Vec<String> =
        members.iter().map(|member| format!("'{}'", member.replace('\\', "\\\\").replace('\'', "''"))).collect();
    quoted.join(",")
}

/// A text in SQL, whatever it holds.
pub fn text(text: &str) -> String {
    format!("_utf8mb4 X'{}'", hex(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

impl Values {
    /// A value in SQL.
    pub fn literal(&self, random: &mut Random) -> String {
        if random.once_in(9) {
            return "NULL".to_owned();
        }
        match self {
            Values::Integer { bytes, unsigned } => integer(random, *bytes, *unsigned),
            Values::Decimal { precision, scale, unsigned } => decimal(random, *precision, *scale, *unsigned),
            Values::Real { single, unsigned } => real(random, *single, *unsigned),
            Values::Bit(bits) => {
                let mask = if *bits == 64 { u64::MAX } else { (1 << bits) - 1 };
                let any = random.next();
                format!("{}", random.pick(&[0, 1, u64::MAX, any]) & mask)
            }
            Values::Year => {
                let any = random.between(1901, 2155);
                random.pick(&[0, 1901, 2155, 1970, any]).to_string()
            }
            Values::Date => date(random),
            Values::Time(fsp) => time(random, *fsp),
            Values::DateTime(fsp) => {
                let date = date(random);
                let date = date.trim_matches('\'');
                format!("'{date} {}'", clock(random, *fsp))
            }
            Values::Timestamp(fsp) => timestamp(random, *fsp),
            Values::Text { characters, most } => {
                let most = *random.pick(&[1, (*most).min(12), *most]);
                let length = random.between(0, most);
                let mut value = String::new();
                let mut left = length as usize;
                while left > 0 {
                    let word = random.pick(characters.words);
                    // Long values of few pieces, so that statements stay short enough.
                    let times = if left > 600 { left / 3 } else { 1 };
                    let repeated: String = word.repeat(times).chars().take(left).collect();
                    left -= repeated.chars().count();
                    value.push_str(&repeated);
                }
                text(&value)
            }
            Values::Binary { most } => binary(random, *most),
            Values::Enum(members) => match random.below(12) {
                0 => "''".to_owned(),
                _ => text(random.pick(members).as_str()),
            },
            Values::Set(members) => match random.below(6) {
                0 => "0".to_owned(),
                1 if members.len() == 64 => u64::MAX.to_string(),
                _ => {
                    let mask = if members.len() == 64 { u64::MAX } else { (1 << members.len()) - 1 };
                    (random.next() & random.next() & mask).to_string()
                }
            },
            Values::JsonMySql => mysql_json(random, 3),
            Values::JsonText => text(&json(random, 3)),
            Values::Geometry { srid } => geometry(random, *srid),
            Values::Point => format!("ST_GeomFromText('POINT({} {})')", coordinate(random), coordinate(random)),
            Values::Vector(dimensions) => {
                // The server refuses subnormal numbers.
                let float =
                    |random: &mut Random| (random.below(1 << 30) as f32 - 5e8) / 7f32.powi(random.below(20) as i32);
                let floats: Vec<String> = (0..*dimensions).map(|_| format!("{:e}", float(random))).collect();
                format!("TO_VECTOR('[{}]')", floats.join(","))
            }
            Values::None => "DEFAULT".to_owned(),
        }
    }
}

fn integer(random: &mut Random, bytes: u32, unsigned: bool) -> String {
    let bits = 8 * bytes;
    let raw = match random.below(4) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << (bits - 1),
        _ => random.next() >> random.below(64),
    };
    let cut = raw & (u64::MAX >> (64 - bits));
    if unsigned { cut.to_string() } else { (((cut << (64 - bits)) as i64) >> (64 - bits)).to_string() }
}

fn decimal(random: &mut Random, precision: u64, scale: u64, unsigned: bool) -> String {
    let digits = |random: &mut Random, count: u64| -> String {
        let nines = random.once_in(4);
        let zeros = random.once_in(4);
        (0..count)
            .map(|_| {
                if nines {
                    '9'
                } else if zeros {
                    '0'
                } else {
                    char::from(b'0' + random.below(10) as u8)
                }
            })
            .collect()
    };
    let whole = random.between(0, precision - scale);
    let sign = if !unsigned && random.once_in(2) { "-" } else { "" };
    let (whole, fraction) = (digits(random, whole), digits(random, scale));
    let whole = if whole.is_empty() { "0" } else { &whole };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

fn real(random: &mut Random, single: bool, unsigned: bool) -> String {
    let value = match random.below(6) {
        0 => 0.0,
        1 => (random.below(2_000_000) as f64 - 1_000_000.0) / 100.0,
        2 => random.below(1 << 53) as f64,
        3 if single => f64::from(f32::from_bits(random.next() as u32)),
        4 if single => f64::from(f32::MAX),
        _ if single => f64::from(random.below(1000) as f32 / 7.0),
        3 => f64::MIN_POSITIVE,
        _ => f64::from_bits(random.next()),
    };
    let value = if value.is_finite() { value } else { 1.5 };
    let value = if unsigned { value.abs() } else { value };
    format!("{value:e}")
}

fn date(random: &mut Random) -> String {
    match random.below(6) {
        0 => "'0000-00-00'".to_owned(),
        1 => format!("'{:04}-{:02}-00'", random.between(1, 9999), random.below(13)),
        2 => (*random.pick(&["'9999-12-31'", "'1000-01-01'", "'2024-02-29'", "'0001-01-01'"])).to_owned(),
        _ => format!("'{:04}-{:02}-{:02}'", random.between(0, 9999), random.between(1, 12), random.between(1, 28)),
    }
}

fn clock(random: &mut Random, fsp: u64) -> String {
    let hour = random.below(24);
    format!("{hour:02}:{}", minutes(random, fsp))
}

/// Minutes, seconds and a fraction of as many digits as the column has: rounding is not under test.
fn minutes(random: &mut Random, fsp: u64) -> String {
    let (minute, second) = (random.below(60), random.below(60));
    if fsp == 0 {
        return format!("{minute:02}:{second:02}");
    }
    let most = 10u64.pow(fsp as u32);
    let any = random.below(most);
    let fraction = *random.pick(&[0, 1, most - 1, any]);
    format!("{minute:02}:{second:02}.{fraction:0width$}", width = fsp as usize)
}

fn time(random: &mut Random, fsp: u64) -> String {
    let sign = if random.once_in(2) { "-" } else { "" };
    match random.below(6) {
        0 => format!("'{sign}838:59:59'"),
        1 => format!("'{sign}00:{}'", minutes(random, fsp)),
        _ => format!("'{sign}{:02}:{}'", random.below(838), minutes(random, fsp)),
    }
}

/// A TIMESTAMP within its range whatever the session's zone, and zero.
fn timestamp(random: &mut Random, fsp: u64) -> String {
    if random.once_in(6) {
        return "'0000-00-00 00:00:00'".to_owned();
    }
    let (month, day) = (random.between(1, 12), random.between(1, 28));
    let any = random.between(1971, 2037);
    let year = *random.pick(&[1971, 2037, any]);
    format!("'{year:04}-{month:02}-{day:02} {}'", clock(random, fsp))
}

fn binary(random: &mut Random, most: u64) -> String {
    let most = *random.pick(&[2, most.min(30), most]);
    let length = random.between(0, most);
    if length > 600 {
        return format!("REPEAT(X'{}', {})", hex(&random.next().to_le_bytes()), length / 8);
    }
    let byte = |random: &mut Random| {
        let any = random.next() as u8;
        *random.pick(&[0, 0x20, 0x22, 0xff, any, any])
    };
    let bytes: Vec<u8> = (0..length).map(|_| byte(random)).collect();
    format!("X'{}'", hex(&bytes))
}

fn coordinate(random: &mut Random) -> String {
    format!("{:e}", (random.below(17_000) as f64 - 8_500.0) / 100.0)
}

fn geometry(random: &mut Random, srid: bool) -> String {
    let point = |random: &mut Random| format!("{} {}", coordinate(random), coordinate(random));
    let points = |random: &mut Random, count: u64| {
        let points: Vec<String> = (0..count).map(|_| point(random)).collect();
        points.join(",")
    };
    let shape = match random.below(5) {
        0 => format!("POINT({})", point(random)),
        1 => {
            let count = random.between(2, 9);
            format!("LINESTRING({})", points(random, count))
        }
        2 => "POLYGON((0 0,10 0,10 10,0 10,0 0),(5 5,7 5,7 7,5 7,5 5))".to_owned(),
        3 => {
            let count = random.between(1, 5);
            format!("MULTIPOINT({})", points(random, count))
        }
        _ => format!("GEOMETRYCOLLECTION(POINT({}),LINESTRING(0 0,1 1))", point(random)),
    };
    // The axes of 4326 are bounded as these are.
    if srid { format!("ST_GeomFromText('{shape}', 4326)") } else { format!("ST_GeomFromText('{shape}')") }
}

/// A JSON text.
pub fn json(random: &mut Random, depth: u32) -> String {
    let kinds = if depth == 0 { 6 } else { 8 };
    match random.below(kinds) {
        0 => "null".to_owned(),
        1 => (*random.pick(&["true", "false"])).to_owned(),
        2 => {
            let unsigned = random.once_in(2);
            integer(random, 8, unsigned)
        }
        3 => integer(random, 2, false),
        4 => format!("{}", (random.below(2_000_000) as f64 - 1_000_000.0) / 64.0),
        5 => json_string(random),
        6 => {
            let items: Vec<String> = (0..random.below(6)).map(|_| json(random, depth - 1)).collect();
            format!("[{}]", items.join(", "))
        }
        _ => {
            let count = random.below(6);
            let items: Vec<String> =
                (0..count).map(|index| format!("\"{}\": {}", key(random, index), json(random, depth - 1))).collect();
            format!("{{{}}}", items.join(", "))
        }
    }
}

/// Names of members: those that updates ask for, and odd ones.
fn key(random: &mut Random, index: u64) -> String {
    let odd = format!("{} {index}", random.pick(&["long key", "é", "中文", "🔔"]));
    (*random.pick(&["a", "b", "c", odd.as_str()])).to_owned()
}

fn json_string(random: &mut Random) -> String {
    let piece = *random.pick(&["", "text", "é", "中文 🔔", "quote \\\" back \\\\ line \\n", "\\u0001", "x"]);
    let times = *random.pick(&[1, 1, 3, 40, 400]);
    format!("\"{}\"", piece.repeat(times))
}

/// A JSON value of MySQL: from a text, or with the types that only expressions make.
fn mysql_json(random: &mut Random, depth: u32) -> String {
    if random.once_in(3) {
        let opaque: Vec<String> =
            (0..random.between(1, 4)).map(|index| format!("'{}', {}", key(random, index), opaque(random))).collect();
        return format!("JSON_OBJECT({})", opaque.join(", "));
    }
    format!("CAST({} AS JSON)", text(&json(random, depth)))
}

fn opaque(random: &mut Random) -> String {
    match random.below(8) {
        0 => format!("CAST({} AS DECIMAL(40,12))", decimal(random, 40, 12, false)),
        1 => format!("CAST('{:04}-{:02}-11' AS DATE)", random.between(1, 9999), random.between(1, 12)),
        2 => format!("CAST({} AS TIME(6))", time(random, 6)),
        3 => format!("CAST('2024-02-29 {}' AS DATETIME(6))", clock(random, 6)),
        4 => format!("CAST(X'{}' AS BINARY)", hex(&random.next().to_le_bytes())),
        5 => "b'101'".to_owned(),
        6 => format!("CAST({} AS UNSIGNED)", random.next()),
        _ => format!("CAST('{}' AS DOUBLE)", real(random, false, false)),
    }
}

/// A change within the JSON of a column, as an expression of it.
pub fn json_change(random: &mut Random, column: &str) -> String {
    let path = *random.pick(&["$.a", "$.b", "$.c", "$.a.b", "$[0]", "$[1]", "$[last]", "$.b[1]", "$.\"long key 0\""]);
    let value = *random.pick(&["1", "NULL", "'changed'", "CAST('[1, 2]' AS JSON)", "70000", "1.5", "REPEAT('y', 300)"]);
    match random.below(3) {
        0 => format!("JSON_SET({column}, '{path}', {value})"),
        1 => format!("JSON_REPLACE({column}, '{path}', {value})"),
        _ => format!("JSON_REMOVE({column}, '{path}')"),
    }
}
