//! The document as bytes: `{"towpath_state":2,"crc32":"…","state":{…}}`, one line of JSON that a person can read.
//!
//! The checksum covers the text of `state` exactly as it stands. Must not repair what it cannot read.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::PipelineState;
use crate::cause::{Cause, Stop};

/// The format that this code writes, and the newest it reads. 2 added what a repair has seen and out-of-order places;
/// format 1 is read as a state without them.
pub const FORMAT: u32 = 2;
/// The oldest format that is read.
const OLDEST_FORMAT: u32 = 1;

/// The most bytes of a written state: a znode holds 1 MiB with its request's overhead, and the previous value is
/// written
/// in the same request (ZooKeeper's `jute.maxbuffer` bounds the request, 1 MiB).
pub const MAX_BYTES: usize = 480_000;

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    towpath_state: u32,
    crc32: String,
    #[serde(borrow)]
    state: &'a RawValue,
}

/// The state as bytes, at most [`MAX_BYTES`]: the ring is thinned (in place) until it fits.
pub fn encode(state: &mut PipelineState) -> Result<Vec<u8>, Stop> {
    loop {
        let fail =
            |error: serde_json::Error| Stop::new(Cause::Internal, format!("the state cannot be written: {error}"));
        let text = serde_json::to_string(&*state).map_err(fail)?;
        let crc32 = format!("{:08x}", crc32fast::hash(text.as_bytes()));
        let state_text = RawValue::from_string(text).map_err(fail)?;
        let envelope = Envelope { towpath_state: FORMAT, crc32, state: &state_text };
        let bytes = serde_json::to_vec(&envelope).map_err(fail)?;
        if bytes.len() <= MAX_BYTES {
            return Ok(bytes);
        }
        if !state.ring.thin() {
            return Err(Stop::new(
                Cause::Config,
                format!(
                    "the state of pipeline {} takes {} bytes of at most {MAX_BYTES}; tables whose rows are held fill \
                     it: resolve them by `towpath schema`",
                    state.pipeline,
                    bytes.len()
                ),
            ));
        }
    }
}

/// The state that these bytes hold. `StateNewer` if another format wrote them, `StateGarbage` with what was found if
/// they are not a state.
pub fn decode(bytes: &[u8]) -> Result<PipelineState, Stop> {
    #[derive(Deserialize)]
    struct Format {
        towpath_state: u32,
    }
    let format: Format = serde_json::from_slice(bytes).map_err(|error| garbage(bytes, &error.to_string()))?;
    if format.towpath_state > FORMAT {
        return Err(Stop::new(
            Cause::StateNewer,
            format!("the state has format {}, this Towpath reads up to {FORMAT}", format.towpath_state),
        ));
    }
    if format.towpath_state < OLDEST_FORMAT {
        return Err(garbage(bytes, &format!("there is no format {}", format.towpath_state)));
    }
    let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(|error| garbage(bytes, &error.to_string()))?;
    let text = envelope.state.get();
    let found = format!("{:08x}", crc32fast::hash(text.as_bytes()));
    if found != envelope.crc32 {
        return Err(garbage(bytes, &format!("its checksum is {found}, written was {}", envelope.crc32)));
    }
    serde_json::from_str(text).map_err(|error| garbage(bytes, &error.to_string()))
}

fn garbage(bytes: &[u8], why: &str) -> Stop {
    const SHOWN: usize = 120;
    let shown = bytes[..bytes.len().min(SHOWN)].escape_ascii();
    let more = if bytes.len() > SHOWN { " …" } else { "" };
    Stop::new(
        Cause::StateGarbage,
        format!("the state node holds {} bytes that are not a state ({why}): \"{shown}{more}\"", bytes.len()),
    )
}

#[cfg(test)]
mod tests {
    use super::super::document::*;
    use super::super::{HistoryRef, Quarantine, SchemaState};
    use super::*;
    use crate::position::{FilePosition, Position};
    use std::time::Duration;

    fn witness() -> Witness {
        let gtid = "3e11fa47-71ca-11e1-9e33-c80aa9429562:7".to_owned();
        Witness { file: "b.000001".into(), start: 157, gtid, length: 412, crc32: 7, original_commit_us: 9 }
    }

