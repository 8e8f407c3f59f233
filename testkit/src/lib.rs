//! Real servers for tests: a nats-server or a Postgres on free ports with a folder of its own, gone on drop.
//!
//! [`FakeCollector`] keeps the spans it is sent. [`FakeModel`] speaks the APIs of language models, refuses what they refuse, and fails as told.
//!
//! The nats-server binary is looked for in `DRAMATIS_NATS_SERVER`, then in the project's `.tools/bin`, then on `PATH`.
//! A test that cannot find it fails: it must never pass by running nothing.

mod fake_collector;
mod fake_model;
mod nats_cluster;
mod postgres;
mod stream_files;
mod tampering;

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub use fake_collector::FakeCollector;
pub use fake_model::{FakeApi, FakeModel, Reply};
pub use nats_cluster::NatsCluster;
pub use postgres::Postgres;
pub use stream_files::{StoredRecord, StreamFiles};
pub use tampering::{Tampered, Tampering};

/// How long a server may take to answer after its start.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// A nats-server with JetStream of one test's own.
#[derive(Debug)]
pub struct NatsServer {
    child: Option<Child>,
    port: u16,
    monitor_port: u16,
    sync_interval: Option<String>,
    dir: tempfile::TempDir,
}

impl NatsServer {
    /// Starts one on a free port of the loopback interface, with the settings of our own child server.
    ///
    /// # Panics
    /// When there is no nats-server to start, or it does not come up.
    pub fn start() -> Self {
        Self::start_with_sync(Some("100ms"))
    }

    /// As [`NatsServer::start`], writing acknowledged messages to disk every `sync_interval` (`10ms`, `always`), or
    /// at nats-server's own default for `None`.
    ///
    /// # Panics
    /// As there.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn start_with_sync(sync_interval: Option<&str>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let monitor_port = std::iter::repeat_with(free_port)
            .find(|free| *free != port)
            .expect("ports do not run out");
        let mut server = Self {
            child: None,
            port,
            monitor_port,
            sync_interval: sync_interval.map(str::to_owned),
            dir,
        };
        server.restart();
        server
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where its monitoring pages are.
    pub fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.monitor_port)
    }

    /// The text of its monitoring page `/varz`.
    ///
    /// # Panics
    /// When it does not answer.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn varz(&self) -> String {
        let mut connection =
            TcpStream::connect(("127.0.0.1", self.monitor_port)).expect("a monitored server");
        connection
            .write_all(b"GET /varz HTTP/1.0\r\n\r\n")
            .expect("the request is sent");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("an answer");
        let (_, body) = answer.split_once("\r\n\r\n").expect("headers, then a body");
        body.to_owned()
    }

    /// The folder of its stream files.
    pub fn store_dir(&self) -> &Path {
        self.dir.path()
    }

    /// Ends it at once, as a power cut of the process would (`SIGKILL`).
    ///
    /// # Panics
    /// When the operating system refuses.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the server can be killed");
            child.wait().expect("the server's end can be awaited");
        }
    }

    /// Starts it (again) on the same port and folder.
    ///
    /// # Panics
    /// When it does not come up.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn restart(&mut self) {
        self.kill();
        let config = self.dir.path().join("nats.conf");
        let store = self.dir.path().join("store");
        let sync = self.sync_interval.as_deref();
        let sync = sync.map_or_else(String::new, |interval| format!(", sync_interval: \"{interval}\""));
        let text = format!(
            "listen: \"127.0.0.1:{}\"\nhttp: \"127.0.0.1:{}\"\njetstream {{ store_dir: \"{}\"{sync} }}\n",
            self.port,
            self.monitor_port,
            store.display()
        );
        fs::write(&config, text).expect("the server's configuration can be written");
        let log = fs::File::create(self.dir.path().join("nats.log")).expect("the server's log can be made");
        let child = Command::new(nats_server_binary())
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log handle"))
            .stderr(log)
            .spawn()
            .expect("nats-server starts");
        self.child = Some(child);
        let port = self.port;
        assert!(
            wait_until(READY_WITHIN, || TcpStream::connect(("127.0.0.1", port)).is_ok()),
            "nats-server did not come up: {}",
            fs::read_to_string(self.dir.path().join("nats.log")).unwrap_or_default()
        );
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The nats-server to start.
///
/// # Panics
/// When there is none.
#[expect(
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test cannot go on without its server"
)]
pub fn nats_server_binary() -> PathBuf {
    if let Ok(path) = std::env::var("DRAMATIS_NATS_SERVER") {
        return path.into();
    }
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/bin/nats-server");
    if tools.exists() {
        return tools;
    }
    let on_path = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path)
            .map(|dir| dir.join("nats-server"))
            .find(|candidate| candidate.exists())
    });
    on_path.unwrap_or_else(|| panic!("no nats-server found; run ./deploy/install-nats"))
}

/// A port of the loopback interface that nobody listens on.
///
/// # Panics
/// When the machine has none left.
#[expect(clippy::expect_used, reason = "a test cannot go on without a port")]
pub fn free_port() -> u16 {
    let listener: io::Result<TcpListener> = TcpListener::bind(("127.0.0.1", 0));
    listener
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// Asks `condition` every few milliseconds until it holds or `limit` has passed; says whether it held.
#[expect(clippy::disallowed_methods, reason = "real processes come up in real time")]
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = std::time::Instant::now();
    while start.elapsed() < limit {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    condition()
}

/// As [`wait_until`], for a condition that must be awaited.
#[expect(clippy::disallowed_methods, reason = "real processes come up in real time")]
pub async fn wait_until_async<F: Future<Output = bool>>(
    limit: Duration,
    mut condition: impl FnMut() -> F,
) -> bool {
    let start = std::time::Instant::now();
    while start.elapsed() < limit {
        if condition().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    condition().await
}
