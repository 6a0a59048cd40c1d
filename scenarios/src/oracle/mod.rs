//! Judges of what was observed. Each in a file of its own; each states exactly what it allows.

pub mod documents;
