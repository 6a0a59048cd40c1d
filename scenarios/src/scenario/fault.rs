//! One fault of a scenario: what fails, where, when, and for how long.

use serde::{Deserialize, Serialize};

use super::Span;

/// What a kind of fault must say beside its moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing more.
    Nothing,
    /// `for`: it lasts.
    Span,
    /// `times`: so many calls meet it.
    Times,
    /// `host` and `for`.
    Host,
    /// `host`, `peer` and `for`.
    Pair,
    /// `host` alone.
    HostOnly,
}

macro_rules! kinds {
    ($($name:ident $text:literal $needs:ident $doc:literal,)*) => {
        /// What fails.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum FaultKind {
            $(#[doc = $doc] #[serde(rename = $text)] $name,)*
        }

        impl FaultKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As scenarios name it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What it must say.
            pub fn needs(self) -> Needs {
                match self { $(Self::$name => Needs::$needs,)* }
            }

            /// What it does, in a few words.
            pub fn describe(self) -> &'static str {
                match self { $(Self::$name => $doc,)* }
            }
        }
    };
}

kinds! {
    Crash "crash" Host "The process dies as by SIGKILL and starts again after `for`.",
    Stop "stop" Host "The process is told to end (SIGTERM), ends in order, and starts again after `for`.",
    Pause "pause" Host "The process stands still and goes on after `for`, believing what it believed.",
    Partition "partition" Pair "Nothing passes between `host` and `peer`; connections between them break.",
    PartitionOneWay "partition-one-way" Pair "Nothing passes from `host` to `peer`; the other way is open.",
    Delay "delay" Pair "What passes between `host` and `peer` is held and arrives at the end, in order.",
    KafkaDown "kafka-down" Span "No broker answers.",
    KafkaBrokerDown "kafka-broker-down" Span "One of several brokers dies; others take over what it led.",
    KafkaDiskFull "kafka-disk-full" Span "Brokers find no room on their disks and stop; they start again with room.",
    KafkaHoldRecords "kafka-hold-records" Span "Records stay on their way and arrive at the end.",
    KafkaUnavailable "kafka-unavailable" Times "A request finds no broker.",
    KafkaInitUnknown "kafka-init-unknown" Times "InitProducerId takes effect and its answer is lost.",
    KafkaDeliveryFails "kafka-delivery-fails" Times "A record does not arrive; those behind it do.",
    KafkaDeliveryUnknown "kafka-delivery-unknown" Times "A record arrives and its answer is lost.",
    KafkaCommitApplied "kafka-commit-applied" Times "A commit takes effect and its answer is lost.",
    KafkaCommitLost "kafka-commit-lost" Times "A commit does not arrive and nobody knows.",
    GroupCommitRefused "group-commit-refused" Times "A group's offsets are refused for the generation.",
    ExpireMembers "expire-members" Nothing "All members of every sink's group are thrown out.",
    ZooKeeperDown "zookeeper-down" Span "The ensemble has no quorum.",
    ZooKeeperNodeDown "zookeeper-node-down" Span "The node that leads the ensemble dies; the others elect one of them.",
    SessionExpired "session-expired" HostOnly "The ensemble gives up all sessions of `host`, untold.",
    ZooKeeperLostBefore "zookeeper-lost-before" Times "A change does not arrive, and nobody knows.",
    ZooKeeperLostAfter "zookeeper-lost-after" Times "A change takes effect and its answer is lost.",
    ZooKeeperReadLost "zookeeper-read-lost" Times "A read gets no answer.",
    ElasticsearchDown "elasticsearch-down" Span "No node answers; the restart forgets deletes' versions.",
    ElasticsearchRestart "elasticsearch-restart" Nothing "A restart forgets deletes' versions.",
    ElasticsearchBusy "elasticsearch-429" Times "A whole request is refused with 429.",
    ElasticsearchItemsBusy "elasticsearch-items-429" Times "Every second operation of a bulk is refused with 429.",
    ElasticsearchApplied "elasticsearch-timeout-applied" Times "A bulk is applied and its answer is lost.",
    ElasticsearchHold "elasticsearch-hold-bulks" Span "Bulks stay on their way and are applied at the end.",
    ElasticsearchFlood "elasticsearch-flood-stage" Times "An item is refused by the disk's flood stage.",
    MySqlDown "mysql-down" Span "The server is stopped, then started.",
    MySqlRestart "mysql-restart" Nothing "The server restarts; all connections break.",
    MySqlSilent "mysql-silent" Span "Connections stand and nothing comes: half-open.",
    MySqlStreamBreaks "mysql-stream-breaks" Times "A running stream breaks.",
    MySqlChecksum "mysql-checksum" Times "A stream delivers an event whose checksum does not match.",
    MySqlRotate "mysql-rotate" Nothing "The next event goes to a new file.",
    MySqlPurge "mysql-purge" Nothing "Binary logs are rotated, and all but the newest purged.",
    MySqlLosesTail "mysql-loses-tail" Times "A crash loses the last transactions; their GTIDs come again.",
    MySqlFailover "mysql-failover" Nothing "The written server dies for good; the next standby is promoted.",
    ReplicasLag "replicas-lag" Span "Standbys receive nothing and catch up at the end.",
    ZooKeeperFresh "zookeeper-fresh" Nothing "Another, empty ensemble stands at the same address.",
    LinkCut "link-cut" Span "Nothing passes between the hosts of `source` and all others; connections break.",
}

