//! Elasticsearch: each named cluster is one node. It refuses root, so root starts it as `nobody`, in a folder that
//! `nobody` can reach.

use super::{Site, copy_folder};
use crate::install::{Package, installed, java, java_for_elasticsearch};
use crate::paths::open_to_others;
use crate::ports::{Ports, fixed};
use crate::probe::Probe;
use crate::service::{Kind, Launch, Spec};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The clusters whose ports come first, in this order.
const USUAL: &[&str] = &["hot", "full", "remind"];

/// Lays out the clusters `names`, each one node.
pub(crate) fn lay_out(site: &Site, package: &Package, names: &[String]) -> Result<Vec<Spec>> {
    let mut others = 0;
    names
        .iter()
        .map(|name| {
            let slot = USUAL.iter().position(|usual| usual == name).unwrap_or_else(|| {
                others += 1;
                USUAL.len() + others - 1
            });
            one(site, package, name, u16::try_from(slot)?)
        })
        .collect()
}

fn one(site: &Site, package: &Package, cluster: &str, slot: u16) -> Result<Spec> {
    let Package::Elasticsearch(version) = package else { anyhow::bail!("{} is not Elasticsearch", package.folder()) };
    let root = installed(package)?.join(package.folder()); // the archive has one folder at its top
    let java = java::find(java_for_elasticsearch(version))?;
    let name = format!("es-{cluster}");
    let port = site.plan.pick(fixed::ELASTICSEARCH + slot, &name)?;
    let transport = site.plan.pick(fixed::ELASTICSEARCH_TRANSPORT + slot, &name)?;
    let user = other_user()?;
    let folder = reachable_folder(site, &name, user)?;
    for part in ["data", "logs", "tmp"] {
        std::fs::create_dir_all(folder.join(part))?;
    }
    copy_folder(&root.join("config"), &folder.join("config"))?;
    write_jvm_options(&folder.join("config/jvm.options"))?;
    let at = folder.display();
    let config = format!(
        "cluster.name: towpath-{cluster}\nnode.name: {cluster}\npath.data: {at}/data\npath.logs: {at}/logs\n\
         network.host: 127.0.0.1\nhttp.port: {port}\ntransport.port: {transport}\ndiscovery.type: single-node\n\
         xpack.security.enabled: false\ncluster.routing.allocation.disk.threshold_enabled: false\n"
    );
    std::fs::write(folder.join("config/elasticsearch.yml"), config)?;
    if let Some((uid, gid)) = user {
        own(&folder, uid, gid)?;
    }
    let env = [
        ("ES_PATH_CONF", folder.join("config").display().to_string()),
        ("ES_JAVA_HOME", java.home.display().to_string()),
        ("ES_JAVA_OPTS", "-Xms512m -Xmx512m -XX:-AlwaysPreTouch".to_owned()),
        ("ES_TMPDIR", folder.join("tmp").display().to_string()),
        ("HOME", folder.display().to_string()),
    ];
    let launch = Launch {
        program: root.join("bin/elasticsearch"),
        args: vec![],
        env: env.map(|(name, value)| (name.to_owned(), value)).into(),
        user,
    };
    let ports = Ports::from([("main".to_owned(), port), ("transport".to_owned(), transport)]);
    let facts = BTreeMap::from([("cluster".to_owned(), cluster.to_owned()), ("version".to_owned(), version.clone())]);
    Ok(Spec { name, kind: Kind::Elasticsearch, launch, folder, ports, probe: Probe::Elasticsearch { port }, facts })
}

/// The distribution's options without those that write into its own folder, which another user owns.
fn write_jvm_options(path: &Path) -> Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let writing = ["Xlog:gc", "ErrorFile=", "HeapDumpPath=", "ReplayDataFile=", "HeapDumpOnOutOfMemoryError"];
    let kept = text.lines().filter(|line| !writing.iter().any(|option| line.contains(option)));
    Ok(std::fs::write(path, kept.collect::<Vec<_>>().join("\n") + "\n")?)
}

/// `nobody`, when we are root.
fn other_user() -> Result<Option<(u32, u32)>> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    let nobody = nix::unistd::User::from_name("nobody")?.context(
        "Elasticsearch refuses root and this machine has no user `nobody`: start the stack as an ordinary user",
    )?;
    Ok(Some((nobody.uid.as_raw(), nobody.gid.as_raw())))
}

/// The node's folder within the stack's; when the other user cannot reach that, a folder below the temporary one, to
/// which the stack's folder then holds a link.
fn reachable_folder(site: &Site, name: &str, user: Option<(u32, u32)>) -> Result<PathBuf> {
    let link = site.stack.join(name);
    if user.is_none() || open_to_others(&site.stack) {
        return site.folder(name);
    }
    if let Ok(folder) = link.read_link() {
        std::fs::create_dir_all(&folder)?;
        return Ok(folder);
    }
    let folder = tempfile::Builder::new()
        .prefix("towpath-es-")
        .permissions(<std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755))
        .tempdir()?
        .keep();
    std::os::unix::fs::symlink(&folder, &link).with_context(|| format!("cannot write {}", link.display()))?;
    Ok(folder)
}

fn own(path: &Path, user: u32, group: u32) -> Result<()> {
    std::os::unix::fs::lchown(path, Some(user), Some(group))?;
    if path.is_dir() && !path.is_symlink() {
        for entry in std::fs::read_dir(path)? {
            own(&entry?.path(), user, group)?;
        }
    }
    Ok(())
}
