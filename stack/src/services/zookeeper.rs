//! ZooKeeper: one server, or an ensemble.

use super::{Site, write_log4j};
use crate::install::{Package, installed, java};
use crate::ports::{Ports, fixed, get};
use crate::probe::Probe;
use crate::service::{Kind, Launch, Spec};
use anyhow::Result;
use std::collections::BTreeMap;

/// Lays out `count` servers of one ensemble.
pub(crate) fn lay_out(site: &Site, count: u16) -> Result<Vec<Spec>> {
    let root = installed(&Package::Zookeeper)?;
    let java = java::find(11..=99)?.program();
    let mut all_ports = Vec::new();
    for number in 0..count {
        let name = format!("zookeeper-{}", number + 1);
        let mut ports = Ports::from([("main".to_owned(), site.plan.pick(fixed::ZOOKEEPER + number, &name)?)]);
        if count > 1 {
            ports.insert("peer".to_owned(), site.plan.pick(fixed::ZOOKEEPER_PEER + number, &name)?);
            ports.insert("election".to_owned(), site.plan.pick(fixed::ZOOKEEPER_ELECTION + number, &name)?);
        }
        all_ports.push(ports);
    }
    let mut ensemble = String::new();
    if count > 1 {
        for (number, ports) in all_ports.iter().enumerate() {
            let (peer, election) = (get(ports, "peer")?, get(ports, "election")?);
            ensemble += &format!("server.{}=127.0.0.1:{peer}:{election}\n", number + 1);
        }
    }
    let mut specs = Vec::new();
    for (number, ports) in all_ports.into_iter().enumerate() {
        let name = format!("zookeeper-{}", number + 1);
        let folder = site.folder(&name)?;
        let data = folder.join("data");
        std::fs::create_dir_all(&data)?;
        std::fs::write(data.join("myid"), (number + 1).to_string())?;
        let port = get(&ports, "main")?;
        // Ticks of half a second allow sessions from one second on; the largest is raised to what people configure.
        let config = format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime=500\ninitLimit=20\nsyncLimit=10\n\
             maxSessionTimeout=60000\nmaxClientCnxns=0\nadmin.enableServer=false\n4lw.commands.whitelist=srvr,ruok,mntr,stat\n\
             {ensemble}",
            data.display()
        );
        std::fs::write(folder.join("zoo.cfg"), config)?;
        let log = write_log4j(&folder, "warn")?;
        let args = [
            "-Xmx128m".to_owned(),
            "-XX:+UseSerialGC".to_owned(),
            "-Dzookeeper.preAllocSize=1024".to_owned(), // KiB of a log file written ahead; the default is 64 MiB
            format!("-Dlog4j2.configurationFile={}", log.display()),
            "-cp".to_owned(),
            format!("{}/*", root.display()),
            "org.apache.zookeeper.server.quorum.QuorumPeerMain".to_owned(),
            folder.join("zoo.cfg").display().to_string(),
        ];
        let launch = Launch { program: java.clone(), args: args.into(), env: vec![], user: None };
        let (probe, facts) = (Probe::Zookeeper { port }, BTreeMap::new());
        specs.push(Spec { name, kind: Kind::Zookeeper, launch, folder, ports, probe, facts });
    }
    Ok(specs)
}
