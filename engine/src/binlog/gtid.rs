//! The events that begin a transaction and those that list earlier ones: MySQL's and MariaDB's GTIDs.
//!
//! Must not keep sets: see [`crate::gtid`].

use super::read::{Read, Reader};

/// A MySQL GTID event (or its anonymous form).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gtid<'a> {
    /// The source's UUID; zeros if anonymous.
    pub uuid: [u8; 16],
    /// The tag, at most 32 characters, empty without one.
    pub tag: &'a str,
    /// The transaction's number, from 1; 0 if anonymous.
    pub number: u64,
    /// The logical clock of the last transaction this one depends on.
    pub last_committed: u64,
    /// The transaction's own logical clock in this file.
    pub sequence_number: u64,
    /// Microseconds since the Unix epoch of the commit on the server we read; 0 before MySQL 8.0.
    pub immediate_commit_us: u64,
    /// Microseconds since the Unix epoch of the commit on the server where the transaction began; replicas keep it.
    pub original_commit_us: u64,
    /// Bytes of the whole transaction with headers and checksums, compressed payloads as they are; 0 before MySQL 8.0.
    pub transaction_length: u64,
}

impl Gtid<'_> {
    /// The source as GTID sets write it: `uuid` or `uuid:tag`.
    pub fn source(&self) -> String {
        let mut text = format_uuid(&self.uuid);
        if !self.tag.is_empty() {
            text.push(':');
            text.push_str(self.tag);
        }
        text
    }
}

impl std::fmt::Display for Gtid<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.source(), self.number)
    }
}

/// A UUID in its usual text form, lower case.
pub fn format_uuid(uuid: &[u8; 16]) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(36);
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    text
}

/// Bits of a commit time; above it stands the flag that the original's follows.
const COMMIT_TIME_MASK: u64 = (1 << 55) - 1;
/// "A second value follows": the immediate and the original commit time differ.
const COMMIT_TIME_TWO: u64 = 1 << 55;

/// Reads a GTID or ANONYMOUS_GTID body (MySQL 5.6 and later: each version appended fields).
pub(crate) fn parse_gtid<'a>(body: &'a [u8]) -> Read<Gtid<'a>> {
    let mut reader = Reader::new(body);
    reader.u8("GTID flags")?;
    let uuid = reader.bytes16("a source UUID of 16 bytes")?;
    let number = reader.u64("a transaction number of 8 bytes")?;
    let mut gtid = Gtid {
        uuid,
        tag: "",
        number,
        last_committed: 0,
        sequence_number: 0,
        immediate_commit_us: 0,
        original_commit_us: 0,
        transaction_length: 0,
    };
    if reader.is_empty() || reader.u8("a logical clock's type")? != 2 {
        return Ok(gtid);
    }
    gtid.last_committed = reader.u64("last_committed of 8 bytes")?;
    gtid.sequence_number = reader.u64("sequence_number of 8 bytes")?;
    if reader.is_empty() {
        return Ok(gtid);
    }
    let immediate = reader.uint(7, "a commit time of 7 bytes")?;
    gtid.immediate_commit_us = immediate & COMMIT_TIME_MASK;
    gtid.original_commit_us = if immediate & COMMIT_TIME_TWO != 0 {
        reader.uint(7, "an original commit time of 7 bytes")?
    } else {
        gtid.immediate_commit_us
    };
    if !reader.is_empty() {
        gtid.transaction_length = reader.packed("a transaction length")?;
    }
    Ok(gtid)
}

/// All GTIDs before a file, as the server packs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousGtids<'a> {
    /// One entry a source and tag, in the server's order.
    pub sources: Vec<SourceIntervals<'a>>,
}

/// The intervals of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceIntervals<'a> {
    /// The source's UUID.
    pub uuid: [u8; 16],
    /// The tag, empty without one.
    pub tag: &'a str,
    /// First and last number, both included.
    pub intervals: Vec<(u64, u64)>,
}

/// Reads a PREVIOUS_GTIDS body. Format 1 (with tags) is marked in the most significant byte of the first word.
pub(crate) fn parse_previous_gtids<'a>(body: &'a [u8]) -> Read<PreviousGtids<'a>> {
    let mut reader = Reader::new(body);
    let head = reader.u64("a count of sources of 8 bytes")?;
    let tagged = head >> 56 == 1;
    // Tagged: byte 0 and byte 7 hold the format, the count stands between. Untagged: the whole word is the count.
    let count = if tagged { (head >> 8) & 0xffff_ffff_ffff } else { head };
    let mut sources = Vec::new();
    for _ in 0..count {
        let uuid = reader.bytes16("a source UUID of 16 bytes")?;
        let tag = if tagged {
            // The tag's length is a variable-length integer whose lowest bit is 0 for one byte; tags have at most 32.
            let len = usize::from(reader.u8("a tag's length")? >> 1);
            reader.str(len, "a tag")?
        } else {
            ""
        };
        let intervals = reader.u64("a count of intervals of 8 bytes")?;
        let mut list = Vec::new();
        for _ in 0..intervals {
            let first = reader.u64("an interval's start")?;
            let end = reader.u64("an interval's end")?;
            if first == 0 || end <= first {
                return Err(reader.bad("an interval that is not empty"));
            }
            list.push((first, end - 1));
        }
        sources.push(SourceIntervals { uuid, tag, intervals: list });
    }
    Ok(PreviousGtids { sources })
}

/// A MariaDB GTID: `domain-server-sequence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MariaDbGtid {
    /// The replication domain.
    pub domain: u32,
    /// The server that wrote it first.
    pub server_id: u32,
    /// The number within the domain.
    pub sequence: u64,
    /// The event's flags (`FL_*`); 0 in a list.
    pub flags: u8,
}

