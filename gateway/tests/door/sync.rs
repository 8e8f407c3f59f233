//! Clients that work offline come to the same, however their work interleaves, and that is the fold of the log.

use std::collections::BTreeMap;

use events::{Clock as _, FieldWrite, RecordId, SystemClock};
use gateway::{ServerChange, SyncChange, SyncClient, SyncPage};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::harness::{House, User};

/// Clients of one account and of a member of its team.
const CLIENTS: usize = 4;
/// Tables, the first of which has a sealed field.
const TABLES: [&str; 2] = ["tasks", "drawings"];
const FIELDS: [&str; 3] = ["title", "priority", "color"];

#[derive(Debug, Clone)]
enum Op {
    Edit {
        client: usize,
        record: usize,
        field: usize,
        value: u8,
    },
    Delete {
        client: usize,
        record: usize,
    },
    Push {
        client: usize,
    },
    Pull {
        client: usize,
    },
    TimePasses,
}

fn op() -> impl Strategy<Value = Op> {
    let client = 0..CLIENTS;
    prop_oneof![
        8 => (client.clone(), 0..4usize, 0..FIELDS.len(), 0..4u8)
            .prop_map(|(client, record, field, value)| Op::Edit { client, record, field, value }),
        1 => (client.clone(), 0..4usize).prop_map(|(client, record)| Op::Delete { client, record }),
        3 => client.clone().prop_map(|client| Op::Push { client }),
        2 => client.prop_map(|client| Op::Pull { client }),
        3 => Just(Op::TimePasses),
    ]
}

/// What a client keeps of one record.
#[derive(Debug, Clone, Default, PartialEq)]
struct Kept {
    fields: BTreeMap<String, (Value, Timestamp)>,
    deleted_at: Option<Timestamp>,
}

type Copy = BTreeMap<(String, RecordId), Kept>;

/// A simple client: what a person writes stands in its copy at once, whatever its clock says.
struct Client {
    sync: SyncClient,
    clock_is_off: SignedDuration,
    copy: Copy,
    pending: Vec<SyncChange>,
    cursor: String,
}

impl Client {
    fn new(user: &User, app: &str, id: &str, clock_is_off: SignedDuration) -> Self {
        Self {
            sync: SyncClient::new(user.id.clone(), app.to_owned(), Some(id), None),
            clock_is_off,
            copy: Copy::new(),
            pending: Vec::new(),
            cursor: String::new(),
        }
    }

    fn edit(&mut self, change: SyncChange) {
        let kept = self.copy.entry((change.table.clone(), change.record_id.clone()));
        let kept = kept.or_default();
        if kept.deleted_at.is_some() {
            return;
        }
        for (name, write) in &change.fields {
            kept.fields.insert(name.clone(), (write.value.clone(), write.at));
        }
        kept.deleted_at = change.deleted_at;
        self.pending.push(change);
    }

    /// What the server says stands where it is not older; of the same time, what was not sent yet stands.
    fn lay_over(&mut self, changes: Vec<ServerChange>) {
        for change in changes {
            let record = (change.table, change.record_id);
            let kept = self.copy.entry(record.clone()).or_default();
            kept.deleted_at = kept.deleted_at.max(change.deleted_at);
            for (name, write) in change.fields {
                let is_unsent = self.pending.iter().any(|pending| {
                    (&pending.table, &pending.record_id) == (&record.0, &record.1)
                        && pending.fields.contains_key(&name)
                });
                let own_at = kept.fields.get(&name).map(|(_, at)| *at);
                let is_later = own_at.is_none_or(|own| own < write.at || (own == write.at && !is_unsent));
                if is_later {
                    kept.fields.insert(name, (write.value, write.at));
                }
            }
        }
    }

    /// Takes an answer; says whether there was something in it.
    fn take(&mut self, page: SyncPage) -> bool {
        let is_news = !page.changes.is_empty() || page.has_more;
        self.lay_over(page.changes);
        self.cursor = page.synced_until;
        is_news
    }

    async fn push(&mut self, house: &House) -> bool {
        let pending = std::mem::take(&mut self.pending);
        let page = house.gateway.sync_push(&self.sync, &self.cursor, pending).await;
        self.take(page.unwrap())
    }

