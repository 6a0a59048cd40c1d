//! XA transactions in the binlog: their ids, and the statements and the event that mark them.
//!
//! A group of rows stands between `XA START` and XA_PREPARE under the PREPARE's GTID; `XA COMMIT` or `XA ROLLBACK`
//! comes later under a GTID of its own. Must not keep groups: the deployer does.
//! Layouts: MySQL's `XA_prepare_event` and `XID::serialize`; MariaDB's `Gtid_log_event` (flags `FL_PREPARED_XA`,
//! `FL_COMPLETED_XA`).

use super::read::{Read, Reader};

/// The most bytes of an id's two parts together.
const MAX_XID: usize = 128;

/// An XA transaction's id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xid {
    /// The number of its format; 1 where the client named none.
    pub format: u32,
    /// The global part, at most 64 bytes.
    pub global: Vec<u8>,
    /// The branch, at most 64 bytes, may be empty.
    pub branch: Vec<u8>,
}

/// As servers write it into statements: `X'6131',X'62',1`.
impl std::fmt::Display for Xid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for part in [&self.global, &self.branch] {
            f.write_str("X'")?;
            part.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
            f.write_str("',")?;
        }
        write!(f, "{}", self.format)
    }
}

/// What an XA statement in the binlog says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum XaStatement {
    /// The group's rows follow.
    Start(Xid),
    /// The group's rows have ended; its XA_PREPARE follows.
    End(Xid),
    /// A prepared group takes effect.
    Commit(Xid),
    /// A prepared group is undone.
    Rollback(Xid),
}

impl XaStatement {
    /// Reads a statement as a server writes it into its log; `None` if it is none of these.
    pub fn parse(sql: &str) -> Option<Self> {
        let rest = keyword(sql.trim_ascii(), "XA")?;
        let kinds: [(&str, fn(Xid) -> Self); 5] = [
            ("START", Self::Start),
            ("BEGIN", Self::Start),
            ("END", Self::End),
            ("COMMIT", Self::Commit),
            ("ROLLBACK", Self::Rollback),
        ];
        let (kind, rest) = kinds.into_iter().find_map(|(word, kind)| Some((kind, keyword(rest, word)?)))?;
        parse_xid(rest).map(kind)
    }
}

/// The text after the word and the blanks behind it.
fn keyword<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(word.len())?;
    let ends = rest.starts_with(|next: char| next.is_ascii_whitespace());
    (head.eq_ignore_ascii_case(word) && ends).then(|| rest.trim_ascii_start())
}

/// `X'…',X'…',N`, as the server's own serialization has it.
fn parse_xid(text: &str) -> Option<Xid> {
    let mut parts = text.trim_ascii().split(',');
    let mut hex = || {
        let digits = parts.next()?.trim_ascii().strip_prefix(['X', 'x'])?.strip_prefix('\'')?.strip_suffix('\'')?;
        let pairs = digits.as_bytes().chunks(2);
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect::<Option<Vec<u8>>>()
    };
    let (global, branch) = (hex()?, hex()?);
    // Servers print 32 bits, some with a sign.
    let format = parts.next()?.trim_ascii().parse::<i64>().ok()? as u32;
    (parts.next().is_none() && global.len() + branch.len() <= MAX_XID).then_some(Xid { format, global, branch })
}

/// An XA_PREPARE event: the end of a group of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XaPrepare {
    /// `XA COMMIT … ONE PHASE`: the group takes effect here; else it waits for its own COMMIT or ROLLBACK.
    pub one_phase: bool,
    /// The id.
    pub xid: Xid,
}

/// Reads an XA_PREPARE body: a byte for one phase, format, both lengths (4 bytes each), both parts.
pub(crate) fn parse_prepare(body: &[u8]) -> Read<XaPrepare> {
    let mut reader = Reader::new(body);
    let one_phase = reader.u8("a byte for one phase")? != 0;
    let format = reader.u32("an XA id's format of 4 bytes")?;
    let start = reader;
    let global = reader.u32("a length of the global part")? as usize;
    let branch = reader.u32("a length of the branch")? as usize;
    if global.saturating_add(branch) > MAX_XID {
        return Err(start.bad("an XA id of at most 128 bytes"));
    }
    let global = reader.take(global, "an XA id's global part")?.to_vec();
    let branch = reader.take(branch, "an XA id's branch")?.to_vec();
    Ok(XaPrepare { one_phase, xid: Xid { format, global, branch } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xid(global: &[u8], branch: &[u8], format: u32) -> Xid {
        Xid { format, global: global.to_vec(), branch: branch.to_vec() }
    }

    #[test]
    fn statements_are_read_as_servers_write_them() {
        let parse = XaStatement::parse;
        assert_eq!(parse("XA START X'6131',X'62',1"), Some(XaStatement::Start(xid(b"a1", b"b", 1))));
        assert_eq!(parse("XA END X'6131',X'',1"), Some(XaStatement::End(xid(b"a1", b"", 1))));
        assert_eq!(parse("XA COMMIT X'7262',X'00ff',7"), Some(XaStatement::Commit(xid(b"rb", b"\x00\xff", 7))));
        assert_eq!(
            parse("xa rollback x'00',X'',4294967295"),
            Some(XaStatement::Rollback(xid(b"\0", b"", 0xffff_ffff)))
        );
        for other in
            ["XA RECOVER", "XA", "XA COMMIT 'a'", "XA COMMIT X'6',X'',x", "XA COMMIT X'61',X''", "XAB X'',X'',1"]
        {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn an_id_is_written_as_it_is_read() {
        let id = xid(b"\x00a\xfe", b"", 7);
        assert_eq!(id.to_string(), "X'0061fe',X'',7");
        assert_eq!(XaStatement::parse(&format!("XA COMMIT {id}")), Some(XaStatement::Commit(id)));
    }

    #[test]
    fn a_prepare_event_says_whether_it_commits() {
        // As MySQL 9.7 and MariaDB 10.11 wrote `XA PREPARE 'a1','b'`.
        let body = [0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, b'a', b'1', b'b'];
        assert_eq!(parse_prepare(&body), Ok(XaPrepare { one_phase: false, xid: xid(b"a1", b"b", 1) }));
        let mut one = body;
        one[0] = 1;
        assert!(parse_prepare(&one).unwrap().one_phase);
        for cut in 0..body.len() {
            assert!(parse_prepare(&body[..cut]).is_err(), "cut at {cut}");
        }
        let mut huge = body;
        huge[8] = 0x80;
        assert_eq!(parse_prepare(&huge).unwrap_err().expected, "an XA id of at most 128 bytes");
    }
}
