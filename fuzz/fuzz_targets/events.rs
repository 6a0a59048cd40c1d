//! Events as a binlog file holds them, each with a checksum's four bytes that nobody looks at, through decoding to
//! values and records.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "what is shared is more than this target needs")]
#[path = "../../tests/fuzz_events/drive.rs"]
mod drive;

const MAGIC: usize = 4;
const HEADER: usize = 19;
const CHECKSUM: usize = 4;

fuzz_target!(|data: &[u8]| {
    let mut rest = data.get(MAGIC..).unwrap_or_default();
    let mut events = Vec::new();
    while rest.len() >= HEADER + CHECKSUM {
        let size = u32::from_le_bytes([rest[9], rest[10], rest[11], rest[12]]) as usize;
        let (event, next) = rest.split_at(size.clamp(HEADER + CHECKSUM, rest.len()));
        events.push(event[..event.len() - CHECKSUM].to_vec());
        rest = next;
    }
    drive::stream(&events, true);
});
