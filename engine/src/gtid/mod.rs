//! MySQL's GTIDs and sets of them: `uuid[:tag]:interval[:interval]…`, with all intervals and tags.
//!
//! Must not collapse intervals to their maximum: holes are transactions that are still needed. MariaDB's
//! `domain-server-seq` is something else and never comes here.

mod set;
mod text;

pub use set::GtidSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The highest number a GTID can have (MySQL's `GNO_END - 1`, 2^63 - 2).
pub const MAX_NUMBER: u64 = i64::MAX as u64 - 1;

/// The most characters of a tag.
pub const MAX_TAG: usize = 32;

/// Why a GTID or a set of them could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a GTID set: {reason} at character {at} of {text:?}")]
pub struct GtidError {
    /// What is wrong.
    pub reason: &'static str,
    /// Where, in characters from 1.
    pub at: usize,
    /// The text, shortened to its neighbourhood if it is long.
    pub text: String,
}

/// The server part of a GTID: 16 bytes, printed in lower case with dashes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// The 36 characters of the printed form.
    pub fn encode(self) -> [u8; 36] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut out = [b'-'; 36];
        let mut at = 0;
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                at += 1;
            }
            out[at] = DIGITS[usize::from(byte >> 4)];
            out[at + 1] = DIGITS[usize::from(byte & 15)];
            at += 2;
        }
        out
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.encode().iter().try_for_each(|&byte| fmt::Write::write_char(f, char::from(byte)))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = GtidError;

    /// With dashes, without them, or in braces, in either case, as MySQL takes it.
    fn from_str(text: &str) -> Result<Self, GtidError> {
        text::uuid(text)
    }
}

/// A tag of MySQL 8.3 and later, or none. Lower case, at most [`MAX_TAG`] characters, kept inline.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag([u8; MAX_TAG]);

impl Tag {
    /// No tag.
    pub const NONE: Tag = Tag([0; MAX_TAG]);

    /// A tag from its text (empty = none); `None` if it is not one. Upper case is folded, as the server does.
    pub fn new(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() > MAX_TAG || bytes.first().is_some_and(|first| !first.is_ascii_alphabetic() && *first != b'_') {
            return None;
        }
        let mut tag = [0; MAX_TAG];
        for (into, byte) in tag.iter_mut().zip(bytes) {
            if !byte.is_ascii_alphanumeric() && *byte != b'_' {
                return None;
            }
            *into = byte.to_ascii_lowercase();
        }
        Some(Self(tag))
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.0[0] == 0
    }

    /// Its text; empty for none.
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|&byte| byte == 0).unwrap_or(MAX_TAG);
        // Only ASCII gets in.
        std::str::from_utf8(&self.0[..len]).unwrap_or_default()
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// One transaction's identity. 56 bytes, `Copy`: cheap to carry along each transaction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gtid {
    /// The server that first committed it.
    pub source: Uuid,
    /// Its tag, if any.
    pub tag: Tag,
    /// Its number there, from 1 to [`MAX_NUMBER`].
    pub number: u64,
}

impl Gtid {
    /// A GTID without a tag.
    pub fn new(source: Uuid, number: u64) -> Self {
        Self { source, tag: Tag::NONE, number }
    }

    /// A GTID with a tag.
    pub fn tagged(source: Uuid, tag: Tag, number: u64) -> Self {
        Self { source, tag, number }
    }
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tag.is_none() {
            write!(f, "{}:{}", self.source, self.number)
        } else {
            write!(f, "{}:{}:{}", self.source, self.tag.as_str(), self.number)
        }
    }
}

impl fmt::Debug for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Gtid {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Self, GtidError> {
        text::gtid(text)
    }
}

impl Serialize for Gtid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Gtid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
