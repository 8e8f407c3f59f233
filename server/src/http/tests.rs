//! The HTTP surfaces over real rooms: accounts and tables in a folder of the test's own, the log in memory.

mod accounts;
mod calibration;
mod dashboard;
mod days;
mod described;
mod edges;
mod erasures;
mod every_address;
mod external;
mod grants;
mod house;
mod in_shared_spaces;
mod mutable_log;
mod old_clients;
mod personas;
mod refusals;
mod repeats;
mod sample;
mod spaces;
mod sync;
mod users;
mod vault;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actors::{Brains, Cast, CastSettings, ModelLimits, SimulatedBrain};
use axum::body::{Body, to_bytes};
use events::{Event, EventLog as _, SystemClock, SystemIds};
use gateway::{Gateway, GatewaySettings};
use http::{HeaderMap, Request, StatusCode, header};
use identity::{
    AccountKind, Identity, IdentitySettings, KeyEncryptionKey, PasswordCost, Registration, Role, Tier,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use projections::{Projector, Tables};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tower::make::Shared;

use mutable_log::MutableLog;

use super::{App, Budgets, Front, Health, HttpSettings, Operators, front};

const SERVICE_KEY: &str = "service-key-of-this-test";

/// A house of one test's own; everything ends when it is dropped.
struct TestHouse {
    app: App,
    front: Front,
    log: Arc<MutableLog>,
    admin_token: String,
    succeeded: described::Succeeded,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Drop for TestHouse {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl TestHouse {
    async fn open() -> Self {
        Self::open_as(false).await
    }

    async fn open_as(production: bool) -> Self {
        Self::open_with(production, false).await
    }

    async fn open_with(production: bool, calibrates: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (clock, ids) = (Arc::new(SystemClock::new()), Arc::new(SystemIds));
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let public_url = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(MutableLog::default());
        let identity = Identity::open(
            identity_settings(dir.path(), &public_url),
            clock.clone(),
            ids.clone(),
        );
        let identity = identity.await.unwrap();
        let tables = Tables::open(&dir.path().join("tables.sqlite")).await.unwrap();
        let (fold, projector) = Projector::new(log.clone(), tables.clone(), clock.clone());
        let stop_fold = stop.clone();
        // That it halts is for the tests to see.
        tracker.spawn(async move { drop(fold.run(stop_fold).await) });
        let settings = GatewaySettings {
            public_url: public_url.clone(),
            calibration: calibrates.then_some(Duration::from_millis(5)),
            ..GatewaySettings::default()
        };
        let gateway = Gateway::new(
            settings,
            identity.clone(),
            log.clone(),
            tables.clone(),
            projector.clone(),
            clock.clone(),
            ids.clone(),
        )
        .unwrap();
        let brain = Brains::all(Arc::new(SimulatedBrain::new()));
        let cast = Cast::start(
            CastSettings {
                calibrates,
                ..cast_settings(&public_url)
            },
            log.clone(),
            brain,
            clock.clone(),
            ids.clone(),
        );
        let app = App {
            identity,
            tables,
            log: log.clone(),
            projector,
            gateway,
            cast: cast.await.unwrap(),
            clock,
            ids,
            health: Health::new(),
            external: None,
            settings: HttpSettings {
                role: crate::house::HouseRole::Whole,
                production,
                service_key: Some(SecretString::from(SERVICE_KEY)),
                runner_key: Some(Arc::new(grants::runner_key())),
                public_url,
                allowed_hosts: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
                seed_secret: SecretString::from(catalog::DEVELOPMENT_SEED_SECRET),
                admin_read_your_writes: Duration::from_secs(10),
            },
            metrics: metrics_handle(),
            operators: Operators::new(Vec::new(), Budgets::default()),
        };
        app.health.set_ready();
        let front = front(app.clone());
        let served = axum::serve(listener, Shared::new(front.clone()));
        let served = served.with_graceful_shutdown(stop.clone().cancelled_owned());
        tracker.spawn(async move { served.await.unwrap() });
        let admin_token = admin_token(&app.identity).await;
        let house = Self {
            app,
            front,
            log,
            admin_token,
            succeeded: described::Succeeded::default(),
            stop,
            _dir: dir,
        };
        house.wait_until_ready().await;
        house
    }

    /// Waits until every part says that it is well, the fold among them.
    async fn wait_until_ready(&self) {
        let is_ready = || async { self.ask("GET", "/readyz", None).await.status == StatusCode::OK };
        assert!(
            testkit::wait_until_async(Duration::from_mins(1), is_ready).await,
            "the house does not get ready"
        );
    }

    /// Waits until every call that began has ended in the log, which is after its answer, and the tables have it all.
    async fn settled(&self) {
        let is_quiet = || async {
            let commits = self.log.inner.commits();
            let events = commits.iter().flat_map(|recorded| &recorded.commit.events);
            let (mut begun, mut ended) = (0, 0);
            for event in events {
                begun += usize::from(matches!(event, Event::CallStarted(_)));
                ended += usize::from(matches!(event, Event::CallEnded(_)));
            }
            begun == ended
        };
        assert!(
            testkit::wait_until_async(Duration::from_mins(1), is_quiet).await,
            "a call does not end"
        );
        let end = self.app.log.state().await.unwrap().last_seq;
        self.app
            .projector
            .wait_for(end, Duration::from_mins(1))
            .await
            .unwrap();
    }

    /// Sends a request without a token.
    async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.send(request(method, path, body)).await
    }

    /// Sends a request as `token`'s account.
    async fn ask_as(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut request = request(method, path, body);
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        self.send(request).await
    }

    /// Sends a request as the admin.
    async fn ask_as_admin(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.ask_as(&self.admin_token, method, path, body).await
    }

    /// Sends a request as a runner outside.
    async fn ask_as_runner(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut request = request(method, path, body);
        request
            .headers_mut()
            .insert("x-service-key", SERVICE_KEY.parse().unwrap());
        self.send(request).await
    }

    /// Sends a request, and holds the answer against the description of the API.
    async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let response = self.front.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), 16 * 1024 * 1024).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        let answer = Answer {
            status,
            headers,
            text,
            json,
        };
        described::check(&self.succeeded, &method, &path, &answer);
        answer
    }

    /// Creates a persona and gives its id.
    async fn enrol(&self, email: &str) -> String {
        let answer = self
            .ask_as_admin("POST", "/api/v1/personas/admin", Some(&sample::persona(email)))
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json["userId"].as_str().unwrap().to_owned()
    }

    /// Registers a person and gives its token and id.
    async fn register(&self, email: &str) -> (String, String) {
        let body = sample::credentials(email);
        let registered = self.ask("POST", "/api/v1/auth/register", Some(&body)).await;
        assert_eq!(registered.status, StatusCode::CREATED, "{}", registered.text);
        let login = self.ask("POST", "/api/v1/auth/login", Some(&body)).await;
        let token = login.json["token"].as_str().unwrap().to_owned();
        (token, login.json["user"]["id"].as_str().unwrap().to_owned())
    }

    /// The same house with its fold stopped, where writes do not wait for it.
    fn without_fold(&mut self) {
        self.stop.cancel();
        let mut app = self.app.clone();
        app.settings.admin_read_your_writes = Duration::from_millis(20);
        self.front = front(app);
    }

    /// How many commits the log holds.
    async fn commits(&self) -> u64 {
        self.log.inner.state().await.unwrap().messages
    }
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
    json: Value,
}

