//! What trials of single attempts share: how many there were, which went wrong, and how it is told.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::Serialize;

/// Faults that are named; beyond it they are only counted.
const FAULTS_MAX: usize = 20;

/// What goes to stdout.
#[derive(Debug, Serialize)]
pub(crate) struct Trial {
    pub(crate) name: &'static str,
    pub(crate) seed: u64,
    /// Attempts that were made.
    pub(crate) tried: u64,
    /// Attempts that went wrong.
    pub(crate) failed: u64,
    /// Attempts by how they were answered, or what they were of.
    pub(crate) by: BTreeMap<String, u64>,
    pub(crate) seconds: u64,
    /// What went wrong, the first of it.
    pub(crate) faults: Vec<String>,
}

impl Trial {
    pub(crate) fn new(name: &'static str, seed: u64) -> Self {
        Self {
            name,
            seed,
            tried: 0,
            failed: 0,
            by: BTreeMap::new(),
            seconds: 0,
            faults: Vec::new(),
        }
    }

    /// Counts one attempt under `kind`, with what was wrong with it.
    pub(crate) fn add(&mut self, kind: impl Into<String>, fault: Option<String>) {
        self.tried += 1;
        *self.by.entry(kind.into()).or_default() += 1;
        if let Some(fault) = fault {
            self.failed += 1;
            if self.faults.len() < FAULTS_MAX {
                self.faults.push(fault);
            }
        }
    }

    /// Prints it; the exit code says whether anything went wrong.
    ///
    /// # Errors
    /// When it cannot be put in words, which does not happen.
    #[expect(clippy::print_stdout, reason = "stdout is where a finding goes")]
    pub(crate) fn print(&self, as_json: bool) -> anyhow::Result<ExitCode> {
        if as_json {
            println!("{}", serde_json::to_string(self)?);
        } else {
            println!(
                "{}: {} tried, {} failed, seed {}, {} s",
                self.name, self.tried, self.failed, self.seed, self.seconds
            );
            for (kind, count) in &self.by {
                println!("  {count:>9}  {kind}");
            }
            for fault in &self.faults {
                println!("  FAULT {fault}");
            }
        }
        Ok(if self.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
