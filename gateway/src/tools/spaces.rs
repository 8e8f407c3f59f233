//! Spaces: where the caller may act.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::CallContext;
use crate::tool::{About, Hint, Scope, ToolError, ToolSpec};

pub(super) fn tools() -> Vec<ToolSpec> {
    let about = About {
        name: "spaces.list",
        title: "List spaces",
        description: "Lists the spaces you are a member of and says which one this connection acts in.",
        scope: Scope::UserSpace,
        hint: Hint::Read,
        idempotent: true,
        encrypted: None,
    };
    vec![ToolSpec::new(about, list)]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct List {}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Listed {
    /// The spaces, the personal one first.
    spaces: Vec<Space>,
    /// The one this connection acts in.
    active_space_id: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Space {
    id: String,
    name: String,
    slug: String,
    /// `personal`, `brand`, `club`, `family`, `team` or `practice`.
    #[serde(rename = "type")]
    kind: String,
    /// What you may do there.
    role: String,
}

async fn list(context: CallContext, _: List) -> Result<Listed, ToolError> {
    let spaces = context
        .spaces()
        .await?
        .into_iter()
        .map(|membership| Space {
            id: membership.space_id.into(),
            name: membership.name,
            slug: membership.slug,
            kind: membership.space_type.as_str().to_owned(),
            role: membership.role.as_str().to_owned(),
        })
        .collect();
    Ok(Listed {
        spaces,
        active_space_id: context.principal.space_id.to_string(),
    })
}
