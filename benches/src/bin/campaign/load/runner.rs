//! An external runner: batches of calls and ratings under ids of its own, sent again until they are acknowledged.

use std::time::Duration;

use benches::SERVICE_KEY;
use events::{Clock as _, SystemClock};
use rand::RngExt as _;
use serde_json::{Value, json};

use super::{ANSWER_WITHIN, PAUSE, Town, Writer};
use crate::ledger::{Entry, Kind};

/// Tools as such a runner names them.
const TOOLS: [&str; 4] = [
    "todo.create",
    "habits.list",
    "mcp__mana__notes_search",
    "journal.add",
];
/// Calls of one batch.
const CALLS_MAX: usize = 12;
/// Of a hundred acknowledged batches, how many are sent again all the same.
const SENT_TWICE_PERCENT: u32 = 10;

/// How long a program that says that it is ready may take to acknowledge a write.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(20);

/// What is sent in one request, and can be sent again.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    path: String,
    body: Value,
    entries: Vec<Entry>,
}

enum Answer {
    Acknowledged,
    Refused(String),
    None,
}

impl Batch {
    fn calls(persona: &str, tick: &str, count: usize) -> Self {
        let tools = TOOLS.iter().cycle().take(count);
        let actions: Vec<Value> = tools
            .clone()
            .enumerate()
            .map(|(index, tool)| {
                json!({
                    "tickId": tick, "toolName": tool, "latencyMs": index,
                    "result": if index % 5 == 4 { "error" } else { "ok" },
                })
            })
            .collect();
        let entries = tools
            .enumerate()
            .map(|(index, tool)| Entry::new(Kind::Action, format!("{tick}-{index}-{tool}")));
        Self {
            path: format!("/api/v1/personas/internal/{persona}/actions"),
            entries: entries.collect(),
            body: json!({ "actions": actions }),
        }
    }

    fn rating(persona: &str, tick: &str, stars: usize) -> Self {
        Self {
            path: format!("/api/v1/personas/internal/{persona}/feedback"),
            body: json!({ "feedback": [{ "tickId": tick, "module": "todo", "rating": stars, "notes": "from outside" }] }),
            entries: vec![Entry::new(Kind::Rating, format!("{tick}-todo"))],
        }
    }

    async fn send(&self, client: &reqwest::Client, api: &str) -> Answer {
        let request = client.post(format!("{api}{}", self.path));
        let request = request.header("X-Service-Key", SERVICE_KEY).json(&self.body);
        let Ok(answer) = request.timeout(ANSWER_WITHIN).send().await else {
            return Answer::None;
        };
        let status = answer.status();
        if status.is_server_error() {
            return Answer::None;
        }
        // A success whose body was cut off is no acknowledgement.
        match answer.text().await {
            Ok(_) if status.is_success() => Answer::Acknowledged,
            Ok(text) => Answer::Refused(format!("{status} for {}: {text}", self.path)),
            Err(_) => Answer::None,
        }
    }
}

/// Reports until told that it is enough; gives what is still in doubt.
pub(super) async fn work(mut writer: Writer, mut in_doubt: Vec<Batch>) -> Vec<Batch> {
    let client = reqwest::Client::new();
    while !writer.enough.is_cancelled() {
        let batch = in_doubt.pop().unwrap_or_else(|| new_batch(&mut writer));
        writer.town.ledger.sent(batch.entries.iter().cloned());
        match batch.send(&client, &writer.town.api).await {
            Answer::Acknowledged => {
                writer.town.ledger.acknowledged(batch.entries.iter().cloned());
                if writer.chance.random_ratio(SENT_TWICE_PERCENT, 100) {
                    // Whatever the answer, it must change nothing.
                    drop(batch.send(&client, &writer.town.api).await);
                }
            }
            Answer::Refused(answer) => writer.town.ledger.refused(answer),
            Answer::None => {
                in_doubt.push(batch);
                writer.pause().await;
            }
        }
    }
    in_doubt
}

/// Reports one call as often as it takes; says whether it was acknowledged at last.
pub(crate) async fn acknowledge_one(town: &Town, tick: &str) -> bool {
    let (client, clock) = (reqwest::Client::new(), SystemClock::new());
    let persona = town.personas.first().map(|(id, _)| id.as_str());
    let batch = Batch::calls(persona.unwrap_or_default(), tick, 1);
    town.ledger.sent(batch.entries.iter().cloned());
    while clock.monotonic() < ACKNOWLEDGED_WITHIN {
        if let Answer::Acknowledged = batch.send(&client, &town.api).await {
            town.ledger.acknowledged(batch.entries);
            return true;
        }
        clock.sleep(PAUSE).await;
    }
    false
}

fn new_batch(writer: &mut Writer) -> Batch {
    let tick = writer.next_name();
    let index = writer.pick(writer.town.personas.len());
    let persona = writer.town.personas.get(index);
    let persona = persona.map(|(id, _)| id.clone()).unwrap_or_default();
    match writer.pick(4) {
        0 => Batch::rating(&persona, &tick, 1 + writer.pick(5)),
        _ => Batch::calls(&persona, &tick, 1 + writer.pick(CALLS_MAX)),
    }
}
