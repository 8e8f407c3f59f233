//! `dramatis audit calls`: what personas say of their calls held against what the gateway saw of them.

use projections::CallAgreement;

use crate::config::Config;
use crate::exit::CommandError;
use crate::house::open_tables;
use crate::output::{Format, Out, count_of, printable, table};

/// Checks of what is on record
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum AuditCommand {
    /// Hold what personas say of their calls against the gateway's record of the same calls
    Calls {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

impl AuditCommand {
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::Calls { json } => *json,
        }
    }
}

/// Runs the command. It reads the tables alone, beside a running server or without one.
///
/// # Errors
/// [`CommandError::NotFound`] when there are no tables yet, [`CommandError::Failed`] when the two sides differ.
pub(crate) async fn run(command: &AuditCommand, config: &Config, out: &mut Out) -> Result<(), CommandError> {
    let AuditCommand::Calls { .. } = command;
    if config.database.is_none() && !config.tables_file().exists() {
        return Err(CommandError::NotFound(format!(
            "there are no tables in {} yet; start with `dramatis up` or `dramatis demo`, or name a folder with --data",
            config.data.display()
        )));
    }
    let agreement = open_tables(config).await?.call_agreement().await?;
    print(&agreement, out)?;
    if agreement.agrees() {
        return Ok(());
    }
    Err(CommandError::Failed(format!(
        "personas and gateway tell {} differently",
        count_of(agreement.differing, "call")
    )))
}

fn print(agreement: &CallAgreement, out: &mut Out) -> Result<(), CommandError> {
    if out.format() == Format::Json {
        return out.json(agreement);
    }
    if agreement.agrees() {
        let compared = count_of(agreement.compared, "call");
        return out.text(format!("{compared} compared: personas and gateway tell the same"));
    }
    let headings = ["persona", "call", "differs in", "persona says", "gateway says"];
    let mut rows = table(&headings, &[], out.width(), out.paint());
    for difference in &agreement.differences {
        rows.add_row([
            printable(&difference.persona_id),
            printable(&difference.call_id),
            difference.what.clone(),
            printable(difference.persona.as_deref().unwrap_or("–")),
            printable(difference.gateway.as_deref().unwrap_or("–")),
        ]);
    }
    out.text(rows)
}
