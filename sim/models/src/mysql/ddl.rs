//! CREATE TABLE text for a schema, as a person would have typed it.
//!
//! Also what the conformance suite creates on the real server, so that both have the same table.

use towpath_engine::schema::{Column, ColumnType, TableSchema};

/// `CREATE TABLE …` with every column's type, NULL-ability and collation, and the primary key.
pub fn create_table(schema: &TableSchema) -> String {
    let mut parts: Vec<String> = schema.columns.iter().map(column).collect();
    if !schema.primary_key.is_empty() {
        let names: Vec<String> = schema
            .primary_key
            .iter()
            .filter_map(|&index| schema.columns.get(index))
            .map(|column| format!("`{}`", column.name))
            .collect();
        parts.push(format!("PRIMARY KEY ({})", names.join(",")));
    }
    format!("CREATE TABLE `{}`.`{}` ({}) ENGINE=InnoDB", schema.database, schema.table, parts.join(", "))
}

/// A column's definition, as statements have it: `` `name` TYPE … NULL``.
pub fn column(column: &Column) -> String {
    let mut text = format!("`{}` {}", column.name, type_text(column));
    if column.unsigned {
        text.push_str(" UNSIGNED");
    }
    if let Some(clause) = collation(column) {
        text.push_str(clause);
    }
    text.push_str(if column.nullable { " NULL" } else { " NOT NULL" });
    text
}

fn type_text(column: &Column) -> String {
    let binary = column.collation == Some(63);
    let width = |bytes: u32| bytes / bytes_per_char(column.collation);
    match &column.kind {
        ColumnType::TinyInt => "TINYINT".into(),
        ColumnType::SmallInt => "SMALLINT".into(),
        ColumnType::MediumInt => "MEDIUMINT".into(),
        ColumnType::Int => "INT".into(),
        ColumnType::BigInt => "BIGINT".into(),
        ColumnType::Float => "FLOAT".into(),
        ColumnType::Double => "DOUBLE".into(),
        ColumnType::Decimal { precision, scale } => format!("DECIMAL({precision},{scale})"),
        ColumnType::Bit { bits } => format!("BIT({bits})"),
        ColumnType::Year => "YEAR".into(),
        ColumnType::Date => "DATE".into(),
        ColumnType::Time { fsp } => format!("TIME({fsp})"),
        ColumnType::DateTime { fsp } => format!("DATETIME({fsp})"),
        ColumnType::Timestamp { fsp } => format!("TIMESTAMP({fsp})"),
        // The server makes no columns of the old formats any more; it only keeps those it has.
        ColumnType::OldTime => "TIME".into(),
        ColumnType::OldDateTime => "DATETIME".into(),
        ColumnType::OldTimestamp => "TIMESTAMP".into(),
        ColumnType::Char { max_bytes } if binary => format!("BINARY({max_bytes})"),
        ColumnType::Char { max_bytes } => format!("CHAR({})", width(*max_bytes)),
        ColumnType::VarChar { max_bytes } if binary => format!("VARBINARY({max_bytes})"),
        ColumnType::VarChar { max_bytes } => format!("VARCHAR({})", width(*max_bytes)),
        ColumnType::Blob { length_bytes } => {
            let size = ["TINY", "", "MEDIUM", "LONG"][usize::from(length_bytes.clamp(&1, &4) - 1)];
            format!("{size}{}", if binary { "BLOB" } else { "TEXT" })
        }
        ColumnType::Enum { members } => format!("ENUM({})", quoted(members)),
        ColumnType::Set { members } => format!("SET({})", quoted(members)),
        ColumnType::Json => "JSON".into(),
        ColumnType::Geometry => "GEOMETRY".into(),
        ColumnType::Vector => "VECTOR".into(),
    }
}

fn quoted(members: &[String]) -> String {
    let texts: Vec<String> = members.iter().map(|member| format!("'{}'", member.replace('\'', "''"))).collect();
    texts.join(",")
}

/// The clause for the collations that the model's users need; others are left to the table's default.
fn collation(column: &Column) -> Option<&'static str> {
    match column.collation {
        Some(255) => Some(" CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci"),
        Some(46) => Some(" CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
        Some(45) => Some(" CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"),
        Some(8) => Some(" CHARACTER SET latin1 COLLATE latin1_swedish_ci"),
        _ => None,
    }
}

fn bytes_per_char(collation: Option<u16>) -> u32 {
    match collation {
        Some(45 | 46 | 224..=247 | 255..) => 4,
        Some(33 | 76 | 83 | 192..=215) => 3,
        _ => 1,
    }
}
