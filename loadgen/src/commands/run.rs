//! `run`: one profile against a stack of one's own or against given servers.

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use towpath_load::drive::{self, Run};
use towpath_load::live::View;
use towpath_load::own::{self, Services};
use towpath_load::report::{Findings, Report, html, text};
use towpath_load::target::{Index, Target, Topic};
use towpath_load::{guard, remote};
use towpath_scenarios::load::{CLUSTERS, Profile};

use super::{Tuning, status};

/// What `run` can be told.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// A shipped profile (see `profiles`), or a file's path.
    profile: String,
    #[command(flatten)]
    tuning: Tuning,
    /// Start services and a pipeline of one's own for the run.
    #[arg(long, conflicts_with_all = ["mysql", "elasticsearch", "kafka"])]
    stack: bool,
    #[command(flatten)]
    servers: Servers,
    /// Write the report as one page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Servers that are already there, with a pipeline that carries the database into the indexes.
#[derive(Debug, Clone, clap::Args)]
pub struct Servers {
    /// mysql://user:password@host:port, with the right to create databases.
    #[arg(long, value_name = "URL", required_unless_present = "stack")]
    mysql: Option<String>,
    /// The captured database.
    #[arg(long, default_value = "orders")]
    database: String,
    /// hot=http://host:9200/ALIAS; also full=…, remind=…. Repeatable.
    #[arg(long, value_name = "NAME=URL", required_unless_present = "stack")]
    elasticsearch: Vec<String>,
    /// host:port/TOPIC, to see records on their way.
    #[arg(long, value_name = "BROKERS/TOPIC")]
    kafka: Option<String>,
    /// Load servers that are not on this machine.
    #[arg(long)]
    i_own_these_servers: bool,
}

impl Servers {
    fn target(&self) -> Result<Target> {
        let mut indexes = BTreeMap::new();
        for given in &self.elasticsearch {
            let parts = given.split_once('=').and_then(|(name, rest)| Some((name, rest.rsplit_once('/')?)));
            let Some((name, (url, alias))) = parts.filter(|(_, (url, _))| url.contains("://") && !url.ends_with('/'))
            else {
                bail!("--elasticsearch {given}: write hot=http://HOST:9200/ALIAS");
            };
            ensure!(CLUSTERS.contains(&name), "--elasticsearch {given}: `{name}` is none of {}", CLUSTERS.join(", "));
            indexes.insert(name.to_owned(), Index { url: url.to_owned(), alias: alias.to_owned() });
        }
        let topic = self.kafka.as_ref().map(|given| {
            let parts = given.rsplit_once('/').with_context(|| format!("--kafka {given}: write HOST:9092/TOPIC"))?;
            Ok::<_, anyhow::Error>(Topic { brokers: parts.0.to_owned(), name: parts.1.to_owned() })
        });
        Ok(Target {
            mysql: self.mysql.clone().unwrap_or_default(),
            database: self.database.clone(),
            indexes,
            topic: topic.transpose()?,
            processes: Vec::new(),
        })
    }
}

/// Runs it, tells the report, and ends as the run went.
pub async fn run(arguments: &Arguments, as_json: bool) -> Result<ExitCode> {
    let profile = arguments.tuning.profile(&arguments.profile)?;
    drive::check_reach(&profile)?;
    let seconds = (profile.length.millis() * 1000 + profile.tail_us()) / 1_000_000;
    let view = View::new(&profile.name, seconds, std::io::stderr().is_terminal());
    let report = if arguments.stack {
        announce(&profile, "services of its own on this machine, which end with the run");
        view.say("starting MySQL, Kafka, ZooKeeper and three Elasticsearch clusters");
        let mut services = Services::start().await?;
        let measured = async {
            arguments.tuning.warm(&mut services, &profile).await?;
            services.run(&profile, arguments.tuning.seed, view).await
        };
        let report = measured.await;
        services.stop().await?;
        report?
    } else {
        on_servers(arguments, &profile, view).await?
    };
    if let Some(path) = &arguments.html {
        std::fs::write(path, html::page(&[&report])).with_context(|| format!("cannot write {}", path.display()))?;
    }
    match as_json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => println!("{}", text::text(&report)),
    }
    Ok(status(&[report]))
}

async fn on_servers(arguments: &Arguments, profile: &Profile, view: View) -> Result<Report> {
    let seed = arguments.tuning.seed;
    let target = arguments.servers.target()?;
    guard::check(&target, arguments.servers.i_own_these_servers)?;
    ensure!(profile.outage.is_none(), "profile {} kills adapters: it needs --stack", profile.name);
    let names: Vec<&str> = target.indexes.values().map(|index| index.url.as_str()).collect();
    let database =
        if profile.orders.is_some() { format!(" and orders into `{}` there", target.database) } else { String::new() };
    announce(profile, &format!("{}{database}", names.join(", ")));
    let first = remote::first_order(&target).await?;
    let run = Run::prepare(profile, seed, &target, first, view.clone()).await?;
    let measured = run.run().await;
    view.say("comparing documents with rows");
    let findings = Findings { documents: own::documents(&target, &measured).await, drain: None };
    view.end();
    Ok(Report::of(profile, seed, &measured, findings))
}

fn announce(profile: &Profile, place: &str) {
    let (writes, queries) = profile.peak();
    eprintln!(
        "{}: up to {writes:.0} transactions and {queries:.0} queries a second for {:.0} s against {place}",
        profile.name,
        profile.length.millis() as f64 / 1000.0
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(elasticsearch: &str) -> Servers {
        Servers {
            mysql: Some("mysql://root@127.0.0.1:1".to_owned()),
            database: "orders".to_owned(),
            elasticsearch: vec![elasticsearch.to_owned()],
            kafka: Some("127.0.0.1:9092,127.0.0.1:9093/orders".to_owned()),
            i_own_these_servers: false,
        }
    }

    #[test]
    fn addresses_are_read_and_half_addresses_refused() {
        let target = servers("hot=http://127.0.0.1:9200/orders-hot").target().unwrap();
        assert_eq!(target.indexes["hot"].url, "http://127.0.0.1:9200");
        assert_eq!(
            (target.indexes["hot"].alias.as_str(), target.topic.unwrap().name.as_str()),
            ("orders-hot", "orders")
        );
        for wrong in ["hot", "hot=http://127.0.0.1:9200", "warm=http://127.0.0.1:9200/x", "hot=127.0.0.1:9200/x"] {
            assert!(servers(wrong).target().is_err(), "{wrong}");
        }
    }
}
