//! librdkafka's properties: what we set, what users may add, what they may not.

use rdkafka::ClientConfig;

use super::KafkaConfig;
use crate::ConfigError;

/// Properties that would break a promise, each with the reason that the user is told.
pub const REFUSED_PROPERTIES: &[(&str, &str)] = &[
    ("bootstrap.servers", "write `brokers`"),
    ("metadata.broker.list", "write `brokers`"),
    ("compression.codec", "write `compression`"),
    ("compression.type", "write `compression`"),
    ("enable.idempotence", "without it a retry inside the client doubles and reorders records; it is always on"),
    ("acks", "a record counts as written when all in-sync replicas have it"),
    ("request.required.acks", "a record counts as written when all in-sync replicas have it"),
    ("transactional.id", "it fences deposed leaders and is made from the pipeline's name"),
    ("message.timeout.ms", "a record that times out leaves a hole before later ones; ours never do"),
    ("delivery.timeout.ms", "a record that times out leaves a hole before later ones; ours never do"),
    ("retries", "the client gives up no record; Towpath rewinds instead"),
    ("message.send.max.retries", "the client gives up no record; Towpath rewinds instead"),
    ("max.in.flight", "more than five requests in flight lose their order"),
    ("max.in.flight.requests.per.connection", "more than five requests in flight lose their order"),
    ("enable.gapless.guarantee", "Towpath finds gaps itself, by rewinding"),
    ("partitioner", "Towpath chooses every record's partition"),
    ("delivery.report.only.error", "every delivery counts"),
    ("enable.auto.commit", "offsets are committed when their outcome in the sink is final, never by time"),
    ("auto.commit.enable", "offsets are committed when their outcome in the sink is final, never by time"),
    ("auto.commit.interval.ms", "offsets are committed when their outcome in the sink is final, never by time"),
    ("enable.auto.offset.store", "offsets are committed when their outcome in the sink is final, never by time"),
    ("auto.offset.reset", "an offset outside the log is loss and stops the sink, it is never skipped over"),
    ("isolation.level", "records of transactions that were not committed must not reach a sink"),
    ("partition.assignment.strategy", "sinks hand partitions over cooperatively"),
    ("group.id", "each sink has a group of its own, named after pipeline and sink"),
    ("group.protocol", "sinks use the classic protocol"),
    ("enable.partition.eof", "Towpath sets it where it needs it"),
    ("allow.auto.create.topics", "a topic made by accident has the wrong number of partitions"),
    ("log.queue", "the client's log goes to Towpath's"),
];

/// Compressions that librdkafka is built with.
const COMPRESSIONS: &[&str] = &["lz4", "zstd", "snappy", "gzip", "none"];

/// Refuses what cannot work or would break a promise.
pub(super) fn check(config: &KafkaConfig) -> Result<(), ConfigError> {
    if config.brokers.trim().is_empty() {
        return Err(ConfigError("kafka `brokers` is empty: name at least one as host:port".into()));
    }
    if !COMPRESSIONS.contains(&config.compression.as_str()) {
        return Err(ConfigError(format!(
            "kafka `compression` is \"{}\": choose one of {}",
            config.compression,
            COMPRESSIONS.join(", ")
        )));
    }
    for name in config.properties.keys() {
        if let Some((_, why)) = REFUSED_PROPERTIES.iter().find(|(refused, _)| refused == name) {
            return Err(ConfigError(format!("kafka property `{name}` cannot be set: {why}")));
        }
    }
    // The library knows every name and the range of every value.
    consumer(config, "check").create_native_config().map(drop).map_err(|err| {
        ConfigError(match err {
            rdkafka::error::KafkaError::ClientConfig(_, why, name, _) if config.properties.contains_key(&name) => {
                format!("kafka property `{name}`: {why}")
            }
            other => format!("kafka: {other}"),
        })
    })
}

