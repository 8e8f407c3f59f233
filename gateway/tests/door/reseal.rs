//! Everything sealed anew while people read and write, and spaces that get another owner.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use events::{
    Appended, Clock as _, Commit, CommitStream, Delivery, Event, EventLog, ExpectedSeq, FieldWrite, LogError,
    LogState, MemoryLog, RecordChanged, RecordId, RecordedCommit, Rejection, SpaceId, StreamSeq, SystemClock,
};
use gateway::field_crypto::{self, FieldForm};
use gateway::{GatewaySettings, ResealStep, Resealed, SyncChange, SyncClient};
use identity::{Act, RecoveryWrap};
use jiff::SignedDuration;
use projections::{Projector, StoredPlace, Tables};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::{Client, House, Plan, User, call};

/// A log that lets somebody write right before what was sealed anew is appended.
#[derive(Debug, Default)]
struct Overtaken {
    log: MemoryLog,
    by: OnceLock<Commit>,
}

#[async_trait]
impl EventLog for Overtaken {
    async fn append(
        &self,
        commit: &Commit,
        expected: ExpectedSeq,
    ) -> Result<Result<Appended, Rejection>, LogError> {
        if let (true, Some(edit)) = (is_sealed_anew(commit), self.by.get()) {
            let _ = self.log.append(edit, ExpectedSeq::Any).await?;
        }
        self.log.append(commit, expected).await
    }

    async fn last(&self, subject: &events::Subject) -> Result<Option<RecordedCommit>, LogError> {
        self.log.last(subject).await
    }

    async fn read_subject(&self, subject: &events::Subject) -> Result<Vec<RecordedCommit>, LogError> {
        self.log.read_subject(subject).await
    }

    async fn follow(&self, after: StreamSeq) -> Result<CommitStream, LogError> {
        self.log.follow(after).await
    }

    async fn at(&self, seq: StreamSeq) -> Result<Option<Delivery>, LogError> {
        self.log.at(seq).await
    }

    async fn state(&self) -> Result<LogState, LogError> {
        self.log.state().await
    }
}

fn record_changed(event: &Event) -> Option<&RecordChanged> {
    match event {
        Event::RecordChanged(changed) => Some(changed),
        _ => None,
    }
}

/// No tool and no client of now wrote it.
fn is_sealed_anew(commit: &Commit) -> bool {
    let mut writes = commit.events.iter().filter_map(record_changed);
    writes.any(|write| write.tool.is_none() && write.fields.values().any(|field| !is_whole_ms(field)))
}

fn is_whole_ms(field: &FieldWrite) -> bool {
    field.at.as_nanosecond() % 1_000_000 == 0
}

fn writing(form: FieldForm) -> GatewaySettings {
    let mut settings = GatewaySettings {
        field_form: form,
        ..GatewaySettings::default()
    };
    settings.policy.rules = settings.policy.rules.clone().with_calls_per_window(1_000_000);
    settings
}

async fn house_writing(form: FieldForm) -> House {
    House::build(Plan {
        settings: writing(form),
        ..Plan::default()
    })
    .await
}

/// Takes one step after the other until there are none left.
async fn reseal(house: &House, records_max: u32, is_dry: bool) -> Resealed {
    let mut step = ResealStep {
        records_max,
        is_dry,
        ..ResealStep::default()
    };
    let mut all = Resealed::default();
    loop {
        let found = house.gateway.reseal(&step).await.unwrap();
        all.records += found.records;
        all.current += found.current;
        all.resealed += found.resealed;
        all.zero_knowledge += found.zero_knowledge;
        all.zero_knowledge_spaces.extend(found.zero_knowledge_spaces);
        all.refused += found.refused;
        all.keyless += found.keyless;
        match found.next {
            Some(next) => step.after = next,
            None => return all,
        }
    }
}

/// Every stored value of the registry's fields, by where it stands.
async fn stored(house: &House) -> BTreeMap<(String, String, String), Value> {
    let rows = house
        .tables
        .stored_records(
            &StoredPlace::default(),
            None,
            &["tasks", "notes", "journalEntries"],
            10_000,
        )
        .await
        .unwrap();
    let mut values = BTreeMap::new();
    for row in rows {
        for (name, field) in row.record.fields {
            if ["title", "description", "content", "subtasks", "metadata"].contains(&name.as_str()) {
                let at = (row.space_id.to_string(), row.record.record_id.to_string(), name);
                values.insert(at, field.value);
            }
        }
    }
    values
}

