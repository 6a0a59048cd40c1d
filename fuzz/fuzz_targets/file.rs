//! A binlog file's bytes, checked and cut into events.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "what is shared is more than this target needs")]
#[path = "../../tests/fuzz_events/drive.rs"]
mod drive;

fuzz_target!(|data: &[u8]| {
    drive::file(data, 4096);
});
