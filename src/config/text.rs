//! Strings of a configuration: `${VARIABLE}`, secrets, URLs, durations, sizes, and the nearest known word.
//!
//! Must not know which key a string belongs to.

use std::fmt;
use std::time::Duration;

/// A string of the document with the place it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The string, variables filled in.
    pub value: String,
    /// Its line, from 1.
    pub line: usize,
    /// The full path of its key.
    pub path: String,
}

/// A string that is never shown: neither by `Debug` nor by `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a string.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The string, for the client library that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How variables are filled in: takes the raw string and a look-up, gives the string or what is wrong.
pub type Fill = fn(&str, &dyn Fn(&str) -> Option<String>) -> Result<String, String>;

/// Fills `${NAME}` with the variable's value as it is. `$${` stands for a literal `${`.
pub fn verbatim(raw: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at]);
            out.push('{');
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let body = &rest[at + 2..];
        let end = body.find('}').ok_or("has `${` without `}` (write `$${` for a literal `${`)")?;
        let name = &body[..end];
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(legal) {
            return Err(format!(
                "has `${{{name}}}`, which is not a variable's name (write `$${{` for a literal `${{`)"
            ));
        }
        let value = variable(name)
            .ok_or_else(|| format!("needs the environment variable {name}, which is not set: export {name}=…"))?;
        out.push_str(&value);
        rest = &body[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Like [`verbatim`] for a URL: in the part before `@`, values are percent-encoded, so that a password may hold
/// `@`, `/`, `:` and `#`.
pub fn escape_in_user_info(raw: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let Some(at) = raw.rfind('@') else { return verbatim(raw, variable) };
    let user_info = verbatim(&raw[..at], &|name| variable(name).map(|value| percent_encode(&value)))?;
    Ok(user_info + &verbatim(&raw[at..], variable)?)
}

fn percent_encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// Undoes percent-encoding; bytes that are not UTF-8 afterwards become U+FFFD.
pub fn percent_decode(value: &str) -> String {
    let bytes = value.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let decoded =
            hex.and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match decoded {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `"500ms"`, `"30s"`, `"5m"`, `"1h"`, `"7d"`.
pub fn duration(value: &str) -> Option<Duration> {
    let (number, unit) = split_unit(value)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// `"512B"`, `"64KB"`, `"256MB"`, `"1GB"`, in bytes; units are powers of 1024, `KiB` is the same as `KB`.
pub fn size(value: &str) -> Option<u64> {
    let (number, unit) = split_unit(value)?;
    let shift = match unit.to_ascii_uppercase().replace("IB", "B").as_str() {
        "B" => 0,
        "KB" => 10,
        "MB" => 20,
        "GB" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

fn split_unit(value: &str) -> Option<(u64, &str)> {
    let value = value.trim();
    let digits = value.find(|c: char| !c.is_ascii_digit())?;
    Some((value[..digits].parse().ok()?, value[digits..].trim_start()))
}

/// The word nearest to `word`, if one is near enough to be what was meant.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate));
    let (distance, candidate) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1.max(word.chars().count() / 3)).then_some(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(name: &str) -> Option<String> {
        match name {
            "USER" => Some("canal".to_owned()),
            "PASS" => Some("p@ss/w:rd#1%".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_filled_in_and_a_missing_one_is_named() {
        assert_eq!(verbatim("a ${USER} b ${PASS}", &vars).unwrap(), "a canal b p@ss/w:rd#1%");
        assert_eq!(verbatim("cost: $5, $${USER}", &vars).unwrap(), "cost: $5, ${USER}");
        assert!(verbatim("${NOPE}", &vars).unwrap_err().contains("NOPE"));
        assert!(verbatim("${USER", &vars).unwrap_err().contains("without `}`"));
        assert!(verbatim("${a-b}", &vars).unwrap_err().contains("not a variable's name"));
    }

    #[test]
    fn a_password_with_url_characters_survives_a_url() {
        let filled = escape_in_user_info("mysql://${USER}:${PASS}@db:3306", &vars).unwrap();
        let url = url::Url::parse(&filled).unwrap();
        assert_eq!((url.host_str(), url.port()), (Some("db"), Some(3306)));
        assert_eq!(percent_decode(url.password().unwrap()), "p@ss/w:rd#1%");
    }

    #[test]
    fn durations_and_sizes() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("2 h"), Some(Duration::from_secs(7200)));
        assert_eq!(duration("5"), None);
        assert_eq!(duration("5 parsecs"), None);
        assert_eq!(duration("99999999999999999999s"), None);
        assert_eq!(size("64KB"), Some(65_536));
        assert_eq!(size("1GiB"), Some(1 << 30));
        assert_eq!(size("-1MB"), None);
    }

    #[test]
    fn the_nearest_word_must_be_near() {
        assert_eq!(nearest("brokres", ["brokers", "topic"].into_iter()), Some("brokers"));
        assert_eq!(nearest("wehn", ["when", "name"].into_iter()), Some("when"));
        assert_eq!(nearest("zebra", ["brokers", "topic"].into_iter()), None);
    }

    #[test]
    fn secrets_do_not_show() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
    }
}
