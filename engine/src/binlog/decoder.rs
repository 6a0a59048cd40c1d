//! The decoder: one raw event in, what it says out; keeps what later events need (table maps, known schemas).
//!
//! Must not know the pipeline: it neither skips what it cannot decode nor decides what to do about it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::event::{Event, FormatDescription, Query, TableMapEvent};
use super::gtid;
use super::header::{EventHeader, EventType, FLAG_IGNORABLE, HEADER_LEN};
use super::query_status::QueryStatus;
use super::read::{Read, Reader};
use super::resolve::resolve;
use super::rows::{self, RowsEvent, RowsKind, RowsLayout};
use super::table_map::{self, MapError, TableMap};
use super::tagged;
use super::xa;
use crate::cause::{Cause, Stop};
use crate::schema::TableSchema;
use crate::schema::charset::Charset;

/// Which tables are captured: `(database, table)`.
pub type Filter = Box<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// Table maps kept at most for use again; a statement has one a table, so this is far above what is live.
const MAX_TABLE_MAPS: usize = 4096;

/// Decodes the events of one stream, in order.
pub struct Decoder {
    filter: Filter,
    schemas: BTreeMap<(String, String), TableSchema>,
    /// Tables whose rows are not looked into although the filter accepts them.
    held: BTreeSet<(String, String)>,
    maps: BTreeMap<u64, CachedMap>,
    /// Counts statements: a table map is valid in the one that brought it.
    statement: u64,
    /// The format description says that MariaDB wrote these events.
    mariadb: bool,
    /// Columns that nothing names are called by their place.
    by_place: bool,
}

/// A table map, the statement it is valid in, and what the filter said.
struct CachedMap {
    statement: u64,
    map: MapState,
}

enum MapState {
    Captured(Arc<TableMap>),
    /// Not captured: the body, to recognise it without asking the filter again.
    Filtered(Box<[u8]>),
}

