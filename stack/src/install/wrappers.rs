//! Small shell scripts for people: `bin/mysql`, `bin/kafka`, … below the cache folder.
//!
//! What was unpacked needs its own loader or class path; nobody wants to type that.

use super::{Package, installed, java};
use crate::native::Unpacked;
use anyhow::Result;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Writes the scripts of all that is installed.
pub(super) fn write(cache: &Path) -> Result<()> {
    let bin = cache.join("bin");
    std::fs::create_dir_all(&bin)?;
    if let Ok(root) = installed(&Package::Mysql) {
        for program in ["mysql", "mysqlbinlog", "mysqldump"] {
            script(&bin, program, &Unpacked::at(&root).shell_line(&format!("usr/bin/{program}")))?;
        }
    }
    if let Ok(root) = installed(&Package::Mariadb) {
        script(&bin, "mariadb", &Unpacked::at(&root).shell_line("usr/bin/mariadb"))?;
    }
    let Ok(java) = java::find(17..=99) else { return Ok(()) };
    let java = java.program();
    if let Ok(root) = installed(&Package::Kafka) {
        let run = format!("\"{}\" -Xmx256m -cp \"{}/*\"", java.display(), root.display());
        for (name, class) in [
            ("kafka-topics", "org.apache.kafka.tools.TopicCommand"),
            ("kafka-console-consumer", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
            ("kafka-consumer-groups", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
        ] {
            script(&bin, name, &format!("{run} {class}"))?;
        }
    }
    if let Ok(root) = installed(&Package::Zookeeper) {
        let run = format!("\"{}\" -Xmx128m -cp \"{}/*\"", java.display(), root.display());
        script(&bin, "zookeeper-cli", &format!("{run} org.apache.zookeeper.ZooKeeperMain"))?;
    }
    Ok(())
}

fn script(bin: &Path, name: &str, line: &str) -> Result<()> {
    let path = bin.join(name);
    std::fs::write(&path, format!("#!/bin/sh\nexec {line} \"$@\"\n"))?;
    Ok(std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?)
}