async fn begin_with(house: &House, form: &str) -> usize {
    let marked = |value: &&Value| value.as_str().is_some_and(|text| text.starts_with(form));
    stored(house).await.values().filter(marked).count()
}

/// Whether the tables are what a fold of the whole log makes.
async fn are_the_fold_of_the_log(house: &House) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let fresh = Tables::open(&dir.path().join("fresh.sqlite")).await.unwrap();
    let (projector, handle) = Projector::new(house.log.clone(), fresh.clone(), Arc::new(SystemClock::new()));
    let stop = CancellationToken::new();
    let end = house.log.state().await.unwrap().last_seq;
    let reach = async {
        handle.wait_for(end, Duration::from_mins(1)).await.unwrap();
        stop.cancel();
    };
    let (folded, ()) = tokio::join!(projector.run(stop.clone()), reach);
    folded.unwrap();
    fresh.checksums().await.unwrap() == house.tables.checksums().await.unwrap()
}

async fn write_some(client: &Client, count: usize) {
    for n in 0..count {
        call(
            client,
            "todo.create",
            json!({"title": format!("task {n}"), "description": "more"}),
        )
        .await;
        call(
            client,
            "notes.create",
            json!({"title": format!("note {n}"), "content": "text"}),
        )
        .await;
    }
}

