//! An error in one sentence, with what lies beneath it: client libraries say what they did, and hide why it failed one
//! or more levels down (TLS, a refused connection).

/// The error with its causes; what the text says already is not repeated.
pub fn with_causes(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
