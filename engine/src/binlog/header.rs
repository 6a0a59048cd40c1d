//! Event types and the 19-byte header every binlog event starts with, and which events count for versions.
//!
//! Must not look into bodies. Source of the layout: MySQL's `libbinlogevents/include/binlog_event.h` documentation
//! ("Common-Header"), and the MariaDB knowledge base, "Replication protocol: events".

use super::read::Reader;
use crate::cause::Stop;

/// Bytes of an event's header.
pub const HEADER_LEN: usize = 19;

/// An event's type as the wire numbers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(pub u8);

macro_rules! event_types {
    ($( $name:ident = $number:literal, $text:literal; )+) => {
        impl EventType {
            $( #[doc = concat!("`", $text, "`.")] pub const $name: EventType = EventType($number); )+

            /// The name that servers and their tools print; `None` for a number we do not know.
            pub fn name(self) -> Option<&'static str> {
                match self.0 { $( $number => Some($text), )+ _ => None }
            }
        }
    };
}

event_types! {
    UNKNOWN = 0, "Unknown";
    START_V3 = 1, "Start_v3";
    QUERY = 2, "Query";
    STOP = 3, "Stop";
    ROTATE = 4, "Rotate";
    INTVAR = 5, "Intvar";
    LOAD = 6, "Load";
    SLAVE = 7, "Slave";
    CREATE_FILE = 8, "Create_file";
    APPEND_BLOCK = 9, "Append_block";
    EXEC_LOAD = 10, "Exec_load";
    DELETE_FILE = 11, "Delete_file";
    NEW_LOAD = 12, "New_load";
    RAND = 13, "RAND";
    USER_VAR = 14, "User var";
    FORMAT_DESCRIPTION = 15, "Format_desc";
    XID = 16, "Xid";
    BEGIN_LOAD_QUERY = 17, "Begin_load_query";
    EXECUTE_LOAD_QUERY = 18, "Execute_load_query";
    TABLE_MAP = 19, "Table_map";
    PRE_GA_WRITE_ROWS = 20, "Write_rows_event_old";
    PRE_GA_UPDATE_ROWS = 21, "Update_rows_event_old";
    PRE_GA_DELETE_ROWS = 22, "Delete_rows_event_old";
    WRITE_ROWS_V1 = 23, "Write_rows_v1";
    UPDATE_ROWS_V1 = 24, "Update_rows_v1";
    DELETE_ROWS_V1 = 25, "Delete_rows_v1";
    INCIDENT = 26, "Incident";
    HEARTBEAT = 27, "Heartbeat";
    IGNORABLE = 28, "Ignorable";
    ROWS_QUERY = 29, "Rows_query";
    WRITE_ROWS = 30, "Write_rows";
    UPDATE_ROWS = 31, "Update_rows";
    DELETE_ROWS = 32, "Delete_rows";
    GTID = 33, "Gtid";
    ANONYMOUS_GTID = 34, "Anonymous_Gtid";
    PREVIOUS_GTIDS = 35, "Previous_gtids";
    TRANSACTION_CONTEXT = 36, "Transaction_context";
    VIEW_CHANGE = 37, "View_change";
    XA_PREPARE = 38, "XA_prepare";
    PARTIAL_UPDATE_ROWS = 39, "Update_rows_partial";
    TRANSACTION_PAYLOAD = 40, "Transaction_payload";
    HEARTBEAT_V2 = 41, "Heartbeat_v2";
    GTID_TAGGED = 42, "Gtid_tagged";
    MARIADB_ANNOTATE_ROWS = 160, "Annotate_rows";
    MARIADB_BINLOG_CHECKPOINT = 161, "Binlog_checkpoint";
    MARIADB_GTID = 162, "Gtid (MariaDB)";
    MARIADB_GTID_LIST = 163, "Gtid_list";
    MARIADB_START_ENCRYPTION = 164, "Start_encryption";
    MARIADB_QUERY_COMPRESSED = 165, "Query_compressed";
    MARIADB_WRITE_ROWS_COMPRESSED_V1 = 166, "Write_rows_compressed_v1";
    MARIADB_UPDATE_ROWS_COMPRESSED_V1 = 167, "Update_rows_compressed_v1";
    MARIADB_DELETE_ROWS_COMPRESSED_V1 = 168, "Delete_rows_compressed_v1";
    MARIADB_WRITE_ROWS_COMPRESSED = 169, "Write_rows_compressed";
    MARIADB_UPDATE_ROWS_COMPRESSED = 170, "Update_rows_compressed";
    MARIADB_DELETE_ROWS_COMPRESSED = 171, "Delete_rows_compressed";
}

impl EventType {
    /// Says nothing to anyone who reads the binlog for its rows: what a server's vendor adds under a number of its own
    /// (Amazon Aurora 100 and 101, flagged ignorable), and what servers fill files up with.
    pub fn is_padding(self) -> bool {
        matches!(self, Self::UNKNOWN | Self::IGNORABLE) || self.name().is_none()
    }
}

impl std::fmt::Display for EventType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "type {}", self.0),
        }
    }
}

