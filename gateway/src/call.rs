//! One tool call as a handler sees it: who calls, in which space, and what it may use.

use std::sync::Arc;

use events::spans::Spans;
use events::{CallId, Clock, SessionId, SpaceId, UserId};
use identity::{AccountKind, Identity, Membership, Role, Tier};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rmcp::RoleServer;
use rmcp::model::{CallToolRequestParams, JsonObject};
use rmcp::service::RequestContext;
use secrecy::SecretString;

use crate::policy::PolicySubject;
use crate::records::Records;
use crate::sessions::Session;
use crate::tool::ToolError;

/// Whose request this is, as its own token said. Made anew for every request, never kept with a session.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The account.
    pub user_id: UserId,
    /// Its email.
    pub email: String,
    /// Who acts through it.
    pub kind: AccountKind,
    /// What it may do beyond its own spaces.
    pub role: Role,
    /// What it has paid for.
    pub tier: Tier,
    /// Who vouches for it.
    pub issuer: String,
    /// The space the request acts in; the account is a member of it.
    pub space_id: SpaceId,
    /// IANA name of the account's time zone.
    pub time_zone: String,
    /// The token the request came with, where a mounted server's token endpoint is to be shown it. It goes nowhere
    /// else, and is kept with nothing.
    pub(crate) token: Option<SecretString>,
    /// The MCP session the request came in, if it came in one.
    pub(crate) session: Option<Arc<Session>>,
}

impl Principal {
    /// What policy goes by.
    pub(crate) fn subject(&self) -> PolicySubject<'_> {
        PolicySubject {
            user_id: &self.user_id,
            email: &self.email,
            role: self.role.as_str(),
            tier: self.tier.as_str(),
            kind: self.kind.as_str(),
        }
    }

    /// The name of the MCP session the request came in, if it came in one. It is not the handle clients send.
    pub fn session_id(&self) -> Option<&SessionId> {
        self.session.as_ref().map(|session| &session.id)
    }
}

/// What a tool's handler may use.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// Who calls.
    pub principal: Arc<Principal>,
    /// The tool's name.
    pub tool: &'static str,
    /// The caller's own id of this call. A call that is sent again under the same id is the same write.
    pub call_id: Option<CallId>,
    /// The span that what the call leads to is part of: the call's own, or the caller's where nobody watches ours.
    pub traceparent: Option<String>,
    pub(crate) records: Records,
    pub(crate) identity: Identity,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) spans: Spans,
    /// The request itself, for a tool that passes it on.
    pub(crate) request: Arc<AsAsked>,
}

/// In the extensions of a request whose client can be told nothing but the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnlyAnswer;

/// A call as its client sent it.
#[derive(Debug, Clone)]
pub(crate) struct AsAsked {
    /// The call, without its arguments, which are checked first and handed over on their own.
    pub(crate) params: CallToolRequestParams,
    /// What came with it: its `_meta`, its cancellation, and the way back to the client.
    pub(crate) context: RequestContext<RoleServer>,
}

impl AsAsked {
    /// Parts a request into its arguments and the rest.
    pub(crate) fn part(
        mut params: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> (JsonObject, Arc<Self>) {
        let arguments = params.arguments.take().unwrap_or_default();
        (arguments, Arc::new(Self { params, context }))
    }
}

impl CallContext {
    /// The spaces the caller is a member of, the personal one first.
    pub(crate) async fn spaces(&self) -> Result<Vec<Membership>, ToolError> {
        self.identity
            .spaces_of(&self.principal.user_id)
            .await
            .map_err(|error| ToolError::failed("your spaces cannot be read right now; try again", error))
    }

    /// Today where the caller lives; in UTC when the account's time zone is not one.
    pub(crate) fn today(&self) -> Date {
        let zone = TimeZone::get(&self.principal.time_zone).unwrap_or(TimeZone::UTC);
        self.clock.now().to_zoned(zone).date()
    }
}