/// One change of a record's title, as a sync client sends it.
fn edit(record: &RecordId, title: Value) -> SyncChange {
    let at = SystemClock::new().now();
    SyncChange {
        table: "tasks".to_owned(),
        record_id: record.clone(),
        space: None,
        fields: BTreeMap::from([("title".to_owned(), FieldWrite { value: title, at })]),
        deleted_at: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_value_changes_its_form_while_people_write_and_every_last_write_stands() {
    let old = house_writing(FieldForm::Shared).await;
    let anna = old.user("anna").await;
    let client = old.connect(&anna).await;
    write_some(&client, 12).await;
    let new = old.another_door(writing(FieldForm::Bound)).await;
    let device = SyncClient::new(anna.id.clone(), "todo".to_owned(), Some("phone"), None);
    let records: Vec<RecordId> = (0..8).map(|n| RecordId::from(uuid(n))).collect();
    let first = records
        .iter()
        .map(|record| edit(record, json!("first")))
        .collect();
    old.gateway.sync_push(&device, "", first).await.unwrap();
    assert_eq!(begin_with(&old, "enc:2:").await, 0);

    let is_done = AtomicBool::new(false);
    let writing = async {
        let mut round = 0;
        while !is_done.load(Ordering::SeqCst) || round < 3 {
            round += 1;
            let edits = records
                .iter()
                .map(|record| edit(record, json!(format!("round {round}"))));
            // One door knows the old form, the other the new one.
            let door = if round % 2 == 0 { &old } else { &new };
            door.gateway
                .sync_push(&device, "", edits.collect())
                .await
                .unwrap();
        }
        round
    };
    let reading = async {
        let client = new.connect(&anna).await;
        let mut reads = 0;
        while !is_done.load(Ordering::SeqCst) || reads < 3 {
            let listed = call(&client, "todo.list", json!({"limit": 500})).await;
            assert_eq!(listed["tasks"].as_array().unwrap().len(), 20);
            reads += 1;
        }
        client.cancel().await.unwrap();
    };
    let migrating = async {
        // Cut off in the middle, again and again: what is done stays done.
        for _ in 0..5 {
            let step = ResealStep {
                records_max: 500,
                ..ResealStep::default()
            };
            let cut = tokio::time::timeout(Duration::from_millis(5), new.gateway.reseal(&step)).await;
            drop(cut);
        }
        let found = reseal(&new, 7, false).await;
        is_done.store(true, Ordering::SeqCst);
        found
    };
    let (rounds, (), found) = tokio::join!(writing, reading, migrating);
    assert_eq!(
        (found.refused, found.zero_knowledge, found.keyless),
        (0, 0, 0),
        "{found:?}"
    );

    // A writer of the old form may have written last; one more pass leaves nothing.
    reseal(&new, 100, false).await;
    let left = reseal(&new, 100, false).await;
    assert_eq!((left.resealed, left.refused), (0, 0), "{left:?}");
    assert_eq!(begin_with(&new, "enc:1:").await, 0);
    let listed = call(&client, "todo.list", json!({"limit": 500})).await;
    let wanted = format!("round {rounds}");
    let last = listed["tasks"].as_array().unwrap().iter();
    assert_eq!(
        last.filter(|task| task["title"] == wanted).count(),
        records.len(),
        "{listed}"
    );
    let own = new
        .gateway
        .sync_pull(&device, "", &["tasks".to_owned()])
        .await
        .unwrap();
    let of_mine = |change: &&gateway::ServerChange| records.contains(&change.record_id);
    assert_eq!(
        own.changes.iter().filter(of_mine).count(),
        0,
        "a client's own writes stay its own"
    );
    assert!(are_the_fold_of_the_log(&old).await);
    client.cancel().await.unwrap();
    new.stop().await;
    old.stop().await;
}

fn uuid(n: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(0x018f_0000_0000_7000_8000_0000_0000_0000 + n)
}

#[tokio::test]
async fn a_write_that_overtakes_what_is_sealed_anew_wins_over_it() {
    let log = Arc::new(Overtaken::default());
    let old = House::build(Plan {
        log: log.clone(),
        settings: writing(FieldForm::Shared),
        ..Plan::default()
    })
    .await;
    let anna = old.user("anna").await;
    let client = old.connect(&anna).await;
    call(&client, "todo.create", json!({"title": "before"})).await;
    let made = old.events_of("RecordChanged").await.remove(0);
    let mut later = record_changed(&made).unwrap().clone();
    let key = old.identity.vault_key(&anna.id).await.unwrap();
    let value = json!(field_crypto::seal(&key.key, &json!("after"), [9; 12]));
    // The shortest time that any writer can tell.
    let at = later
        .changed_at
        .checked_add(SignedDuration::from_millis(1))
        .unwrap();
    later.fields = BTreeMap::from([("title".to_owned(), FieldWrite { value, at })]);
    (later.changed_at, later.tool) = (at, Some("todo.create".to_owned()));
    let subject = events::Subject::Record(anna.space.clone());
    let commit = Commit::new(
        RecordId::from(uuid(1)).to_string().parse().unwrap(),
        subject,
        at,
        vec![later.into()],
    );
    log.by.set(commit).unwrap();

    let new = old.another_door(writing(FieldForm::Bound)).await;
    assert!(reseal(&new, 10, false).await.resealed > 0);
    let listed = call(&client, "todo.list", json!({})).await;
    assert_eq!(listed["tasks"][0]["title"], "after");
    assert!(are_the_fold_of_the_log(&old).await);
    client.cancel().await.unwrap();
    new.stop().await;
    old.stop().await;
}

#[tokio::test]
async fn a_dry_run_counts_and_writes_nothing_and_there_is_a_way_back() {
    let new = house_writing(FieldForm::Bound).await;
    let anna = new.user("anna").await;
    let client = new.connect(&anna).await;
    write_some(&client, 3).await;
    let before = stored(&new).await;
    let sealed = begin_with(&new, "enc:2:").await as u64;
    let old = new.another_door(writing(FieldForm::Shared)).await;
    let counted = reseal(&old, 2, true).await;
    assert_eq!(
        (counted.records, counted.resealed, counted.current),
        (6, sealed, 0)
    );
    assert_eq!(stored(&new).await, before);
    assert_eq!(reseal(&new, 2, true).await.current, sealed);

    assert_eq!(reseal(&old, 2, false).await.resealed, sealed);
    let key = new.identity.vault_key(&anna.id).await.unwrap();
    let values = stored(&new).await;
    let opened: Vec<Value> = values
        .values()
        .filter_map(|value| field_crypto::open(&key.key, value.as_str()?).ok())
        .collect();
    assert_eq!(opened.len() as u64, sealed, "what older clients open");
    assert!(opened.contains(&json!("note 2")), "{opened:?}");
    let acts = new.identity.acts(None, None, 100).await.unwrap();
    assert!(
        acts.iter().any(|entry| entry.act == Act::FieldsSealedAnew),
        "{acts:?}"
    );
    client.cancel().await.unwrap();
    old.stop().await;
    new.stop().await;
}

#[tokio::test]
async fn what_only_its_owner_can_open_is_passed_over_and_what_nobody_can_is_on_record_and_stays() {
    let old = house_writing(FieldForm::Shared).await;
    let (anna, ben) = (old.user("anna").await, old.user("ben").await);
    for user in [&anna, &ben] {
        let client = old.connect(user).await;
        call(&client, "notes.create", json!({"title": "a", "content": "b"})).await;
        client.cancel().await.unwrap();
    }
    let wrap = RecoveryWrap {
        wrapped_key: "AAAA".to_owned(),
        iv: "AAAA".to_owned(),
    };
    old.identity.set_recovery_wrap(&ben.id, &wrap).await.unwrap();
    old.identity.zero_knowledge_on(&ben.id).await.unwrap();
    let stranger = field_crypto::seal(&[5; 32], &json!("x"), [1; 12]);
    let device = SyncClient::new(anna.id.clone(), "todo".to_owned(), Some("phone"), None);
    let spoiled = vec![edit(&RecordId::from(uuid(1)), json!(stranger))];
    old.gateway.sync_push(&device, "", spoiled).await.unwrap();

    let new = old.another_door(writing(FieldForm::Bound)).await;
    let found = reseal(&new, 100, false).await;
    assert_eq!(
        (found.resealed, found.zero_knowledge, found.refused),
        (2, 2, 1),
        "{found:?}"
    );
    assert_eq!(found.zero_knowledge_spaces, [ben.space.clone()].into());
    let values = stored(&new).await;
    assert!(
        values.values().any(|value| *value == stranger),
        "it stays as it is"
    );
    let acts = new.identity.acts(None, None, 100).await.unwrap();
    let refused = acts.iter().filter(|entry| entry.act == Act::FieldRefused).count();
    assert_eq!(refused, 1);
    new.stop().await;
    old.stop().await;
}

async fn list_there(house: &House, user: &User, space: &SpaceId) -> Value {
    let asked = crate::stateless::modern(
        house,
        user,
        "tools/call",
        json!({"name": "todo.list", "arguments": {}}),
    );
    let answer = asked.header("x-mana-space", space.as_str()).send().await.unwrap();
    crate::harness::message(answer).await["result"].clone()
}

#[tokio::test]
async fn a_space_that_was_handed_over_is_read_throughout_and_ends_up_under_its_new_owners_key_alone() {
    let house = house_writing(FieldForm::Bound).await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let team = house.team(&anna, &ben).await;
    let made = json!({"name": "todo.create", "arguments": {"title": "ours"}});
    let asked = crate::stateless::modern(&house, &anna, "tools/call", made);
    asked.header("x-mana-space", team.as_str()).send().await.unwrap();

    house
        .identity
        .hand_over_space(&anna.id, &team, &ben.id)
        .await
        .unwrap();
    house
        .identity
        .remove_member(&anna.id, &team, &anna.id)
        .await
        .unwrap();
    let read = list_there(&house, &ben, &team).await;
    assert_eq!(read["structuredContent"]["tasks"][0]["title"], "ours", "{read}");

    let step = ResealStep {
        space: Some(team.clone()),
        records_max: 100,
        ..ResealStep::default()
    };
    let found = house.gateway.reseal(&step).await.unwrap();
    assert!(found.resealed > 0 && found.refused == 0, "{found:?}");
    let at = house.identity.handovers().await.unwrap()[0].at;
    house.identity.finish_handover(&team, at).await.unwrap();
    house.identity.delete_account(&anna.id).await.unwrap();
    let read = list_there(&house, &ben, &team).await;
    assert_eq!(read["structuredContent"]["tasks"][0]["title"], "ours", "{read}");
    house.stop().await;
}

#[tokio::test]
async fn a_space_whose_past_owners_keys_were_let_go_too_early_would_be_lost() {
    // The guard of the test above: without sealing anew the next owner reads nothing.
    let house = house_writing(FieldForm::Bound).await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let team = house.team(&anna, &ben).await;
    let made = json!({"name": "todo.create", "arguments": {"title": "ours"}});
    let asked = crate::stateless::modern(&house, &anna, "tools/call", made);
    asked.header("x-mana-space", team.as_str()).send().await.unwrap();
    house
        .identity
        .hand_over_space(&anna.id, &team, &ben.id)
        .await
        .unwrap();
    let at = house.identity.handovers().await.unwrap()[0].at;
    house.identity.finish_handover(&team, at).await.unwrap();
    let read = list_there(&house, &ben, &team).await;
    assert_eq!(read["_meta"]["dramatis/errorCode"], "FIELD_REFUSED", "{read}");
    house.stop().await;
}
