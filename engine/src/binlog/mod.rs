//! Binlog decoding: raw event bytes in, transactions' marks and rows out, values read in place.
//!
//! [`Decoder::decode`] takes one event; [`RowsEvent`] splits its rows into [`Field`]s; [`text`] writes a field as a
//! record wants it; [`file`] reads binlog files. Must not know connections, positions of a pipeline, or records.

mod decimal;
mod decoder;
#[cfg(test)]
mod decoder_tests;
mod escape;
mod event;
pub mod file;
mod gtid;
mod header;
mod json;
mod metadata;
#[cfg(test)]
mod mutated_tests;
mod number;
mod query_status;
mod read;
#[cfg(test)]
mod recorded_tests;
mod resolve;
mod rows;
mod spatial;
mod table_map;
mod tagged;
mod temporal;
pub mod text;
pub mod unpack;
mod xa;

pub use decoder::{Decoder, Filter};
pub use event::{Event, FormatDescription, Query, QueryKind, TableMapEvent};
pub use gtid::{Gtid, MariaDbGtid, PreviousGtids, SourceIntervals, format_uuid};
pub use header::{EventHeader, EventType, FLAG_ARTIFICIAL, FLAG_IGNORABLE, HEADER_LEN, counts};
pub use query_status::QueryStatus;
pub use rows::{Field, PatchedJson, RowsEvent, RowsKind};
pub use spatial::GeometryText;
pub use xa::{XaPrepare, XaStatement, Xid};
