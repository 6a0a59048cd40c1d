//! What is wrong with a file that a person wrote: one sentence with the line, and what may have been meant.

use std::fmt;

/// Why a file cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the file is: `scenario`, `profile`, `target`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// The line, from 1; 0 if it is the file as a whole.
    pub line: usize,
    /// What, and what to do.
    pub message: String,
}

impl Refusal {
    /// Of the file as a whole.
    pub fn of(what: &'static str, name: &str, message: impl Into<String>) -> Self {
        Self { what, name: name.to_owned(), line: 0, message: message.into() }
    }

    /// What the reader of TOML objects to in `text`.
    pub fn of_toml(what: &'static str, name: &str, text: &str, error: &toml::de::Error) -> Self {
        let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        Self { line, ..Self::of(what, name, suggest(error.message())) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, name, message, .. } = self;
        match self.line {
            0 => write!(f, "{what} {name}: {message}"),
            line => write!(f, "{what} {name}, line {line}: {message}"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Serde's sentence, shortened to the word that was probably meant.
pub(crate) fn suggest(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let [wrong, known @ ..] = quoted.as_slice() else { return message.to_owned() };
    if !message.starts_with("unknown") || known.is_empty() {
        return message.to_owned();
    }
    let what = message.split('`').next().unwrap_or_default().trim().replace("variant", "kind").replace("field", "key");
    format!("{what} `{wrong}`; {}", did_you_mean(wrong, known))
}

/// The known name that was probably meant, or all of them.
pub fn did_you_mean(wrong: &str, known: &[&str]) -> String {
    let near = known.iter().max_by(|a, b| {
        let score = |name: &str| strsim::jaro_winkler(wrong, name);
        score(a).total_cmp(&score(b))
    });
    match near.filter(|name| strsim::jaro_winkler(wrong, name) > 0.75) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known: {}", known.join(", ")),
    }
}
