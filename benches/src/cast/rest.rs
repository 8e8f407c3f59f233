//! What a persona takes that is enrolled and does nothing.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use benches::{House, Site, resident_kib, write_catalog};
use serde_json::{Value, json};

use super::now;
use crate::figures::rounded;

/// Personas enrolled before memory is looked at first, so that what the program sets up once is not counted.
const FEW: usize = 100;
/// How long the memory must have stood still to count as that of rest, and how often it is looked at.
const STILL_FOR: u32 = 8;
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What may come and go in rest, KiB.
const STILL_KIB: f64 = 512.0;
/// Looks after which it counts as it is.
const LOOKS_MAX: u32 = 240;

/// Enrols `count` personas, lets them rest, and starts the program anew.
pub(super) async fn measure(program: &Path, data: &Path, count: usize) -> anyhow::Result<Value> {
    ensure!(count > FEW, "more than {FEW} must rest");
    let site = Site::new(program, data)?;
    let (few, all) = (data.with_extension("few.json"), data.with_extension("json"));
    write_catalog(&few, FEW, |_, _| {})?;
    write_catalog(&all, count, |_, _| {})?;
    let house = site.start_ready().await?;
    site.seed_from(&few)?;
    house.stop().await?;

    let house = site.start_ready().await?;
    let before = at_rest(&house).await?;
    let began = now();
    site.seed_from(&all)?;
    let took = began.elapsed().as_secs_f64();
    let enrolled = at_rest(&house).await?;
    house.stop().await?;

    let house = site.start_ready().await?;
    let restarted = at_rest(&house).await?;
    house.stop().await?;
    let more = (count - FEW) as f64;
    Ok(json!({
        "personas": count,
        "enrolled_per_minute": (more * 60.0 / took).round(),
        "kib_each": rounded((restarted - before) / more),
        "kib_each_right_after_enrolment": rounded((enrolled - before) / more),
        "resident_mib": (restarted / 1024.0).round(),
    }))
}

/// The resident memory once it stands still, KiB.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
async fn at_rest(house: &House) -> anyhow::Result<f64> {
    let (mut kib, mut still_for) = (resident_kib(house.pid())?, 0);
    for _ in 0..LOOKS_MAX {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = resident_kib(house.pid())?;
        still_for = if (now - kib).abs() < STILL_KIB {
            still_for + 1
        } else {
            0
        };
        kib = now;
        if still_for >= STILL_FOR {
            break;
        }
    }
    Ok(kib)
}
