//! The configuration as its authors meet it: each mistake has its line, its key and a way out; all are told at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use towpath_engine::deployer::{Fencing, PartitionBy};

use super::*;

struct Fake(BTreeMap<&'static str, &'static str>);

impl Surroundings for Fake {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| (*value).to_owned())
    }

    fn file(&self, path: &Path) -> Result<String, String> {
        if path == PathBuf::from("secret.txt") {
            Ok("from a file\n".to_owned())
        } else {
            Err("no such file".to_owned())
        }
    }
}

const GOOD: &str = r#"
[pipeline.orders]
source = { url = "mysql://canal:${PASSWORD}@db:3307", tables = ["orders.*"] }
start = "now"
kafka = { brokers = "k1,k2:9093", topic = "orders", partition_by = "order_id" }
zookeeper = { servers = "zk1,zk2:2182/tow" }

[[pipeline.orders.sink]]
name = "hot"
elasticsearch = "http://es:9200"
index = "hot"
table = "orders.order_main"
"#;

fn read(text: &str) -> Result<Config, Vec<Problem>> {
    let fake = Fake(BTreeMap::from([("PASSWORD", "s3cr:t@/"), ("EMPTY", "")]));
    parse(text, Path::new("/etc/towpath"), &fake)
}

/// The only problem of `GOOD` with one replacement.
fn problem(from: &str, to: &str) -> Problem {
    assert!(GOOD.contains(from), "{from}");
    let mut problems = read(&GOOD.replacen(from, to, 1)).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.remove(0)
}

#[test]
fn a_good_configuration_is_read_with_its_defaults() {
    let config = read(GOOD).unwrap();
    let [pipeline] = &config.pipelines[..] else { panic!("{config:?}") };
    assert_eq!((pipeline.source.server.host.as_str(), pipeline.source.server.port), ("db", 3307));
    assert_eq!(pipeline.source.server.password.reveal(), "s3cr:t@/");
    assert_eq!(pipeline.kafka.brokers, "k1:9092,k2:9093");
    assert_eq!((pipeline.zookeeper.servers.as_str(), pipeline.zookeeper.root.as_str()), ("zk1:2181,zk2:2182", "/tow"));
    assert_eq!(pipeline.deployer.partition_by, PartitionBy::Columns(vec!["order_id".to_owned()]));
    assert_eq!(pipeline.deployer.fencing, Fencing::Transactions);
    assert_eq!(pipeline.deployer.topic, "orders");
    assert_eq!(pipeline.sinks[0].config.dead_letter, "orders.dead-letter");
    assert_eq!(pipeline.deployer.validate(), Ok(()));
    towpath_engine::adapter::config::validate(&pipeline.adapter(Vec::new(), 8 << 20)).unwrap();
}

#[test]
fn the_fallback_path_is_off_unless_it_is_told_and_needs_a_sink() {
    let fallback = |text: &str| read(text).map(|config| config.pipelines[0].deployer.fallback);
    assert!(!fallback(GOOD).unwrap().automatic);
    let with = |keys: &str| GOOD.replacen("start = \"now\"", &format!("start = \"now\"\nfallback = {{ {keys} }}"), 1);
    let read = fallback(&with("automatic = true, after = \"3s\"")).unwrap();
    assert_eq!((read.automatic, read.after.as_secs()), (true, 3));
    assert_eq!(read.unindexed_after, None);
    let read = fallback(&with("automatic = true, unindexed_after = \"1m\"")).unwrap();
    assert_eq!(read.unindexed_after.map(|after| after.as_secs()), Some(60));
    let wrong = fallback(&with("unindexed_after = \"1m\"")).unwrap_err();
    assert!(wrong[0].message.contains("automatic"), "{wrong:?}");
    let wrong = fallback(&with("automatik = true")).unwrap_err();
    assert!(wrong[0].message.contains("automatic"), "{wrong:?}");
    let alone = with("automatic = true");
    let alone = alone.split("[[pipeline").next().unwrap();
    let wrong = fallback(alone).unwrap_err();
    assert!(wrong[0].key.contains("fallback") && wrong[0].message.contains("sink"), "{wrong:?}");
}

#[test]
fn acknowledging_the_source_is_off_unless_it_is_told_and_needs_a_connection_that_is_not_encrypted() {
    assert!(!read(GOOD).unwrap().pipelines[0].deployer.semi_sync);
    let with = |keys: &str| GOOD.replacen("tables = ", &format!("{keys}, tables = "), 1);
    let config = read(&with("semi_sync = true, tls = \"disabled\"")).unwrap();
    assert!(config.pipelines[0].deployer.semi_sync);
    let wrong = read(&with("semi_sync = true")).unwrap_err();
    assert_eq!((wrong.len(), wrong[0].line, wrong[0].key.as_str()), (1, 3, "pipeline.orders.source.semi_sync"));
    assert!(wrong[0].message.contains("tls = \"disabled\"") && wrong[0].message.contains("encryption"), "{wrong:?}");
}

