//! What a server of the epoch, another one, or a rewritten one is taken for: tables of cases.

use super::super::settings::tests::server;
use super::*;

const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

fn set(text: &str) -> GtidSet {
    format!("{UUID}:{text}").parse().unwrap()
}

fn gtid(number: u64) -> Gtid {
    format!("{UUID}:{number}").parse().unwrap()
}

/// A point at each of these transactions, committed at their number times ten.
fn points_at(numbers: &[u64]) -> Vec<KnownPoint> {
    let point = |&number: &u64| KnownPoint {
        epoch: 1,
        offset: number,
        set: set(&format!("1-{number}")),
        last: Some((gtid(number), number * 10)),
        certain: false,
        low_water: vec![number as i64],
    };
    numbers.iter().map(point).collect()
}

/// What a server with this executed set says; of the transactions in `reused` it has others.
fn judge(points: &[KnownPoint], executed: &str, reused: &[u64]) -> Result<Common, Cause> {
    let server = ServerIdentity { gtid_executed: set(executed), ..server() };
    let ask = wanted(points, &server);
    let time = |gtid: Gtid| gtid.number * 10 + u64::from(reused.contains(&gtid.number));
    let times = points.iter().filter_map(|point| point.last).map(|(gtid, _)| gtid).filter(|gtid| ask.contains(gtid));
    common(points, &server, &times.map(|gtid| (gtid, time(gtid))).collect()).map_err(|stop| stop.cause)
}

#[test]
fn a_lost_tail_leaves_the_newest_point_that_is_whole() {
    let points = points_at(&[3, 6, 9]);
    let shared = |place: usize| Ok(Common::Shared(Some(points[place].clone())));
    assert_eq!(judge(&points, "1-20", &[]), shared(2));
    assert_eq!(judge(&points, "1-9", &[]), shared(2));
    assert_eq!(judge(&points, "1-8", &[]), shared(1));
    // The last one is there, but not all before it.
    assert_eq!(judge(&points, "1-7:9", &[]), shared(1));
    assert_eq!(judge(&points, "1-2", &[]), Err(Cause::NoCommonPoint));
    assert_eq!(judge(&[], "1-2", &[]), Ok(Common::Shared(None)));
}

#[test]
fn a_number_used_again_is_told_by_its_time() {
    let points = points_at(&[3, 6, 9]);
    assert_eq!(judge(&points, "1-20", &[9]), Ok(Common::Reused(points[1].clone())));
    assert_eq!(judge(&points, "1-20", &[5, 6, 7, 8, 9]), Ok(Common::Reused(points[0].clone())));
    assert_eq!(judge(&points, "1-20", &[3, 6, 9]), Err(Cause::NoCommonPoint));
    assert_eq!(judge(&points, "1-20", &[6]), Err(Cause::Diverged), "9 is ours, 6 is not");
}

#[test]
fn what_is_purged_proves_nothing() {
    let points = points_at(&[3, 6]);
    let server = ServerIdentity { gtid_executed: set("1-20"), gtid_purged: set("1-4"), ..server() };
    assert_eq!(wanted(&points, &server), set("6"));
    let times = [(gtid(6), 60)].into_iter().collect();
    assert_eq!(common(&points, &server, &times), Ok(Common::Shared(Some(points[1].clone()))));
    let server = ServerIdentity { gtid_purged: set("1-10"), ..server };
    assert_eq!(common(&points, &server, &BTreeMap::new()).unwrap_err().cause, Cause::Purged);
}

/// Before the first checkpoint there is the epoch's anchor: nothing, or what was purged by then.
#[test]
fn an_anchor_that_nothing_can_rewrite_is_a_common_point() {
    let anchor = KnownPoint { epoch: 1, offset: 0, set: set("1-2"), last: None, certain: true, low_water: vec![0] };
    let points = [vec![anchor.clone()], points_at(&[6])].concat();
    assert_eq!(judge(&points, "1-5", &[]), Ok(Common::Shared(Some(anchor.clone()))));
    assert_eq!(judge(&points, "1-9", &[6]), Ok(Common::Reused(anchor)));
    assert_eq!(judge(&points, "1", &[]), Err(Cause::NoCommonPoint));
}

#[test]
fn a_server_is_known_by_its_own_newest_transaction() {
    let other = "00000000-71ca-11e1-9e33-c80aa9429562";
    let executed: GtidSet = format!("{UUID}:1-7,{other}:1-9").parse().unwrap();
    let server = ServerIdentity { gtid_executed: executed.clone(), gtid_purged: set("1-3"), ..server() };
    assert_eq!(newest(&executed, &server), Some(gtid(7)));
    assert_eq!(newest(&set("1-5"), &server), Some(gtid(5)));
    assert_eq!(newest(&set("1-3"), &server), None);
}

#[test]
fn a_point_without_a_commit_time_is_not_used() {
    let mut points = points_at(&[3, 6]);
    points[1].last = None;
    assert_eq!(judge(&points, "1-20", &[]), Ok(Common::Shared(Some(points[0].clone()))));
}
