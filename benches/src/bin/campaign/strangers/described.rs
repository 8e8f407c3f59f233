//! Bob's attempts on whatever `/openapi.json` describes: every path with every method, one after the other, so that a path
//! that is new tomorrow is tried tomorrow. Bodies and queries follow from their schemas, with what is Alice's in them.

use anyhow::Context as _;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use reqwest::{Client, Method};
use serde_json::{Map, Value, json};

use super::alice::{Alice, Kind};
use super::attempt::May;

/// How likely Bob fills in something of another kind than what belongs there.
const ODD_KIND: f64 = 0.15;
/// Tables Alice has records in, and apps that keep them.
const TABLES: [&str; 4] = ["tasks", "notes", "journalEntries", "drawings"];
const APPS: [&str; 4] = ["trial", "todo", "notes", "journal"];
/// What ends a login or changes a vault: tried by somebody whose login is new each time, as Bob goes on.
const ENDS_ITS_CALLER: [&str; 2] = ["/api/v1/auth/logout", "/api/v1/me/encryption-vault/"];

/// One path with one method.
#[derive(Debug)]
pub(super) struct Operation {
    method: Method,
    path: String,
    queries: Vec<String>,
    body: Option<Value>,
    is_open: bool,
    /// Whether Bob has no business there at all: it is for admins, or for whoever holds the service key.
    is_closed: bool,
}

/// A request to be made.
pub(super) struct Filled {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) queries: Vec<(String, String)>,
    pub(super) body: Option<Value>,
    pub(super) may: May,
}

/// Every operation that the running program describes.
pub(super) async fn all(client: &Client, api: &str) -> anyhow::Result<Vec<Operation>> {
    let asked = client.get(format!("{api}/openapi.json"));
    let described: Value = asked.send().await?.error_for_status()?.json().await?;
    let paths = described["paths"]
        .as_object()
        .context("a description has paths")?;
    let mut operations = Vec::new();
    for (path, methods) in paths {
        for (method, about) in methods.as_object().context("a path has methods")? {
            operations.push(Operation::new(&method.to_uppercase(), path, about)?);
        }
    }
    Ok(operations)
}

impl Operation {
    fn new(method: &str, path: &str, about: &Value) -> anyhow::Result<Self> {
        let needs = |scheme: &str| about["security"][0].get(scheme).is_some();
        let parameters = about["parameters"].as_array().into_iter().flatten();
        let queries = parameters
            .filter(|parameter| parameter["in"] == "query")
            .filter_map(|parameter| Some(parameter["name"].as_str()?.to_owned()));
        let for_admins = about["description"]
            .as_str()
            .is_some_and(|told| told.contains("role admin"));
        let schema = &about["requestBody"]["content"]["application/json"]["schema"];
        Ok(Self {
            method: method.parse()?,
            path: path.to_owned(),
            queries: queries.collect(),
            body: (!schema.is_null()).then(|| schema.clone()),
            is_open: about["security"].is_null(),
            is_closed: for_admins || needs("serviceKey"),
        })
    }

    /// Whether it ends its caller's login, or leaves the caller without a key.
    pub(super) fn ends_its_caller(&self) -> bool {
        self.method != Method::GET && ENDS_ITS_CALLER.iter().any(|path| self.path.starts_with(path))
    }

    /// The operation with what is Alice's wherever something goes.
    pub(super) fn filled(&self, alice: &Alice, number: u64, dice: &mut ChaCha8Rng) -> Filled {
        let mut names_hers = false;
        let parts: Vec<String> = self
            .path
            .split('/')
            .scan("", |before, part| {
                let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
                let filled = match name {
                    None => part.to_owned(),
                    Some("app") => APPS[dice.random_range(0..APPS.len())].to_owned(),
                    Some("table") => TABLES[dice.random_range(0..TABLES.len())].to_owned(),
                    Some(name) => {
                        names_hers = true;
                        hers(alice, kind_of(name, before), dice)
                    }
                };
                *before = part;
                Some(filled)
            })
            .collect();
        let queries = self.queries.iter().map(|name| {
            let value = match name.as_str() {
                "since" | "after" | "cursor" => hers(alice, Some(Kind::Cursor), dice),
                "email" => alice.email.clone(),
                name => hers(alice, kind_of(name, ""), dice),
            };
            (name.clone(), value)
        });
        let queries = queries.collect();
        let mut filler = Filler { alice, number, dice };
        let body = self.body.as_ref().map(|schema| filler.value("", schema));
        let has_her_space = body.as_ref().is_some_and(|body| {
            alice
                .of(Kind::Space)
                .any(|space| body.to_string().contains(space))
        });
        let is_refused = self.is_closed || (!self.is_open && (names_hers || has_her_space));
        Filled {
            method: self.method.clone(),
            path: parts.join("/"),
            queries,
            body,
            may: if is_refused {
                May::BeRefused
            } else {
                May::ShowHisOwn
            },
        }
    }
}