#[test]
fn secrets_are_not_shown_by_debug() {
    let text = GOOD.replace("partition_by", "properties = { \"sasl.password\" = \"s3cr:t@/\" }, partition_by");
    let config = read(&text.replace("index =", "user = \"u\"\npassword = { file = \"secret.txt\" }\nindex =")).unwrap();
    let sink = &config.pipelines[0].sinks[0];
    assert_eq!(sink.elasticsearch.password.as_ref().unwrap().reveal(), "from a file");
    let shown = format!("{config:?} {}", config.pipelines[0].source.server);
    assert!(!shown.contains("s3cr") && !shown.contains("from a file"), "{shown}");
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_key() {
    let typo = problem("index = ", "indx = \"x\"\nindex = ");
    assert_eq!((typo.line, typo.key.as_str()), (11, "pipeline.orders.sink[0].indx"));
    assert!(typo.message.contains("did you mean `index`?"), "{typo:?}");
    let typo = problem("brokers = \"k1,k2:9093\"", "brokers = \"k1\", borkers = \"k2\"");
    assert_eq!((typo.line, typo.key.as_str()), (5, "pipeline.orders.kafka.borkers"));
    assert!(typo.message.contains("`brokers`"), "{typo:?}");
    let typo = problem("[pipeline.orders]", "[pipline.x]\n[pipeline.orders]");
    assert!(typo.message.contains("did you mean `pipeline`?"), "{typo:?}");
}

#[test]
fn a_missing_variable_is_named_with_key_and_line() {
    let missing = problem("${PASSWORD}", "${MYSQL_PASSWORT}");
    assert_eq!((missing.line, missing.key.as_str()), (3, "pipeline.orders.source.url"));
    assert!(missing.message.contains("MYSQL_PASSWORT"), "{missing:?}");
}

#[test]
fn every_single_mistake_is_told_once_at_its_line() {
    let cases = [
        ("mysql://", "postgres://", 3, "must start with mysql://"),
        ("canal:${PASSWORD}@", "", 3, "names no user"),
        ("db:3307", "db:3307/orders", 3, "must end after host and port"),
        ("[\"orders.*\"]", "[\"orders\"]", 3, "database.table"),
        ("\"now\"", "\"yesterday\"", 4, "yesterday"),
        ("\"now\"", "7", 4, "must be a string"),
        ("\"k1,k2:9093\"", "\"k1:notaport\"", 5, "is not HOST:PORT"),
        ("topic = \"orders\"", "topic = \"or ders\"", 5, "not a topic's name"),
        ("\"order_id\"", "\"$all$\"", 5, "is no column"),
        ("partition_by", "partitions = 0, partition_by", 5, "integer from 1"),
        ("partition_by", "fencing = \"transaction\", partition_by", 5, "did you mean \"transactions\"?"),
        ("partition_by", "properties = { acks = 1 }, partition_by", 5, "cannot be set here"),
        ("servers = \"zk1", "session_timeout = \"5\", servers = \"zk1", 6, "must be a duration"),
        ("servers = \"zk1", "session_timeout = \"1h\", servers = \"zk1", 6, "must be from"),
        ("http://es:9200", "es:9200", 10, "http://HOST:PORT"),
        ("index = \"hot\"", "index = \"Hot\"", 11, "not an index' name"),
        ("table = ", "rank = 4\ntable = ", 12, "integer from 0 to 3"),
        ("table = ", "time_zone = \"Asia/Shanghia\"\ntable = ", 12, "not a time zone"),
        ("table = ", "password = { file = \"nope\" }\ntable = ", 12, "cannot be read"),
        ("table = ", "deletes = \"sort\"\ntable = ", 12, "did you mean \"soft\"?"),
        ("orders.order_main", "shop.order_main", 8, "is not captured"),
    ];
    for (from, to, line, expected) in cases {
        let found = problem(from, to);
        assert!(found.message.contains(expected), "{to}: {found:?}");
        assert_eq!(found.line, line, "{to}: {found:?}");
    }
}

#[test]
fn what_is_missing_is_named() {
    for (key, expected) in [
        ("source = ", "pipeline.orders.source"),
        ("kafka = ", "pipeline.orders.kafka"),
        ("zookeeper = ", "pipeline.orders.zookeeper"),
        ("name = ", "pipeline.orders.sink[0].name"),
        ("elasticsearch = ", "pipeline.orders.sink[0].elasticsearch"),
        ("index = ", "pipeline.orders.sink[0].index"),
        ("table = ", "pipeline.orders.sink[0].table"),
    ] {
        let without: Vec<&str> = GOOD.lines().filter(|line| !line.starts_with(key)).collect();
        let problems = read(&without.join("\n")).unwrap_err();
        let found = problems.iter().find(|problem| problem.key == expected);
        assert!(found.is_some_and(|found| found.message.contains("is missing")), "{key}: {problems:?}");
    }
    assert!(read("").unwrap_err()[0].message.contains("at least one"));
}

#[test]
fn all_problems_are_told_at_once() {
    let broken = GOOD.replace("k1,", "k1:x,").replace("\"now\"", "\"sometime\"").replace("index =", "indx =");
    let problems = read(&broken).unwrap_err();
    let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [4, 5, 6, 8, 11], "{problems:#?}");
}

