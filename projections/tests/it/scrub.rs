//! Nothing is left in the files but what the tables show.

use projections::TablesError;

use crate::support::*;

/// The files of the tables that hold `text`.
fn files_with(bench: &Bench, text: &str) -> Vec<std::ffi::OsString> {
    let files = std::fs::read_dir(bench.dir.path()).unwrap();
    files
        .map(|file| file.unwrap())
        .filter(|file| {
            let bytes = std::fs::read(file.path()).unwrap();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
        .map(|file| file.file_name())
        .collect()
}

#[tokio::test]
async fn rows_that_were_deleted_are_in_no_file_and_the_others_are_as_they_were() {
    let (bench, _) = Bench::folded(day_of("anna")).await;
    let before = bench.tables.checksums().await.unwrap();
    bench
        .by_hand("INSERT INTO personas SELECT 'gone-a', 'gone@mana.test', name, archetype, 'gone-prompt', module_mix, cadence, time_zone, partners, last_active_at, halted, created_at, updated_at, stream_seq FROM personas")
        .await;
    bench.by_hand("DELETE FROM personas WHERE id = 'gone-a'").await;
    assert!(
        !files_with(&bench, "gone-prompt").is_empty(),
        "the search finds what is there"
    );
    bench.tables.scrub().await.unwrap();
    for text in ["gone-prompt", "gone@mana.test", "gone-a"] {
        assert!(
            files_with(&bench, text).is_empty(),
            "{text}: {:?}",
            files_with(&bench, text)
        );
    }
    assert_eq!(bench.tables.checksums().await.unwrap(), before);
}

#[tokio::test]
async fn a_reader_that_keeps_an_old_page_is_told_of_and_not_passed_over() {
    use sqlx::Connection as _;
    let (bench, _) = Bench::folded(day_of("anna")).await;
    let mut reader = raw(bench.tables.path().unwrap()).await;
    let mut reading = reader.begin().await.unwrap();
    sqlx::query("SELECT * FROM personas")
        .fetch_all(&mut *reading)
        .await
        .unwrap();
    let refused = bench.tables.scrub().await;
    assert!(matches!(refused, Err(TablesError::ReaderInTheWay)), "{refused:?}");
    reading.commit().await.unwrap();
    bench.tables.scrub().await.unwrap();
}