/// What every client has: ours first, so that `properties` can change what is not refused.
fn common(config: &KafkaConfig, defaults: &[(&str, &str)]) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("client.id", "towpath")
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "2000")
        .set("socket.keepalive.enable", "true");
    for (name, value) in defaults {
        client.set(*name, *value);
    }
    for (name, value) in &config.properties {
        client.set(name, value.reveal());
    }
    client.set("bootstrap.servers", &config.brokers);
    client
}

/// A producer; with `transactional_id` a transactional one.
pub(super) fn producer(config: &KafkaConfig, transactional_id: Option<&str>) -> ClientConfig {
    let mut client = common(
        config,
        &[
            // Records of some milliseconds share a batch; a batch goes out when it is full.
            ("linger.ms", "5"),
            ("batch.num.messages", "10000"),
            ("batch.size", "1000000"),
            // The engine bounds what is in flight by bytes; this is the last line (Rule 5).
            ("queue.buffering.max.kbytes", "65536"),
            ("queue.buffering.max.messages", "1000000"),
        ],
    );
    client
        .set("compression.codec", &config.compression)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("message.timeout.ms", "0")
        .set("delivery.report.only.error", "false");
    if let Some(id) = transactional_id {
        client.set("transactional.id", id);
    }
    client
}

/// A group's member.
pub(super) fn consumer(config: &KafkaConfig, group: &str) -> ClientConfig {
    let mut client = common(
        config,
        &[
            // Ten seconds until a killed adapter's partitions go to another.
            ("session.timeout.ms", "10000"),
            ("heartbeat.interval.ms", "1000"),
            ("queued.max.messages.kbytes", "16384"),
            ("fetch.message.max.bytes", "4194304"),
            ("fetch.queue.backoff.ms", "20"),
            ("fetch.error.backoff.ms", "200"),
        ],
    );
    client
        .set("group.id", group)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("allow.auto.create.topics", "false");
    client
}

/// A client that joins no group. `committed`: sees only committed records and the offset up to which all is decided.
pub(super) fn groupless(config: &KafkaConfig, committed: bool) -> ClientConfig {
    let mut client = common(config, &[("queued.max.messages.kbytes", "16384"), ("fetch.wait.max.ms", "20")]);
    client
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        .set("allow.auto.create.topics", "false")
        .set("isolation.level", if committed { "read_committed" } else { "read_uncommitted" });
    if committed {
        // librdkafka assigns partitions only to clients that name a group; without a subscription none is joined.
        client.set("group.id", "towpath.reader");
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    fn with(name: &str, value: &str) -> KafkaConfig {
        let properties = [(name.to_string(), Secret::new(value))].into();
        KafkaConfig { brokers: "127.0.0.1:9".into(), properties, ..KafkaConfig::default() }
    }

    #[test]
    fn what_breaks_a_promise_is_refused_by_name_and_reason() {
        for (name, why) in REFUSED_PROPERTIES {
            let err = check(&with(name, "1")).unwrap_err();
            assert!(err.0.contains(name) && err.0.contains(why), "{err}");
        }
    }

    #[test]
    fn security_passes_and_typing_errors_do_not() {
        check(&with("security.protocol", "SASL_SSL")).unwrap();
        check(&with("sasl.mechanism", "SCRAM-SHA-512")).unwrap();
        check(&with("session.timeout.ms", "30000")).unwrap();
        let err = check(&with("sesion.timeout.ms", "30000")).unwrap_err();
        assert!(err.0.contains("sesion.timeout.ms"), "{err}");
        let err = check(&with("session.timeout.ms", "soon")).unwrap_err();
        assert!(err.0.contains("session.timeout.ms"), "{err}");
    }

    #[test]
    fn promises_win_over_defaults() {
        let client = producer(&with("linger.ms", "20"), Some("orders"));
        assert_eq!(client.get("linger.ms"), Some("20"));
        assert_eq!(client.get("acks"), Some("all"));
        assert_eq!(client.get("message.timeout.ms"), Some("0"));
        assert_eq!(client.get("transactional.id"), Some("orders"));
        assert_eq!(consumer(&with("linger.ms", "20"), "g").get("auto.offset.reset"), Some("error"));
    }
}
