//! A place among tokens, with the few moves that the parsers need.
//!
//! Must not know what is parsed.

use super::token::Token;
use super::{TableName, Unread};

/// A place among tokens. Cheap to copy, so a parser can look ahead and come back.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    tokens: &'a [Token],
}

impl<'a> Cursor<'a> {
    /// At the first token.
    pub fn new(tokens: &'a [Token]) -> Self {
        Self { tokens }
    }

    /// The next token.
    pub fn peek(&self) -> Option<&'a Token> {
        self.tokens.first()
    }

    /// The token after that many.
    pub fn ahead(&self, count: usize) -> Option<&'a Token> {
        self.tokens.get(count)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Takes the next token.
    pub fn take(&mut self) -> Option<&'a Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    /// Whether the next token is this keyword.
    pub fn is(&self, keyword: &str) -> bool {
        self.peek().is_some_and(|token| token.is(keyword))
    }

    /// Whether the next token is one of these keywords.
    pub fn is_any(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }

    /// Takes the next token if it is this keyword.
    pub fn accept(&mut self, keyword: &str) -> bool {
        let found = self.is(keyword);
        if found {
            self.take();
        }
        found
    }

    /// Takes the next token if it is one of these keywords.
    pub fn accept_any(&mut self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.accept(keyword))
    }

    /// Takes these keywords if all of them follow.
    pub fn accept_all(&mut self, keywords: &[&str]) -> bool {
        let all = keywords.iter().enumerate().all(|(at, word)| self.ahead(at).is_some_and(|token| token.is(word)));
        if all {
            self.tokens = &self.tokens[keywords.len()..];
        }
        all
    }

    /// Whether the next token is this sign.
    pub fn is_sign(&self, sign: char) -> bool {
        self.peek() == Some(&Token::Sign(sign))
    }

    /// Takes the next token if it is this sign.
    pub fn sign(&mut self, sign: char) -> bool {
        let found = self.is_sign(sign);
        if found {
            self.take();
        }
        found
    }

    /// Takes a name.
    pub fn name(&mut self) -> Result<String, Unread> {
        match self.peek().and_then(Token::name) {
            Some(name) => {
                self.take();
                Ok(name.to_owned())
            }
            None => Err(self.unread("a name")),
        }
    }

    /// Takes the name of a table: `table`, `database.table` or `.table`.
    pub fn table(&mut self) -> Result<TableName, Unread> {
        self.sign('.');
        let first = self.name()?;
        if !self.sign('.') {
            return Ok(TableName { database: None, table: first });
        }
        Ok(TableName { database: Some(first), table: self.name()? })
    }

    /// Takes the name of a column, which may stand behind those of its table and database.
    pub fn column(&mut self) -> Result<String, Unread> {
        let mut name = self.name()?;
        while self.sign('.') {
            name = self.name()?;
        }
        Ok(name)
    }

    /// Takes a name or a string: charsets, collations and engines can be written as both.
    pub fn name_or_text(&mut self) -> Result<String, Unread> {
        match self.peek() {
            Some(Token::Text(text)) => {
                self.take();
                Ok(text.clone())
            }
            _ => self.name(),
        }
    }

    /// Takes a whole number.
    pub fn number(&mut self) -> Result<u64, Unread> {
        match self.peek() {
            Some(Token::Number(digits)) => {
                let number = digits.parse().map_err(|_| self.unread("a whole number"))?;
                self.take();
                Ok(number)
            }
            _ => Err(self.unread("a number")),
        }
    }

    /// Takes what stands in parentheses, if they are next, and gives a cursor on it.
    pub fn parentheses(&mut self) -> Result<Option<Cursor<'a>>, Unread> {
        if !self.is_sign('(') {
            return Ok(None);
        }
        let mut depth = 0;
        for (at, token) in self.tokens.iter().enumerate() {
            match token {
                Token::Sign('(') => depth += 1,
                Token::Sign(')') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let inner = Cursor::new(&self.tokens[1..at]);
                self.tokens = &self.tokens[at + 1..];
                return Ok(Some(inner));
            }
        }
        Err(self.unread("a closing parenthesis"))
    }

    /// Takes all up to the next comma outside of parentheses, or to the end.
    pub fn clause(&mut self) -> Cursor<'a> {
        let mut depth = 0;
        let end = self.tokens.iter().position(|token| {
            match token {
                Token::Sign('(') => depth += 1,
                Token::Sign(')') => depth -= 1,
                _ => {}
            }
            depth == 0 && *token == Token::Sign(',')
        });
        let (clause, rest) = self.tokens.split_at(end.unwrap_or(self.tokens.len()));
        self.tokens = rest;
        Cursor::new(clause)
    }

    /// What was expected here, and what stands here.
    pub fn unread(&self, expected: &str) -> Unread {
        let found = match self.peek() {
            None => "its end".to_owned(),
            Some(Token::Word(text) | Token::Number(text)) => format!("`{text}`"),
            Some(Token::Quoted(text)) => format!("the name `{text}`"),
            Some(Token::Text(text)) => format!("the text '{text}'"),
            Some(Token::Bytes(_)) => "a string of bytes".to_owned(),
            Some(Token::Sign(sign)) => format!("`{sign}`"),
        };
        Unread(format!("{expected} was expected, {found} stands there"))
    }
}