impl Answer {
    /// Checks that it is a problem with this status and code, in the form every client can rely on.
    #[track_caller]
    fn assert_problem(&self, status: StatusCode, code: &str) {
        assert_eq!(
            (self.status, self.json["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.text
        );
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.json["status"], status.as_u16());
        assert_eq!(
            self.json["error"], self.json["detail"],
            "older clients read `error`"
        );
        assert!(!self.json["detail"].as_str().unwrap().is_empty());
        assert_eq!(
            self.headers.contains_key("www-authenticate"),
            status == StatusCode::UNAUTHORIZED
        );
        assert_eq!(
            self.headers.contains_key("retry-after"),
            matches!(
                status,
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
            )
        );
    }

    #[track_caller]
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no header {name}"))
            .to_str()
            .unwrap()
    }

    /// The members of an object, to compare shapes.
    #[track_caller]
    fn members(value: &Value) -> Vec<&str> {
        let mut members: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        members
    }
}

fn request(method: &str, path: &str, body: Option<&Value>) -> Request<Body> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost");
    match body {
        None => request.body(Body::empty()),
        Some(body) => request
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string())),
    }
    .unwrap()
}

/// A recorder is the whole process's; tests that share one share what it counts.
fn metrics_handle() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
        .clone()
}

fn identity_settings(dir: &std::path::Path, public_url: &str) -> IdentitySettings {
    IdentitySettings {
        database: dir.join("identity.sqlite").into(),
        keks: KeyEncryptionKey::new("test", [7; 32]).into(),
        issuer: public_url.to_owned(),
        audiences: vec!["mana".to_owned(), format!("{public_url}/mcp")],
        token_ttl: Duration::from_hours(1),
        password_cost: PasswordCost::Fast,
    }
}

fn cast_settings(base_url: &str) -> CastSettings {
    CastSettings {
        model: ModelLimits::default(),
        base_url: base_url.to_owned(),
        seed_secret: SecretString::from(catalog::DEVELOPMENT_SEED_SECRET),
        concurrency: 2,
        tick_interval: Duration::from_hours(1),
        tick_deadline: Duration::from_mins(1),
        calls_per_tick_max: 40,
        calibrates: false,
        seed: 1,
        // Nobody acts unless the test says so.
        paused: true,
        restarts_max: 3,
        restart_window: Duration::from_mins(1),
        spans: events::spans::Spans::default(),
    }
}

async fn admin_token(identity: &Identity) -> String {
    let admin = Registration {
        email: "admin@example.org".to_owned(),
        password: SecretString::from("admin-password"),
        name: None,
        kind: AccountKind::Human,
        role: Role::Admin,
        tier: Tier::Free,
        time_zone: None,
    };
    let admin = identity.register(admin).await.unwrap();
    identity
        .mint(&admin.id)
        .await
        .unwrap()
        .token
        .expose_secret()
        .to_owned()
}
