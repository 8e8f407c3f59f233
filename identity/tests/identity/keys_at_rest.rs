//! What lies in the files, and what opens it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use identity::{CryptoError, IdentityError, KeyEncryptionKey, MasterKey, VaultAccess, VaultStatus};
use secrecy::ExposeSecret as _;

use crate::room::{PASSWORD, Room};

async fn sealed_key(room: &Room, user: &identity::Account) -> Vec<u8> {
    sqlx::query_scalar("SELECT sealed_key FROM vaults WHERE user_id = $1")
        .bind(user.id.as_str())
        .fetch_one(&mut room.place.sql().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_master_key_is_the_same_after_a_restart() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    let before = room.identity.vault_key(&anna.id).await.unwrap();
    assert_eq!((before.format_version, before.kek_id.as_str()), (1, "kek-2026"));
    let room = room.reopen().await;
    assert_eq!(room.identity.vault_key(&anna.id).await.unwrap().key, before.key);
    let wanted = VaultStatus {
        format_version: 1,
        kek_id: "kek-2026".to_owned(),
        created_at: anna.created_at,
        key_version: 1,
        has_recovery_wrap: false,
        is_zero_knowledge: false,
    };
    assert_eq!(room.identity.vault_status(&anna.id).await.unwrap(), Some(wanted));
}

#[tokio::test]
async fn initialising_a_vault_again_keeps_its_key_and_a_missing_one_is_made() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    let key = room.identity.vault_key(&anna.id).await.unwrap().key;
    let again = room.identity.vault_init(&anna.id).await.unwrap();
    assert!(matches!(again, VaultAccess::Key(again) if again.key == key));
    sqlx::query("DELETE FROM vaults")
        .execute(&mut room.place.sql().await)
        .await
        .unwrap();
    assert_eq!(room.identity.vault_status(&anna.id).await.unwrap(), None);
    let error = room.identity.vault_key(&anna.id).await.unwrap_err();
    assert!(matches!(error, IdentityError::VaultNotInitialised), "{error}");
    let VaultAccess::Key(MasterKey { key: remade, .. }) = room.identity.vault_init(&anna.id).await.unwrap()
    else {
        panic!("an ordinary account")
    };
    assert_ne!(remade, key);
    assert_eq!(room.identity.vault_key(&anna.id).await.unwrap().key, remade);
}

#[tokio::test]
async fn another_key_encryption_key_does_not_open_the_room_and_both_are_named() {
    let room = Room::open().await;
    let (outcome, _dir) = room.reopen_with(KeyEncryptionKey::new("kek-2027", [7; 32])).await;
    let error = outcome.unwrap_err();
    assert!(
        matches!(error, IdentityError::WrongKeyEncryptionKey { .. }),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(
        text.contains("\"kek-2026\"") && text.contains("\"kek-2027\""),
        "{text}"
    );
}

#[tokio::test]
async fn other_bytes_under_the_same_name_do_not_open_the_room_and_the_name_is_told() {
    let room = Room::open().await;
    let (outcome, _dir) = room.reopen_with(KeyEncryptionKey::new("kek-2026", [8; 32])).await;
    let error = outcome.unwrap_err();
    assert!(
        matches!(error, IdentityError::Crypto(CryptoError::DoesNotOpen { .. })),
        "{error:?}"
    );
    assert!(error.to_string().contains("\"kek-2026\""), "{error}");
}

#[tokio::test]
async fn a_sealed_key_moved_to_another_account_does_not_open() {
    let room = Room::open().await;
    let (anna, ben) = (room.person("Anna").await, room.person("Ben").await);
    let annas = sealed_key(&room, &anna).await;
    sqlx::query("UPDATE vaults SET sealed_key = $1 WHERE user_id = $2")
        .bind(annas)
        .bind(ben.id.as_str())
        .execute(&mut room.place.sql().await)
        .await
        .unwrap();
    let error = room.identity.vault_key(&ben.id).await.unwrap_err();
    assert!(
        matches!(error, IdentityError::Crypto(CryptoError::DoesNotOpen { .. })),
        "{error:?}"
    );
    assert!(room.identity.vault_key(&anna.id).await.is_ok());
}

#[tokio::test]
async fn no_file_holds_a_plain_key_a_password_or_a_token() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    let login = room
        .identity
        .login(&anna.email, &crate::room::password())
        .await
        .unwrap();
    let key = room.identity.vault_key(&anna.id).await.unwrap().key;
    assert!(
        room.place.holds(&sealed_key(&room, &anna).await).await,
        "the scan finds what is there"
    );
    assert!(
        room.place.holds(b"$argon2id$").await,
        "the scan finds what is there"
    );
    for (name, secret) in [
        ("master key", key.to_vec()),
        ("half a master key", key[..16].to_vec()),
        (
            "master key in base64",
            STANDARD.encode(key.as_slice()).into_bytes(),
        ),
        (
            "master key in hexadecimal",
            hex::encode(key.as_slice()).into_bytes(),
        ),
        ("key-encryption key", vec![7; 32]),
        ("password", PASSWORD.as_bytes().to_vec()),
        ("token", login.token.expose_secret().as_bytes()[..40].to_vec()),
    ] {
        assert!(!room.place.holds(&secret).await, "{name}");
    }
    room.identity.close().await;
    assert!(!room.place.holds(key.as_slice()).await);
}

#[tokio::test]
async fn a_deleted_accounts_sealed_key_and_hash_are_in_no_file() {
    let room = Room::open().await;
    let (anna, ben) = (room.person("Anna").await, room.person("Ben").await);
    let (annas, bens) = (sealed_key(&room, &anna).await, sealed_key(&room, &ben).await);
    let hash: String = sqlx::query_scalar("SELECT password_hash FROM credentials WHERE user_id = $1")
        .bind(anna.id.as_str())
        .fetch_one(&mut room.place.sql().await)
        .await
        .unwrap();
    assert!(room.place.holds(&annas).await && room.place.holds(hash.as_bytes()).await);
    room.identity.delete_account(&anna.id).await.unwrap();
    for gone in [
        &annas[..],
        hash.as_bytes(),
        b"anna@example.test",
        anna.id.as_str().as_bytes(),
    ] {
        assert!(!room.place.holds(gone).await, "{}", String::from_utf8_lossy(gone));
    }
    assert!(room.place.holds(&bens).await, "the others' keys stay");
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_by_the_number_of_its_migration() {
    let room = Room::open().await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9001, 'from the future', TRUE, $1, 0)",
    )
    .bind(vec![0_u8])
    .execute(&mut room.place.sql().await)
    .await
    .unwrap();
    let (outcome, _dir) = room.reopen_with(KeyEncryptionKey::new("kek-2026", [7; 32])).await;
    assert!(
        matches!(outcome, Err(IdentityError::NewerSchema { migration: 9001 })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn debug_output_holds_no_secret() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    let key = room.identity.vault_key(&anna.id).await.unwrap();
    let login = room.identity.mint(&anna.id).await.unwrap();
    let shown = format!(
        "{:?} {key:?} {login:?} {:?}",
        room.identity,
        crate::room::person("Anna")
    );
    for secret in [
        format!("{:?}", *key.key),
        format!("{:?}", [7_u8; 32]),
        PASSWORD.to_owned(),
    ] {
        assert!(!shown.contains(&secret), "{shown}");
    }
    assert!(
        !shown.contains(login.token.expose_secret()) && !shown.contains("$argon2id$"),
        "{shown}"
    );
    assert!(
        shown.contains("kek-2026"),
        "it still says which key-encryption key: {shown}"
    );
}
