//! What the suite looks for beside tools, by the names it looks for.
#![expect(
    deprecated,
    reason = "logging is deprecated, and still part of what the suite asks for"
)]

use std::collections::HashSet;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use events::MemoryLog;
use gateway::{Annex, Notices, Principal};
use rmcp::RoleServer;
use rmcp::model::{
    CompleteRequestParams, CompleteResult, ErrorData, GetPromptRequestParams, GetPromptResponse, Prompt,
    ReadResourceRequestParams, ReadResourceResponse, Resource, ResourceTemplate, ServerCapabilities,
    SetLevelRequestParams,
};
use rmcp::service::RequestContext;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::questions;

/// A red pixel.
pub(crate) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";

/// The fixtures, and the little they remember.
#[derive(Debug, Default)]
pub(crate) struct Fixtures {
    notices: Mutex<Option<Notices>>,
    states: Mutex<HashSet<String>>,
    /// Calls of `test_slow` that are under way.
    pub(crate) slow: Arc<AtomicUsize>,
    /// Where calls are on the record.
    pub(crate) log: Arc<MemoryLog>,
}

/// `value` as one of rmcp's types.
pub(crate) fn of<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

fn all<T: DeserializeOwned>(values: Vec<Value>) -> Vec<T> {
    values.into_iter().filter_map(|value| of(value).ok()).collect()
}

impl Fixtures {
    /// Those of a gateway that writes its record there.
    pub(crate) fn over(log: Arc<MemoryLog>) -> Self {
        Self {
            log,
            ..Self::default()
        }
    }

    /// A request state that nobody else could have made: the fixtures remember which they gave out.
    pub(crate) fn give_state(&self, label: &str) -> String {
        let state = format!("{label}.{}", events::Ids::uuid(&events::SystemIds));
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.insert(state.clone());
        state
    }

    /// The label of a request state that was given out.
    pub(crate) fn check_state<'a>(&self, state: &'a str) -> Result<&'a str, ErrorData> {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let label = state.split_once('.').map(|(label, _)| label);
        label
            .filter(|_| states.contains(state))
            .ok_or_else(|| ErrorData::invalid_params("requestState: not one of ours", None))
    }

    pub(crate) fn notices(&self) -> Option<Notices> {
        let notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        notices.clone()
    }
}

#[async_trait]
impl Annex for Fixtures {
    fn capabilities(&self) -> ServerCapabilities {
        let capabilities = json!({
            "tools": {"listChanged": true},
            "prompts": {"listChanged": true},
            "resources": {"listChanged": true, "subscribe": true},
            "logging": {},
            "completions": {},
        });
        of(capabilities).unwrap_or_default()
    }

    fn attach(&self, notices: Notices) {
        let mut slot = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(notices);
    }

    async fn resources(&self, _: &Principal) -> Vec<Resource> {
        all(vec![
            json!({"uri": "test://static-text", "name": "static-text", "title": "Text", "mimeType": "text/plain"}),
            json!({"uri": "test://static-binary", "name": "static-binary", "title": "Picture", "mimeType": "image/png"}),
            json!({"uri": "test://watched-resource", "name": "watched-resource", "title": "Watched", "mimeType": "text/plain"}),
        ])
    }

    async fn resource_templates(&self, _: &Principal) -> Vec<ResourceTemplate> {
        all(vec![json!({
            "uriTemplate": "test://template/{id}/data",
            "name": "template",
            "title": "Template",
            "mimeType": "application/json",
        })])
    }

    async fn read_resource(
        &self,
        _: Arc<Principal>,
        what: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = what.uri.as_str();
        let templated = uri
            .strip_prefix("test://template/")
            .and_then(|rest| rest.strip_suffix("/data"));
        let content = match (uri, templated) {
            ("test://static-text", _) => {
                json!({"mimeType": "text/plain", "text": "This is the content of the static text resource."})
            }
            ("test://static-binary", _) => json!({"mimeType": "image/png", "blob": PNG}),
            ("test://watched-resource", _) => {
                json!({"mimeType": "text/plain", "text": "Watched resource content"})
            }
            (_, Some(id)) => {
                let text = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
                json!({"mimeType": "application/json", "text": text.to_string()})
            }
            _ => {
                let data = json!({"uri": uri});
                return Err(ErrorData::resource_not_found(
                    "there is no such resource",
                    Some(data),
                ));
            }
        };
        let mut content = content;
        content["uri"] = json!(uri);
        let result: rmcp::model::ReadResourceResult =
            of(json!({"resultType": "complete", "contents": [content]}))?;
        Ok(result.into())
    }

    async fn subscribe(&self, _: Arc<Principal>, _: &str) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(&self, _: Arc<Principal>, _: &str) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn prompts(&self, _: &Principal) -> Vec<Prompt> {
        let argument = |name: &str| json!({"name": name, "description": "for the test", "required": true});
        all(vec![
            json!({"name": "test_simple_prompt", "title": "Simple", "description": "A prompt without arguments"}),
            json!({
                "name": "test_prompt_with_arguments",
                "description": "A prompt with two arguments",
                "arguments": [argument("arg1"), argument("arg2")],
            }),
            json!({
                "name": "test_prompt_with_embedded_resource",
                "description": "A prompt that holds a resource",
                "arguments": [argument("resourceUri")],
            }),
            json!({"name": "test_prompt_with_image", "description": "A prompt that holds a picture"}),
            json!({"name": "test_input_required_result_prompt", "description": "A prompt that asks back"}),
        ])
    }

    async fn get_prompt(
        &self,
        _: Arc<Principal>,
        what: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        if what.name == "test_input_required_result_prompt" {
            return questions::prompt(&what);
        }
        let argument = |name: &str| {
            let arguments = what.arguments.as_ref();
            let value = arguments.and_then(|arguments| serde_json::to_value(arguments).ok());
            value
                .and_then(|value| value[name].as_str().map(str::to_owned))
                .unwrap_or_default()
        };
        let text = |text: String| json!({"type": "text", "text": text});
        let contents = match what.name.as_str() {
            "test_simple_prompt" => vec![text("This is a simple prompt for testing.".to_owned())],
            "test_prompt_with_arguments" => vec![text(format!(
                "Prompt with arguments: arg1='{}', arg2='{}'",
                argument("arg1"),
                argument("arg2")
            ))],
            "test_prompt_with_embedded_resource" => {
                let uri = argument("resourceUri");
                let held = json!({"uri": uri, "mimeType": "text/plain", "text": "Embedded resource content for testing."});
                vec![
                    json!({"type": "resource", "resource": held}),
                    text("Please process the embedded resource above.".to_owned()),
                ]
            }
            "test_prompt_with_image" => vec![
                json!({"type": "image", "data": PNG, "mimeType": "image/png"}),
                text("Please analyze the image above.".to_owned()),
            ],
            _ => return Err(ErrorData::invalid_params("there is no such prompt", None)),
        };
        let messages: Vec<_> = contents
            .into_iter()
            .map(|content| json!({"role": "user", "content": content}))
            .collect();
        let result: rmcp::model::GetPromptResult =
            of(json!({"resultType": "complete", "messages": messages}))?;
        Ok(result.into())
    }

    async fn complete(
        &self,
        _: Arc<Principal>,
        _: CompleteRequestParams,
    ) -> Result<CompleteResult, ErrorData> {
        of(
            json!({"resultType": "complete", "completion": {"values": ["paris", "park"], "total": 2, "hasMore": false}}),
        )
    }

    async fn set_level(&self, _: Arc<Principal>, _: SetLevelRequestParams) -> Result<(), ErrorData> {
        Ok(())
    }
}
