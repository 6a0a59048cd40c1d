//! Records as they lie in Kafka: written from decoded rows, read back into rows with types.
//!
//! FlatMessage (design §5) is the format there is; others come behind the same trait. Must not deliver, route by
//! anything but the [`crate::routing::Router`] it is given, or know a sink.

pub mod headers;
mod json;
pub mod read;
pub mod types;

pub use headers::{ChangeHeaders, ControlHeaders, ControlKind, Headers, RowRanges};
pub use read::{ChangeKind, ChangeRecord, Field, Incoming, ReadError, Reader, RowRef, Shape, ShapeColumn};
pub use types::{TypeKind, TypedValue, ValueError};
