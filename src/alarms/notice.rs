//! The body that a webhook gets: Alertmanager's webhook format, version 4
//! (prometheus.io/docs/alerting/latest/configuration/#webhook_config), because receivers for it exist everywhere.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::state::Alarm;

/// One body for all of `alarms`. `instance` names the process.
pub fn body(alarms: &[Alarm], instance: &str) -> Value {
    let firing = alarms.iter().any(|alarm| alarm.ended_ms.is_none());
    let status = if firing { "firing" } else { "resolved" };
    json!({
        "version": "4",
        "groupKey": format!("towpath/{instance}"),
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "towpath",
        "groupLabels": { "instance": instance },
        "commonLabels": { "instance": instance, "job": "towpath" },
        "commonAnnotations": {},
        "externalURL": "",
        "alerts": alarms.iter().map(|alarm| alert(alarm, instance)).collect::<Vec<_>>(),
    })
}

fn alert(alarm: &Alarm, instance: &str) -> Value {
    let (condition, definition) = (&alarm.condition, &alarm.condition.alarm);
    let mut labels = json!({
        "alertname": definition.name,
        "severity": definition.severity.name(),
        "job": "towpath",
        "instance": instance,
        "pipeline": condition.subject.pipeline,
        "part": condition.subject.part,
    });
    if !condition.subject.sink.is_empty() {
        labels["sink"] = json!(condition.subject.sink);
    }
    let fingerprint = format!("{instance}/{}/{:?}", definition.name, condition.subject);
    json!({
        "status": if alarm.ended_ms.is_none() { "firing" } else { "resolved" },
        "labels": labels,
        "annotations": {
            "summary": condition.detail,
            "description": definition.meaning,
            "remedy": definition.remedy,
        },
        "startsAt": time(alarm.since_ms),
        // The zero time of Alertmanager's language stands for "not ended".
        "endsAt": alarm.ended_ms.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), time),
        "generatorURL": "",
        "fingerprint": format!("{:016x}", fingerprint_of(&fingerprint)),
    })
}

/// RFC 3339, UTC.
fn time(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX).to_string()
}

/// FNV-1a, 64 bits (the function of Fowler, Noll and Vo): equal for the same alarm of the same process at any time.
fn fingerprint_of(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarms::catalogue::LAGGING;
    use crate::alarms::state::{Condition, Subject};

    #[test]
    fn a_notice_has_what_receivers_of_alertmanager_expect() {
        let subject = Subject { pipeline: "orders".into(), part: "sink", sink: "hot".into() };
        let condition = Condition { alarm: LAGGING, subject, detail: "61 s behind".into(), at_once: false };
        let firing = Alarm { condition, since_ms: 1_700_000_000_000, ended_ms: None };
        let resolved = Alarm { ended_ms: Some(1_700_000_060_000), ..firing.clone() };
        let notice = body(&[firing.clone(), resolved.clone()], "web-1");
        assert_eq!((&notice["version"], &notice["status"]), (&json!("4"), &json!("firing")));
        let alert = &notice["alerts"][0];
        assert_eq!(alert["labels"]["alertname"], "lagging");
        assert_eq!(alert["labels"]["sink"], "hot");
        assert_eq!(alert["annotations"]["summary"], "61 s behind");
        assert_eq!(
            (&alert["startsAt"], &alert["endsAt"]),
            (&json!("2023-11-14T22:13:20Z"), &json!("0001-01-01T00:00:00Z"))
        );
        let passed = &notice["alerts"][1];
        assert_eq!((&passed["status"], &passed["endsAt"]), (&json!("resolved"), &json!("2023-11-14T22:14:20Z")));
        assert_eq!(alert["fingerprint"], passed["fingerprint"]);
        assert_eq!(body(&[resolved], "web-1")["status"], "resolved");
    }
}