    async fn pull(&mut self, house: &House) -> bool {
        let page = house.gateway.sync_pull(&self.sync, &self.cursor, &[]).await;
        self.take(page.unwrap())
    }

    /// What a person sees: the deleted is gone, whatever is known of it.
    fn shown(&self) -> Copy {
        let shown = |kept: &Kept| match kept.deleted_at {
            Some(_) => Kept::default(),
            None => kept.clone(),
        };
        let copy = self.copy.iter();
        copy.map(|(record, kept)| (record.clone(), shown(kept))).collect()
    }
}

async fn live(house: &House, users: &[User; 2], team: &events::SpaceId, case: usize, ops: &[Op]) {
    let app = format!("case-{case}");
    let offsets = [0, -3, 2, -60_000];
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|number| {
            let user = &users[usize::from(number == CLIENTS - 1)];
            let off = SignedDuration::from_millis(offsets[number]);
            Client::new(user, &app, &format!("client-{number}"), off)
        })
        .collect();
    let mut now = SystemClock::new().now();
    for op in ops {
        match op {
            Op::Edit {
                client,
                record,
                field,
                value,
            } => {
                let at = now + clients[*client].clock_is_off;
                let write = FieldWrite {
                    value: json!(format!("v{value}")),
                    at,
                };
                let fields = BTreeMap::from([(FIELDS[*field].to_owned(), write)]);
                clients[*client].edit(change(&app, team, *record, fields, None));
            }
            Op::Delete { client, record } => {
                let at = now + clients[*client].clock_is_off;
                clients[*client].edit(change(&app, team, *record, BTreeMap::new(), Some(at)));
            }
            Op::Push { client } => drop(clients[*client].push(house).await),
            Op::Pull { client } => drop(clients[*client].pull(house).await),
            Op::TimePasses => now += SignedDuration::from_millis(1),
        }
    }
    for client in &mut clients {
        client.push(house).await;
    }
    for client in &mut clients {
        while client.pull(house).await {}
    }
    let mut newcomer = Client::new(&users[0], &app, "newcomer", SignedDuration::ZERO);
    while newcomer.pull(house).await {}
    for client in &clients {
        // A newcomer is told of what was deleted too, and so knows every record.
        assert_eq!(client.shown(), newcomer.shown());
    }
}

fn change(
    app: &str,
    team: &events::SpaceId,
    record: usize,
    fields: BTreeMap<String, FieldWrite>,
    deleted_at: Option<Timestamp>,
) -> SyncChange {
    SyncChange {
        table: TABLES[record % TABLES.len()].to_owned(),
        record_id: RecordId::derived(&[app, &record.to_string()]),
        space: Some(team.clone()),
        fields: fields
            .into_iter()
            .map(|(name, write)| {
                let at = Timestamp::from_millisecond(write.at.as_millisecond()).unwrap();
                (name, FieldWrite { at, ..write })
            })
            .collect(),
        deleted_at: deleted_at.map(|at| Timestamp::from_millisecond(at.as_millisecond()).unwrap()),
    }
}

#[test]
fn any_interleaving_of_clients_comes_to_one_state_and_that_is_the_fold_of_the_log() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let house = runtime.block_on(House::start());
    let (users, team) = runtime.block_on(async {
        let users = [house.user("anna").await, house.user("ben").await];
        let team = house.team(&users[0], &users[1]).await;
        (users, team)
    });
    let mut runner = TestRunner::new(Config {
        cases: 24,
        failure_persistence: None,
        ..Config::default()
    });
    let case = std::cell::Cell::new(0);
    let interleavings = proptest::collection::vec(op(), 1..60);
    runner
        .run(&interleavings, |ops| {
            case.set(case.get() + 1);
            runtime.block_on(live(&house, &users, &team, case.get(), &ops));
            Ok(())
        })
        .unwrap();
    let clock = SystemClock::new();
    let mut unheard = |_| {};
    let verified = projections::verify(house.log.as_ref(), &house.tables, &clock, &mut unheard);
    let report = runtime.block_on(verified).unwrap();
    assert!(report.agrees(), "the tables are the fold of the log: {report:?}");
    runtime.block_on(house.stop());
}