impl std::fmt::Debug for EventType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Header flag: the event was made up by the server for this connection and stands in no file.
pub const FLAG_ARTIFICIAL: u16 = 0x20;
/// Header flag: a reader that does not know the type may skip the event.
pub const FLAG_IGNORABLE: u16 = 0x80;

/// The header of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventHeader {
    /// Seconds since the Unix epoch, UTC, when the statement began; 0 for artificial events.
    pub timestamp: u32,
    /// The type.
    pub event_type: EventType,
    /// The `server_id` of the server that wrote the event first.
    pub server_id: u32,
    /// Bytes of the event with header and, where the server computed one, checksum.
    pub size: u32,
    /// The position after the event in its file, modulo 2^32; 0 for artificial and nested events.
    pub log_pos: u32,
    /// `FLAG_*`.
    pub flags: u16,
}

impl EventHeader {
    /// Reads the header of a raw event (which may be longer).
    ///
    /// # Errors
    /// `corrupt` if there are fewer than 19 bytes.
    pub fn parse(raw: &[u8]) -> Result<Self, Stop> {
        let mut reader = Reader::new(raw);
        let mut read = || {
            Ok(Self {
                timestamp: reader.u32("a timestamp of 4 bytes")?,
                event_type: EventType(reader.u8("an event type")?),
                server_id: reader.u32("a server id of 4 bytes")?,
                size: reader.u32("an event size of 4 bytes")?,
                log_pos: reader.u32("an end position of 4 bytes")?,
                flags: reader.u16("header flags of 2 bytes")?,
            })
        };
        read().map_err(|bad: super::read::Bad| bad.in_event("an event's header", 0))
    }

    /// Whether the server made the event up for this connection: it stands in no file and has no position.
    pub fn is_artificial(&self) -> bool {
        self.flags & FLAG_ARTIFICIAL != 0
    }

    /// See [`counts`].
    pub fn counts(&self) -> bool {
        counts(self.event_type, self.flags)
    }
}

/// Whether an event's bytes count towards the version's offset (protocol §1, scheme 1): the events from GTID to
/// commit do; what stands between transactions, what the server makes up, and annotations do not.
///
/// Changing this for any type is another scheme, and another scheme is another epoch.
pub fn counts(event_type: EventType, flags: u16) -> bool {
    match event_type {
        EventType::ROTATE
        | EventType::FORMAT_DESCRIPTION
        | EventType::START_V3
        | EventType::PREVIOUS_GTIDS
        | EventType::HEARTBEAT
        | EventType::HEARTBEAT_V2
        | EventType::STOP
        | EventType::SLAVE
        | EventType::UNKNOWN
        | EventType::IGNORABLE
        | EventType::ROWS_QUERY
        // The events within count, at their uncompressed size; the wrapper does not.
        | EventType::TRANSACTION_PAYLOAD
        | EventType::MARIADB_ANNOTATE_ROWS
        | EventType::MARIADB_BINLOG_CHECKPOINT
        | EventType::MARIADB_GTID_LIST
        | EventType::MARIADB_START_ENCRYPTION => false,
        known if known.name().is_some() => true,
        _ => flags & FLAG_IGNORABLE == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::Cause;

    #[test]
    fn a_header_is_read_field_by_field() {
        let raw = [1, 0, 0, 0, 30, 2, 0, 0, 0, 40, 0, 0, 0, 4, 1, 0, 0, 0x80, 0, 99];
        let header = EventHeader::parse(&raw).unwrap();
        let expected = EventHeader {
            timestamp: 1,
            event_type: EventType::WRITE_ROWS,
            server_id: 2,
            size: 40,
            log_pos: 260,
            flags: FLAG_IGNORABLE,
        };
        assert_eq!(header, expected);
    }

    #[test]
    fn a_short_header_is_corrupt() {
        assert_eq!(EventHeader::parse(&[0; 18]).unwrap_err().cause, Cause::Corrupt);
    }

    #[test]
    fn what_counts_is_what_stands_between_gtid_and_commit() {
        for counted in [
            EventType::GTID,
            EventType::GTID_TAGGED,
            EventType::ANONYMOUS_GTID,
            EventType::QUERY,
            EventType::TABLE_MAP,
            EventType::WRITE_ROWS,
            EventType::UPDATE_ROWS_V1,
            EventType::XID,
            EventType::XA_PREPARE,
            EventType::MARIADB_GTID,
            EventType::MARIADB_QUERY_COMPRESSED,
            EventType(200),
        ] {
            assert!(counts(counted, 0), "{counted}");
        }
        for left_out in [
            EventType::ROTATE,
            EventType::FORMAT_DESCRIPTION,
            EventType::PREVIOUS_GTIDS,
            EventType::MARIADB_GTID_LIST,
            EventType::HEARTBEAT,
            EventType::HEARTBEAT_V2,
            EventType::STOP,
            EventType::MARIADB_BINLOG_CHECKPOINT,
            EventType::MARIADB_ANNOTATE_ROWS,
            EventType::ROWS_QUERY,
            EventType::TRANSACTION_PAYLOAD,
            EventType::UNKNOWN,
            EventType::IGNORABLE,
        ] {
            assert!(!counts(left_out, 0), "{left_out}");
        }
        assert!(!counts(EventType(200), FLAG_IGNORABLE), "padding of an unknown type");
    }
}
