//! The worker: started by `cargo sim`, not by people.

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    towpath_sim_worker::cli::serve(&args.iter().map(String::as_str).collect::<Vec<_>>())
}