impl MapState {
    fn body(&self) -> &[u8] {
        match self {
            MapState::Captured(map) => &map.body,
            MapState::Filtered(body) => body,
        }
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("schemas", &self.schemas.len())
            .field("table_maps", &self.maps.len())
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder at the start of a stream. Rows of tables that `filter` does not accept are not looked into.
    pub fn new(filter: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Self {
        Self {
            filter: Box::new(filter),
            schemas: BTreeMap::new(),
            held: BTreeSet::new(),
            maps: BTreeMap::new(),
            statement: 0,
            mariadb: false,
            by_place: false,
        }
    }

    /// Names columns `@1`, `@2`, … where neither the binlog nor a known schema does, instead of stopping at their rows.
    /// What else such a schema lacks is at its default: no primary key, signed numbers, no members of ENUM and SET. For
    /// those who look at a binlog, not for those who carry it on.
    #[must_use]
    pub fn naming_by_place(mut self) -> Self {
        self.by_place = true;
        self
    }

    /// Replaces the known schemas, for tables whose columns the binlog does not name. The caller answers for their
    /// being those at the events to come; a table map that contradicts one stops with `schema-mismatch`.
    pub fn set_schemas(&mut self, schemas: impl IntoIterator<Item = TableSchema>) {
        self.schemas = schemas.into_iter().map(|s| ((s.database.clone(), s.table.clone()), s)).collect();
        self.maps.clear();
    }

    /// A known schema from now on, or (`None`) no longer: as [`Decoder::set_schemas`], for one table.
    pub fn set_schema(&mut self, database: &str, table: &str, schema: Option<TableSchema>) {
        let key = (database.to_owned(), table.to_owned());
        match schema {
            Some(schema) => drop(self.schemas.insert(key, schema)),
            None => drop(self.schemas.remove(&key)),
        }
        // The server gives a changed table a new id; what was resolved before is not asked again in any case.
        self.maps.retain(|_, cached| match &cached.map {
            MapState::Captured(map) => (map.database.as_str(), map.table.as_str()) != (database, table),
            MapState::Filtered(_) => true,
        });
    }

    /// Whether MariaDB wrote these events: known from the format description on.
    pub fn is_mariadb(&self) -> bool {
        self.mariadb
    }

    /// Decodes one event: 19 bytes of header and the body without checksum. Events must come in the stream's order,
    /// from the start of a transaction on.
    ///
    /// # Errors
    /// `corrupt` if the bytes contradict themselves, `undecoded` and `unknown-event` for what is not decoded,
    /// `incident` for the server's own report of loss, `schema-mismatch` for rows of a captured table whose columns
    /// are not known.
    pub fn decode<'a>(&mut self, raw: &'a [u8]) -> Result<Event<'a>, Stop> {
        let header = EventHeader::parse(raw)?;
        let body = &raw[HEADER_LEN..];
        let place = |stop: Stop| at_place(stop, &header);
        let read = |result: Read<Event<'a>>| result.map_err(|bad| place(corrupt(bad, header.event_type)));
        match header.event_type {
            EventType::WRITE_ROWS => self.rows(&header, body, RowsLayout::new(RowsKind::Insert, true)),
            EventType::UPDATE_ROWS => self.rows(&header, body, RowsLayout::new(RowsKind::Update, true)),
            EventType::DELETE_ROWS => self.rows(&header, body, RowsLayout::new(RowsKind::Delete, true)),
            EventType::WRITE_ROWS_V1 => self.rows(&header, body, RowsLayout::new(RowsKind::Insert, false)),
            EventType::UPDATE_ROWS_V1 => self.rows(&header, body, RowsLayout::new(RowsKind::Update, false)),
            EventType::DELETE_ROWS_V1 => self.rows(&header, body, RowsLayout::new(RowsKind::Delete, false)),
            EventType::PARTIAL_UPDATE_ROWS => self.rows(&header, body, RowsLayout::PARTIAL_UPDATE),
            EventType::TABLE_MAP => self.table_map(&header, body),
            EventType::QUERY => read(parse_query(body, 0)),
            EventType::EXECUTE_LOAD_QUERY => read(parse_query(body, LOAD_QUERY_EXTRA)),
            EventType::XID => read(Reader::new(body).u64("a transaction id of 8 bytes").map(Event::Xid)),
            EventType::GTID => read(gtid::parse_gtid(body).map(Event::Gtid)),
            EventType::GTID_TAGGED => read(tagged::parse_tagged_gtid(body).map(Event::Gtid)),
            EventType::ANONYMOUS_GTID => read(gtid::parse_gtid(body).map(Event::AnonymousGtid)),
            EventType::PREVIOUS_GTIDS => read(gtid::parse_previous_gtids(body).map(Event::PreviousGtids)),
            EventType::MARIADB_GTID => read(gtid::parse_mariadb_gtid(body, header.server_id).map(Event::MariaDbGtid)),
            EventType::MARIADB_GTID_LIST => read(gtid::parse_mariadb_gtid_list(body).map(Event::MariaDbGtidList)),
            EventType::ROTATE => {
                self.maps.clear();
                read(parse_rotate(body))
            }
            EventType::FORMAT_DESCRIPTION => {
                self.maps.clear();
                let format = FormatDescription::parse(body).map_err(|bad| place(corrupt(bad, header.event_type)))?;
                self.mariadb = format.server_version.contains("MariaDB");
                Ok(Event::FormatDescription(format))
            }
            EventType::ROWS_QUERY => read(parse_rows_query(body, 1)),
            EventType::MARIADB_ANNOTATE_ROWS => read(parse_rows_query(body, 0)),
            EventType::HEARTBEAT => read(parse_heartbeat(body, header.log_pos)),
            EventType::HEARTBEAT_V2 => read(parse_heartbeat_v2(body)),
            EventType::STOP => Ok(Event::Stop),
            EventType::XA_PREPARE => read(xa::parse_prepare(body).map(Event::XaPrepare)),
            other => without_rows(other, &header, body).map_err(place),
        }
    }

