//! Master keys over their lives: several key-encryption keys, rotation, zero knowledge, and the record of it all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use identity::{Act, Identity, IdentityError, KeyEncryptionKey, KeyRing, RecoveryWrap, VaultAccess};

use crate::place::PEOPLE;
use crate::room::{Room, person};

fn old() -> KeyEncryptionKey {
    KeyEncryptionKey::new("kek-2026", [7; 32])
}

fn new() -> KeyEncryptionKey {
    KeyEncryptionKey::new("kek-2027", [8; 32])
}

fn both() -> KeyRing {
    KeyRing::new(new()).try_with(old()).unwrap()
}

async fn acts(identity: &Identity) -> Vec<Act> {
    let acts = identity.acts(None, None, 1_000).await.unwrap();
    acts.iter().rev().map(|act| act.act).collect()
}

/// So many accounts, each with a vault of its own.
async fn people(room: &Room, count: usize) -> Vec<identity::Account> {
    let mut people = Vec::with_capacity(count);
    for n in 0..count {
        people.push(room.identity.register(person(&format!("Anna{n}"))).await.unwrap());
    }
    people
}

/// Keys sealed anew at once: few, so that there is something to cut off however many people there are.
const BATCH: u32 = 10;

#[tokio::test]
async fn keys_are_sealed_anew_while_everybody_reads_and_whoever_is_cut_off_goes_on_where_it_stopped() {
    let room = Room::open().await;
    let people = people(&room, PEOPLE).await;
    room.identity.vault_rotate(&people[0].id).await.unwrap();
    let clock = room.clock.clone();
    let (identity, place) = room.reopen_with(both()).await;
    let identity = identity.unwrap();
    let mut keys = Vec::new();
    for someone in &people {
        keys.push(identity.vault_key(&someone.id).await.unwrap().key);
    }
    let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let reading = {
        let (identity, stop, reads) = (identity.clone(), stop.clone(), reads.clone());
        let expected: Vec<_> = people.iter().map(|p| p.id.clone()).zip(keys.clone()).collect();
        async move {
            for (user, key) in expected.iter().cycle() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                assert_eq!(identity.vault_key(user).await.unwrap().key, *key, "{user}");
                reads.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    let rewrapping = async {
        // Cut off at its awaits, again and again, as a kill would: what was not committed is done again.
        let mut cut = 0;
        for patience in 0_u32.. {
            let mut batch = Box::pin(identity.rewrap(BATCH));
            let polled = futures::future::poll_fn(|context| {
                std::task::Poll::Ready(std::future::Future::poll(batch.as_mut(), context))
            });
            if patience % 3 == 0 && polled.await.is_pending() {
                drop(batch);
                cut += 1;
                continue;
            }
            let done = match patience % 3 {
                0 => continue,
                _ => batch.await.unwrap(),
            };
            if done.is_complete {
                break;
            }
        }
        let read = reads.load(Ordering::SeqCst);
        while reads.load(Ordering::SeqCst) < read + 10 {
            tokio::task::yield_now().await;
        }
        stop.store(true, Ordering::SeqCst);
        cut
    };
    let (cut, ()) = tokio::join!(rewrapping, reading);
    assert!(cut >= 3, "it was cut off {cut} times");
    let sealed = identity.sealed_by_key().await.unwrap();
    assert_eq!(
        sealed,
        [("kek-2027".to_owned(), PEOPLE as u64 + 2)],
        "with the past key and the signing key"
    );
    identity.close().await;

    // The old key is of no use any more, and not needed.
    let settings = |kek| crate::room::settings(&place, kek);
    let outcome = Identity::open(settings(old()), clock.clone(), Arc::new(events::SystemIds)).await;
    assert!(
        matches!(outcome, Err(IdentityError::WrongKeyEncryptionKey { .. })),
        "{outcome:?}"
    );
    let alone = Identity::open(settings(new()), clock, Arc::new(events::SystemIds))
        .await
        .unwrap();
    for (someone, key) in people.iter().zip(keys) {
        assert_eq!(alone.vault_key(&someone.id).await.unwrap().key, key);
    }
}

#[tokio::test]
async fn a_rewrap_without_the_key_that_sealed_names_it_and_changes_nothing() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    sqlx::query("UPDATE vaults SET kek_id = 'kek-lost'")
        .execute(&mut room.place.sql().await)
        .await
        .unwrap();
    let error = room.identity.rewrap(10).await.unwrap_err().to_string();
    assert!(error.contains("kek-lost"), "{error}");
    let status = room.identity.vault_status(&anna.id).await.unwrap().unwrap();
    assert_eq!(status.kek_id, "kek-lost");
}

#[tokio::test]
async fn a_past_key_put_back_in_the_present_ones_place_does_not_open() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    room.identity.vault_rotate(&anna.id).await.unwrap();
    sqlx::query(
        "UPDATE vaults SET sealed_key = (SELECT sealed_key FROM past_master_keys WHERE user_id = vaults.user_id)",
    )
    .execute(&mut room.place.sql().await)
    .await
    .unwrap();
    let error = room.identity.vault_key(&anna.id).await.unwrap_err();
    assert!(matches!(error, IdentityError::Crypto(_)), "{error:?}");
}

