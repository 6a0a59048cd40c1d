//! The status variables of a QUERY event: under which settings the statement was run.
//!
//! Reads those that decide what a DDL statement means, and passes over the rest. Must not fail: the variables are in no
//! order that is promised, and one of an unknown code ends what can be read. Layout: `Query_log_event::write` in the
//! servers' sources.

use super::read::{Read, Reader};

/// Settings of the session that ran a statement; `None` for what the event does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueryStatus {
    /// `sql_mode`.
    pub sql_mode: Option<u64>,
    /// `character_set_client` as its default collation's id: the statement's bytes are in it.
    pub client: Option<u16>,
    /// `collation_server`.
    pub server: Option<u16>,
    /// `default_collation_for_utf8mb4` (MySQL 8).
    pub utf8mb4: Option<u16>,
    /// `explicit_defaults_for_timestamp` (MySQL).
    pub explicit_timestamps: Option<bool>,
    /// MariaDB's two-phase ALTER: this is the announcement or the end of a failed one, and changes nothing.
    pub without_effect: bool,
}

mod code {
    pub const FLAGS2: u8 = 0;
    pub const SQL_MODE: u8 = 1;
    pub const CATALOG: u8 = 2;
    pub const AUTO_INCREMENT: u8 = 3;
    pub const CHARSET: u8 = 4;
    pub const TIME_ZONE: u8 = 5;
    pub const CATALOG_NZ: u8 = 6;
    pub const LC_TIME_NAMES: u8 = 7;
    pub const CHARSET_DATABASE: u8 = 8;
    pub const TABLE_MAP_FOR_UPDATE: u8 = 9;
    pub const MASTER_DATA_WRITTEN: u8 = 10;
    pub const INVOKER: u8 = 11;
    pub const UPDATED_DATABASES: u8 = 12;
    pub const MICROSECONDS: u8 = 13;
    pub const EXPLICIT_TIMESTAMPS: u8 = 16;
    pub const XID: u8 = 17;
    pub const UTF8MB4_COLLATION: u8 = 18;
    pub const REQUIRE_PRIMARY_KEY: u8 = 19;
    pub const TABLE_ENCRYPTION: u8 = 20;
    pub const MARIADB_MICROSECONDS: u8 = 128;
    pub const MARIADB_XID: u8 = 129;
    pub const MARIADB_GTID_FLAGS: u8 = 130;
}

/// Bits of MariaDB's `Q_GTID_FLAGS3`.
const START_ALTER: u16 = 2;
const ROLLBACK_ALTER: u16 = 8;
/// `Q_UPDATED_DB_NAMES`: more databases than are listed.
const TOO_MANY_DATABASES: u8 = 254;

impl QueryStatus {
    /// Reads what it can.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut status = Self::default();
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            match status.variable(&mut reader) {
                Ok(true) => {}
                Ok(false) | Err(_) => break,
            }
        }
        status
    }

    /// Reads one variable; `false` at one whose length is not known.
    fn variable(&mut self, reader: &mut Reader<'_>) -> Read<bool> {
        let expected = "a status variable";
        match reader.u8(expected)? {
            code::SQL_MODE => self.sql_mode = Some(reader.u64(expected)?),
            code::CHARSET => {
                self.client = Some(reader.u16(expected)?);
                reader.u16(expected)?;
                self.server = Some(reader.u16(expected)?);
            }
            code::EXPLICIT_TIMESTAMPS => self.explicit_timestamps = Some(reader.u8(expected)? != 0),
            code::UTF8MB4_COLLATION => self.utf8mb4 = Some(reader.u16(expected)?),
            code::MARIADB_GTID_FLAGS => {
                self.without_effect = reader.u16(expected)? & (START_ALTER | ROLLBACK_ALTER) != 0;
            }
            code::FLAGS2 | code::AUTO_INCREMENT | code::MASTER_DATA_WRITTEN => drop(reader.take(4, expected)?),
            code::TABLE_MAP_FOR_UPDATE | code::XID | code::MARIADB_XID => drop(reader.take(8, expected)?),
            code::LC_TIME_NAMES | code::CHARSET_DATABASE => drop(reader.take(2, expected)?),
            code::MICROSECONDS | code::MARIADB_MICROSECONDS => drop(reader.take(3, expected)?),
            code::REQUIRE_PRIMARY_KEY | code::TABLE_ENCRYPTION => drop(reader.take(1, expected)?),
            code::TIME_ZONE | code::CATALOG_NZ => drop(text(reader)?),
            code::CATALOG => {
                text(reader)?;
                reader.u8(expected)?;
            }
            code::INVOKER => {
                text(reader)?;
                text(reader)?;
            }
            code::UPDATED_DATABASES => {
                let count = reader.u8(expected)?;
                for _ in 0..if count == TOO_MANY_DATABASES { 0 } else { count } {
                    while reader.u8(expected)? != 0 {}
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn text<'a>(reader: &mut Reader<'a>) -> Read<&'a [u8]> {
    let length = reader.u8("a length")?;
    reader.take(usize::from(length), "a text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_in_any_order_up_to_an_unknown_one() {
        let bytes = [
            &[0, 0, 0, 0, 0][..],
            &[1, 4, 0, 16, 0, 0, 0, 0, 0],
            &[6, 3, b's', b't', b'd'],
            &[4, 28, 0, 8, 0, 255, 0],
            &[5, 2, b'+', b'0'],
            &[12, 2, b'a', 0, b'b', b'c', 0],
            &[18, 45, 0],
            &[16, 1],
            &[17, 1, 2, 3, 4, 5, 6, 7, 8],
        ]
        .concat();
        let whole = QueryStatus {
            sql_mode: Some(0x10_0004),
            client: Some(28),
            server: Some(255),
            utf8mb4: Some(45),
            explicit_timestamps: Some(true),
            without_effect: false,
        };
        assert_eq!(QueryStatus::parse(&bytes), whole);
        let more = [&bytes[..], &[99, 1, 1, 0]].concat();
        assert_eq!(QueryStatus::parse(&more), whole);
        for end in 0..bytes.len() {
            QueryStatus::parse(&bytes[..end]);
        }
        assert!(QueryStatus::parse(&[130, 2, 0]).without_effect);
        assert!(!QueryStatus::parse(&[130, 4, 0]).without_effect);
    }
}
