//! `Coordinator` on ZooKeeper.

use std::time::Duration;

use tokio::sync::watch;
use towpath_connectors::{Secret, ZooKeeperConfig, ZooKeeperFactory};
use towpath_engine::ports::coordinator::{
    Candidate, Coordinator, CoordinatorError, CoordinatorFactory, NodeWrite, SessionState,
};
use towpath_stack::Stack;

use crate::services::{QUIET, answering, run, soon, stack, unique};

fn config(stack: &Stack, pipeline: &str) -> ZooKeeperConfig {
    ZooKeeperConfig {
        servers: stack.zookeeper().unwrap().servers(),
        root: "/towpath".into(),
        pipeline: pipeline.into(),
        session_timeout: Duration::from_secs(4),
        create_root: true,
        digest: None,
    }
}

async fn session(config: &ZooKeeperConfig) -> Box<dyn Coordinator> {
    ZooKeeperFactory::new(config.clone()).unwrap().connect().await.unwrap()
}

async fn refused(config: ZooKeeperConfig) -> CoordinatorError {
    match ZooKeeperFactory::new(config).unwrap().connect().await {
        Ok(_) => panic!("connected"),
        Err(err) => err,
    }
}

fn write<'a>(node: &'a str, data: &'a str, expected: Option<i32>) -> NodeWrite<'a> {
    NodeWrite { node, data: data.as_bytes(), expected }
}

#[test]
fn an_absent_root_is_named_with_the_line_to_type() {
    run(async {
        let stack = stack().await;
        let root = format!("/{}/deep", unique("root"));
        let absent = ZooKeeperConfig { root: root.clone(), create_root: false, ..config(&stack, "orders") };
        let err = refused(absent.clone()).await;
        assert!(matches!(&err, CoordinatorError::NoPath(text) if text.contains(&format!("create {root}"))), "{err:?}");
        drop(session(&ZooKeeperConfig { create_root: true, ..absent.clone() }).await);
        drop(session(&absent).await);
    });
}