#[tokio::test]
async fn zero_knowledge_leaves_no_copy_of_any_key_in_any_file() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    room.identity.vault_rotate(&anna.id).await.unwrap();
    let sealed: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT sealed_key FROM vaults UNION ALL SELECT sealed_key FROM past_master_keys")
            .fetch_all(&mut room.place.sql().await)
            .await
            .unwrap();
    let wrap = RecoveryWrap {
        wrapped_key: "d3JhcHBlZA==".to_owned(),
        iv: "bm9uY2U=".to_owned(),
    };
    room.identity.set_recovery_wrap(&anna.id, &wrap).await.unwrap();
    room.identity.zero_knowledge_on(&anna.id).await.unwrap();
    for key in &sealed {
        assert!(!room.place.holds(key).await);
    }
    let error = room.identity.vault_key(&anna.id).await.unwrap_err();
    assert!(matches!(error, IdentityError::ZeroKnowledge), "{error:?}");
    let access = room.identity.vault_access(&anna.id).await.unwrap();
    assert!(matches!(access, VaultAccess::Recovery { wrap: kept, .. } if kept == wrap));
}

#[tokio::test]
async fn every_reading_of_a_key_is_on_record_and_without_a_record_there_is_no_key() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    let space = room.identity.personal_space(&anna.id).await.unwrap();
    room.identity.vault_key(&anna.id).await.unwrap();
    room.identity.space_key(&space).await.unwrap();
    assert_eq!(
        acts(&room.identity).await,
        [Act::AccountRegistered, Act::VaultRead, Act::VaultRead]
    );
    sqlx::query("ALTER TABLE audit_log RENAME TO audit_log_away")
        .execute(&mut room.place.sql().await)
        .await
        .unwrap();
    let error = room.identity.vault_key(&anna.id).await.unwrap_err();
    assert!(matches!(error, IdentityError::Database(_)), "{error:?}");
    let error = room.identity.space_key(&space).await.unwrap_err();
    assert!(matches!(error, IdentityError::Database(_)), "{error:?}");
}

#[tokio::test]
async fn acts_outlive_their_account_without_its_name_and_old_ones_are_let_go() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    room.identity.delete_account(&anna.id).await.unwrap();
    assert_eq!(
        acts(&room.identity).await,
        [Act::AccountRegistered, Act::AccountDeleted]
    );
    let entries = room.identity.acts(None, None, 10).await.unwrap();
    assert!(
        entries
            .iter()
            .all(|entry| entry.user_id.is_none() && entry.by_id.is_none())
    );
    room.clock.advance(Duration::from_hours(400 * 24 + 1));
    let room = room.reopen().await;
    assert_eq!(acts(&room.identity).await, []);
}
