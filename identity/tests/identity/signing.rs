//! Keys that sign tokens, one after the other.

use std::time::Duration;

use identity::{Act, Identity};
use jsonwebtoken::jwk::JwkSet;

use crate::room::{Room, settings};

fn published(identity: &Identity) -> usize {
    let keys: JwkSet = serde_json::from_value(identity.jwks()).unwrap();
    keys.keys.len()
}

#[tokio::test]
async fn a_hundred_rotations_refuse_nobody_and_ended_keys_are_destroyed() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    let mut tokens: Vec<(u64, String)> = Vec::new();
    let (mut minute, mut most) = (0_u64, 0);
    for rotation in 0..100_u64 {
        room.identity.rotate_signing_key().await.unwrap();
        most = most.max(published(&room.identity));
        // Tokens made right after it, and when the new key has its turn.
        for _ in 0..2 {
            tokens.push((minute, room.token(&anna).await));
            room.clock.advance(Duration::from_mins(2));
            minute += 2;
        }
        // Each token holds for its hour, whatever was rotated since.
        tokens.retain(|(made, _)| minute - made < 60);
        for (made, token) in &tokens {
            let outcome = room.identity.authenticate(token).await;
            assert!(
                outcome.is_ok(),
                "rotation {rotation}, made at {made}: {outcome:?}"
            );
        }
    }
    assert!(most < 30, "{most} keys at once: ended ones are not published");
    let destroyed = room.identity.rotate_signing_key().await.unwrap().destroyed;
    assert!(destroyed > 0);
}

#[tokio::test]
async fn a_rotation_beside_a_running_room_is_seen_before_the_new_key_signs() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    let beside = Identity::open(
        settings(&room.place, identity::KeyEncryptionKey::new("kek-2026", [7; 32])),
        room.clock.clone(),
        std::sync::Arc::new(events::SystemIds),
    )
    .await
    .unwrap();
    let before = room.token(&anna).await;
    let rotated = beside.rotate_signing_key().await.unwrap();
    assert_eq!((rotated.overlapping, rotated.destroyed), (1, 0));
    room.clock.advance(Duration::from_secs(11));
    room.identity.authenticate(&before).await.unwrap();
    assert_eq!(published(&room.identity), 2, "published before it signs");
    room.clock.advance(Duration::from_mins(3));
    let after = room.token(&anna).await;
    let header = jsonwebtoken::decode_header(&after).unwrap();
    assert_eq!(header.kid.as_ref(), Some(&rotated.kid));
    for identity in [&room.identity, &beside] {
        identity.authenticate(&after).await.unwrap();
        identity.authenticate(&before).await.unwrap();
    }
    // An hour on, the last token of the old key has ended, and the key with it.
    room.clock.advance(Duration::from_hours(2));
    assert_eq!(published(&room.identity), 1);
    assert_eq!(room.identity.rotate_signing_key().await.unwrap().destroyed, 1);
    let acts = room.identity.acts(None, None, 10).await.unwrap();
    let acts: Vec<Act> = acts.iter().map(|act| act.act).collect();
    assert!(acts.contains(&Act::SigningKeyMade) && acts.contains(&Act::SigningKeyRetired));
}