#[test]
fn candidates_queue_up_and_the_lowest_leads() {
    run(async {
        let stack = stack().await;
        let config = config(&stack, &unique("queue"));
        let (first, second) = (session(&config).await, session(&config).await);
        assert!(first.candidates().await.unwrap().is_empty());
        let a = first.join("host-a").await.unwrap();
        let b = second.join("host-b").await.unwrap();
        assert!(b.czxid > a.czxid && a.czxid > 0);
        assert_eq!(second.candidates().await.unwrap(), [a.clone(), b.clone()]);
        assert_eq!(first.join("host-a").await.unwrap(), a, "after a lost reply the same node is found");
        assert_eq!(second.candidates().await.unwrap().len(), 2);
        // A change before the call shows at once, one during it wakes.
        soon("an old change", second.candidates_changed(std::slice::from_ref(&a))).await.unwrap();
        let both = [a.clone(), b.clone()];
        let waiting = second.candidates_changed(&both);
        let resigning = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            first.resign(&a).await.unwrap();
            first.resign(&a).await.unwrap();
        };
        let (changed, ()) = soon("the change", async { tokio::join!(waiting, resigning) }).await;
        changed.unwrap();
        assert_eq!(second.candidates().await.unwrap(), [b.clone()]);
        let again = first.join("host-a").await.unwrap();
        assert!(again.czxid > b.czxid, "whoever comes back queues up at the end");
        // Ending a session takes its candidate along.
        drop(second);
        soon("the candidate's end", async {
            while first.candidates().await.unwrap() != [again.clone()] {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    });
}

#[test]
fn writes_are_guarded_by_version_and_candidacy() {
    run(async {
        let stack = stack().await;
        let config = config(&stack, &unique("guard"));
        let (leader, other) = (session(&config).await, session(&config).await);
        assert_eq!(leader.read("state").await.unwrap(), None);
        let me = leader.join("me").await.unwrap();
        let versions = leader.write(Some(&me), &[write("state", "one", None)]).await.unwrap();
        assert_eq!(versions, [0]);
        let two = [write("state", "two", Some(0)), write("previous", "one", None)];
        assert_eq!(leader.write(Some(&me), &two).await.unwrap(), [1, 0]);
        assert_eq!(other.read("state").await.unwrap(), Some((b"two".to_vec(), 1)));
        // Refused as a whole: nothing of it is written.
        for conflict in [
            [write("previous", "x", Some(0)), write("state", "x", Some(0))],
            [write("previous", "x", Some(0)), write("state", "x", None)],
            [write("previous", "x", Some(0)), write("unknown", "x", Some(0))],
        ] {
            let err = leader.write(Some(&me), &conflict).await.unwrap_err();
            assert!(matches!(err, CoordinatorError::Conflict), "{err:?}");
        }
        assert_eq!(leader.read("previous").await.unwrap(), Some((b"one".to_vec(), 0)));
        leader.resign(&me).await.unwrap();
        let err = leader.write(Some(&me), &[write("state", "zombie", Some(1))]).await.unwrap_err();
        assert!(matches!(err, CoordinatorError::NotCandidate), "{err:?}");
        // A later candidate does not lift the older one's guard.
        let later = leader.join("me").await.unwrap();
        let err = leader.write(Some(&me), &[write("state", "zombie", Some(1))]).await.unwrap_err();
        assert!(matches!(err, CoordinatorError::NotCandidate), "{err:?}");
        assert_eq!(leader.write(Some(&later), &[write("state", "three", Some(1))]).await.unwrap(), [2]);
        assert_eq!(other.write(None, &[write("state", "by a tool", Some(2))]).await.unwrap(), [3]);
    });
}

#[test]
fn a_state_has_a_largest_size() {
    run(async {
        let stack = stack().await;
        let session = session(&config(&stack, &unique("size"))).await;
        let fits = "x".repeat(1_000_000);
        session.write(None, &[write("state", &fits, None)]).await.unwrap();
        assert_eq!(session.read("state").await.unwrap().map(|(data, _)| data.len()), Some(1_000_000));
        let large = "x".repeat(1_100_000);
        let err = session.write(None, &[write("state", &large, Some(0))]).await.unwrap_err();
        assert!(matches!(&err, CoordinatorError::TooLarge(text) if text.contains("1100000")), "{err:?}");
        assert!(session.read("state").await.unwrap().is_some(), "the session lives");
    });
}

#[test]
fn a_digest_keeps_others_out() {
    run(async {
        let stack = stack().await;
        // Who creates a folder owns it.
        let open = ZooKeeperConfig { root: format!("/{}", unique("digest")), ..config(&stack, "orders") };
        let digest = Some(("towpath".to_string(), Secret::new("secret")));
        let mine = session(&ZooKeeperConfig { digest, ..open.clone() }).await;
        let me = mine.join("me").await.unwrap();
        mine.write(Some(&me), &[write("state", "mine", None)]).await.unwrap();
        // ZooKeeper 3.9 does not even say whether the folder exists.
        let err = refused(open).await;
        assert!(matches!(err, CoordinatorError::Denied(_)), "{err:?}");
        assert_eq!(mine.read("state").await.unwrap(), Some((b"mine".to_vec(), 0)));
    });
}

async fn becomes(states: &mut watch::Receiver<SessionState>, wanted: SessionState) {
    soon(&format!("{wanted:?}"), states.wait_for(|state| *state == wanted)).await.unwrap();
}

#[test]
fn silence_is_noticed_before_the_session_can_have_expired() {
    run(async {
        let _quiet = QUIET.write().await;
        let stack = stack().await;
        let config = config(&stack, &unique("silence"));
        let session = session(&config).await;
        let me: Candidate = session.join("me").await.unwrap();
        let mut states = session.session();
        assert_eq!(*states.borrow(), SessionState::Connected);
        let server = stack.service("zookeeper-1").unwrap();
        server.pause().unwrap();
        let begun = std::time::Instant::now();
        becomes(&mut states, SessionState::Disconnected).await;
        let noticed = begun.elapsed();
        // Nothing is started: the library would send it later.
        let err = session.write(Some(&me), &[write("state", "late", None)]).await.unwrap_err();
        server.resume().unwrap();
        assert!(matches!(err, CoordinatorError::Unknown(_)), "{err:?}");
        assert!(noticed < config.session_timeout, "{noticed:?}");
        soon("the end of the silence", states.wait_for(|state| *state != SessionState::Disconnected)).await.unwrap();
        // With a new session or the old one, the folder is there and the late write is not.
        let fresh = self::session(&config).await;
        assert_eq!(fresh.read("state").await.unwrap(), None);
    });
}

#[test]
fn an_expired_session_says_so_to_everybody_who_waits() {
    run(async {
        let _quiet = QUIET.write().await;
        let stack = stack().await;
        let config = ZooKeeperConfig { session_timeout: Duration::from_secs(1), ..config(&stack, &unique("expiry")) };
        let session = session(&config).await;
        let me = session.join("me").await.unwrap();
        let mut states = session.session();
        let server = stack.service("zookeeper-1").unwrap();
        server.pause().unwrap();
        let seen = [me.clone()];
        let waiting = session.candidates_changed(&seen);
        let expiring = async {
            becomes(&mut states, SessionState::Expired).await;
            server.resume().unwrap();
        };
        let (_, ()) = soon("the expiry", async { tokio::join!(waiting, expiring) }).await;
        let err = session.write(Some(&me), &[write("state", "late", None)]).await.unwrap_err();
        assert!(matches!(err, CoordinatorError::Expired), "{err:?}");
        assert!(matches!(session.join("me").await.unwrap_err(), CoordinatorError::Expired));
    });
}

#[test]
fn no_server_is_unknown_in_time() {
    run(async {
        let stack = stack().await;
        for servers in ["127.0.0.1:1".to_string(), answering(None).await] {
            let session_timeout = Duration::from_secs(1);
            let begun = std::time::Instant::now();
            let err =
                refused(ZooKeeperConfig { servers: servers.clone(), session_timeout, ..config(&stack, "orders") })
                    .await;
            assert!(matches!(&err, CoordinatorError::Unknown(text) if text.contains(&servers)), "{err:?}");
            assert!(begun.elapsed() < Duration::from_secs(5));
        }
    });
}
