//! Needs of each part at the target's peak.

use anyhow::{Context, Result};
use serde::Serialize;

use super::fit::Costs;
use super::target::Target;

/// What one part needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Need {
    /// The part.
    pub part: String,
    /// Cores that are busy at the peak, on cores of the target's machines.
    pub cores: f64,
    /// Machines (for deployer and adapter: of which only the cores are used), reserve and loss included.
    pub machines: u32,
    /// Busy cores over those of one machine that may be busy: what grows beyond 1 first, breaks first.
    pub load_of_one: f64,
    /// What else follows.
    pub note: String,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The target's name.
    pub target: String,
    /// At the peak, a second.
    pub orders_per_s: f64,
    /// See above.
    pub changes_per_s: f64,
    /// See above.
    pub queries_per_s: f64,
    /// Kafka's bandwidth for writing, all copies, 10⁶ bytes a second.
    pub kafka_mb_per_s: f64,
    /// Partitions: adapters that can share the work, twice over.
    pub partitions: u32,
    /// By part.
    pub needs: Vec<Need>,
    /// The part that cannot be spread over machines and is nearest to one machine's limit.
    pub breaks_first: String,
}

const DAY_S: f64 = 86_400.0;

/// # Errors
/// The measured runs lack a part.
pub fn plan(name: &str, target: &Target, costs: &Costs) -> Result<Plan> {
    let peak = target.peak_factor / DAY_S;
    let orders = target.orders_per_day * peak;
    let transactions = orders * target.transactions_per_order;
    let changes = orders * target.changes_per_order;
    let queries = target.queries_per_day * peak;
    let (polls, lists) = (queries * target.polls, queries * (1.0 - target.polls));
    let usable = f64::from(target.machine.cores) * target.rules.busy;
    let cores = |part: &str, queries: f64| -> Result<f64> {
        let cost = costs.parts.get(part).with_context(|| format!("no run shows what {part} costs"))?;
        Ok(costs.cores(cost, transactions, changes, queries) / target.machine.speed)
    };
    let machines = |cores: f64| ((cores / usable).ceil() as u32).max(1) + target.rules.lost_machines;
    let mut needs = Vec::new();
    let mut add = |part: &str, cores: f64, least: u32, note: String| {
        needs.push(Need {
            part: part.to_owned(),
            cores,
            machines: machines(cores).max(least),
            load_of_one: cores / usable,
            note,
        });
    };
    let adapter = cores("adapter", 0.0)?;
    // One adapter process uses about two cores; a partition has one owner.
    let partitions = ((adapter / 2.0).ceil() as u32 * 2).max(4);
    add("mysql", cores("mysql", 0.0)?, 2, "one writer: cannot be spread, only split by tables".to_owned());
    let deployer = cores("deployer", 0.0)?;
    add("deployer", deployer, 2, "one leader a pipeline: cannot be spread, only split into pipelines".to_owned());
    add("kafka", cores("kafka", 0.0)? * f64::from(target.rules.kafka_copies), 3, format!("{partitions} partitions"));
    add("adapter", adapter, 2, "shares the partitions".to_owned());
    for (cluster, documents) in [("hot", target.hot), ("full", 1.0), ("remind", 0.0)] {
        let polled = if target.sounds_on == cluster { polls } else { 0.0 };
        let asked = polled + if cluster == "hot" { lists } else { 0.0 };
        let bytes = target.documents * documents * target.document_bytes;
        let shards = (bytes / 1e9 / target.rules.shard_gb).ceil().max(1.0) as u32;
        let copies = f64::from(1 + target.rules.replicas);
        // Every copy of a shard indexes every change; queries are shared.
        let cost = costs.parts.get(&format!("es-{cluster}")).with_context(|| format!("no run shows es-{cluster}"))?;
        let part = (costs.cores(cost, 0.0, changes, 0.0) + costs.answering(cost, asked / copies)) * copies;
        let note = format!(
            "{shards} shards × {copies:.0} copies, {:.0} GB on disk, {asked:.0} queries/s",
            bytes * copies / 1e9
        );
        add(&format!("es-{cluster}"), part / target.machine.speed, 2, note);
    }
    let alone = needs.iter().filter(|need| matches!(need.part.as_str(), "mysql" | "deployer"));
    let first = alone.max_by(|a, b| a.load_of_one.total_cmp(&b.load_of_one));
    let breaks_first = first.map_or_else(String::new, |need| need.part.clone());
    let kafka_mb_per_s = changes * target.change_bytes * f64::from(target.rules.kafka_copies) / 1e6;
    Ok(Plan {
        target: name.to_owned(),
        orders_per_s: orders,
        changes_per_s: changes,
        queries_per_s: queries,
        kafka_mb_per_s,
        partitions,
        needs,
        breaks_first,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fit::PartCost;
    use super::super::target::named;
    use super::*;

    fn costs(query: f64) -> Costs {
        let parts = ["mysql", "kafka", "deployer", "adapter", "es-hot", "es-full", "es-remind"];
        let cost = |part: &str| PartCost {
            idle: 0.1,
            transaction: if part == "mysql" { 1e-4 } else { 0.0 },
            change: if part == "mysql" { 0.0 } else { 1e-5 },
            query,
            single: 0.0,
        };
        Costs { parts: parts.map(|part| (part.to_owned(), cost(part))).into(), half: 0.0 }
    }

    #[test]
    fn needs_grow_with_what_is_asked_and_hold_the_loss_of_a_machine() {
        let target = named("billion-orders").unwrap();
        let small = plan("x", &target, &costs(1e-4)).unwrap();
        assert!((small.queries_per_s - 28_935.0).abs() < 1.0 && (small.orders_per_s - 1_157.4).abs() < 0.1);
        let remind = |plan: &Plan| plan.needs.iter().find(|need| need.part == "es-remind").unwrap().clone();
        // 26,042 polls a second at 0.1 ms each, and two copies of 0.1 + 11,574 changes at 10 µs: 2.8 cores.
        assert!((remind(&small).cores - 3.04).abs() < 0.1, "{:?}", remind(&small));
        assert_eq!(remind(&small).machines, 2);
        let large = plan("x", &target, &costs(1e-3)).unwrap();
        assert_eq!(remind(&large).machines, 5, "26.3 cores, 8 usable of each machine, one lost");
        assert_eq!(small.breaks_first, "mysql");
        let mut lossless = target.clone();
        lossless.rules.lost_machines = 0;
        assert_eq!(remind(&plan("x", &lossless, &costs(1e-3)).unwrap()).machines, 4);
    }

    #[test]
    fn a_part_that_no_run_shows_is_not_guessed() {
        let mut costs = costs(1e-4);
        costs.parts.remove("adapter");
        let error = plan("x", &named("billion-orders").unwrap(), &costs).unwrap_err();
        assert!(error.to_string().contains("no run shows what adapter costs"));
    }
}
