//! `find-max`: the highest rate at which the levels hold and the backlog does not grow.

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;
use std::io::IsTerminal;
use std::process::ExitCode;
use towpath_load::capacity::{self, Sample, Tried};
use towpath_load::drive::{MOST_QUERIES_PER_S, MOST_WRITES_PER_S, sessions};
use towpath_load::live::View;
use towpath_load::own::Services;
use towpath_load::report::{Load, Report, text};
use towpath_load::search::Bracket;
use towpath_scenarios::load::{Curve, Profile};

use super::Tuning;

/// What is raised from trial to trial; the rest stays as the profile has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    /// Orders and their steps.
    Writes,
    /// Polls and lists.
    Queries,
    /// All of it.
    Both,
}

/// What `find-max` can be told.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// The profile whose mix and levels count; its rates are levelled to their mean.
    #[arg(default_value = "steady")]
    profile: String,
    #[command(flatten)]
    tuning: Tuning,
    /// What is raised.
    #[arg(long, value_enum, default_value = "both")]
    of: Of,
    /// Seconds of one trial.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(10..=3_600))]
    trial: u32,
    /// Services and pipelines of one's own.
    #[arg(long, required = true)]
    stack: bool,
}

#[derive(Debug, Serialize)]
struct Trial {
    #[serde(flatten)]
    tried: Tried,
    load: Load,
    backlog_growth: Option<f64>,
    reasons: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Found {
    profile: String,
    of: Of,
    seed: u64,
    /// Of the machine, shared by all.
    cores: usize,
    trials: Vec<Trial>,
    /// Nothing broke up to what the generator sends.
    open_ended: bool,
    valid: bool,
    passed: bool,
    /// The highest trial that held.
    factor: Option<f64>,
    maximum: Option<Load>,
}

/// What low rates cost is measured after the search, at these shares of what held: before, services still compile their
/// own code. In no order, so that what changes with time is not taken for what changes with the rate.
const LOW: [f64; 6] = [0.25, 0.0625, 0.5, 0.125, 0.375, 0.1875];

/// Searches; fails if nothing held.
pub async fn run(arguments: &Arguments, as_json: bool) -> Result<ExitCode> {
    let mut base = arguments.tuning.profile(&arguments.profile)?;
    anyhow::ensure!(base.outage.is_none(), "profile {} has an outage: no rate holds in it", base.name);
    level(&mut base, arguments.trial);
    let mut bracket = Bracket::new(1.0, reach(&base, arguments.of), 1.15);
    let mut services = Services::start().await?;
    let mut trials = Vec::new();
    let searched = async {
        arguments.tuning.warm(&mut services, &base).await?;
        while let Some(factor) = bracket.next() {
            let trial = one(&mut services, arguments, &base, (factor, false), as_json).await?;
            bracket.tried(trial.tried.held);
            trials.push(trial);
        }
        if let Some(found) = bracket.found() {
            for share in LOW {
                trials.push(one(&mut services, arguments, &base, (found * share, true), as_json).await?);
            }
        }
        anyhow::Ok(())
    };
    let searched = searched.await;
    services.stop().await?;
    searched?;
    let factor = bracket.found();
    let best = trials.iter().filter(|trial| trial.tried.held).max_by(|a, b| a.tried.factor.total_cmp(&b.tried.factor));
    let found = Found {
        profile: base.name.clone(),
        of: arguments.of,
        seed: arguments.tuning.seed,
        cores: std::thread::available_parallelism()?.get(),
        open_ended: bracket.open_ended(),
        valid: !trials.is_empty(),
        passed: factor.is_some(),
        factor,
        maximum: best.map(|trial| trial.load.clone()),
        trials,
    };
    let json = serde_json::to_string(&found)?;
    match as_json {
        true => println!("{json}"),
        false => println!("{}", table(&found)),
    }
    if found.passed {
        let of = arguments.of.to_possible_value().map(|of| of.get_name().to_owned()).unwrap_or_default();
        // Told already: a folder that cannot be written takes nothing from it.
        match super::measured_folder().and_then(|folder| capacity::keep(&folder, &of, &json)) {
            Ok(kept) => eprintln!("kept for `plan`: {}", kept.display()),
            Err(error) => eprintln!("not kept for `plan`: {error:#}"),
        }
    }
    Ok(if found.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn one(
    services: &mut Services,
    arguments: &Arguments,
    base: &Profile,
    (factor, after): (f64, bool),
    quiet: bool,
) -> Result<Trial> {
    let profile = raised(base, arguments.of, factor);
    let name = format!("{} × {factor:.2}", base.name);
    let view = View::new(&name, u64::from(arguments.trial), std::io::stderr().is_terminal());
    let report = services.run(&profile, arguments.tuning.seed, view).await;
    let trial = judge((factor, after), &report.with_context(|| name.clone())?);
    if !quiet {
        eprintln!("{name}: {}", if trial.tried.held { "holds".to_owned() } else { trial.reasons.join("; ") });
    }
    Ok(trial)
}

/// Constant rates, at the mean of what the profile asks for.
fn level(profile: &mut Profile, seconds: u32) {
    let length = profile.length.millis() * 1000;
    let mean = |curve: &Curve| (0..100).map(|step| curve.rate(length / 100 * step, length)).sum::<f64>() / 100.0;
    let curves = profile.orders.as_mut().map(|orders| &mut orders.rate);
    for curve in curves.into_iter().chain(profile.lists.as_mut().map(|lists| &mut lists.rate)) {
        *curve = Curve::Constant { rate: mean(curve) };
    }
    profile.squeeze(seconds);
}

fn raised(base: &Profile, of: Of, factor: f64) -> Profile {
    let mut profile = base.clone();
    let raise = |curve: &mut Curve| {
        if let Curve::Constant { rate } = curve {
            *rate *= factor;
        }
    };
    if of != Of::Queries
        && let Some(orders) = &mut profile.orders
    {
        raise(&mut orders.rate);
        orders.connections = sessions(f64::from(orders.connections) * factor);
    }
    if of != Of::Writes {
        profile.lists.iter_mut().for_each(|lists| raise(&mut lists.rate));
        profile.merchants.count = ((f64::from(profile.merchants.count) * factor).round() as u32).max(1);
    }
    profile
}

/// The largest factor that the generator can send.
fn reach(base: &Profile, of: Of) -> f64 {
    let (writes, queries) = base.peak();
    let writes = if of == Of::Queries { f64::INFINITY } else { MOST_WRITES_PER_S / writes };
    let queries = if of == Of::Writes { f64::INFINITY } else { MOST_QUERIES_PER_S / queries };
    writes.min(queries).min(1e6) * 0.99
}

fn judge((factor, after): (f64, bool), report: &Report) -> Trial {
    let mut reasons = report.reasons.clone();
    let growth = report.backlog_growth;
    // Fifty in a thousand of what comes: less cannot be told from noise within a trial.
    let most = (report.load.orders_per_s * 0.05).max(1.0);
    if let Some(growth) = growth.filter(|growth| *growth > most) {
        reasons.push(format!("the backlog grows by {growth:.1} orders a second"));
    }
    let held = report.valid && reasons.is_empty();
    let tried = Tried { factor, held, valid: report.valid, after, sample: Sample::of(report) };
    Trial { tried, load: report.load.clone(), backlog_growth: growth, reasons }
}

fn table(found: &Found) -> String {
    let mut table = text::plain(&[
        "factor",
        "orders/s",
        "transact./s",
        "changes/s",
        "queries/s",
        "busy cores",
        "backlog, orders/s",
        "",
    ]);
    for trial in &found.trials {
        let load = &trial.load;
        let growth = trial.backlog_growth.map_or("–".to_owned(), |growth| format!("{growth:+.1}"));
        let numbers = [load.orders_per_s, load.transactions_per_s, load.changes_per_s, load.queries_per_s];
        let mut cells = vec![text::right(&format!("{:.2}", trial.tried.factor))];
        cells.extend(numbers.map(|number| text::right(&format!("{number:.0}"))));
        cells.push(text::right(&format!("{:.2}", trial.tried.sample.busy())));
        cells.push(text::right(&growth));
        cells.push(comfy_table::Cell::new(if trial.tried.held {
            "holds".to_owned()
        } else {
            trial.reasons.join("; ")
        }));
        table.add_row(cells);
    }
    let end = match &found.maximum {
        None => "nothing held: lower --scale".to_owned(),
        Some(most) => format!(
            "highest that held: {:.0} orders/s, {:.0} row changes/s, {:.0} queries/s{}",
            most.orders_per_s,
            most.changes_per_s,
            most.queries_per_s,
            if found.open_ended { "; the generator sends no more" } else { "" }
        ),
    };
    format!("{table}\n{end}")
}