#[test]
fn broken_syntax_is_told_with_its_line() {
    let problems = read("[pipeline.orders]\nstart = \n").unwrap_err();
    assert_eq!((problems.len(), problems[0].line), (1, 2));
}

#[test]
fn several_sources_of_one_index_need_ranks() {
    let cold =
        |text: &str| text.replace("pipeline.orders", "pipeline.cold").replace("topic = \"orders\"", "topic = \"cold\"");
    let both = format!("{GOOD}{}", cold(GOOD));
    let problems = read(&both).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(
        problems.iter().all(|problem| problem.message.contains("is needed") && problem.message.contains("index hot"))
    );

    let ranked = |rank| GOOD.replace("name = \"hot\"", &format!("name = \"hot\"\nrank = {rank}"));
    assert!(read(&format!("{}{}", ranked(0), cold(&ranked(1)))).is_ok());
    let same = read(&format!("{}{}", ranked(1), cold(&ranked(1)))).unwrap_err();
    assert!(same[0].message.contains("is also a rank of"), "{same:?}");
}

#[test]
fn two_pipelines_cannot_share_a_topic() {
    let twice = format!("{GOOD}{}", GOOD.replace("pipeline.orders", "pipeline.other").replace("\"hot\"", "\"else\""));
    let problems = read(&twice).unwrap_err();
    assert!(problems.iter().any(|problem| problem.message.contains("already the topic")), "{problems:?}");
}

#[test]
fn a_sink_can_have_several_sources_each_with_its_rank() {
    let sources = "source = [{ table = \"orders.order_main\", rank = 0, on_delete = \"keep\" }, \
                   { table = \"orders.order_cold\", rank = 1 }]";
    let config = read(&GOOD.replace("table = \"orders.order_main\"", sources)).unwrap();
    let sources = &config.pipelines[0].sinks[0].config.sources;
    let seen: Vec<(String, u8)> = sources.iter().map(|source| (source.table.to_string(), source.rank)).collect();
    assert_eq!(seen, [("orders.order_main".to_owned(), 0), ("orders.order_cold".to_owned(), 1)]);
    let mixed = "rank = 1\nsource = [{ table = \"orders.order_main\" }]";
    let found = problem("table = \"orders.order_main\"", mixed);
    assert!(found.message.contains("belongs into each `source`"), "{found:?}");
}

#[test]
fn alarms_have_defaults_and_their_mistakes_have_a_line() {
    assert!(read(GOOD).unwrap().alarms.webhook.is_none());
    let with = |section: &str| read(&format!("{GOOD}\n[alarms]\n{section}\n"));
    let alarms =
        with("after = \"5s\"\nwebhook = \"https://hook/x\"\nheaders = { Authorization = \"Bearer ${PASSWORD}\" }");
    let alarms = alarms.unwrap().alarms;
    assert_eq!(alarms.after, std::time::Duration::from_secs(5));
    let shown = format!("{:?}", alarms.webhook.unwrap());
    assert!(!shown.contains("s3cr") && !shown.contains("hook/x"), "{shown}");
    for (section, key, part) in [
        ("webhook = \"ftp://hook\"", "alarms.webhook", "must start with http:// or https://"),
        ("webhook = \"hook\"", "alarms.webhook", "is no URL"),
        ("headers = { a = \"b\" }", "alarms.headers", "there is none"),
        ("webhook = \"http://h\"\nheaders = { \"a b\" = \"c\" }", "alarms.headers", "cannot be the name of a header"),
        ("webhok = \"http://h\"", "alarms.webhok", "did you mean `webhook`?"),
    ] {
        let problems = with(section).unwrap_err();
        assert!(problems[0].key == key && problems[0].message.contains(part), "{problems:?}");
    }
}
