//! What is true of a SQLite file alone.

use std::sync::Arc;

use events::SystemIds;
use identity::{Identity, IdentityError, KeyEncryptionKey};

use crate::place::Place;
use crate::room::{Room, settings};

#[tokio::test]
async fn a_deletion_cut_before_the_file_was_rewritten_is_finished_at_the_next_start() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    // As a kill leaves it: deleted, and copies of it in the file.
    sqlx::query(
        "INSERT INTO rewrites_due (id, deleted_at) VALUES (1, 7);
         CREATE TABLE copies (email TEXT); PRAGMA secure_delete = OFF;
         INSERT INTO copies VALUES ('gone@example.test'); DELETE FROM copies;",
    )
    .execute(&mut room.place.sql().await)
    .await
    .unwrap();
    assert!(room.place.holds(b"gone@example.test").await);
    let room = room.reopen().await;
    assert!(!room.place.holds(b"gone@example.test").await);
    let due: i64 = sqlx::query_scalar("SELECT count(*) FROM rewrites_due")
        .fetch_one(&mut room.place.sql().await)
        .await
        .unwrap();
    assert_eq!(due, 0);
    assert!(room.identity.account(&anna.id).await.unwrap().is_some());
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_readable_to_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let room = Room::open().await;
    room.person("Anna").await;
    for file in std::fs::read_dir(room.place.dir.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_a_failure_and_is_left_alone() {
    let room = Room::open().await;
    room.identity.close().await;
    let other = Place::new();
    let text = "these are the notes of somebody else, not a database\n".repeat(100);
    std::fs::write(other.file(), &text).unwrap();
    let settings = settings(&other, KeyEncryptionKey::new("k", [1; 32]));
    let outcome = Identity::open(settings, room.clock.clone(), Arc::new(SystemIds)).await;
    assert!(matches!(outcome, Err(IdentityError::Database(_))), "{outcome:?}");
    assert_eq!(std::fs::read_to_string(other.file()).unwrap(), text);
}
