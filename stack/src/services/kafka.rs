//! Kafka in KRaft mode: each process is broker and controller. Topics are never created by being named: a test that
//! forgets to create its topic fails.

use super::{PASSWORD, Site, prepare, write_log4j};
use crate::install::{Package, installed, java};
use crate::ports::{Ports, fixed, get};
use crate::probe::Probe;
use crate::service::{Kind, Launch, Spec};
use anyhow::Result;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// A cluster id: any 16 bytes in base64 do.
const CLUSTER_ID: &str = "dG93cGF0aC1zdGFjay0xMg";

/// Lays out `count` brokers; with `sasl` each has a second listener with TLS and SCRAM-SHA-256.
pub(crate) fn lay_out(site: &Site, count: u16, sasl: bool) -> Result<Vec<Spec>> {
    let root = installed(&Package::Kafka)?;
    let java = java::find(17..=99)?;
    let mut all_ports = Vec::new();
    for number in 0..count {
        let name = format!("kafka-{}", number + 1);
        let mut ports = Ports::from([
            ("main".to_owned(), site.plan.pick(fixed::KAFKA + number, &name)?),
            ("controller".to_owned(), site.plan.pick(fixed::KAFKA_CONTROLLER + number, &name)?),
        ]);
        if sasl {
            ports.insert("sasl".to_owned(), site.plan.pick(fixed::KAFKA_SASL + number, &name)?);
        }
        all_ports.push(ports);
    }
    let mut voters = Vec::new();
    for (number, ports) in all_ports.iter().enumerate() {
        voters.push(format!("{}@127.0.0.1:{}", number + 1, get(ports, "controller")?));
    }
    let mut specs = Vec::new();
    for (number, ports) in all_ports.into_iter().enumerate() {
        let name = format!("kafka-{}", number + 1);
        let folder = site.folder(&name)?;
        let mut config = config(&folder, number + 1, usize::from(count), &ports, &voters.join(","))?;
        let mut facts = BTreeMap::new();
        if sasl {
            config += &secured(&folder, &java, &ports, &mut facts)?;
        }
        let file = folder.join("server.properties");
        std::fs::write(&file, config)?;
        let log = write_log4j(&folder, "warn")?;
        let class_path = format!("{}/*", root.display());
        if !folder.join("data/meta.properties").exists() {
            format(&java, &class_path, &file, &folder, sasl)?;
        }
        let args = [
            "-Xms128m".to_owned(),
            "-Xmx512m".to_owned(),
            format!("-Dlog4j2.configurationFile={}", log.display()),
            "-cp".to_owned(),
            class_path,
            "kafka.Kafka".to_owned(),
            file.display().to_string(),
        ];
        let launch = Launch { program: java.program(), args: args.into(), env: vec![], user: None };
        let probe = Probe::Kafka { port: get(&ports, "main")?, brokers: usize::from(count) };
        specs.push(Spec { name, kind: Kind::Kafka, launch, folder, ports, probe, facts });
    }
    Ok(specs)
}

fn config(folder: &Path, id: usize, count: usize, ports: &Ports, voters: &str) -> Result<String> {
    let (main, controller) = (get(ports, "main")?, get(ports, "controller")?);
    let copies = count.min(3);
    let in_sync = if copies >= 3 { 2 } else { 1 };
    let (mut listeners, mut advertised) = (
        format!("PLAINTEXT://127.0.0.1:{main},CONTROLLER://127.0.0.1:{controller}"),
        format!("PLAINTEXT://127.0.0.1:{main}"),
    );
    if let Some(sasl) = ports.get("sasl") {
        listeners += &format!(",SASL_SSL://127.0.0.1:{sasl}");
        advertised += &format!(",SASL_SSL://127.0.0.1:{sasl}");
    }
    Ok(format!(
        "process.roles=broker,controller\nnode.id={id}\ncontroller.quorum.voters={voters}\n\
         listeners={listeners}\nadvertised.listeners={advertised}\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL\n\
         controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\nlog.dirs={}\n\
         auto.create.topics.enable=false\nnum.partitions=3\n\
         default.replication.factor={copies}\nmin.insync.replicas={in_sync}\n\
         offsets.topic.replication.factor={copies}\noffsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor={copies}\ntransaction.state.log.min.isr={in_sync}\n\
         transaction.state.log.num.partitions=4\nshare.coordinator.state.topic.replication.factor={copies}\n\
         share.coordinator.state.topic.min.isr={in_sync}\n\
         group.initial.rebalance.delay.ms=0\nlog.cleaner.dedupe.buffer.size=16777216\n\
         broker.session.timeout.ms=6000\nbroker.heartbeat.interval.ms=1000\n",
        folder.join("data").display()
    ))
}

/// A key and a self-signed certificate by the JDK's keytool, and the configuration of the listener that uses them.
fn secured(folder: &Path, java: &java::Java, ports: &Ports, facts: &mut BTreeMap<String, String>) -> Result<String> {
    let (store, certificate) = (folder.join("tls.p12"), folder.join("tls.pem"));
    let keytool = java.home.join("bin/keytool");
    if !certificate.exists() {
        let mut make = Command::new(&keytool);
        make.args(["-genkeypair", "-alias", "kafka", "-keyalg", "RSA", "-keysize", "2048", "-validity", "3650"]);
        make.args(["-dname", "CN=localhost", "-ext", "san=dns:localhost,ip:127.0.0.1", "-storetype", "PKCS12"]);
        make.args(["-storepass", "towpath-tls", "-keystore"]).arg(&store);
        prepare(make, None, &folder.join("keytool.log"), "making a TLS key")?;
        let mut export = Command::new(&keytool);
        export.args(["-exportcert", "-rfc", "-alias", "kafka", "-storepass", "towpath-tls", "-keystore"]).arg(&store);
        export.arg("-file").arg(&certificate);
        prepare(export, None, &folder.join("keytool.log"), "exporting the TLS certificate")?;
    }
    facts.insert("ca_pem".to_owned(), certificate.display().to_string());
    facts.insert("sasl_bootstrap".to_owned(), format!("127.0.0.1:{}", get(ports, "sasl")?));
    Ok(format!(
        "sasl.enabled.mechanisms=SCRAM-SHA-256\n\
         listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=\
         org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
         listener.name.sasl_ssl.ssl.keystore.type=PKCS12\nlistener.name.sasl_ssl.ssl.keystore.password=towpath-tls\n\
         listener.name.sasl_ssl.ssl.keystore.location={}\n",
        store.display()
    ))
}

fn format(java: &java::Java, class_path: &str, file: &Path, folder: &Path, sasl: bool) -> Result<()> {
    let mut command = Command::new(java.program());
    command.args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", class_path, "kafka.tools.StorageTool", "format"]);
    command.args(["-t", CLUSTER_ID, "-c"]).arg(file);
    if sasl {
        command.arg("--add-scram").arg(format!("SCRAM-SHA-256=[name=towpath,password={PASSWORD}]"));
    }
    prepare(command, None, &folder.join("format.log"), "formatting Kafka's storage")
}
