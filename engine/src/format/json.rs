//! A cursor over JSON text for records whose layout is known.
//!
//! Must not build trees: it steps from token to token, and says what it expected where.

/// What was expected and not found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexpected {
    /// What should have stood there.
    pub expected: &'static str,
    /// Where, in bytes from the start.
    pub at: usize,
}

/// How deep values that are passed over may nest.
const MAX_DEPTH: u32 = 128;

/// A position in a JSON text.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of a text.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// An error here.
    pub fn fail<T>(&self, expected: &'static str) -> Result<T, Unexpected> {
        Err(Unexpected { expected, at: self.at })
    }

    /// The next byte that is not white space, not consumed; 0 at the end.
    pub fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return byte;
            }
            self.at += 1;
        }
        0
    }

    /// Consumes `byte` if it is next.
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte && self.at < self.text.len();
        self.at += usize::from(found);
        found
    }

    /// Consumes `byte` or fails.
    pub fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Unexpected> {
        if self.eat(byte) { Ok(()) } else { self.fail(expected) }
    }

    /// Consumes `null` if it is next.
    pub fn null(&mut self) -> bool {
        let found = self.peek() == b'n' && self.text[self.at..].starts_with("null");
        self.at += if found { 4 } else { 0 };
        found
    }

    /// A string: its raw content between the quotes, and whether it holds escapes. Does not check the escapes.
    pub fn raw_string(&mut self, expected: &'static str) -> Result<(&'a str, bool), Unexpected> {
        self.expect(b'"', expected)?;
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b'"' => {
                    let content = &self.text[start..self.at];
                    self.at += 1;
                    return Ok((content, escaped));
                }
                b'\\' => {
                    escaped = true;
                    self.at += 2;
                }
                0..0x20 => return self.fail("no control character within a string"),
                _ => self.at += 1,
            }
        }
        self.at = self.text.len();
        self.fail("the end of the string")
    }

    /// A string's value, appended to `out`.
    pub fn string(&mut self, out: &mut String, expected: &'static str) -> Result<(), Unexpected> {
        let (raw, escaped) = self.raw_string(expected)?;
        if !escaped {
            out.push_str(raw);
            return Ok(());
        }
        let start = self.at - raw.len() - 1;
        unescape(raw, out).map_err(|at| Unexpected { expected: "a valid escape", at: start + at })
    }

    /// An integer.
    pub fn integer(&mut self, expected: &'static str) -> Result<i64, Unexpected> {
        self.peek();
        let rest = &self.text[self.at..];
        let len = rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
        match rest[..len].parse() {
            Ok(number) => {
                self.at += len;
                Ok(number)
            }
            Err(_) => self.fail(expected),
        }
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, expected: &'static str) -> Result<bool, Unexpected> {
        self.peek();
        for (word, value) in [("true", true), ("false", false)] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        self.fail(expected)
    }

    /// Passes over any value and returns its raw text.
    pub fn skip(&mut self) -> Result<&'a str, Unexpected> {
        self.peek();
        let start = self.at;
        self.skip_nested(0)?;
        Ok(&self.text[start..self.at])
    }

    fn skip_nested(&mut self, depth: u32) -> Result<(), Unexpected> {
        if depth > MAX_DEPTH {
            return self.fail("a value that nests less deeply");
        }
        match self.peek() {
            b'"' => self.raw_string("a string").map(|_| ()),
            b'{' => self.members(|cursor, _| cursor.skip_nested(depth + 1)),
            b'[' => self.elements(|cursor| cursor.skip_nested(depth + 1)),
            _ => {
                let rest = &self.text[self.at..];
                let len = rest.find([',', '}', ']', ' ', '\n', '\r', '\t']).unwrap_or(rest.len());
                let scalar = &rest[..len];
                if !matches!(scalar, "null" | "true" | "false") && scalar.parse::<f64>().is_err() {
                    return self.fail("a value");
                }
                self.at += len;
                Ok(())
            }
        }
    }

    /// Walks an object: `each` gets the raw key and must consume the value.
    pub fn members(
        &mut self,
        mut each: impl FnMut(&mut Self, &'a str) -> Result<(), Unexpected>,
    ) -> Result<(), Unexpected> {
        self.expect(b'{', "an object")?;
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            let (key, _) = self.raw_string("a key")?;
            self.expect(b':', "a colon after the key")?;
            each(self, key)?;
            if !self.eat(b',') {
                return self.expect(b'}', "a comma or the end of the object");
            }
        }
    }

    /// Walks an array: `each` must consume one element.
    pub fn elements(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), Unexpected>) -> Result<(), Unexpected> {
        self.expect(b'[', "an array")?;
        if self.eat(b']') {
            return Ok(());
        }
        loop {
            each(self)?;
            if !self.eat(b',') {
                return self.expect(b']', "a comma or the end of the array");
            }
        }
    }

    /// Nothing but white space may follow.
    pub fn end(&mut self) -> Result<(), Unexpected> {
        self.peek();
        if self.at == self.text.len() { Ok(()) } else { self.fail("the end of the record") }
    }
}

