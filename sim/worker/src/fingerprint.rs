//! A hash of what stands, once a simulated second in the trace: it says in which second two runs of one seed part, also
//! where nothing was said in between.

use std::collections::BTreeMap;
use std::hash::Hasher;
use towpath_engine::state;

use crate::world::World;

/// FNV-1a, 64 bits: the same in every process.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// The hash so far: each look adds what is new since the last one.
pub struct Fingerprint {
    hash: Fnv,
    next: Vec<BTreeMap<u32, i64>>,
    operations: usize,
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self { hash: Fnv(0xcbf2_9ce4_8422_2325), next: Vec::new(), operations: 0 }
    }
}

impl Fingerprint {
    /// Takes in the sources' histories, the states, the log's new records, what the index accepted, and what the
    /// processes say about themselves.
    pub fn look(&mut self, world: &World) -> u64 {
        self.next.resize_with(world.pipelines.len(), BTreeMap::new);
        for (pipeline, next) in world.pipelines.iter().zip(&mut self.next) {
            self.hash.write(pipeline.source().executed().to_string().as_bytes());
            if let Some((bytes, version)) = world.zookeeper.node(&format!("{}/{}", pipeline.folder(), state::NODE)) {
                self.hash.write(&bytes);
                self.hash.write_i32(version);
            }
            for record in world.kafka.records_since(pipeline.name(), next) {
                self.hash.write_u32(record.partition);
                self.hash.write_i64(record.offset);
                self.hash.write(record.value.as_deref().unwrap_or_default());
            }
        }
        for operation in world.elasticsearch.history_since(self.operations) {
            self.operations += 1;
            self.hash.write(operation.index.as_bytes());
            self.hash.write(operation.id.as_bytes());
            self.hash.write_u64(operation.version);
        }
        world.processes.describe().iter().for_each(|line| self.hash.write(line.as_bytes()));
        self.hash.finish()
    }
}
