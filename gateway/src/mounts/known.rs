//! The tools of mounted servers as they are known without asking: from what is kept of their definitions.

use rmcp::model::Tool;
use serde::Serialize;

use super::offer;
use super::pins::{PinStore, PinsError};
use super::settings::{MountSettings, MountsSettings};
use crate::tool::{Hint, Scope};

/// A tool of a mounted server, as it was seen last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MountedTool {
    /// Its name with us.
    pub name: String,
    /// The mount.
    pub mount: String,
    /// What it does to data, for the policy gate.
    pub hint: Hint,
    /// Whether it is offered while its server is mounted; otherwise it waits for approval or is hidden.
    pub is_offered: bool,
}

impl MountedTool {
    /// Who may see it.
    pub fn scope(&self) -> Scope {
        Scope::UserSpace
    }

    /// The module it belongs to.
    pub fn module(&self) -> &str {
        self.name
            .split_once('.')
            .map_or(self.name.as_str(), |(module, _)| module)
    }
}

/// All tools that are known of the servers of `settings`, whether or not these run.
///
/// # Errors
/// When what is kept of a mount cannot be read.
pub async fn mounted_tools(settings: &MountsSettings) -> Result<Vec<MountedTool>, PinsError> {
    let mut known = Vec::new();
    for mount in &settings.mounts {
        let pins = PinStore::of(settings, &mount.name).read().await?;
        for (own, pin) in pins {
            // What no server can have listed says nothing of itself.
            if let Ok(tool) = serde_json::from_value::<Tool>(pin.definition.clone()) {
                known.push(known_tool(mount, &own, &tool, !pin.is_quarantined()));
            }
        }
    }
    Ok(known)
}

fn known_tool(mount: &MountSettings, own: &str, tool: &Tool, is_approved: bool) -> MountedTool {
    let is_hidden = mount.tools.get(own).is_some_and(|tool| tool.is_hidden);
    MountedTool {
        name: mount.name_of(own),
        mount: mount.name.clone(),
        hint: offer::hint(mount, tool),
        is_offered: is_approved && !is_hidden,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mounts::settings::{ToolOverride, Trust, Upstream};
    use serde_json::json;

    #[tokio::test]
    async fn tools_are_known_as_they_are_offered_by_name_hint_and_approval() {
        let folder = tempfile::tempdir().unwrap();
        let url = "https://shop.example/mcp".to_owned();
        let mut mount = MountSettings::new("shop", Upstream::Http { url });
        let hidden = ToolOverride {
            is_hidden: true,
            ..ToolOverride::default()
        };
        mount.tools.insert("secret".to_owned(), hidden);
        let settings = MountsSettings {
            mounts: vec![mount],
            folder: folder.path().to_owned(),
            ..MountsSettings::default()
        };
        assert_eq!(mounted_tools(&settings).await.unwrap(), []);
        let tool = |name: &str, reads: bool| -> Tool {
            serde_json::from_value(json!({
                "name": name, "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": reads},
            }))
            .unwrap()
        };
        let pins = PinStore::of(&settings, "shop");
        pins.see(&[tool("look", true), tool("secret", false)], Trust::FirstUse)
            .await
            .unwrap();
        pins.see(&[tool("new", false)], Trust::Approve).await.unwrap();
        let known = mounted_tools(&settings).await.unwrap();
        let told: Vec<_> = known
            .iter()
            .map(|tool| (tool.name.as_str(), tool.module(), tool.hint, tool.is_offered))
            .collect();
        assert_eq!(
            told,
            [
                ("shop.look", "shop", Hint::Read, true),
                ("shop.new", "shop", Hint::Write, false),
                ("shop.secret", "shop", Hint::Write, false),
            ]
        );
    }
}
