//! How each archetype goes about things, in numbers.

/// One archetype's ways.
#[derive(Debug)]
pub(super) struct Temper {
    /// Modules taken up in a tick, at least and at most.
    pub(super) modules: (i64, i64),
    /// Things created per module, at least and at most.
    pub(super) creations: (i64, i64),
    /// How often it looks around before it acts, changes what is there, and tidies up after itself.
    pub(super) browse_chance: f64,
    pub(super) change_chance: f64,
    pub(super) tidy_chance: f64,
    /// How often an optional field is filled.
    pub(super) optional_chance: f64,
    /// It sends two calls at once where they do not depend on one another.
    pub(super) is_parallel: bool,
    /// It goes back and forth between modules, and this often forgets to come back to one.
    pub(super) hops: Option<f64>,
    /// How often a call is one of a newcomer's mistakes.
    pub(super) mistake_chance: f64,
    /// Tries after the first before it gives a module up.
    pub(super) retries_max: u32,
    /// Errors in a tick at which it leaves altogether.
    pub(super) errors_max: Option<u32>,
}

const ORDINARY: Temper = Temper {
    modules: (1, 3),
    creations: (1, 2),
    browse_chance: 0.8,
    change_chance: 0.8,
    tidy_chance: 0.3,
    optional_chance: 0.4,
    is_parallel: false,
    hops: None,
    mistake_chance: 0.0,
    retries_max: 1,
    errors_max: None,
};

const POWER_USER: Temper = Temper {
    modules: (2, 3),
    creations: (2, 4),
    browse_chance: 1.0,
    change_chance: 1.0,
    tidy_chance: 0.7,
    optional_chance: 0.6,
    is_parallel: true,
    ..ORDINARY
};

const BUSY: Temper = Temper {
    modules: (1, 2),
    creations: (1, 1),
    browse_chance: 0.2,
    change_chance: 0.5,
    tidy_chance: 0.0,
    optional_chance: 0.15,
    errors_max: Some(2),
    ..ORDINARY
};

const NEWCOMER: Temper = Temper {
    modules: (1, 3),
    creations: (1, 2),
    browse_chance: 0.9,
    change_chance: 0.9,
    tidy_chance: 0.2,
    optional_chance: 0.35,
    mistake_chance: 0.35,
    retries_max: 3,
    ..ORDINARY
};

const HOPPING: Temper = Temper {
    modules: (2, 3),
    creations: (1, 3),
    optional_chance: 0.3,
    hops: Some(0.12),
    ..ORDINARY
};

/// The ways of `archetype`; an unknown one is an ordinary user.
pub(super) fn of(archetype: &str) -> &'static Temper {
    match archetype {
        "solo-dev" | "researcher" => &POWER_USER,
        "ceo-busy" => &BUSY,
        "overwhelmed-newbie" => &NEWCOMER,
        "adhd-student" => &HOPPING,
        _ => &ORDINARY,
    }
}
