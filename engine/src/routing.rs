//! Routing keys to partitions.
