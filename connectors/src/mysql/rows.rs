//! Rows read by key in one consistent snapshot, with the sets that bound what it includes (protocol §5).
//!
//! A transaction is added to `gtid_executed` after the storage engine has committed it, so a snapshot opened after
//! reading that set includes all of it. What a snapshot shows is owned by its session or executed when asked after it
//! (`gtid_owned`, then `gtid_executed`): the two together bound it from above.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Row};
use towpath_engine::gtid::GtidSet;
use towpath_engine::ports::source::{Flavor, RowsRead, RowsWanted, SourceError};
use towpath_engine::schema::{Column, ColumnType, TableSchema};

use super::values::{self, BINARY};
use super::{MySqlSource, error, identify, schema};

/// The most placeholders of a prepared statement are 65,535; smaller statements keep the server's memory small too.
const KEYS_PER_STATEMENT: usize = 500;

/// Reads the rows with the wanted keys.
pub(super) async fn read(
    source: &MySqlSource,
    conn: &mut Conn,
    wanted: RowsWanted<'_>,
) -> Result<RowsRead, SourceError> {
    if identify::flavor(source, conn).await? == Flavor::MariaDb || !schema::by_gtid(source, conn).await? {
        return Err(SourceError::Refused(
            "the source has no MySQL GTIDs (gtid_mode): what a row read includes cannot be proven".into(),
        ));
    }
    // Instants as UTC, zero dates as they are, names quoted by backticks only.
    source
        .execute(conn, "SET SESSION time_zone = '+00:00', sql_mode = '', transaction_isolation = 'REPEATABLE-READ'")
        .await?;
    let uuid: Option<String> = source.with_deadline("@@server_uuid", conn.query_first("SELECT @@server_uuid")).await?;
    let accept = |database: &str, table: &str| database == wanted.database && table == wanted.table;
    let defined = schema::read(source, conn, &accept).await?;
    let (includes, _, _) = identify::positions(source, conn, Flavor::MySql).await?;
    source.execute(conn, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
    let table = defined.tables.into_iter().next();
    let mut rows = Vec::new();
    if let Some(table) = &table {
        for keys in wanted.keys.chunks(KEYS_PER_STATEMENT) {
            rows.extend(select(source, conn, table, wanted.columns, keys).await?);
        }
    }
    let may_show = upper_bound(source, conn).await?;
    // The rows' metadata lock holds: what is read now is the definition they were read by.
    let again = schema::read(source, conn, &accept).await?;
    if again.tables.first() != table.as_ref() {
        return Err(SourceError::Unavailable(format!(
            "{}.{} was redefined while its rows were read",
            wanted.database, wanted.table
        )));
    }
    source.execute(conn, "COMMIT").await?;
    Ok(RowsRead { server_uuid: uuid.unwrap_or_default(), includes, may_show, table, rows })
}

async fn upper_bound(source: &MySqlSource, conn: &mut Conn) -> Result<GtidSet, SourceError> {
    let owned = identify::owned(source, conn).await?;
    let (executed, _, _) = identify::positions(source, conn, Flavor::MySql).await?;
    Ok(executed.union(&owned))
}

async fn select(
    source: &MySqlSource,
    conn: &mut Conn,
    table: &TableSchema,
    key: &[String],
    keys: &[Vec<String>],
) -> Result<Vec<Vec<Option<Vec<u8>>>>, SourceError> {
    let mut columns = Vec::with_capacity(key.len());
    for name in key {
        let unknown = || SourceError::Refused(format!("table {} has no column {name}", table.table));
        columns.push(table.column_index(name).map(|index| &table.columns[index]).ok_or_else(unknown)?);
    }
    let mut parameters = Vec::with_capacity(keys.len() * key.len());
    for texts in keys {
        for (column, text) in columns.iter().zip(texts) {
            parameters.push(values::parameter(column, text).map_err(SourceError::Refused)?);
        }
    }
    let statement = statement(table, &columns, keys.len());
    let what = format!("SELECT of {} rows of {}.{}", keys.len(), table.database, table.table);
    let read = conn.exec::<Row, _, _>(statement, Params::Positional(parameters));
    let rows = match tokio::time::timeout(source.config.query_timeout, read).await {
        Ok(Ok(rows)) => rows,
        // ER_TABLE_DEF_CHANGED, ER_BAD_FIELD_ERROR, ER_NO_SUCH_TABLE: the definition is of another moment. Again.
        Ok(Err(mysql_async::Error::Server(server))) if matches!(server.code, 1412 | 1054 | 1146) => {
            return Err(SourceError::Unavailable(format!("{what}: {}", server.message)));
        }
        Ok(Err(err)) => return Err(error::classify_logged_in(&err, &source.config.user)),
        Err(_) => return Err(SourceError::Unavailable(format!("no answer to {what} in time"))),
    };
    let raw = |row: Row| -> Result<Vec<Option<Vec<u8>>>, SourceError> {
        let values = row.unwrap().into_iter().zip(&table.columns);
        values.map(|(value, column)| values::raw(column, value).map_err(SourceError::Refused)).collect()
    };
    rows.into_iter().map(raw).collect()
}

/// The statement, whose columns come in the forms that [`values::raw`] reads.
fn statement(table: &TableSchema, key: &[&Column], keys: usize) -> String {
    let expressions: Vec<String> = table.columns.iter().map(expression).collect();
    let names: Vec<String> = key.iter().map(|column| quoted(&column.name)).collect();
    let marks: Vec<&str> = key.iter().map(|column| mark(column)).collect();
    let group = format!("({})", marks.join(", "));
    let groups = vec![group.as_str(); keys].join(", ");
    format!(
        "SELECT {} FROM {}.{} WHERE ({}) IN ({groups})",
        expressions.join(", "),
        quoted(&table.database),
        quoted(&table.table),
        names.join(", ")
    )
}

fn expression(column: &Column) -> String {
    let name = quoted(&column.name);
    match &column.kind {
        // The bytes in the column's own charset, as the binlog has them.
        ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Blob { .. }
            if column.collation != Some(BINARY) =>
        {
            format!("CAST({name} AS BINARY)")
        }
        ColumnType::Enum { .. } | ColumnType::Set { .. } => format!("CAST({name} AS UNSIGNED)"),
        ColumnType::Json => format!("CAST({name} AS CHAR)"),
        ColumnType::Timestamp { .. } | ColumnType::OldTimestamp => format!("CAST(UNIX_TIMESTAMP({name}) AS CHAR)"),
        _ => name,
    }
}

/// A parameter of the key, as its column's type: a text against a DECIMAL would be compared as floating point.
fn mark(column: &Column) -> &'static str {
    match column.kind {
        ColumnType::Decimal { .. } => "CAST(? AS DECIMAL(65, 30))",
        _ => "?",
    }
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: ColumnType, collation: Option<u16>) -> Column {
        Column { name: name.into(), kind, unsigned: false, nullable: true, collation }
    }

    #[test]
    fn the_statement_asks_for_bytes_and_numbers() {
        let table = TableSchema {
            database: "a`b".into(),
            table: "t".into(),
            columns: vec![
                column("id", ColumnType::BigInt, None),
                column("price", ColumnType::Decimal { precision: 10, scale: 2 }, None),
                column("note", ColumnType::VarChar { max_bytes: 40 }, Some(255)),
                column("kind", ColumnType::Enum { members: vec!["x".into()] }, Some(255)),
            ],
            primary_key: vec![0, 1],
        };
        assert_eq!(
            statement(&table, &[&table.columns[0], &table.columns[1]], 2),
            "SELECT `id`, `price`, CAST(`note` AS BINARY), CAST(`kind` AS UNSIGNED) FROM `a``b`.`t` \
             WHERE (`id`, `price`) IN ((?, CAST(? AS DECIMAL(65, 30))), (?, CAST(? AS DECIMAL(65, 30))))"
        );
    }
}
