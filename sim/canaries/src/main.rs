//! The worker with one decision broken, chosen by its first argument (`none` breaks nothing; `list` names all).
//!
//! Must not be started by anything but `cargo sim canaries`.

use anyhow::{Context, Result, bail};
use towpath_engine::canary::{Canary, choose};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["list"] => {
            Canary::ALL.iter().for_each(|(_, name, oracle, scenario)| println!("{name} {oracle} {scenario}"));
            Ok(())
        }
        ["none", rest @ ..] => towpath_sim_worker::cli::serve(rest),
        [name, rest @ ..] => {
            let (canary, ..) = Canary::ALL.iter().find(|(_, known, ..)| known == name).context("no such canary")?;
            choose(*canary);
            towpath_sim_worker::cli::serve(rest)
        }
        [] => bail!("usage: list | CANARY … as the worker"),
    }
}
