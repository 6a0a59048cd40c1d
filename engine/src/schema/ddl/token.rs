//! Statements cut into tokens, as the server's own lexer does under the statement's SQL mode and version.
//!
//! Must not know any grammar. Comments are passed over; what stands in a comment that the server executes is read.

use super::Dialect;

/// A piece of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// Unquoted: a keyword or a name.
    Word(String),
    /// A quoted name.
    Quoted(String),
    /// A string, its escapes resolved.
    Text(String),
    /// A number as it stands.
    Number(String),
    /// A string in hexadecimal or bits (`x'41'`, `0x41`, `b'1'`): its bytes.
    Bytes(Vec<u8>),
    /// Any other character.
    Sign(char),
}

impl Token {
    /// Whether it is this keyword.
    pub fn is(&self, keyword: &str) -> bool {
        matches!(self, Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// It as a name.
    pub fn name(&self) -> Option<&str> {
        match self {
            Token::Word(name) | Token::Quoted(name) => Some(name),
            _ => None,
        }
    }
}

/// Cuts a statement. Never fails: what is not closed goes to the end.
pub fn tokens(sql: &str, dialect: &Dialect) -> Vec<Token> {
    Lexer { chars: sql.char_indices().collect(), sql, at: 0, dialect, executed: 0 }.run()
}

struct Lexer<'a> {
    chars: Vec<(usize, char)>,
    sql: &'a str,
    at: usize,
    dialect: &'a Dialect,
    /// Executed comments that are open.
    executed: usize,
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).map(|&(_, c)| c)
    }

    fn starts(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(ahead, c)| self.peek(ahead) == Some(c))
    }

    fn text(&self, from: usize, to: usize) -> &str {
        let place = |at: usize| self.chars.get(at).map_or(self.sql.len(), |&(place, _)| place);
        &self.sql[place(from)..place(to)]
    }

    fn run(mut self) -> Vec<Token> {
        let mut out = Vec::new();
        while let Some(c) = self.peek(0) {
            match c {
                c if c.is_ascii_whitespace() || c == '\0' => self.at += 1,
                '#' => self.skip_line(),
                '-' if self.starts("--") && self.peek(2).is_none_or(|c| c.is_ascii_whitespace() || c.is_control()) => {
                    self.skip_line();
                }
                '/' if self.starts("/*") => self.comment(),
                '*' if self.executed > 0 && self.starts("*/") => {
                    self.executed -= 1;
                    self.at += 2;
                }
                '`' => out.push(Token::Quoted(self.quoted('`', false))),
                '"' if self.dialect.ansi_quotes => out.push(Token::Quoted(self.quoted('"', false))),
                '"' | '\'' => out.push(Token::Text(self.quoted(c, !self.dialect.no_backslash_escapes))),
                'x' | 'X' if self.peek(1) == Some('\'') => out.push(self.coded(16)),
                'b' | 'B' if self.peek(1) == Some('\'') => out.push(self.coded(2)),
                'n' | 'N' if self.peek(1) == Some('\'') => {
                    self.at += 1;
                    out.push(Token::Text(self.quoted('\'', !self.dialect.no_backslash_escapes)));
                }
                // A name after a point may begin with a digit.
                c if c.is_ascii_digit() && out.last() != Some(&Token::Sign('.')) => out.push(self.number()),
                c if is_word(c) => out.push(self.word()),
                other => {
                    self.at += 1;
                    out.push(Token::Sign(other));
                }
            }
        }
        out
    }

    fn skip_line(&mut self) {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.at += 1;
        }
    }

    /// At `/*`: passes over the comment, or into it if this server executes what it holds.
    fn comment(&mut self) {
        let (head, ours) = match (self.peek(2), self.peek(3)) {
            (Some('!'), _) => (3, true),
            (Some('M'), Some('!')) => (4, self.dialect.mariadb),
            _ => (2, false),
        };
        self.at += head;
        if !ours {
            return self.skip_comment();
        }
        let mut digits = String::new();
        while digits.len() < 6
            && let Some(digit) = self.peek(0).filter(char::is_ascii_digit)
        {
            digits.push(digit);
            self.at += 1;
        }
        let version: u32 = digits.parse().unwrap_or(0);
        // MariaDB does not execute what MySQL 5.7 and later added, unless it is marked as its own.
        let foreign = self.dialect.mariadb && head == 3 && (50_700..=99_999).contains(&version);
        if version > self.dialect.version || foreign {
            return self.skip_comment();
        }
        self.executed += 1;
    }

    fn skip_comment(&mut self) {
        while self.at < self.chars.len() && !self.starts("*/") {
            self.at += 1;
        }
        self.at = (self.at + 2).min(self.chars.len());
    }

    fn quoted(&mut self, quote: char, escapes: bool) -> String {
        self.at += 1;
        let mut text = String::new();
        while let Some(c) = self.peek(0) {
            self.at += 1;
            if c == '\\' && escapes {
                if let Some(escaped) = self.peek(0) {
                    self.at += 1;
                    match escaped {
                        'n' => text.push('\n'),
                        't' => text.push('\t'),
                        'r' => text.push('\r'),
                        'b' => text.push('\u{8}'),
                        '0' => text.push('\0'),
                        'Z' => text.push('\u{1a}'),
                        other => text.push(other),
                    }
                }
            } else if c != quote {
                text.push(c);
            } else if self.peek(0) == Some(quote) {
                self.at += 1;
                text.push(quote);
            } else {
                break;
            }
        }
        text
    }

    /// `x'41'` or `b'01'`.
    fn coded(&mut self, radix: u32) -> Token {
        self.at += 1;
        let digits = self.quoted('\'', false);
        Token::Bytes(bytes(&digits, radix))
    }

    fn number(&mut self) -> Token {
        let start = self.at;
        if self.starts("0x") {
            self.at += 2;
            while self.peek(0).is_some_and(|c| c.is_ascii_hexdigit()) {
                self.at += 1;
            }
            if self.peek(0).is_none_or(|c| !is_word(c)) && self.at > start + 2 {
                return Token::Bytes(bytes(self.text(start + 2, self.at), 16));
            }
            self.at = start;
        }
        self.digits();
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
            self.digits();
        }
        let signed = usize::from(matches!(self.peek(1), Some('+' | '-')));
        if matches!(self.peek(0), Some('e' | 'E')) && self.peek(1 + signed).is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1 + signed;
            self.digits();
        }
        if self.peek(0).is_some_and(is_word) {
            // A name may begin with digits.
            self.at = start;
            return self.word();
        }
        Token::Number(self.text(start, self.at).to_owned())
    }

    fn digits(&mut self) {
        while self.peek(0).is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn word(&mut self) -> Token {
        let start = self.at;
        while self.peek(0).is_some_and(is_word) {
            self.at += 1;
        }
        Token::Word(self.text(start, self.at).to_owned())
    }
}

