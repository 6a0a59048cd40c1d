//! `towpath alarms`: the catalogue, and a notice that shows that the webhook works.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::json;

use crate::admin::board::wall_ms;
use crate::alarms::catalogue::{self, TEST};
use crate::alarms::notice;
use crate::alarms::state::{Alarm, Condition, Subject};
use crate::cli::{AlarmsCommand, AlarmsListArgs, AlarmsTestArgs};
use crate::config;
use crate::exit::Failure;
use crate::output;
use crate::services::instance;

/// Carries it out.
pub fn alarms(command: &AlarmsCommand) -> Result<(), Failure> {
    match command {
        AlarmsCommand::List(args) => {
            list(args);
            Ok(())
        }
        AlarmsCommand::Test(args) => super::block_on(test(args)),
    }
}

fn list(args: &AlarmsListArgs) {
    let all = catalogue::all();
    if args.json {
        output::line(json!({ "alarms": all }));
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["alarm", "severity", "meaning", "what to do"]);
    for alarm in all {
        table.add_row([alarm.name, alarm.severity.name(), alarm.meaning, alarm.remedy]);
    }
    output::line(table);
}

async fn test(args: &AlarmsTestArgs) -> Result<(), Failure> {
    let config = config::load(&args.config.config)?;
    let Some(webhook) = &config.alarms.webhook else {
        return Err(Failure::Usage("the configuration has no alarms.webhook to send to".to_owned()));
    };
    let subject = Subject { pipeline: String::new(), part: "process", sink: String::new() };
    let condition = Condition { alarm: TEST, subject, detail: TEST.meaning.to_owned(), at_once: true };
    let alarm = Alarm { condition, since_ms: wall_ms(), ended_ms: None };
    let sent = webhook.post(&notice::body(&[alarm], &instance())).await;
    sent.map_err(|why| Failure::Other(format!("the notice was not taken: {why}")))?;
    if args.json {
        output::line(json!({ "sent": true }));
    } else {
        output::line(format_args!("the webhook has taken a notice with the alarm `{}`", TEST.name));
    }
    Ok(())
}
