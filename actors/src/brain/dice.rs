//! Chance that repeats: random streams that follow from the tick and from nothing else.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::TickView;

/// What all streams of one tick follow from: SHA-256 over seed, persona, tick number and tool list.
///
/// The persona counts by its description and not by its account id, which a fresh machine gives anew: the same
/// cast with the same seed lives the same day anywhere. Results so far are not part of it either. They decide
/// through the machine that reads them, so that an id the app made up does not reshuffle everything after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin([u8; 32]);

impl Origin {
    pub(super) fn of(tick: &TickView<'_>) -> Self {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        let persona = tick.persona;
        part(&tick.seed.to_be_bytes());
        part(&tick.tick_number.to_be_bytes());
        for text in [&persona.name, &persona.archetype, &persona.system_prompt] {
            part(text.as_bytes());
        }
        for (module, weight) in &persona.module_mix {
            part(module.as_bytes());
            part(&weight.to_be_bytes());
        }
        for tool in tick.tools {
            part(tool.name.as_bytes());
            part(tool.input_schema.to_string().as_bytes());
            part(&[u8::from(tool.read_only), u8::from(tool.destructive)]);
        }
        Self(hash.finalize().into())
    }

    /// The stream named `label`. Each choice takes its own, so that one more draw here moves nothing there.
    pub(super) fn dice(self, label: &str) -> Dice {
        let seed = Sha256::new()
            .chain_update(self.0)
            .chain_update(label.as_bytes())
            .finalize();
        Dice(ChaCha8Rng::from_seed(seed.into()))
    }
}

/// One random stream.
#[derive(Debug)]
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// True with probability `chance`, 0 to 1.
    pub(super) fn chance(&mut self, chance: f64) -> bool {
        self.0.random::<f64>() < chance
    }

    /// A whole number from `low` to `high`, both included; `low` when the range is empty.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        if low >= high {
            low
        } else {
            self.0.random_range(low..=high)
        }
    }

    /// A number from 0 up to 1.
    pub(super) fn share(&mut self) -> f64 {
        self.0.random()
    }

    /// A place in a list of `len`; 0 for an empty one.
    pub(super) fn index(&mut self, len: usize) -> usize {
        if len == 0 { 0 } else { self.0.random_range(0..len) }
    }

    /// One of `items`.
    pub(super) fn pick<'i, T>(&mut self, items: &'i [T]) -> Option<&'i T> {
        items.get(self.index(items.len()))
    }

    /// A well-formed version 4 UUID.
    pub(super) fn uuid(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes(self.0.random()).into_uuid()
    }
}
