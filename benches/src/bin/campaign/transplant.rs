//! Ciphertext moved and changed in the running program's tables, by plain SQL, from beside it.
//!
//! Some people write tasks and notes through tools and a sync client. Then every encrypted value is put into the place of
//! every other, of other users, rows, fields and tables, and bits of it are flipped; what follows from the seed is in which
//! order, and which of them where there are more than rounds. After each, whoever may read that place does: through a
//! tool the read must be refused with its code, through sync the value must come as the ciphertext it is. No answer may hold
//! what another place says, and the record of acts must have one refusal for each.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use benches::Site;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use reqwest::Client;
use serde_json::{Map, Value, json};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::trial::Trial;

/// Who writes.
const PEOPLE: [&str; 3] = ["anna", "ben", "eva"];
/// What each of them writes of every kind.
const RECORDS: usize = 2;
/// Attempts between two looks at whether what was put back is read again.
const LOOK_EVERY: usize = 50;
/// Acts on one page of the record.
const ACTS: usize = 500;

/// A stored encrypted value: where it stands, and what stands there.
#[derive(Debug, Clone)]
struct Cell {
    space: String,
    table: String,
    record: String,
    field: String,
    /// Whether it came from a sync client, and is read by one.
    is_synced: bool,
    wire: String,
}

/// What is put in a value's place.
#[derive(Debug, Clone, Copy)]
enum Swap {
    /// The value of another place.
    With(usize),
    /// The same value with one bit of one byte flipped.
    Flipped { byte: usize, bit: u8 },
}

/// Somebody who writes and reads.
struct Person {
    token: String,
    space: String,
}

/// Makes up to `rounds` attempts.
///
/// # Errors
/// When the program cannot be run.
#[expect(clippy::disallowed_methods, reason = "a trial takes real time")]
pub(crate) async fn run(program: &Path, rounds: u64, seed: u64) -> anyhow::Result<Trial> {
    let began = Instant::now();
    let dir = tempfile::tempdir()?;
    let site = Site::new(program, &dir.path().join("data"))?;
    let house = site.start_ready().await?;
    let door = Door {
        client: Client::new(),
        api: site.api(),
    };
    let mut people = Vec::new();
    for name in PEOPLE {
        people.push(door.arrive(&site, name).await?);
    }
    let options = SqliteConnectOptions::new().filename(site.data().join("dramatis.sqlite"));
    let mut db = SqliteConnection::connect_with(&options).await?;
    let cells = cells(&mut db).await?;
    let places = PEOPLE.len() * RECORDS * 6;
    ensure!(
        cells.len() == places,
        "{} encrypted values, not {places}",
        cells.len()
    );

    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut trial = Trial::new("transplant", seed);
    let before = door.refusals(&site).await?;
    let attempts = attempts(&cells, &mut dice, usize::try_from(rounds)?);
    for (number, (at, swap)) in attempts.iter().enumerate() {
        let here = &cells[*at];
        let (kind, wire) = swapped(&cells, here, *swap);
        let person = people.iter().find(|person| person.space == here.space);
        let person = person.context("every space is somebody's")?;
        put(&mut db, here, &wire).await?;
        let fault = door.read(person, here, &wire).await?;
        put(&mut db, here, &here.wire).await?;
        trial.add(
            kind,
            fault.map(|fault| format!("attempt {number}, {swap:?} at {here:?}: {fault}")),
        );
        if number % LOOK_EVERY == 0 {
            door.reads_well(person, here).await?;
        }
    }
    let refusals = door.refusals(&site).await? - before;
    let is_audited = refusals == attempts.len();
    let fault = format!(
        "{} reads of moved or changed values, {refusals} refusals on record",
        attempts.len()
    );
    trial.add("every refusal is on record", (!is_audited).then_some(fault));
    house.stop().await?;
    trial.seconds = began.elapsed().as_secs();
    Ok(trial)
}

