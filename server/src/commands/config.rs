//! `dramatis config print`: every setting, its value and where it came from.

use crate::config::Layers;
use crate::exit::CommandError;
use crate::output::{Format, Out};

/// The configuration
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show each setting, its value and where it came from; secrets are masked
    Print {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// [`CommandError::Usage`] when the configuration is not readable.
pub(crate) fn run(layers: &Layers, out: &mut Out) -> Result<(), CommandError> {
    let settings = layers.settings()?;
    if out.format() == Format::Json {
        return out.json(&settings);
    }
    for setting in settings {
        let value = match setting.value {
            serde_json::Value::Null => "-".to_owned(),
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        out.text(format!(
            "{:<22} {value:<36} {}",
            setting.key,
            out.paint().dim(&setting.source)
        ))?;
    }
    Ok(())
}
