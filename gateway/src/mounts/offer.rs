//! From what a mounted server lists to what our clients are shown and may call.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use futures::FutureExt as _;
use rmcp::model::{Tool, ToolAnnotations};

use super::call;
use super::mount::Mount;
use super::pins::{self, Pins};
use super::settings::MountSettings;
use crate::registry::Registered;
use crate::tool::{About, Handler, Hint, Scope, ToolSpec};

/// Names of mounted tools this process has ever known.
const NAMES_MAX: usize = 8_192;
/// Characters of a tool's name, by the specification.
const NAME_CHARS_MAX: usize = 128;

/// What becomes of a list.
#[derive(Debug, Default)]
pub(super) struct Offer {
    pub(super) tools: Vec<Arc<Registered>>,
    /// Waiting for approval.
    pub(super) quarantined: Vec<String>,
    /// Not to be offered, and why.
    pub(super) unusable: Vec<String>,
}

/// What may be offered of `listed`.
pub(super) fn of(mount: &Arc<Mount>, listed: &[Tool], pins: &Pins) -> Offer {
    let mut offer = Offer::default();
    for tool in listed {
        let own = tool.name.as_ref();
        if mount.settings.tools.get(own).is_some_and(|tool| tool.is_hidden) {
            continue;
        }
        if !pins::is_approved(pins, tool) {
            offer.quarantined.push(own.to_owned());
            continue;
        }
        match registered(mount, tool) {
            Ok(tool) => offer.tools.push(Arc::new(tool)),
            Err(reason) => offer
                .unusable
                .push(format!("{}: {reason}", events::capped(own, NAME_CHARS_MAX))),
        }
    }
    offer
}

fn registered(mount: &Arc<Mount>, tool: &Tool) -> Result<Registered, String> {
    let own: Arc<str> = tool.name.as_ref().into();
    let name = interned(&mount.settings.name_of(&own))?;
    let about = About {
        name,
        title: name,
        description: "",
        scope: Scope::UserSpace,
        hint: hint(&mount.settings, tool),
        idempotent: mount.settings.is_idempotent(&own),
        encrypted: None,
    };
    let carrier = mount.clone();
    let repeats_in_headers =
        serde_json::to_string(&tool.input_schema).map_or(true, |schema| schema.contains("x-mcp-header"));
    let handler: Handler = Arc::new(move |context, arguments| {
        let (mount, own) = (carrier.clone(), own.clone());
        async move { call::through(&mount, &own, repeats_in_headers, context, arguments).await }.boxed()
    });
    let asked = mount.clone();
    let spec = ToolSpec::mounted(about, tool.input_schema.as_ref().clone(), handler)
        .with_only_answers(Arc::new(move || asked.only_answers()));
    Registered::mounted(spec, described(mount, tool, &about))
}

/// The tool as our clients are shown it: as its server describes it, with what the operator knows better.
fn described(mount: &Mount, tool: &Tool, about: &About) -> Tool {
    let mut described = tool.clone();
    described.name = about.name.into();
    if let Some(known) = mount.settings.tools.get(tool.name.as_ref()) {
        let mut annotations = described.annotations.take().unwrap_or_default();
        if let Some(hint) = known.hint {
            annotations = with_hint(annotations, hint);
        }
        annotations.idempotent_hint = Some(about.idempotent);
        described.annotations = Some(annotations);
    }
    described
}

fn with_hint(mut annotations: ToolAnnotations, hint: Hint) -> ToolAnnotations {
    annotations.read_only_hint = Some(hint == Hint::Read);
    annotations.destructive_hint = Some(hint == Hint::Destructive);
    annotations
}

/// What a tool does to data, for the policy gate: as the operator says. Of the server's own word only what makes it
/// stricter, or what says that it looks only, is taken where the operator says nothing.
pub(super) fn hint(settings: &MountSettings, tool: &Tool) -> Hint {
    if let Some(hint) = settings.tools.get(tool.name.as_ref()).and_then(|tool| tool.hint) {
        return hint;
    }
    let annotations = tool.annotations.clone().unwrap_or_default();
    match (annotations.read_only_hint, annotations.destructive_hint) {
        (Some(true), _) if settings.hint != Hint::Destructive => Hint::Read,
        (_, Some(true)) => Hint::Destructive,
        _ => settings.hint,
    }
}

/// A name that stays. Names of tools are the labels of metrics and the keys of rate windows, which keep them for the
/// life of the process anyway; so they are kept once, and there is an end to how many.
fn interned(name: &str) -> Result<&'static str, String> {
    static NAMES: LazyLock<Mutex<HashMap<String, &'static str>>> = LazyLock::new(Mutex::default);
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(is_of_name) {
        return Err(format!(
            "a name has 1 to {NAME_CHARS_MAX} letters, digits, `_`, `-` and `.`"
        ));
    }
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return Ok(known);
    }
    if names.len() >= NAMES_MAX {
        return Err("more names of tools were seen than are kept; restart to forget old ones".to_owned());
    }
    let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(name.to_owned(), kept);
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mounts::settings::{ToolOverride, Upstream};
    use serde_json::json;

    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers write the annotations in place"
    )]
    fn tool(annotations: serde_json::Value) -> Tool {
        serde_json::from_value(
            json!({"name": "do", "inputSchema": {"type": "object"}, "annotations": annotations}),
        )
        .unwrap()
    }

    fn settings() -> MountSettings {
        let url = "http://example.org".to_owned();
        MountSettings::new("shop", Upstream::Http { url })
    }

    #[test]
    fn the_operator_is_believed_before_the_server_and_the_server_where_it_is_stricter() {
        let mut settings = settings();
        assert_eq!(hint(&settings, &tool(json!({}))), Hint::Write);
        assert_eq!(hint(&settings, &tool(json!({"readOnlyHint": true}))), Hint::Read);
        assert_eq!(
            hint(&settings, &tool(json!({"destructiveHint": true}))),
            Hint::Destructive
        );
        settings.hint = Hint::Destructive;
        assert_eq!(
            hint(&settings, &tool(json!({"readOnlyHint": true}))),
            Hint::Destructive
        );
        let known = ToolOverride {
            hint: Some(Hint::Read),
            ..ToolOverride::default()
        };
        settings.tools.insert("do".to_owned(), known);
        assert_eq!(
            hint(&settings, &tool(json!({"destructiveHint": true}))),
            Hint::Read
        );
        assert!(settings.is_idempotent("do"), "what only looks may be sent again");
    }

    #[test]
    fn a_server_cannot_make_its_tools_repeatable() {
        let settings = settings();
        assert!(!settings.is_idempotent("do"));
    }

    #[test]
    fn names_that_no_client_could_use_are_not_offered() {
        for name in ["", "a b", "ä", "a/b", &"x".repeat(129)] {
            assert!(interned(name).is_err(), "{name:?}");
        }
        assert_eq!(interned("shop.get_product-1").unwrap(), "shop.get_product-1");
    }
}