/// Every swap and every flip, in an order that follows from the dice, `rounds` at most.
fn attempts(cells: &[Cell], dice: &mut ChaCha8Rng, rounds: usize) -> Vec<(usize, Swap)> {
    let mut swaps = Vec::new();
    let mut flips = Vec::new();
    for (at, here) in cells.iter().enumerate() {
        let others = (0..cells.len()).filter(|other| *other != at);
        swaps.extend(others.map(|other| (at, Swap::With(other))));
        for byte in "enc:2:".len()..here.wire.len() {
            let flipped = (0..7).filter(|bit| is_told_apart(here.wire.as_bytes()[byte], *bit));
            flips.extend(flipped.map(|bit| (at, Swap::Flipped { byte, bit })));
        }
    }
    swaps.shuffle(dice);
    flips.shuffle(dice);
    // Swaps first: there are fewer of them, and they are what somebody would try.
    swaps.extend(flips);
    swaps.truncate(rounds);
    swaps
}

/// Whether flipping the bit leaves text that SQL and JSON take as it is.
fn is_told_apart(byte: u8, bit: u8) -> bool {
    (byte ^ (1 << bit)).is_ascii_graphic()
}

fn swapped(cells: &[Cell], here: &Cell, swap: Swap) -> (String, String) {
    match swap {
        Swap::With(other) => {
            let there = &cells[other];
            let kind = if there.space != here.space {
                "another user's"
            } else if there.table != here.table {
                "another table's"
            } else if there.record != here.record {
                "another row's"
            } else {
                "another field's"
            };
            (kind.to_owned(), there.wire.clone())
        }
        Swap::Flipped { byte, bit } => {
            let mut bytes = here.wire.clone().into_bytes();
            bytes[byte] ^= 1 << bit;
            (
                "a bit flipped".to_owned(),
                String::from_utf8_lossy(&bytes).into_owned(),
            )
        }
    }
}

async fn cells(db: &mut SqliteConnection) -> anyhow::Result<Vec<Cell>> {
    let rows: Vec<(String, String, String, String, String)> = sqlx::query_as(
        "SELECT space_id, table_name, record_id, app, fields FROM records ORDER BY space_id, table_name, record_id",
    )
    .fetch_all(db)
    .await?;
    let mut cells = Vec::new();
    for (space, table, record, app, fields) in rows {
        let fields: Map<String, Value> = serde_json::from_str(&fields)?;
        for (field, write) in fields {
            let wire = write["value"].as_str().unwrap_or_default();
            if wire.starts_with("enc:") {
                ensure!(
                    wire.starts_with("enc:2:"),
                    "the program seals values to their places"
                );
                cells.push(Cell {
                    space: space.clone(),
                    table: table.clone(),
                    record: record.clone(),
                    field,
                    is_synced: app == "trial",
                    wire: wire.to_owned(),
                });
            }
        }
    }
    Ok(cells)
}

async fn put(db: &mut SqliteConnection, at: &Cell, wire: &str) -> anyhow::Result<()> {
    let done = sqlx::query(
        "UPDATE records SET fields = json_set(fields, '$.' || $1 || '.value', $2)
         WHERE space_id = $3 AND table_name = $4 AND record_id = $5",
    )
    .bind(&at.field)
    .bind(wire)
    .bind(&at.space)
    .bind(&at.table)
    .bind(&at.record)
    .execute(db)
    .await?;
    ensure!(done.rows_affected() == 1, "one row is changed");
    Ok(())
}

/// The program from outside.
struct Door {
    client: Client,
    api: String,
}