    fn state() -> PipelineState {
        let resume = Position::Gtid("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-7".parse().unwrap());
        PipelineState {
            pipeline: "orders".into(),
            leader: LeaderMark { term: 12, instance: "a".into(), since_ms: 5, producers: 1 },
            term_base: 0,
            topic: "orders".into(),
            topic_id: "t".into(),
            partitions: 2,
            epoch: EpochRecord {
                number: 1,
                scheme: SCHEME,
                server: "3e11fa47-71ca-11e1-9e33-c80aa9429562".into(),
                anchor: Anchor { resume: resume.clone(), file: Some(FilePosition::new("b.000001", 157)) },
                reason: "first start".into(),
                began_ms: 1,
                in_order_from: None,
            },
            checkpoint: Checkpoint {
                resume,
                offset: 412,
                file: Some(FilePosition::new("b.000001", 569)),
                event_ms: 3,
                witness: Some(witness()),
                tail_from: vec![4, 0],
                low_water: vec![3, 0],
            },
            ring: Default::default(),
            pending: vec![],
            prepared: vec![],
            fallback: vec![],
            schemas: None,
            order: None,
            audit: vec![],
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut state = state();
        let entry = RingEntry {
            epoch: 1,
            resume: state.checkpoint.resume.clone(),
            offset: 1,
            witness: witness(),
            low_water: vec![1, 2],
            prepared: vec![PreparedXa { xid: "X'61',X'',1".into(), witness: witness() }],
            at_ms: 3,
        };
        state.ring.push(entry, Duration::from_secs(1));
        state.note(9, "set by hand");
        let bytes = encode(&mut state).unwrap();
        assert!(bytes.starts_with(b"{\"towpath_state\":2,\"crc32\":"), "the format number comes first");
        assert_eq!(decode(&bytes).unwrap(), state);
    }

    #[test]
    fn any_flipped_or_missing_byte_of_the_state_is_noticed() {
        let bytes = encode(&mut state()).unwrap();
        for at in (0..bytes.len()).step_by(3) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            match decode(&damaged) {
                Ok(read) => assert_eq!(read, state(), "byte {at} changed the meaning unnoticed"),
                Err(stop) => assert!(matches!(stop.cause, Cause::StateGarbage | Cause::StateNewer), "{stop}"),
            }
        }
        assert_eq!(decode(&bytes[..bytes.len() - 5]).unwrap_err().cause, Cause::StateGarbage);
    }

    /// What an older version left is read.
    #[test]
    fn the_older_format_is_read() {
        let bytes = String::from_utf8(encode(&mut state()).unwrap()).unwrap();
        let older = bytes.replacen("\"towpath_state\":2", "\"towpath_state\":1", 1);
        assert_eq!(decode(older.as_bytes()).unwrap(), state());
        assert_eq!(decode(b"{\"towpath_state\":0}").unwrap_err().cause, Cause::StateGarbage);
    }

    #[test]
    fn garbage_is_shown_and_a_newer_format_refused() {
        let stop = decode(b"{\"otter\":1}\x00").unwrap_err();
        assert_eq!(stop.cause, Cause::StateGarbage);
        assert!(stop.detail.contains("{\\\"otter\\\":1}\\x00"), "{}", stop.detail);
        assert_eq!(decode(b"").unwrap_err().cause, Cause::StateGarbage);
        let newer = decode(b"{\"towpath_state\":3,\"whatever\":true}").unwrap_err();
        assert_eq!(newer.cause, Cause::StateNewer);
    }

    #[test]
    fn a_state_never_outgrows_its_node() {
        let mut large = state();
        let resume = large.checkpoint.resume.clone();
        for at_ms in (0..20_000).step_by(100) {
            let low_water = (0..900).map(|partition| 1_000_000_000 + partition).collect();
            let (resume, prepared) = (resume.clone(), vec![]);
            let entry = RingEntry { epoch: 1, resume, offset: 1, witness: witness(), low_water, prepared, at_ms };
            large.ring.push(entry, Duration::from_secs(12));
        }
        let before = large.ring.entries().len();
        let bytes = encode(&mut large).unwrap();
        assert!(bytes.len() <= MAX_BYTES && large.ring.entries().len() < before);
        assert_eq!(decode(&bytes).unwrap(), large);

        // What grows without bound is elsewhere: only very many held tables could fill it.
        let history = HistoryRef { topic_id: "h".into(), snapshot: "1-1-0".into(), from: 0, upto: 9, changes: 3 };
        let held = Quarantine {
            database: "d".into(),
            table: "t".repeat(64),
            cause: Cause::SchemaChanged,
            detail: "x".repeat(300),
            epoch: 1,
            offset: 7,
            transaction: witness().gtid,
            since_ms: 1,
            resume: large.checkpoint.clone(),
            history: history.clone(),
            prepared: vec![],
        };
        let quarantine = vec![held.clone(); 100];
        large.schemas = Some(SchemaState { history, quarantine, orders: vec![], earlier: vec![] });
        assert_eq!(decode(&encode(&mut large).unwrap()).unwrap(), large);
        large.schemas.as_mut().unwrap().quarantine = vec![held; 1_000];
        let stop = encode(&mut large).unwrap_err();
        assert!(stop.cause == Cause::Config && stop.detail.contains("towpath schema"), "{stop}");
    }

    #[test]
    fn the_audit_trail_is_bounded() {
        let mut state = state();
        for at in 0..80 {
            state.note(at, "x");
        }
        assert_eq!((state.audit.len(), state.audit[0].at_ms), (MAX_AUDIT, 30));
    }
}
