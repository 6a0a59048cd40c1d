//! Owned by a helper; see ARCHITECTURE.md.
