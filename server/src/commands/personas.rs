//! `dramatis personas list` and `personas show EMAIL`: who is live, and what one of them has been doing.

use jiff::Timestamp;

use super::drift::same_email;
use crate::api_client::{ApiArgs, ApiClient, PersonaDetail, PersonaList};
use crate::exit::CommandError;
use crate::output::{Format, Out, count_of, printable, table};
use crate::report::stars;

/// Look at the live personas.
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum PersonasCommand {
    /// Every live persona, when it was last active and how much it did
    List {
        #[command(flatten)]
        api: ApiArgs,
    },
    /// One persona: who it is, its latest calls, its ratings
    Show {
        /// Email of the persona
        email: String,

        #[command(flatten)]
        api: ApiArgs,
    },
}

impl PersonasCommand {
    /// Where and as whom to ask.
    pub(crate) fn api(&self) -> &ApiArgs {
        match self {
            Self::List { api } | Self::Show { api, .. } => api,
        }
    }
}

/// Prints the list, or one persona.
///
/// # Errors
/// [`CommandError::NotFound`] when no persona has that email.
pub(crate) async fn run(
    command: &PersonasCommand,
    api: &ApiClient,
    out: &mut Out,
) -> Result<(), CommandError> {
    match command {
        PersonasCommand::List { .. } => list(api, out).await,
        PersonasCommand::Show { email, .. } => show(email, api, out).await,
    }
}

/// Nobody has that email.
pub(super) fn no_such_persona(email: &str) -> CommandError {
    CommandError::NotFound(format!(
        "no persona has the email {email}; `dramatis personas list` shows them all"
    ))
}

async fn list(api: &ApiClient, out: &mut Out) -> Result<(), CommandError> {
    let (list, raw) = api.personas().await?;
    match out.format() {
        Format::Json => out.json(&raw),
        Format::Text => print_list(&list, out),
    }
}

async fn show(email: &str, api: &ApiClient, out: &mut Out) -> Result<(), CommandError> {
    let (list, _) = api.personas().await?;
    let known = list
        .personas
        .iter()
        .find(|persona| same_email(&persona.email, email))
        .ok_or_else(|| no_such_persona(email))?;
    let (detail, raw) = match api.persona(&known.user_id).await.map_err(CommandError::from) {
        // Deleted between the two questions.
        Err(CommandError::NotFound(_)) => return Err(no_such_persona(email)),
        answer => answer?,
    };
    match out.format() {
        Format::Json => out.json(&raw),
        Format::Text => print_detail(&detail, out),
    }
}

fn print_list(list: &PersonaList, out: &mut Out) -> Result<(), CommandError> {
    if list.personas.is_empty() {
        return out.text("no personas are live; `dramatis seed` creates the catalog's");
    }
    let header = [
        "persona",
        "email",
        "archetype",
        "cadence",
        "last active",
        "calls 7 d",
    ];
    let mut rows = table(&header, &[5], out.width(), out.paint());
    for persona in &list.personas {
        rows.add_row([
            printable(persona.name.as_deref().unwrap_or("–")),
            printable(&persona.email),
            printable(&persona.archetype),
            printable(&persona.tick_cadence),
            time_text(persona.last_active_at),
            persona.actions_7d.to_string(),
        ]);
    }
    out.text(rows.trim_fmt())?;
    out.text(format!("\n{}", count_of(list.personas.len() as u64, "persona")))
}

fn print_detail(detail: &PersonaDetail, out: &mut Out) -> Result<(), CommandError> {
    let persona = &detail.persona;
    let mix = persona
        .module_mix
        .iter()
        .flatten()
        .map(|(module, weight)| format!("{module} {weight}"));
    let mix = mix.collect::<Vec<_>>().join(", ");
    let partners = persona.partners.as_deref().unwrap_or_default().join(", ");
    let last_active = time_text(persona.last_active_at);
    let created = time_text(persona.created_at);
    let facts = [
        ("email", persona.email.as_str()),
        ("id", persona.user_id.as_str()),
        ("archetype", persona.archetype.as_str()),
        ("cadence", persona.tick_cadence.as_str()),
        ("time zone", persona.time_zone.as_deref().unwrap_or_default()),
        ("modules", mix.as_str()),
        ("partners", partners.as_str()),
        ("last active", last_active.as_str()),
        ("created", created.as_str()),
    ];
    out.text(
        out.paint()
            .bold(printable(persona.name.as_deref().unwrap_or(&persona.email))),
    )?;
    for (what, value) in facts.into_iter().filter(|(_, value)| !value.is_empty()) {
        out.text(format!("  {what:<12} {}", printable(value)))?;
    }
    if let Some(prompt) = &persona.system_prompt {
        out.text(format!(
            "\n{}",
            prompt.lines().map(printable).collect::<Vec<_>>().join("\n")
        ))?;
    }
    print_feedback(detail, out)?;
    print_actions(detail, out)
}

fn print_feedback(detail: &PersonaDetail, out: &mut Out) -> Result<(), CommandError> {
    if detail.feedback_by_module.is_empty() {
        return out.text("\nNo module rated yet.");
    }
    let mut rows = table(&["module", "stars", "ratings"], &[2], out.width(), out.paint());
    for module in &detail.feedback_by_module {
        let given = module.avg_rating.map(|mean| format!("{} {mean:.1}", stars(mean)));
        rows.add_row([
            printable(&module.module),
            given.unwrap_or_else(|| "–".to_owned()),
            module.count.to_string(),
        ]);
    }
    out.text(format!("\n{}", rows.trim_fmt()))
}

fn print_actions(detail: &PersonaDetail, out: &mut Out) -> Result<(), CommandError> {
    if detail.recent_actions.is_empty() {
        return out.text("\nNo calls yet.");
    }
    let mut rows = table(
        &["when", "tool", "result", "ms", "told"],
        &[3],
        out.width(),
        out.paint(),
    );
    for action in &detail.recent_actions {
        rows.add_row([
            time_text(action.created_at),
            printable(&action.tool_name),
            printable(&action.result),
            action
                .latency_ms
                .map(|latency| latency.to_string())
                .unwrap_or_default(),
            printable(action.error_message.as_deref().unwrap_or_default()),
        ]);
    }
    out.text(format!("\n{}", rows.trim_fmt()))
}

/// `2026-11-20 08:15Z`, or a dash.
fn time_text(time: Option<Timestamp>) -> String {
    time.map_or_else(
        || "–".to_owned(),
        |time| time.strftime("%Y-%m-%d %H:%MZ").to_string(),
    )
}

#[cfg(test)]
mod tests;