    fn table_map<'a>(&mut self, header: &EventHeader, body: &'a [u8]) -> Result<Event<'a>, Stop> {
        let stop = |bad| at_place(corrupt(bad, header.event_type), header);
        let mut reader = Reader::new(body);
        let table_id = reader.uint(6, "a table id of 6 bytes").map_err(stop)?;
        let content = Reader::rest(&mut { reader });
        let head = table_map::parse_head(&mut reader).map_err(stop)?;
        let event = |captured, known| {
            let (database, table) = (head.database, head.table);
            Ok(Event::TableMap(TableMapEvent { table_id, database, table, captured, known }))
        };
        if let Some(CachedMap { statement, map }) = self.maps.get_mut(&table_id)
            && *map.body() == *content
        {
            *statement = self.statement;
            return match map {
                MapState::Captured(map) => event(true, map.is_known()),
                MapState::Filtered(_) => event(false, true),
            };
        }
        let held = !self.held.is_empty() && self.held.contains(&(head.database.to_owned(), head.table.to_owned()));
        let captured = !held && (self.filter)(head.database, head.table);
        let map = if captured {
            let known = self.schemas.get(&(head.database.to_owned(), head.table.to_owned()));
            let mut map =
                table_map::parse_columns(&mut reader, &head, content, self.mariadb).map_err(|error| match error {
                    MapError::Bad(bad) => stop(bad),
                    MapError::Type(kind, index) => {
                        let (database, table) = (head.database, head.table);
                        at_place(undecoded_type(kind, index, database, table), header)
                    }
                })?;
            map.schema = Some(resolve(&map, known, self.by_place).map(Arc::new));
            MapState::Captured(Arc::new(map))
        } else {
            MapState::Filtered(content.into())
        };
        let statement = self.statement;
        if self.maps.len() >= MAX_TABLE_MAPS {
            self.maps.retain(|_, cached| cached.statement == statement);
        }
        let known = !matches!(&map, MapState::Captured(map) if !map.is_known());
        self.maps.insert(table_id, CachedMap { statement, map });
        event(captured, known)
    }

    /// Why the rows of the table that was mapped last under this id cannot be read; `None` if they can.
    pub fn problem(&self, table_id: u64) -> Option<&Stop> {
        match &self.maps.get(&table_id)?.map {
            MapState::Captured(map) => map.schema.as_ref()?.as_ref().err(),
            MapState::Filtered(_) => None,
        }
    }

    /// Rows of this table are not looked into from now on, as if the filter did not accept it.
    pub fn hold(&mut self, database: &str, table: &str) {
        self.held.insert((database.to_owned(), table.to_owned()));
        for cached in self.maps.values_mut() {
            if let MapState::Captured(map) = &cached.map
                && (map.database.as_str(), map.table.as_str()) == (database, table)
            {
                cached.map = MapState::Filtered(map.body.clone());
            }
        }
    }

    fn rows<'a>(&mut self, header: &EventHeader, body: &'a [u8], layout: RowsLayout) -> Result<Event<'a>, Stop> {
        let stop = |bad| at_place(corrupt(bad, header.event_type), header);
        let mut reader = Reader::new(body);
        let head = rows::parse_head(&mut reader).map_err(stop)?;
        let live = self.maps.get(&head.table_id).filter(|cached| cached.statement == self.statement);
        let found = live.map(|cached| match &cached.map {
            MapState::Captured(map) => Some(Arc::clone(map)),
            MapState::Filtered(_) => None,
        });
        if head.end_of_statement {
            // Table ids lose their meaning; the maps stay to be recognised when the same bytes come again.
            self.statement += 1;
        }
        let Some(map) = found else {
            // The server ends a statement whose last rows it left out by an event with an id no table has.
            if head.end_of_statement && matches!(head.table_id, 0x00ff_ffff | 0xffff_ffff_ffff) {
                return Ok(Event::Ignored(header.event_type));
            }
            return Err(stop(super::read::Bad {
                offset: 0,
                expected: "the id of a table mapped before in this statement",
            }));
        };
        let Some(map) = map else { return Ok(Event::FilteredRows { kind: layout.kind }) };
        let schema = match &map.schema {
            Some(Ok(schema)) => Arc::clone(schema),
            Some(Err(error)) => return Err(at_place(error.clone(), header)),
            None => return Err(Stop::new(Cause::Internal, "a captured table map without a schema")),
        };
        let event = RowsEvent::parse(reader, layout, head.end_of_statement, (map, schema)).map_err(stop)?;
        Ok(Event::Rows(event))
    }
}