/// Digits as bytes, the last digit in the last byte.
fn bytes(digits: &str, radix: u32) -> Vec<u8> {
    let each = if radix == 16 { 2 } else { 8 };
    let digits: Vec<u8> = digits.bytes().collect();
    digits
        .rchunks(each)
        .rev()
        .map(|chunk| std::str::from_utf8(chunk).ok().and_then(|text| u8::from_str_radix(text, radix).ok()).unwrap_or(0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(sql: &str, dialect: &Dialect) -> String {
        let texts: Vec<String> = tokens(sql, dialect)
            .into_iter()
            .map(|token| match token {
                Token::Word(text) | Token::Number(text) => text,
                Token::Quoted(text) => format!("[{text}]"),
                Token::Text(text) => format!("'{text}'"),
                Token::Bytes(bytes) => format!("{bytes:?}"),
                Token::Sign(sign) => sign.to_string(),
            })
            .collect();
        texts.join(" ")
    }

    #[test]
    fn quoting_depends_on_the_mode() {
        let plain = Dialect::mysql(90_700);
        let ansi = Dialect { ansi_quotes: true, no_backslash_escapes: true, ..Dialect::mysql(90_700) };
        assert_eq!(cut(r#"a`b``c`"d\"e"'f''g\n'"#, &plain), "a [b`c] 'd\"e' 'f'g\n'");
        assert_eq!(cut(r#""d\"'f\'"#, &ansi), r"[d\] 'f\'");
        assert_eq!(
            cut("N'a' x'4142' 0x4 b'100000001' 0xg 1e 1e-5 .5", &plain),
            "'a' [65, 66] [4] [1, 1] 0xg 1e 1e-5 . 5"
        );
        assert_eq!(cut("d.1a 12.5 3é", &plain), "d . 1a 12.5 3é");
    }

    #[test]
    fn comments_are_executed_by_whom_they_address() {
        let sql = "a /*!50100 b */ /*!99999 c */ /*!080023 d */ /*M!100100 e */ /*! f */ /* g */ # h\n-- i\nj --k";
        assert_eq!(cut(sql, &Dialect::mysql(90_700)), "a b d f j - - k");
        assert_eq!(cut(sql, &Dialect::mariadb(101_100)), "a b e f j - - k");
        assert_eq!(cut("a /*!50100 PARTITION BY /* inner */ b */ c", &Dialect::mysql(50_700)), "a PARTITION BY b c");
    }

    #[test]
    fn what_is_not_closed_ends_with_the_text() {
        for sql in ["'", "`a", "\"\\", "/*", "/*!", "/*!5", "x'", "0x", "N'", "a.", "\u{fffd}", "'\\"] {
            tokens(sql, &Dialect::mysql(90_700));
        }
    }
}
