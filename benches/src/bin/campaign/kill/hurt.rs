//! What is done to the program, and how long it is away.

use std::time::Duration;

use anyhow::ensure;
use benches::House;
use events::Clock as _;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::Trial;
use crate::load::acknowledge_one;

/// The program gives up when its nats-server ends six times within a minute, as it should.
const NATS_KILLS_IN_A_ROW_MAX: u32 = 3;
/// How long a nats-server that was killed may be away.
const NATS_BACK_WITHIN: Duration = Duration::from_secs(20);
/// How long a stop that was asked for may take.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What a round does to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hurt {
    /// `SIGKILL` to the process; its nats-server stays behind.
    Process,
    /// `SIGKILL` to the nats-server.
    Nats,
    /// `SIGKILL` to both, as when a container is killed.
    Both,
    /// `SIGTERM` to the process: a stop under load, which must be clean.
    Stop,
}

impl Hurt {
    /// Half of all rounds kill the process, a quarter the server.
    pub(super) fn choose(chance: &mut ChaCha8Rng, nats_kills_in_a_row: u32) -> Self {
        match chance.random_range(0..20) {
            0..10 => Self::Process,
            10..15 if nats_kills_in_a_row < NATS_KILLS_IN_A_ROW_MAX => Self::Nats,
            10..18 => Self::Both,
            _ => Self::Stop,
        }
    }

    /// As counted.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Nats => "nats-server",
            Self::Both => "both",
            Self::Stop => "stop",
        }
    }
}

impl Trial {
    /// Does it, and gives the time from there until the program is ready and has acknowledged a write. After a stop
    /// the time begins with the new start.
    pub(super) async fn hurt(&mut self, round: u32, hurt: Hurt) -> anyhow::Result<Duration> {
        let mut began = self.clock.monotonic();
        self.nats_kills_in_a_row = if hurt == Hurt::Nats {
            self.nats_kills_in_a_row + 1
        } else {
            0
        };
        match (hurt, self.house.take()) {
            (Hurt::Nats, Some(mut house)) => {
                let killed = self.site.nats_pid();
                ensure!(self.site.kill_nats(), "there is no nats-server to kill");
                let site = self.site.clone();
                let is_another = || {
                    let pid = site.nats_pid();
                    std::future::ready(pid.is_some() && pid != killed)
                };
                ensure!(
                    testkit::wait_until_async(NATS_BACK_WITHIN, is_another).await,
                    "no new nats-server"
                );
                house.wait_until_ready().await?;
                self.house = Some(house);
            }
            (Hurt::Stop, Some(house)) => {
                self.expect_clean_stop(round, house, began).await;
                began = self.clock.monotonic();
                self.house = Some(self.site.start_ready().await?);
            }
            (_, house) => {
                if let Some(house) = house {
                    house.kill()?;
                }
                if hurt == Hurt::Both {
                    self.site.kill_nats();
                }
                self.house = Some(self.site.start_ready().await?);
            }
        }
        let name = format!("{}-{round}-again", self.town.prefix);
        ensure!(
            acknowledge_one(&self.town, &name).await,
            "no write is acknowledged"
        );
        Ok(self.clock.monotonic().saturating_sub(began))
    }

    /// A stop that was asked for ends with 0, in time.
    pub(super) async fn expect_clean_stop(&mut self, round: u32, house: House, began: Duration) {
        match house.stop().await {
            Ok(status) if !status.success() => self.fault(round, format!("a stop ended with {status}")),
            Ok(_) => {
                let took = self.clock.monotonic().saturating_sub(began);
                if took > STOP_WITHIN {
                    self.fault(round, format!("a stop took {} ms", took.as_millis()));
                }
            }
            Err(error) => self.fault(round, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    #[test]
    fn every_kind_has_its_turn_and_the_server_is_not_killed_for_ever() {
        let mut chance = ChaCha8Rng::seed_from_u64(1);
        let chosen: Vec<Hurt> = (0..2_000).map(|_| Hurt::choose(&mut chance, 0)).collect();
        for (hurt, share) in [
            (Hurt::Process, 0.5),
            (Hurt::Nats, 0.25),
            (Hurt::Both, 0.15),
            (Hurt::Stop, 0.1),
        ] {
            let found = chosen.iter().filter(|it| **it == hurt).count() as f64 / 2_000.0;
            assert!((found - share).abs() < 0.03, "{hurt:?}: {found} of all");
        }
        let spared = (0..200).map(|_| Hurt::choose(&mut chance, NATS_KILLS_IN_A_ROW_MAX));
        assert_eq!(spared.filter(|it| *it == Hurt::Nats).count(), 0);
    }
}
