//! Lists as clients see them: the same for one caller whoever asks when, sorted, a page at a time.

use rmcp::model::{Cursor, ErrorData, PaginatedRequestParams, Prompt, Resource, ResourceTemplate, Tool};

use crate::call::Principal;
use crate::gateway::Inner;

const CURSOR: &str = "cursor";

/// How long a client may go by a list, milliseconds: rules and mounted tools change while we run.
pub(crate) const LIST_TTL_MS: u64 = 5_000;

/// What a list is of; a cursor of one list means nothing in another.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Tools,
    Resources,
    ResourceTemplates,
    Prompts,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources => "resources",
            Self::ResourceTemplates => "resource-templates",
            Self::Prompts => "prompts",
        }
    }
}

/// A page, and where the next one begins.
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next: Option<Cursor>,
}

/// What lists are sorted by; no two items of one list share it.
pub(crate) trait Named {
    fn key(&self) -> &str;
}

impl Named for Tool {
    fn key(&self) -> &str {
        &self.name
    }
}

impl Named for Resource {
    fn key(&self) -> &str {
        &self.uri
    }
}

impl Named for ResourceTemplate {
    fn key(&self) -> &str {
        &self.uri_template
    }
}

impl Named for Prompt {
    fn key(&self) -> &str {
        &self.name
    }
}

impl Inner {
    /// The page of `items` that `request` asks for.
    ///
    /// A cursor names the last item of the page before, so that a list which changes between two pages neither
    /// repeats nor skips what stayed.
    ///
    /// # Errors
    /// For a cursor that was not given to this caller for this list.
    pub(crate) fn page<T: Named>(
        &self,
        kind: Kind,
        caller: &Principal,
        mut items: Vec<T>,
        request: Option<&PaginatedRequestParams>,
    ) -> Result<Page<T>, ErrorData> {
        items.sort_by(|a, b| a.key().cmp(b.key()));
        items.dedup_by(|a, b| a.key() == b.key());
        let owner = format!("{}\n{}\n{}", caller.issuer, caller.user_id, kind.as_str());
        // An empty cursor is the start.
        let cursor = request.and_then(|request| request.cursor.as_deref());
        if let Some(cursor) = cursor.filter(|cursor| !cursor.is_empty()) {
            let last = self
                .seal
                .open(CURSOR, &owner, cursor)
                .and_then(|last| String::from_utf8(last).ok())
                .ok_or_else(|| {
                    let told = "cursor: not one of yours for this list; leave it out to start over";
                    ErrorData::invalid_params(told, None)
                })?;
            items.retain(|item| item.key() > last.as_str());
        }
        let size = self.settings.list_page_max;
        let has_more = items.len() > size;
        items.truncate(size);
        let next = items.last().filter(|_| has_more);
        let next = next.map(|last| self.seal.seal(CURSOR, &owner, last.key().as_bytes()));
        Ok(Page { items, next })
    }
}
