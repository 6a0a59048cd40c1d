//! Damaged input: recorded events cut short and mutated never panic, never loop, and never give more than their bytes
//! can hold.

use proptest::prelude::*;

use super::recorded_tests::{FULL, MINIMAL, PATCHES, events};
use super::*;
use crate::cause::Cause;

/// Decodes a stream to its end, whatever stops; returns how many bytes of text came out of each event at most.
fn drain(decoder: &mut Decoder, raw: &[u8]) -> Result<usize, crate::cause::Stop> {
    let event = decoder.decode(raw)?;
    let mut written = 0;
    let Event::Rows(mut event) = event else { return Ok(0) };
    let (mut before, mut after, mut out) = (Vec::new(), Vec::new(), Vec::new());
    let (columns, mut rows) = (event.table.clone(), 0);
    while event.read_row(&mut before, &mut after)? {
        rows += 1;
        assert!(rows <= raw.len(), "more rows than bytes");
        for fields in [&before, &after] {
            for (column, field) in columns.columns.iter().zip(fields) {
                out.clear();
                let _ = match field {
                    Field::Value(value) => text::write_text(column, value, &mut out),
                    Field::Patched(patched) => text::Text::default().write_patched(column, patched, &mut out),
                    Field::Absent | Field::Null => Ok(()),
                };
                written += out.len();
            }
        }
    }
    Ok(written)
}

/// The most a value's text can be longer than its bytes: a control character of JSON within JSON (`\\u0001`), the
/// padding of a BINARY, the members of a SET. The recorded tables have at most 255 of either.
const GROWTH: usize = 7;
const PADDING: usize = 6 * 255;

#[test]
fn every_cut_of_every_event_is_told_or_harmless() {
    let mut decoder = Decoder::new(|_, _| true);
    let mut maps: Vec<&[u8]> = Vec::new();
    for event in events(FULL) {
        let kind = EventHeader::parse(event).unwrap().event_type;
        for length in (0..event.len().min(400)).chain([event.len()]) {
            // A cut rows event may still end its statement: map its tables anew.
            for map in &maps {
                decoder.decode(map).unwrap();
            }
            match drain(&mut decoder, &event[..length]) {
                // A cut event of text only (a statement, a file name) is a shorter event; a cut row is not.
                Err(stop) => {
                    assert!(length < event.len(), "{stop}");
                    assert!(matches!(stop.cause, Cause::Corrupt | Cause::SchemaMismatch), "{stop}");
                    assert!(stop.detail.contains("expected") || stop.cause != Cause::Corrupt, "{stop}");
                }
                Ok(_) => assert!(length == event.len() || kind != EventType::XID, "a cut {kind} event"),
            }
        }
        match kind {
            EventType::TABLE_MAP => maps.push(event),
            EventType::XID | EventType::QUERY => maps.clear(),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn mutated_streams_end_without_a_panic(
        which in 0usize..3,
        mutations in proptest::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()),
            1..60,
        ),
    ) {
        let file = [FULL, MINIMAL, PATCHES][which];
        let mut stream: Vec<Vec<u8>> = events(file).into_iter().map(<[u8]>::to_vec).collect();
        for (event, byte, value) in mutations {
            let event = event.get_mut(&mut stream);
            let at = byte.index(event.len());
            event[at] = value;
        }
        let mut decoder = Decoder::new(|_, _| true);
        for event in &stream {
            if let Ok(written) = drain(&mut decoder, event) {
                let most = GROWTH * event.len() + PADDING * event.len();
                prop_assert!(written <= most, "{written} bytes of text from {} bytes", event.len());
            }
        }
    }

    #[test]
    fn arbitrary_bodies_end_without_a_panic(
        kind: u8, flags: u16, body in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut decoder = Decoder::new(|_, _| true);
        let mut raw = vec![0; HEADER_LEN];
        raw[4] = kind;
        raw[17..19].copy_from_slice(&flags.to_le_bytes());
        raw.extend(body);
        let _ = drain(&mut decoder, &raw);
        raw[4] = 19;
        let _ = drain(&mut decoder, &raw);
    }
}
