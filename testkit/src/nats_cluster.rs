//! Three nats-servers that keep copies of one another's streams, started one by one.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{free_port, nats_server_binary};

/// Servers of a cluster.
const SERVERS: usize = 3;

/// A cluster of one test's own. A server that was started runs until the cluster is dropped.
#[derive(Debug)]
pub struct NatsCluster {
    client_ports: [u16; SERVERS],
    route_ports: [u16; SERVERS],
    children: Vec<Child>,
    dir: tempfile::TempDir,
}

impl NatsCluster {
    /// One whose first `started` servers are started. Nobody waits for them.
    ///
    /// # Panics
    /// When there is no nats-server to start.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its servers")]
    pub fn start(started: usize) -> Self {
        let mut cluster = Self {
            client_ports: [(); SERVERS].map(|()| free_port()),
            route_ports: [(); SERVERS].map(|()| free_port()),
            children: Vec::new(),
            dir: tempfile::tempdir().expect("a temporary folder"),
        };
        for _ in 0..started {
            cluster.start_next();
        }
        cluster
    }

    /// Where clients of the first server connect.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.client_ports[0])
    }

    /// Starts the next server.
    ///
    /// # Panics
    /// When all are started, or it cannot be.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its servers")]
    pub fn start_next(&mut self) {
        let number = self.children.len();
        assert!(number < SERVERS, "there are {SERVERS} servers");
        let path = |ending: &str| self.dir.path().join(format!("nats-{number}{ending}"));
        fs::write(path(".conf"), self.config(number, &path(""))).expect("a configuration can be written");
        let log = fs::File::create(path(".log")).expect("a log can be made");
        let child = Command::new(nats_server_binary())
            .arg("--config")
            .arg(path(".conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log handle"))
            .stderr(log)
            .spawn()
            .expect("nats-server starts");
        self.children.push(child);
    }

    fn config(&self, number: usize, store: &Path) -> String {
        let routes = self.route_ports.map(|port| format!("nats://127.0.0.1:{port}"));
        format!(
            "server_name: nats-{number}\nlisten: \"127.0.0.1:{}\"\n\
             jetstream {{ store_dir: \"{}\", sync_interval: \"100ms\" }}\n\
             cluster {{ name: test, listen: \"127.0.0.1:{}\", routes: [{}] }}\n",
            self.client_ports[number],
            store.display(),
            self.route_ports[number],
            routes.join(", ")
        )
    }
}

impl Drop for NatsCluster {
    fn drop(&mut self) {
        for child in &mut self.children {
            // There is nobody left to tell if this fails.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