impl MariaDbGtid {
    /// Flag: a statement that commits by itself; no BEGIN and no commit event follow.
    pub const STANDALONE: u8 = 0x01;
    /// Flag: the rows up to an XA PREPARE.
    pub const PREPARED_XA: u8 = 0x40;
    /// Flag: the commit or rollback of a prepared XA transaction.
    pub const COMPLETED_XA: u8 = 0x80;

    /// Whether the transaction is one statement without BEGIN and commit.
    pub fn is_standalone(&self) -> bool {
        self.flags & Self::STANDALONE != 0
    }
}

impl std::fmt::Display for MariaDbGtid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}-{}", self.domain, self.server_id, self.sequence)
    }
}

/// Reads MariaDB's GTID body; the server id stands in the event's header.
pub(crate) fn parse_mariadb_gtid(body: &[u8], server_id: u32) -> Read<MariaDbGtid> {
    let mut reader = Reader::new(body);
    let sequence = reader.u64("a sequence number of 8 bytes")?;
    let domain = reader.u32("a domain of 4 bytes")?;
    let flags = reader.u8("GTID flags")?;
    Ok(MariaDbGtid { domain, server_id, sequence, flags })
}

/// Reads MariaDB's GTID_LIST body: the count in the low 28 bits, then 16 bytes each.
pub(crate) fn parse_mariadb_gtid_list(body: &[u8]) -> Read<Vec<MariaDbGtid>> {
    let mut reader = Reader::new(body);
    let count = reader.u32("a count of GTIDs of 4 bytes")? & 0x0fff_ffff;
    let mut list = Vec::new();
    for _ in 0..count {
        let domain = reader.u32("a domain of 4 bytes")?;
        let server_id = reader.u32("a server id of 4 bytes")?;
        let sequence = reader.u64("a sequence number of 8 bytes")?;
        list.push(MariaDbGtid { domain, server_id, sequence, flags: 0 });
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gtid_body(original: Option<u64>) -> Vec<u8> {
        let mut body = vec![1];
        body.extend([0xab; 16]);
        body.extend(7u64.to_le_bytes());
        body.push(2);
        body.extend(3u64.to_le_bytes());
        body.extend(4u64.to_le_bytes());
        let immediate = 1_700_000_000_000_000u64 | if original.is_some() { COMMIT_TIME_TWO } else { 0 };
        body.extend(&immediate.to_le_bytes()[..7]);
        if let Some(original) = original {
            body.extend(&original.to_le_bytes()[..7]);
        }
        body.extend([252, 0x10, 0x27]);
        body
    }

    #[test]
    fn a_gtid_of_mysql_8_and_later() {
        let body = gtid_body(None);
        let gtid = parse_gtid(&body).unwrap();
        assert_eq!(gtid.to_string(), "abababab-abab-abab-abab-abababababab:7");
        assert_eq!((gtid.last_committed, gtid.sequence_number), (3, 4));
        assert_eq!(gtid.immediate_commit_us, 1_700_000_000_000_000);
        assert_eq!(gtid.original_commit_us, gtid.immediate_commit_us);
        assert_eq!(gtid.transaction_length, 10_000);
    }

    #[test]
    fn a_replica_keeps_the_original_commit_time() {
        let body = gtid_body(Some(1_600_000_000_000_000));
        let gtid = parse_gtid(&body).unwrap();
        assert_eq!(gtid.original_commit_us, 1_600_000_000_000_000);
        assert_eq!(gtid.transaction_length, 10_000);
    }

    #[test]
    fn older_servers_write_less() {
        let body = gtid_body(None);
        assert_eq!(parse_gtid(&body[..25]).unwrap().number, 7);
        assert_eq!(parse_gtid(&body[..42]).unwrap().sequence_number, 4);
        assert!(parse_gtid(&body[..41]).is_err());
    }

    #[test]
    fn previous_gtids_list_intervals_with_both_ends() {
        let mut body = 1u64.to_le_bytes().to_vec();
        body.extend([1; 16]);
        body.extend(2u64.to_le_bytes());
        for number in [1u64, 6, 8, 9] {
            body.extend(number.to_le_bytes());
        }
        let previous = parse_previous_gtids(&body).unwrap();
        assert_eq!(previous.sources[0].intervals, vec![(1, 5), (8, 8)]);
        assert!(parse_previous_gtids(&body[..body.len() - 1]).is_err());
    }

    #[test]
    fn previous_gtids_with_tags() {
        // The head, and one of five entries, as MySQL 9.7 wrote them.
        let mut body = vec![1, 1, 0, 0, 0, 0, 0, 1];
        body.extend([0xff; 16]);
        body.extend([6, b'r', b'e', b'd']);
        body.extend(1u64.to_le_bytes());
        body.extend(9_000_000_000u64.to_le_bytes());
        body.extend(9_000_000_001u64.to_le_bytes());
        let previous = parse_previous_gtids(&body).unwrap();
        assert_eq!(
            (previous.sources[0].tag, &previous.sources[0].intervals),
            ("red", &vec![(9_000_000_000, 9_000_000_000)])
        );
    }

    #[test]
    fn a_huge_count_of_sources_allocates_nothing() {
        let body = (u64::MAX >> 8).to_le_bytes();
        assert!(parse_previous_gtids(&body).is_err());
    }

    #[test]
    fn mariadb_gtids_are_read() {
        let mut body = 42u64.to_le_bytes().to_vec();
        body.extend(3u32.to_le_bytes());
        body.push(1);
        let gtid = parse_mariadb_gtid(&body, 9).unwrap();
        assert_eq!(gtid.to_string(), "3-9-42");
        assert!(gtid.is_standalone());
    }
}