/// Bytes of an EXECUTE_LOAD_QUERY's head beyond a query's: file id, two offsets, how to treat duplicates.
const LOAD_QUERY_EXTRA: usize = 13;

fn corrupt(bad: super::read::Bad, event_type: EventType) -> Stop {
    bad.in_event(&format!("a {event_type} event"), HEADER_LEN)
}

fn at_place(stop: Stop, header: &EventHeader) -> Stop {
    Stop::new(stop.cause, format!("{} (event that ends at position {})", stop.detail, header.log_pos))
}

fn undecoded(what: &str, remedy: &str) -> Stop {
    Stop::new(Cause::Undecoded, format!("{what} is not decoded yet; {remedy}"))
}

fn undecoded_type(kind: u8, index: usize, database: &str, table: &str) -> Stop {
    let what = match kind {
        table_map::wire::DECIMAL => "DECIMAL as MySQL 4 stored it".to_owned(),
        table_map::wire::MARIADB_BLOB_COMPRESSED | table_map::wire::MARIADB_VARCHAR_COMPRESSED => {
            "a COMPRESSED column of MariaDB".to_owned()
        }
        other => format!("the column type {other}"),
    };
    let column = index + 1;
    undecoded(
        &format!("{what} (column {column} of `{database}`.`{table}`)"),
        "rebuild the column with another type, or leave the table out of `tables`",
    )
}

fn parse_query<'a>(body: &'a [u8], extra: usize) -> Read<Event<'a>> {
    let mut reader = Reader::new(body);
    reader.u32("a thread id of 4 bytes")?;
    let execution_s = reader.u32("an execution time of 4 bytes")?;
    let database_len = reader.u8("a database name's length")?;
    let error = reader.u16("an error code of 2 bytes")?;
    let status_len = reader.u16("a length of status variables")?;
    reader.take(extra, "the head of a load query")?;
    let status = QueryStatus::parse(reader.take(usize::from(status_len), "status variables")?);
    let database = reader.str(usize::from(database_len), "a database name")?;
    if reader.u8("a 0 after the database name")? != 0 {
        return Err(reader.bad("a 0 after the database name"));
    }
    let sql = statement_text(reader.rest(), status.client);
    Ok(Event::Query(Query { database, sql, error, execution_s, status }))
}

/// A statement's text, by the charset of the client that sent it.
fn statement_text(bytes: &[u8], client: Option<u16>) -> Cow<'_, str> {
    match client.and_then(Charset::of) {
        Some(charset) if !charset.is_utf8() && !charset.is_binary() => {
            charset.decode(bytes).map_or_else(|| String::from_utf8_lossy(bytes), Cow::Owned)
        }
        _ => String::from_utf8_lossy(bytes),
    }
}

fn parse_rotate<'a>(body: &'a [u8]) -> Read<Event<'a>> {
    let mut reader = Reader::new(body);
    let position = reader.u64("a position of 8 bytes")?;
    let file = reader.str(reader.left(), "a file name")?;
    Ok(Event::Rotate { file, position })
}

