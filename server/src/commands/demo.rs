//! `dramatis demo`: ten personas live a day through the real gateway, and the day is reported.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actors::{Behaviour, BehaviourDigest, TickReport, Who};
use catalog::{Catalog, Persona};
use events::{Cadence, Clock as _, Delivery, Event, LogError, StreamSeq, SystemClock, read_to_end};
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::drift::load_catalog;
use super::seed;
use crate::api_client::ApiClient;
use crate::config::{Config, HouseFlags};
use crate::exit::CommandError;
use crate::house::{House, module_names};
use crate::output::{Format, Out};
use crate::progress::{Steps, TickDisplay};
use crate::report::{LogCounts, MorningReport, Places};
use crate::virtual_days;

/// Virtual days one run may live; a year of hourly ticks is a soak test, not a demo.
const DAYS_MAX: u32 = 60;
/// How long the tables may take to catch up with the log.
const CATCH_UP: Duration = Duration::from_secs(30);

/// Start everything, let all ten personas live a day through the real gateway, and report it
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub(crate) house: HouseFlags,
    /// Keep serving when the day is over
    #[arg(long)]
    keep: bool,
    /// Live this many virtual days, each persona by its own cadence, instead of one tick each; in a fresh folder they
    /// begin on Monday, 5 January 2026, else where the log ends
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(DAYS_MAX)))]
    days: Option<u32>,
    /// Who lives [default: the built-in cast]; mixes may name mounted servers
    #[arg(long, value_name = "FILE")]
    catalog: Option<PathBuf>,
    /// Also the personas that bring edge input
    #[arg(long)]
    chaos: bool,
    /// The report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`CommandError::Failed`] when a tick failed or the log and the tables disagree, and whatever kept it from starting.
pub(crate) async fn run(
    args: &DemoArgs,
    mut config: Config,
    clock: Arc<SystemClock>,
    out: &mut Out,
) -> Result<(), CommandError> {
    let mut catalog = load_catalog(args.catalog.as_deref(), &module_names(&config).await?)?;
    if args.chaos {
        catalog = catalog.with_resting();
    }
    // Every tick of the demo is asked for; the scheduler takes over only with --keep.
    config.paused = true;
    if args.house.listen.is_none() && TcpListener::bind(config.listen).is_err() {
        tracing::warn!(address = %config.listen, "the usual address is in use; taking a free port");
        config.listen.set_port(0);
    }
    // Its own, so that virtual days do not count as waiting.
    let watch = Arc::new(SystemClock::new());
    let house = House::start(&config, clock).await?;
    house
        .run_while(async |house: &House| {
            let day = live(args, &catalog, house, watch.clone()).await?;
            let report = report(args, house, &config, &day, watch.monotonic()).await?;
            match out.format() {
                Format::Json => out.json(&report)?,
                Format::Text => {
                    let behaviour = report.behaviour.as_ref().map(|behaviour| &behaviour.digest);
                    let digest = behaviour.map_or_else(String::new, |digest| format!("behaviour {digest}\n"));
                    out.text(report.text(out.width(), out.paint()) + &digest)?;
                }
            }
            judge(&day.ticks, &report)?;
            if args.keep {
                eprintln!("serving on http://{} until Ctrl-C", house.address);
                house.app.cast.resume().await;
                std::future::pending::<()>().await;
            }
            Ok(())
        })
        .await
        .or_else(|error| {
            if args.keep && error == CommandError::Interrupted {
                Ok(())
            } else {
                Err(error)
            }
        })
}

/// What the demo did, before it is looked up in the tables.
#[derive(Debug)]
struct Day {
    since: StreamSeq,
    ticks: Vec<TickReport>,
}

/// The demo has failed if anybody's tick has, or if the tables are not what the log says.
fn judge(ticks: &[TickReport], report: &MorningReport) -> Result<(), CommandError> {
    let failed: Vec<String> = ticks
        .iter()
        .filter(|tick| !tick.succeeded())
        .map(|tick| {
            format!(
                "{}: {}",
                tick.name,
                tick.reason.as_deref().unwrap_or(&tick.outcome)
            )
        })
        .collect();
    if !failed.is_empty() {
        return Err(CommandError::Failed(format!(
            "{} ticks failed: {}",
            failed.len(),
            failed.join("; ")
        )));
    }
    if report.agrees() {
        return Ok(());
    }
    let differing: Vec<String> = report.disagreements().map(ToString::to_string).collect();
    Err(CommandError::Failed(format!(
        "the tables do not agree with the log: {}; `dramatis verify` says where",
        differing.join(", ")
    )))
}

