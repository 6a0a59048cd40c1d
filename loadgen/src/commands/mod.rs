//! One file a command. Must not measure.

pub mod check_model;
pub mod compare;
pub mod find_max;
pub mod own_cost;
pub mod plan;
pub mod remind;
pub mod run;

use anyhow::{Result, ensure};
use std::io::IsTerminal;
use std::process::ExitCode;
use towpath_load::live::View;
use towpath_load::own::Services;
use towpath_load::profiles;
use towpath_load::report::Report;
use towpath_scenarios::load::{CLUSTERS, Profile};

/// What changes a profile.
#[derive(Debug, Clone, clap::Args)]
pub struct Tuning {
    /// Same seed, same traffic.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Multiply rates and merchants.
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    pub scale: f64,
    /// Squeeze or stretch the profile to so many seconds; rates stay.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(3..=86_400))]
    pub seconds: Option<u32>,
    /// The cluster that devices poll, instead of the profile's: hot, full, remind.
    #[arg(long, value_name = "CLUSTER", value_parser = CLUSTERS)]
    pub sounds_on: Option<String>,
    /// With --stack: so many seconds of the same traffic before what is measured (0: none). Services that have just
    /// started answer late while they compile their own code.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=600))]
    pub warm: u32,
}

impl Tuning {
    /// The profile of that name, changed.
    pub fn profile(&self, name: &str) -> Result<Profile> {
        ensure!(self.scale.is_finite() && self.scale > 0.0, "--scale {} is no factor", self.scale);
        let mut profile = profiles::named(name)?;
        profile.scale = self.scale;
        if let Some(seconds) = self.seconds {
            profile.squeeze(seconds);
        }
        if let Some(cluster) = &self.sounds_on {
            ensure!(profile.sounds.is_some(), "--sounds-on: profile {name} polls for no sounds");
            profile.sounds.iter_mut().for_each(|sounds| sounds.cluster.clone_from(cluster));
        }
        Ok(profile)
    }

    /// Warms services that have just started, with this traffic.
    pub async fn warm(&self, services: &mut Services, profile: &Profile) -> Result<()> {
        if self.warm < 3 {
            return Ok(());
        }
        let mut profile = Profile { outage: None, levels: Vec::new(), abort: Vec::new(), ..profile.clone() };
        profile.squeeze(self.warm);
        let name = format!("warming: {}", profile.name);
        let view = View::new(&name, u64::from(self.warm), std::io::stderr().is_terminal());
        services.run(&profile, self.seed, view).await.map(drop)
    }
}

/// `profiles`.
pub fn profiles(as_json: bool) -> Result<ExitCode> {
    let mut all = Vec::new();
    for (name, _) in profiles::SHIPPED {
        let profile = profiles::named(name)?;
        if !as_json {
            println!("{name:<20} {:>4} s  {}", profile.length.millis() / 1000, profile.learn);
        }
        all.push(profile);
    }
    if as_json {
        println!("{}", serde_json::to_string(&all)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// The exit status of runs.
pub fn status(reports: &[Report]) -> ExitCode {
    match (reports.iter().all(|report| report.valid), reports.iter().all(|report| report.passed)) {
        (false, _) => ExitCode::from(3),
        (_, true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Where searches are kept: in the user's cache folder.
fn measured_folder() -> anyhow::Result<std::path::PathBuf> {
    Ok(towpath_stack::paths::cache_dir()?.join("load"))
}