impl Door {
    /// Somebody registers and writes, each word with a canary of theirs in it.
    async fn arrive(&self, site: &Site, name: &str) -> anyhow::Result<Person> {
        let token = site.account(&format!("{name}@example.org")).await?;
        for n in 0..RECORDS {
            let canary = |what: &str| format!("CANARY {name} {what} {n}");
            let task = json!({"title": canary("task"), "description": canary("more")});
            let note = json!({"title": canary("note"), "content": canary("text")});
            for (tool, arguments) in [("todo.create", task), ("notes.create", note)] {
                let (status, made) = self.call(&token, tool, &arguments).await?;
                ensure!(
                    status == 200 && made["result"]["isError"] != true,
                    "{tool}: {made}"
                );
            }
            let at = "2026-01-01T00:00:00.000Z";
            let fields = json!({
                "title": {"value": canary("synced"), "at": at}, "content": {"value": canary("synced text"), "at": at},
            });
            let change = json!({"table": "notes", "id": format!("synced-{name}-{n}"), "op": "update", "fields": fields});
            let push = json!({"clientId": format!("{name}-phone"), "changes": [change]});
            let pushed = self
                .client
                .post(format!("{}/sync/trial", self.api))
                .bearer_auth(&token)
                .json(&push);
            pushed.send().await?.error_for_status()?;
        }
        let spaces = self
            .client
            .get(format!("{}/api/v1/spaces", self.api))
            .bearer_auth(&token);
        let spaces: Value = spaces.send().await?.error_for_status()?.json().await?;
        let space = spaces["spaces"][0]["id"]
            .as_str()
            .context("everybody has a space")?;
        Ok(Person {
            space: space.to_owned(),
            token,
        })
    }

    /// Reads the place; says what was wrong with the answer.
    async fn read(&self, person: &Person, here: &Cell, wire: &str) -> anyhow::Result<Option<String>> {
        if here.is_synced {
            let shown = self.synced(person, here).await?;
            return Ok((shown != wire).then(|| format!("sync shows {shown:?}")));
        }
        let (status, told) = self.call(&person.token, list_of(here), &json!({})).await?;
        let code = &told["result"]["_meta"]["dramatis/errorCode"];
        let told = told.to_string();
        let is_refused = code == "FIELD_REFUSED" && !told.contains("CANARY");
        Ok((!is_refused).then(|| format!("{status} {told}")))
    }

    async fn reads_well(&self, person: &Person, here: &Cell) -> anyhow::Result<()> {
        let shown = if here.is_synced {
            self.synced(person, here).await?
        } else {
            self.call(&person.token, list_of(here), &json!({}))
                .await?
                .1
                .to_string()
        };
        ensure!(
            shown.contains("CANARY"),
            "what was put back is read again: {shown}"
        );
        Ok(())
    }

    /// What a sync client sees in the place.
    async fn synced(&self, person: &Person, here: &Cell) -> anyhow::Result<String> {
        let pull = self
            .client
            .get(format!("{}/sync/trial/pull", self.api))
            .bearer_auth(&person.token);
        let pulled: Value = pull.send().await?.error_for_status()?.json().await?;
        let changes = pulled["serverChanges"]
            .as_array()
            .context("an answer has changes")?;
        let change = changes.iter().find(|change| change["id"] == *here.record);
        let value = &change.context("the record is in the answer")?["fields"][&here.field]["value"];
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    async fn call(&self, token: &str, tool: &str, arguments: &Value) -> anyhow::Result<(u16, Value)> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": tool, "arguments": arguments, "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": "transplant", "version": "1"}}}});
        let asked = self
            .client
            .post(format!("{}/mcp", self.api))
            .bearer_auth(token)
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", tool)
            .json(&body);
        let answer = asked.send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        let data = text
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .next_back();
        Ok((status, serde_json::from_str(data.unwrap_or(&text).trim())?))
    }

    /// Refused fields on record so far.
    async fn refusals(&self, site: &Site) -> anyhow::Result<usize> {
        let token = site.admin_token()?;
        let (mut refusals, mut before) = (0, None);
        loop {
            let mut asked = self
                .client
                .get(format!("{}/api/v1/admin/audit?limit={ACTS}", self.api))
                .bearer_auth(&token);
            if let Some(before) = before {
                asked = asked.query(&[("before", before)]);
            }
            let page: Value = asked.send().await?.error_for_status()?.json().await?;
            let acts = page["acts"].as_array().context("an answer has acts")?;
            refusals += acts.iter().filter(|act| act["act"] == "field.refused").count();
            match page["next"].as_i64() {
                Some(next) => before = Some(next),
                None => return Ok(refusals),
            }
        }
    }
}

fn list_of(here: &Cell) -> &'static str {
    if here.table == "tasks" {
        "todo.list"
    } else {
        "notes.search"
    }
}