async fn live(
    args: &DemoArgs,
    catalog: &Catalog,
    house: &House,
    watch: Arc<SystemClock>,
) -> Result<Day, CommandError> {
    let app = &house.app;
    let since = app.log.state().await?.last_seq;
    if args.days.is_some() {
        virtual_days::begin(app).await?;
        house.write_run_file()?;
    }
    let api = ApiClient::new(&format!("http://{}", house.address), house.admin_token().await?)?;
    let seeded = seed::seed(
        catalog,
        &app.settings.seed_secret,
        false,
        &api,
        &mut Steps::on_stderr("seed"),
    )
    .await?;
    seeded.into_result()?;
    let display = TickDisplay::on_stderr(ticks_expected(catalog, args.days), watch);
    let done = CancellationToken::new();
    let acting = async {
        let ticks = match args.days {
            None => tick(house, Who::All).await,
            Some(days) => {
                let time = SignedDuration::from_hours(24 * i64::from(days));
                virtual_days::live(app, time, || house.write_run_file()).await
            }
        };
        done.cancel();
        ticks
    };
    let (ticks, ()) = tokio::join!(acting, display.follow(app.cast.progress(), done.clone()));
    Ok(Day { since, ticks: ticks? })
}

/// About how many ticks there will be, for the progress display.
fn ticks_expected(catalog: &Catalog, days: Option<u32>) -> u64 {
    let Some(days) = days else {
        return catalog.personas.len() as u64;
    };
    let a_week = |persona: &Persona| match persona.cadence {
        Cadence::Hourly => 7 * 24,
        Cadence::Daily => 7,
        Cadence::Weekdays => 5,
    };
    (catalog.personas.iter().map(a_week).sum::<u64>() * u64::from(days)).div_ceil(7)
}

async fn tick(house: &House, who: Who) -> Result<Vec<TickReport>, CommandError> {
    house
        .app
        .cast
        .tick(who)
        .await
        .map_err(|error| CommandError::Failed(error.to_string()))
}

async fn report(
    args: &DemoArgs,
    house: &House,
    config: &Config,
    day: &Day,
    took: Duration,
) -> Result<MorningReport, CommandError> {
    let app = &house.app;
    // What is missing after that, the report tells.
    app.gateway.calls_recorded(CATCH_UP).await;
    let end = app.log.state().await?.last_seq;
    app.projector
        .wait_for(end, CATCH_UP)
        .await
        .map_err(|error| CommandError::Failed(error.to_string()))?;
    let data_dir = config.data.display();
    let places = Places {
        dashboard_url: if args.keep {
            format!("http://{}/", house.address)
        } else {
            format!(
                "http://{}/ while it runs: `dramatis up --data {data_dir}`, or this command with --keep",
                usual_address(config, house)
            )
        },
        log: format!("dramatis events cat --data {data_dir}"),
        tables: config.tables_place(),
        data_dir: data_dir.to_string(),
    };
    let report = app.tables.report(day.since).await?;
    let counts = app.tables.counts().await?;
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let (log, behaviour) = count_log(house).await?;
    Ok(
        MorningReport::new(report, counts, log, places, took_ms, args.days.unwrap_or(1))
            .with_calls(&app.tables.call_agreement().await?)
            .with_behaviour(behaviour),
    )
}

/// Where this house would be found again: a port that was picked for this run alone says nothing of the next.
fn usual_address(config: &Config, house: &House) -> SocketAddr {
    if config.listen.port() == 0 {
        house.address
    } else {
        config.listen
    }
}

/// Counts every event of the log, independently of the tables.
async fn count_log(house: &House) -> Result<(LogCounts, BehaviourDigest), CommandError> {
    let (mut counts, mut personas) = (LogCounts::default(), BTreeSet::new());
    let mut behaviour = Behaviour::default();
    let read = read_to_end(
        &*house.app.log,
        StreamSeq::ZERO,
        |delivery| -> Result<(), LogError> {
            counts.commits += 1;
            counts.last_seq = delivery.seq();
            if let Delivery::Commit(recorded) = delivery {
                behaviour.fold(&recorded);
                for (_, event) in recorded.events() {
                    match event {
                        Event::PersonaEnrolled(enrolled) => {
                            personas.insert(enrolled.0.persona_id.clone());
                        }
                        Event::PersonaErased(erased) => {
                            personas.remove(&erased.persona_id);
                        }
                        _ => {}
                    }
                    *counts
                        .events_by_type
                        .entry(event.type_name().to_owned())
                        .or_default() += 1;
                }
            }
            Ok(())
        },
    );
    read.await?;
    counts.personas = personas.len() as u64;
    Ok((counts, behaviour.digest()))
}
