//! The standbys: whether each could take the source's place.

use towpath_engine::cause::{Cause, Stop};
use towpath_engine::deployer::{DeployerConfig, settings};
use towpath_engine::ports::source::{ServerIdentity, SourceError};

use super::report::Part;

/// What a standby lacks for a failover to it. It was asked when the source was, so that what it alone has by then may
/// have come from the source a moment later: only what cannot be is called wrong.
pub fn judge(
    config: &DeployerConfig,
    address: &str,
    standby: &Result<ServerIdentity, SourceError>,
    source: &ServerIdentity,
    part: &mut Part,
) {
    let standby = match standby {
        Ok(standby) => standby,
        Err(error) => return part.warning(format!("standby {address}: {error}"), Vec::new()),
    };
    let wrong = |detail: String| Stop::new(Cause::Config, format!("standby {address} {detail}"));
    if standby.server_uuid == source.server_uuid {
        let detail = "is the source itself: a failover would find no other server".to_owned();
        return part.problem(wrong(detail), Vec::new());
    }
    let follows = standby.replica.is_some();
    if !source.gtid_executed.is_empty() && source.gtid_executed.intersect(&standby.gtid_executed).is_empty() {
        let detail = "has none of the source's transactions: it is no replica of it, and a failover to it would stop \
                      with no-common-point";
        let later = "is a replica that has nothing of the source yet: it is waited for at a failover";
        return match follows {
            true => part.warning(format!("standby {address} {later}"), Vec::new()),
            false => part.problem(wrong(detail.to_owned()), Vec::new()),
        };
    }
    // Judged by the name of the one whose transactions they are: its own cannot have come from the source.
    let own = standby.gtid_executed.subtract(&source.gtid_executed);
    let own = own.sources().find(|(uuid, ..)| uuid.to_string() == standby.server_uuid);
    if own.is_some() {
        part.warning(
            format!("standby {address} has transactions of its own: at a failover their rows are carried too"),
            vec![format!("SELECT GTID_SUBTRACT(@@gtid_executed, '{}');", source.gtid_executed)],
        );
    }
    if !follows && !standby.read_only {
        part.warning(format!("standby {address} follows no server and accepts writes"), Vec::new());
    }
    for stop in settings::findings(standby, config) {
        part.warning(format!("standby {address}, as a source: {}", stop.detail), Vec::new());
    }
    let missing = source.gtid_executed.subtract(&standby.gtid_executed).count();
    part.info(format!("standby {address} is server {}, {missing} transactions behind", standby.server_uuid));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::report::Level;
    use towpath_engine::ports::source::{Flavor, ReplicaState};
    use towpath_engine::position::FilePosition;

    const SOURCE: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const STANDBY: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn server(uuid: &str, executed: &str) -> ServerIdentity {
        ServerIdentity {
            flavor: Flavor::MySql,
            version: "9.7.0".into(),
            server_uuid: uuid.into(),
            server_id: 2,
            log_bin: true,
            binlog_format: "ROW".into(),
            row_image: "FULL".into(),
            row_metadata: "FULL".into(),
            gtid_mode: true,
            gtid_executed: executed.parse().unwrap(),
            gtid_owned: Default::default(),
            gtid_purged: Default::default(),
            mariadb_position: String::new(),
            oldest: FilePosition::new("b.000001", 4),
            end: FilePosition::new("b.000003", 900),
            uptime_s: 1000,
            read_only: true,
            replica: Some(ReplicaState::default()),
            semi_sync: None,
            grants: vec!["GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `canal`@`%`".into()],
        }
    }

    /// What is said beyond information, of a standby that differs from a good one by `change`.
    fn said(change: impl FnOnce(&mut ServerIdentity)) -> Vec<(Level, String)> {
        let source = server(SOURCE, &format!("{SOURCE}:1-100"));
        let mut standby = server(STANDBY, &format!("{SOURCE}:1-97"));
        change(&mut standby);
        let (config, mut part) = (DeployerConfig::new("orders", "orders", 2, 7), Part::new("source"));
        judge(&config, "mysql://canal@b:3306", &Ok(standby), &source, &mut part);
        let grave = part.findings.into_iter().filter(|finding| finding.level > Level::Info);
        grave.map(|finding| (finding.level, finding.message)).collect()
    }

    fn assert_said(change: impl FnOnce(&mut ServerIdentity), level: Level, words: &str) {
        let said = said(change);
        assert!(matches!(&said[..], [(is, text)] if *is == level && text.contains(words)), "{said:?}: {words}");
    }

    #[test]
    fn a_replica_is_no_finding() {
        assert_eq!(said(|_| ()), []);
        // What the source has committed since it was asked.
        assert_eq!(said(|standby| standby.gtid_executed = format!("{SOURCE}:1-103").parse().unwrap()), []);
    }

    #[test]
    fn a_server_that_could_not_take_the_sources_place_is_named() {
        let foreign = |standby: &mut ServerIdentity| {
            standby.gtid_executed = format!("{STANDBY}:1-5").parse().unwrap();
            (standby.replica, standby.read_only) = (None, false);
        };
        assert_said(foreign, Level::Problem, "no replica of it");
        assert_said(|standby| standby.server_uuid = SOURCE.into(), Level::Problem, "is the source itself");
        assert_said(|standby| standby.gtid_executed = Default::default(), Level::Warning, "nothing of the source yet");
        let errant = |standby: &mut ServerIdentity| {
            standby.gtid_executed = format!("{SOURCE}:1-97,{STANDBY}:1").parse().unwrap();
        };
        assert_said(errant, Level::Warning, "transactions of its own");
        let promoted = |standby: &mut ServerIdentity| (standby.replica, standby.read_only) = (None, false);
        assert_said(promoted, Level::Warning, "follows no server");
        assert_said(|standby| standby.log_bin = false, Level::Warning, "writes no binlog");
    }

    #[test]
    fn one_that_does_not_answer_is_a_warning() {
        let (config, mut part) = (DeployerConfig::new("orders", "orders", 2, 7), Part::new("source"));
        let silent = Err(SourceError::Unavailable("connection refused".into()));
        judge(&config, "mysql://canal@b:3306", &silent, &server(SOURCE, ""), &mut part);
        let [finding] = &part.findings[..] else { panic!("{part:?}") };
        assert_eq!((finding.level, finding.cause), (Level::Warning, None::<Cause>));
        assert!(finding.message.contains("mysql://canal@b:3306") && finding.message.contains("refused"));
    }
}