/// The length byte before the text is capped at 255 and says nothing: the text goes to the event's end.
fn parse_rows_query<'a>(body: &'a [u8], skip: usize) -> Read<Event<'a>> {
    let mut reader = Reader::new(body);
    reader.take(skip, "a length byte")?;
    Ok(Event::RowsQuery(String::from_utf8_lossy(reader.rest())))
}

fn parse_heartbeat<'a>(body: &'a [u8], log_pos: u32) -> Read<Event<'a>> {
    let mut reader = Reader::new(body);
    let file = reader.str(reader.left(), "a file name")?;
    Ok(Event::Heartbeat { file, position: u64::from(log_pos) })
}

/// HEARTBEAT_V2: fields of (type, packed length, value); 1 is the file, 2 the position as a packed integer.
fn parse_heartbeat_v2<'a>(body: &'a [u8]) -> Read<Event<'a>> {
    let mut reader = Reader::new(body);
    let (mut file, mut position) = ("", 0);
    while !reader.is_empty() {
        let kind = reader.u8("a heartbeat field's type")?;
        if kind == 0 {
            break;
        }
        let length = reader.packed_len("a heartbeat field's length")?;
        match kind {
            1 => file = reader.str(length, "a file name")?,
            2 => position = Reader::new(reader.take(length, "a position")?).packed("a position")?,
            _ => drop(reader.take(length, "a heartbeat field")?),
        }
    }
    Ok(Event::Heartbeat { file, position })
}

/// Events that hold no rows we decode: without effect, or a reason to stop.
fn without_rows<'a>(event_type: EventType, header: &EventHeader, body: &[u8]) -> Result<Event<'a>, Stop> {
    let name = format_args!("a {event_type} event").to_string();
    match event_type {
        // Context of statements, which the Query event that follows carries; files of LOAD DATA; group membership.
        EventType::INTVAR
        | EventType::RAND
        | EventType::USER_VAR
        | EventType::BEGIN_LOAD_QUERY
        | EventType::APPEND_BLOCK
        | EventType::DELETE_FILE
        | EventType::UNKNOWN
        | EventType::IGNORABLE
        | EventType::TRANSACTION_CONTEXT
        | EventType::VIEW_CHANGE
        | EventType::MARIADB_BINLOG_CHECKPOINT => Ok(Event::Ignored(event_type)),
        EventType::INCIDENT => {
            let mut reader = Reader::new(body);
            let number = reader.u16("an incident's number");
            let length = reader.u8("a message's length").unwrap_or(0);
            let text = reader.take(usize::from(length), "a message").unwrap_or_default();
            let message = String::from_utf8_lossy(text);
            let number = number.map_err(|bad| corrupt(bad, event_type))?;
            Err(Stop::new(Cause::Incident, format!("the source reports incident {number}: {message}")))
        }
        EventType::TRANSACTION_PAYLOAD => Err(undecoded(&name, "set binlog_transaction_compression=OFF on the source")),
        EventType::MARIADB_START_ENCRYPTION => Err(undecoded(&name, "set encrypt_binlog=OFF on the source")),
        EventType::MARIADB_QUERY_COMPRESSED
        | EventType::MARIADB_WRITE_ROWS_COMPRESSED_V1
        | EventType::MARIADB_UPDATE_ROWS_COMPRESSED_V1
        | EventType::MARIADB_DELETE_ROWS_COMPRESSED_V1
        | EventType::MARIADB_WRITE_ROWS_COMPRESSED
        | EventType::MARIADB_UPDATE_ROWS_COMPRESSED
        | EventType::MARIADB_DELETE_ROWS_COMPRESSED => Err(undecoded(&name, "set log_bin_compress=OFF on the source")),
        known if known.name().is_some() => Err(undecoded(&name, "it comes from a server before MySQL 5.1")),
        _ if header.flags & FLAG_IGNORABLE != 0 => Ok(Event::Ignored(event_type)),
        _ => Err(Stop::new(Cause::UnknownEvent, format!("an event of the unknown type {}", event_type.0))),
    }
}
