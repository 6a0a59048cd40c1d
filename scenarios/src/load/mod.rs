//! Load as plain data: profiles, the traffic they stand for, and the levels it must keep.
//!
//! Must not know how the traffic is carried out: a real run and a simulated one get the same plan from the same seed.

mod asked;
mod curve;
mod devices;
mod level;
mod orders;
mod polls;
mod profile;
mod traffic;
mod zipf;

pub use asked::{listed, sounding};
pub use curve::{Arrivals, Curve, Stage, replayed};
pub use devices::{Devices, Heard, Played, Poll};
pub use level::{Comparison, FIGURES, Level, SCALARS, STATISTICS};
pub use orders::{OrderPlan, StepKind, Write};
pub use polls::Polls;
pub use profile::{CLUSTERS, Lists, Merchants, OrderTraffic, Outage, Profile, Sounds, parse};
pub use traffic::{Planned, Traffic, What};
pub use zipf::Zipf;

use towpath_engine::env::Rng;

/// A number in [0, 1) with 53 bits.
fn unit(rng: &mut Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests;
