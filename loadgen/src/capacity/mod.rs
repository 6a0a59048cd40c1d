//! From measured runs and a target to what is needed of each part. The model stands in docs/capacity.md.
//!
//! Must not measure, and must not guess: what no run has shown is not planned with.

mod check;
mod fit;
mod kept;
mod measured;
mod plan;
mod target;

pub use check::{Checked, Search, Tried, check};
pub use fit::{Costs, PartCost, Sample, Units};
pub use kept::{keep, kept};
pub use measured::{Measured, measured};
pub use plan::{Need, Plan, plan};
pub use target::{Machine, Rules, Target, named};
