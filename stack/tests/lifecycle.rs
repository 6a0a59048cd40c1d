//! Every service for real: it starts, answers, keeps its data over stops and kills, and leaves nothing behind.
//!
//! Needs what `cargo stack install` brings; belongs to the tier `services`.

use anyhow::{Result, ensure};
use mysql_async::prelude::Queryable;
use std::net::TcpListener;
use std::time::Duration;
use towpath_stack::{Details, Kind, Probe, Service, Stack};

async fn sql(url: &str, statement: &str) -> Result<Vec<mysql_async::Row>> {
    let mut connection = mysql_async::Conn::from_url(url).await?;
    let rows = connection.query(statement).await?;
    connection.disconnect().await?;
    Ok(rows)
}

async fn text(url: &str, statement: &str) -> Result<String> {
    let first = sql(url, statement).await?.first().and_then(|row| row.get::<Option<String>, _>(0));
    Ok(first.flatten().unwrap_or_default())
}

/// Repeats a question until its answer is as wanted, for at most half a minute.
async fn until<T: PartialEq + std::fmt::Debug>(wanted: T, mut ask: impl AsyncFnMut() -> Result<T>) -> Result<()> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let answer = ask().await;
        if answer.as_ref().is_ok_and(|answer| *answer == wanted) {
            return Ok(());
        }
        ensure!(tokio::time::Instant::now() < deadline, "still {answer:?}, not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_replicates_keeps_its_data_and_offers_tls() -> Result<()> {
    let stack = Stack::builder().mysql_replicas(1).mysql_options(&["--binlog-row-metadata=FULL"]).start().await?;
    let (primary, replica) = (stack.mysql()?, stack.mysql_replica(1)?);
    let root = primary.root_url();
    assert_eq!(text(&root, "SELECT @@gtid_executed").await?, "", "a fresh server has written nothing");
    assert_eq!(text(&root, "SELECT @@binlog_row_metadata").await?, "FULL", "options given win");
    assert_eq!(text(&root, "SELECT @@binlog_format").await?, "ROW");
    let ids = [text(&root, "SELECT @@server_uuid").await?, text(&replica.root_url(), "SELECT @@server_uuid").await?];
    assert_ne!(ids[0], ids[1], "both were copied from one template");

    sql(&root, "CREATE DATABASE d").await?;
    sql(&root, "CREATE TABLE d.t (id INT PRIMARY KEY)").await?;
    sql(&root, "INSERT INTO d.t VALUES (7)").await?;
    until("7".to_owned(), async || text(&replica.url(), "SELECT CAST(max(id) AS CHAR) FROM d.t").await).await?;

    primary.service().kill().await?;
    assert!(!primary.service().is_running());
    assert!(sql(&root, "SELECT 1").await.is_err(), "a killed server answers nothing");
    primary.service().start().await?;
    assert_eq!(text(&primary.url(), "SELECT CAST(max(id) AS CHAR) FROM d.t").await?, "7", "committed, so it is there");
    sql(&root, "INSERT INTO d.t VALUES (8)").await?;
    until("8".to_owned(), async || text(&replica.url(), "SELECT CAST(max(id) AS CHAR) FROM d.t").await).await?;

    let ca = primary.ca_pem().expect("MySQL has a certificate");
    let tls = mysql_async::SslOpts::default().with_root_certs(vec![ca.into()]).with_danger_skip_domain_validation(true);
    let options = mysql_async::OptsBuilder::from_opts(mysql_async::Opts::from_url(&primary.url())?).ssl_opts(tls);
    let mut connection = mysql_async::Conn::new(options).await?;
    let cipher: Option<(String, String)> = connection.query_first("SHOW STATUS LIKE 'Ssl_cipher'").await?;
    assert!(cipher.is_some_and(|(_, cipher)| !cipher.is_empty()), "the connection is not encrypted");
    connection.disconnect().await?;
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_takes_the_native_password() -> Result<()> {
    let stack = Stack::builder().mariadb().start().await?;
    let server = stack.mariadb()?;
    let plugin = "SELECT plugin FROM mysql.user WHERE user = 'towpath'";
    assert_eq!(text(&server.root_url(), plugin).await?, "mysql_native_password");
    assert!(text(&server.url(), "SELECT version()").await?.contains("MariaDB"));
    assert!(sql(&server.url().replace("towpath@", "wrong@"), "SELECT 1").await.is_err(), "any password will do");
    server.service().restart().await?;
    assert_eq!(text(&server.url(), "SELECT @@log_bin").await?, "1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kafka_cluster_notices_a_dead_broker_and_an_ensemble_a_dead_server() -> Result<()> {
    let stack = Stack::builder().kafka(3).zookeeper(3).start().await?;
    let (kafka, zookeeper) = (stack.kafka()?, stack.zookeeper()?);
    assert_eq!((kafka.bootstrap().split(',').count(), zookeeper.servers().split(',').count()), (3, 3));
    let port = |service: &Service| service.spec().ports["main"];
    let alive = Probe::Kafka { port: port(kafka.brokers()[0]), brokers: 2 };
    assert!(alive.ask().await.is_err(), "three brokers live");
    stack.service("kafka-3")?.kill().await?;
    until((), async || alive.ask().await).await?;
    stack.service("kafka-3")?.start().await?;
    kafka.brokers()[0].spec().probe.ask().await?;

    stack.service("zookeeper-1")?.kill().await?;
    until((), async || zookeeper.nodes()[1].spec().probe.ask().await).await?;
    stack.service("zookeeper-2")?.kill().await?;
    let third = &zookeeper.nodes()[2].spec().probe;
    until(true, async || Ok(third.ask().await.is_err())).await?; // one of three is no majority
    stack.service("zookeeper-1")?.start().await?;
    third.ask().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_service_is_silent_and_goes_on() -> Result<()> {
    let stack = Stack::builder().kafka_sasl().zookeeper(1).start().await?;
    let sasl = stack.kafka()?.sasl().expect("it was asked for");
    assert!(std::fs::read_to_string(&sasl.ca_pem)?.contains("BEGIN CERTIFICATE"));
    tokio::net::TcpStream::connect(&sasl.bootstrap).await?;
    for name in ["kafka-1", "zookeeper-1"] {
        let service = stack.service(name)?;
        service.pause()?;
        assert!(service.spec().probe.ask().await.is_err(), "{name} answers while it is paused");
        assert!(service.is_running());
        service.resume()?;
        until((), async || service.spec().probe.ask().await).await?;
        service.pause()?;
        service.stop().await?;
        assert!(!service.is_running(), "{name} was paused and is to be stopped");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_keeps_documents_and_dropping_the_stack_ends_it() -> Result<()> {
    let stack = Stack::builder().es(&["hot"]).start().await?;
    let es = stack.es("hot")?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let document = format!("{}/i/_doc/1?refresh=true", es.url());
    let body = r#"{"a":1}"#;
    let put = http.put(&document).header("content-type", "application/json").body(body).send().await?;
    assert_eq!(put.status(), 201);
    es.service().kill().await?;
    es.service().start().await?;
    let found = format!("{}/i/_doc/1", es.url());
    until(200, async || Ok(http.get(&found).send().await?.status().as_u16())).await?;

    let details = Details::of(&stack).await?;
    assert!(details.all_ready() && details.to_text()?.contains(&es.url()));
    assert_eq!(details.services[0].kind, Kind::Elasticsearch);
    let (port, folder) = (es.service().spec().ports["main"], stack.folder().to_path_buf());
    drop(stack);
    let bound = TcpListener::bind(("127.0.0.1", port));
    assert!(bound.is_ok(), "{:?} still listens", towpath_stack::holder_of_port(port));
    assert!(!folder.exists(), "the stack's folder is left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_start_quotes_the_log_and_ends_the_others() -> Result<()> {
    let root = tempfile::tempdir()?;
    let builder = Stack::builder().mysql().zookeeper(1).below(root.path());
    let error = builder.mysql_options(&["--no-such-option=1"]).start().await.expect_err("the option is unknown");
    let told = format!("{error:#}");
    assert!(told.contains("mysql ended while it started") && told.contains("no-such-option"), "{told}");
    assert_eq!(std::fs::read_dir(root.path())?.count(), 0, "the stack's folder is left");
    Ok(())
}

#[tokio::test]
async fn names_that_are_not_there_are_told() -> Result<()> {
    let stack = Stack::builder().zookeeper(1).start().await?;
    let told = format!("{:#}", stack.service("kafka-1").expect_err("there is none"));
    assert!(told.contains("it has zookeeper-1"), "{told}");
    assert!(stack.mysql().is_err() && stack.kafka().is_err() && stack.es("hot").is_err());

    let attached = Stack::attach(&stack.description_path())?;
    assert_eq!(attached.zookeeper()?.servers(), stack.zookeeper()?.servers());
    attached.service("zookeeper-1")?.restart().await?;
    drop(attached);
    assert!(stack.service("zookeeper-1")?.is_running(), "who attached does not end it");
    stack.service("zookeeper-1")?.spec().probe.ask().await
}
