//! Reading MySQL's text of GTIDs and sets. Takes what the server takes; refuses the rest with its place.
//!
//! Must not normalise by guessing: an empty interval or a number out of range is an error, not nothing.

use super::{Gtid, GtidError, GtidSet, MAX_NUMBER, Tag, Uuid};

/// Characters of the text shown around an error.
const SHOWN: usize = 60;

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn fail<T>(&self, reason: &'static str) -> Result<T, GtidError> {
        let at = self.text[..self.at].chars().count();
        let shown: String = self.text.chars().skip(at.saturating_sub(SHOWN / 2)).take(SHOWN).collect();
        Err(GtidError { reason, at: at + 1, text: shown })
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.skip_space();
        let found = self.text[self.at..].starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn at_end(&mut self) -> bool {
        self.skip_space();
        self.at == self.text.len()
    }

    /// The longest run of characters that `accept` takes.
    fn word(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        self.skip_space();
        let rest = &self.text[self.at..];
        let len = rest.find(|c| !accept(c)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    fn number(&mut self) -> Result<u64, GtidError> {
        let before = self.at;
        let digits = self.word(|c| c.is_ascii_digit());
        if digits.is_empty() {
            return self.fail("a number is missing");
        }
        match digits.parse() {
            Ok(number) if (1..=MAX_NUMBER).contains(&number) => Ok(number),
            _ => {
                self.at = before;
                self.fail("the number is not between 1 and 9223372036854775806")
            }
        }
    }

    fn uuid(&mut self) -> Result<Uuid, GtidError> {
        let braced = self.eat('{');
        let before = self.at;
        let word = self.word(|c| c.is_ascii_hexdigit() || c == '-');
        let mut bytes = [0u8; 16];
        let mut digits = 0;
        let mut dashes = [0usize; 4];
        let mut dash_count = 0;
        for c in word.chars() {
            match c.to_digit(16) {
                Some(digit) if digits < 32 => {
                    bytes[digits / 2] = (bytes[digits / 2] << 4) | digit as u8;
                    digits += 1;
                }
                None if dash_count < 4 => {
                    dashes[dash_count] = digits;
                    dash_count += 1;
                }
                _ => digits = usize::MAX / 2,
            }
        }
        let dashed = dash_count == 4 && dashes == [8, 12, 16, 20];
        if digits != 32 || !(dash_count == 0 || dashed) || (braced && !self.eat('}')) {
            self.at = before;
            return self.fail("a UUID is missing or malformed");
        }
        Ok(Uuid(bytes))
    }

    /// A tag if one stands here; numbers begin with a digit, tags never do.
    fn tag(&mut self) -> Result<Option<Tag>, GtidError> {
        self.skip_space();
        let before = self.at;
        if self.text[self.at..].starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(None);
        }
        let word = self.word(|c| c.is_ascii_alphanumeric() || c == '_');
        match Tag::new(word) {
            Some(tag) if !tag.is_none() => Ok(Some(tag)),
            _ => {
                self.at = before;
                self.fail("an interval or a tag is missing or malformed")
            }
        }
    }

    /// What follows a UUID: `:[tag:]interval…`, with more tags among them; at least one interval after each.
    fn intervals(&mut self, source: Uuid, set: &mut GtidSet) -> Result<(), GtidError> {
        let mut tag = Tag::NONE;
        let mut open = true;
        while self.eat(':') {
            if let Some(next) = self.tag()? {
                tag = next;
                if !self.eat(':') {
                    return self.fail("an interval is missing after the tag");
                }
            }
            let first = self.number()?;
            let last = if self.eat('-') { self.number()? } else { first };
            if last < first {
                return self.fail("the interval ends before it begins");
            }
            set.insert_interval(source, tag, first, last);
            open = false;
        }
        if open { self.fail("an interval is missing") } else { Ok(()) }
    }
}

pub(super) fn uuid(text: &str) -> Result<Uuid, GtidError> {
    let mut reader = Reader { text, at: 0 };
    let uuid = reader.uuid()?;
    if reader.at_end() { Ok(uuid) } else { reader.fail("more follows the UUID") }
}

pub(super) fn gtid(text: &str) -> Result<Gtid, GtidError> {
    let mut reader = Reader { text, at: 0 };
    let source = reader.uuid()?;
    if !reader.eat(':') {
        return reader.fail("a number is missing");
    }
    let tag = reader.tag()?;
    if tag.is_some() && !reader.eat(':') {
        return reader.fail("a number is missing");
    }
    let number = reader.number()?;
    if reader.at_end() {
        Ok(Gtid { source, tag: tag.unwrap_or_default(), number })
    } else {
        reader.fail("more follows the GTID")
    }
}

/// Entries separated by commas; white space and empty entries between them are allowed, as in the server.
pub(super) fn set(text: &str) -> Result<GtidSet, GtidError> {
    let mut reader = Reader { text, at: 0 };
    let mut set = GtidSet::default();
    loop {
        while reader.eat(',') {}
        if reader.at_end() {
            return Ok(set);
        }
        let source = reader.uuid()?;
        reader.intervals(source, &mut set)?;
        if !reader.at_end() && !reader.text[reader.at..].starts_with(',') {
            return reader.fail("a comma or the end is missing");
        }
    }
}