impl FaultKind {
    /// Whether it means something only where standbys are.
    pub fn of_standbys(self) -> bool {
        matches!(self, Self::MySqlFailover | Self::ReplicasLag)
    }

    /// Whether it happens to one source: where there are several it must say to which.
    pub fn of_source(self) -> bool {
        self == Self::LinkCut || self == Self::ReplicasLag || self.name().starts_with("mysql-")
    }

    /// Whether it changes what has been: no draw takes it, for scenarios say what is expected then.
    pub fn of_history(self) -> bool {
        matches!(self, Self::MySqlPurge | Self::MySqlLosesTail | Self::ZooKeeperFresh) || self.of_standbys()
    }

    /// Whether it acts on the network or on processes, rather than within a service.
    pub fn of_hosts(self) -> bool {
        matches!(self.needs(), Needs::Host | Needs::Pair)
    }
}

/// A place in a process's calls where a fault can begin: before or after the nth call of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// The call: one of [`Moment::CALLS`].
    pub call: String,
    /// Its number since the run began, over all processes, from 1.
    #[serde(default = "one")]
    pub nth: u32,
    /// When its answer has come and is not yet handed over, instead of before it is sent.
    #[serde(default)]
    pub after: bool,
}

fn one() -> u32 {
    1
}

impl Moment {
    /// The calls that can be named.
    pub const CALLS: &[&str] = &[
        "source.dump",
        "source.identify",
        "source.witness",
        "source.rows",
        "log.open",
        "log.produce",
        "log.commit",
        "log.abort",
        "log.tail",
        "group.next",
        "group.commit",
        "coordinator.join",
        "coordinator.write",
        "coordinator.read",
        "index.bulk",
        "index.meta",
    ];
}

/// A fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What fails.
    pub kind: FaultKind,
    /// When, from the start of the run. One of `at` and `when`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Span>,
    /// At which call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Moment>,
    /// How long.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Span>,
    /// How many calls meet it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Where. `leader` is whoever leads then; with `when` it may be left out: whoever makes the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The other end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Which source's MySQL, link or leader, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl Fault {
    /// Whether it must say which source it means, where there are several.
    pub fn needs_source(&self) -> bool {
        self.kind.of_source() || self.host.as_deref() == Some("leader")
    }
}

impl Fault {
    /// One of which nothing more is said.
    pub fn new(kind: FaultKind) -> Self {
        Self { kind, at: None, when: None, lasts: None, times: None, host: None, peer: None, source: None }
    }
}
