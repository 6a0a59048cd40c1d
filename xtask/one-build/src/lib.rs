//! No code. Cargo builds a dependency once for each set of features that is asked of it, and what is asked depends on
//! the packages a command names: `cargo towpath` would rebuild half of what `cargo xtask test` has built.
//!
//! The documented commands turn on the feature `one-build` of their package, which depends on this one; this one asks
//! for the union. Without the feature (`cargo install --path .`) the program has nothing of it: no test facility of
//! tokio's, above all. `cargo xtask tidy` compares the sets, so that the list cannot fall behind.