/// Appends the value of a string's raw content; `Err` holds the place of a bad escape within it.
pub fn unescape(raw: &str, out: &mut String) -> Result<(), usize> {
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let place = raw.len() - rest.len() + at;
        let escape = rest.as_bytes().get(at + 1).ok_or(place)?;
        rest = rest.get(at + 2..).ok_or(place)?;
        out.push(match escape {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = hex4(rest).ok_or(place)?;
                rest = &rest[4..];
                if (0xd800..0xdc00).contains(&high) {
                    let low = rest.strip_prefix("\\u").and_then(hex4).filter(|low| (0xdc00..0xe000).contains(low));
                    rest = rest.get(6..).ok_or(place)?;
                    char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low.ok_or(place)? - 0xdc00)).ok_or(place)?
                } else {
                    char::from_u32(high).ok_or(place)?
                }
            }
            _ => return Err(place),
        });
    }
    out.push_str(rest);
    Ok(())
}

fn hex4(text: &str) -> Option<u32> {
    let digits = text.get(..4)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, 16).ok()
}

/// Appends `text` as a JSON string with its quotes. For names; values are written by [`crate::binlog::text`].
pub fn quoted(text: &str, out: &mut Vec<u8>) {
    // A string always serialises, and a Vec takes every write.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn strings_survive_and_others_read_them(text in any::<String>()) {
            let mut json = Vec::new();
            quoted(&text, &mut json);
            prop_assert_eq!(&serde_json::from_slice::<String>(&json).unwrap(), &text);
            let json = String::from_utf8(json).unwrap();
            let mut back = String::new();
            Cursor::new(&json).string(&mut back, "a string").unwrap();
            prop_assert_eq!(back, text);
        }

        #[test]
        fn accepts_no_string_that_is_not_json(raw in "[a\"\\\\u0dD8cCnx{é]{0,24}") {
            let json = format!("\"{raw}\"");
            let mut ours = String::new();
            let mut cursor = Cursor::new(&json);
            let read = cursor.string(&mut ours, "a string").and_then(|()| cursor.end());
            match serde_json::from_str::<String>(&json) {
                Ok(theirs) => prop_assert_eq!((read, ours), (Ok(()), theirs)),
                Err(_) => prop_assert!(read.is_err(), "{json}"),
            }
        }
    }

    #[test]
    fn values_are_passed_over_whole() {
        let json = r#" {"a" : [1, -2.5e3, {"b":null}, "x]\"}"], "c":true} "#;
        let mut cursor = Cursor::new(json);
        assert_eq!(cursor.skip().unwrap(), json.trim());
        cursor.end().unwrap();
        let deep = "[".repeat(100_000);
        assert!(Cursor::new(&deep).skip().is_err());
        assert!(Cursor::new("[1 2]").skip().is_err());
        assert!(Cursor::new("tru").skip().is_err());
    }
}