/// What kind of thing of Alice's a name asks for.
fn kind_of(name: &str, before: &str) -> Option<Kind> {
    Some(match (name, before) {
        ("id", "spaces") | ("space" | "spaceId", _) => Kind::Space,
        ("id", "invitations") | ("invitation", _) => Kind::Invitation,
        ("id", "key-grants") => Kind::Grant,
        ("id", "users" | "personas" | "admin" | "internal")
        | ("member" | "user" | "userId" | "persona", _) => Kind::Account,
        ("id" | "record" | "recordIds", _) => Kind::Record,
        _ => return None,
    })
}

/// Something of Alice's of that kind; now and then, and where no kind is asked for, anything of hers.
fn hers(alice: &Alice, kind: Option<Kind>, dice: &mut ChaCha8Rng) -> String {
    let kind = kind.filter(|_| !dice.random_bool(ODD_KIND));
    let of_kind: Vec<&str> = kind.into_iter().flat_map(|kind| alice.of(kind)).collect();
    let held = if of_kind.is_empty() {
        alice.handles.iter().map(|handle| handle.text.as_str()).collect()
    } else {
        of_kind
    };
    held[dice.random_range(0..held.len())].to_owned()
}

/// Writes bodies after their schemas.
struct Filler<'a> {
    alice: &'a Alice,
    number: u64,
    dice: &'a mut ChaCha8Rng,
}

impl Filler<'_> {
    fn value(&mut self, name: &str, schema: &Value) -> Value {
        if let Some(words) = schema["enum"].as_array().filter(|words| !words.is_empty()) {
            return words[self.dice.random_range(0..words.len())].clone();
        }
        let types = &schema["type"];
        match types.as_str().or_else(|| types[0].as_str()) {
            Some("object") => self.object(schema),
            Some("array") => json!([self.value(name, &schema["items"])]),
            Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
            Some("boolean") => json!(self.dice.random_bool(0.5)),
            _ => self.text(name, schema),
        }
    }

    /// All that it must have, and half of what it may have.
    fn object(&mut self, schema: &Value) -> Value {
        let properties = schema["properties"].as_object().cloned().unwrap_or_default();
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let mut object = Map::new();
        for (name, about) in &properties {
            if required.contains(&json!(name)) || self.dice.random_bool(0.5) {
                object.insert(name.clone(), self.value(name, about));
            }
        }
        Value::Object(object)
    }

    fn text(&mut self, name: &str, schema: &Value) -> Value {
        let text = match name {
            // Hers where that can do no harm: a login as her with a guessed password.
            "email" if self.dice.random_bool(0.5) => self.alice.email.clone(),
            "email" => format!("nobody-{}@example.org", self.number),
            "password" => "a guess that is long enough".to_owned(),
            "table" | "tables" => TABLES[self.dice.random_range(0..TABLES.len())].to_owned(),
            "since" => hers(self.alice, Some(Kind::Cursor), self.dice),
            _ if schema["format"] == "date-time" => "2026-06-01T00:00:00.000Z".to_owned(),
            _ if schema["contentEncoding"] == "base64" => "AAAAAAAAAAAAAAAA".to_owned(),
            name => match kind_of(name, "") {
                Some(kind) => hers(self.alice, Some(kind), self.dice),
                None => "bobs".to_owned(),
            },
        };
        text.into()
    }
}
