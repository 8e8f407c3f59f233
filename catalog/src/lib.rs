//! Who the personas are: the catalog file, its loader and validation, and the derived password.
//!
//! ```text
//! personas.json ── Catalog::parse ──▶ Persona × n     or every fault of the file at once, each with file, key, reason
//! seed secret + email ── derive_password ──▶ the password of the persona's account
//! ```
//!
//! The catalog says who ought to exist; the log says who does. `seed` makes the second like the first.
//!
//! **To add a persona**: add its object to `personas.json`, name a partner that names it back, and run this
//! crate's tests: they hold the shipped file to the same rules as anybody's own.

mod draft;
mod faults;
mod password;
mod persona;
mod rules;

pub use faults::{CatalogError, Fault};
pub use password::{DEVELOPMENT_SEED_SECRET, derive_password};
pub use persona::{ARCHETYPES, Catalog, EMAIL_DOMAIN, PROMPT_CHARS_MAX, Persona};
