//! The program as its users meet it: started as a process, spoken to over HTTP and its command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use testkit::{nats_server_binary, wait_until};

/// How long a start may take on a busy machine.
pub(crate) const START_WITHIN: Duration = Duration::from_secs(90);

/// The program with its surroundings fixed: no configuration file, none of the caller's environment.
pub(crate) fn dramatis(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dramatis"));
    command
        .current_dir(data.parent().expect("a folder around the data folder"))
        .env_clear()
        .env(
            "DRAMATIS_NATS_SERVER",
            fs::canonicalize(nats_server_binary()).expect("the server's path"),
        )
        .env("DRAMATIS_DATA", data)
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(data: &Path, arguments: &[&str]) -> Output {
    dramatis(data).args(arguments).output().expect("the program runs")
}

/// Runs a command that must succeed and gives its stdout.
pub(crate) fn stdout(data: &Path, arguments: &[&str]) -> String {
    let output = run(data, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a `--json` command that must succeed.
pub(crate) fn json(data: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(data, arguments)).expect("JSON on stdout")
}

/// A running `dramatis up`. Killed when dropped.
pub(crate) struct Up {
    child: Child,
    /// Its settings, which commands beside it need too: they say where the accounts are.
    settings: Vec<(String, String)>,
    pub(crate) data: PathBuf,
    pub(crate) api: String,
}

impl Up {
    /// Starts on a free port with the scheduler paused, and waits until it answers.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    /// As [`Up::start`] with settings in the environment.
    pub(crate) fn start_with(data: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start_as("up", data, settings)
    }

    /// As [`Up::start_with`], of the role that command runs.
    pub(crate) fn start_as(role: &str, data: &Path, settings: &[(&str, &str)]) -> Self {
        fs::create_dir_all(data).expect("a data folder");
        let log = fs::File::create(data.with_extension("log")).expect("a log file");
        let child = dramatis(data)
            .args([role, "--listen", "127.0.0.1:0"])
            .env("RUNNER_PAUSED", "1")
            .envs(settings.iter().copied())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let pid = child.id();
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut up = Self {
            child,
            settings: settings.collect(),
            data: data.to_path_buf(),
            api: String::new(),
        };
        let is_up = wait_until(START_WITHIN, || {
            let run = fs::read_to_string(data.join("run.json")).unwrap_or_default();
            let run: Value = serde_json::from_str(&run).unwrap_or_default();
            run["api"].as_str().unwrap_or_default().clone_into(&mut up.api);
            run["pid"] == pid
        });
        assert!(
            is_up,
            "{}",
            fs::read_to_string(data.with_extension("log")).unwrap_or_default()
        );
        up
    }

    /// The program beside it, with its settings.
    fn dramatis(&self) -> Command {
        let mut command = dramatis(&self.data);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A token for the built-in administrator.
    pub(crate) fn admin_token(&self) -> String {
        let output = self.dramatis().arg("token").output().expect("the program runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// A command against this server.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.dramatis();
        command
            .args(arguments)
            .args(["--api", &self.api])
            .env("MANA_ADMIN_JWT", self.admin_token());
        command
    }

    /// Runs a command against this server and gives its JSON, whatever its exit code.
    pub(crate) fn json(&self, arguments: &[&str]) -> (Value, i32) {
        let output = self
            .command(arguments)
            .arg("--json")
            .output()
            .expect("the program runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{arguments:?}: {stderr}"));
        (value, output.status.code().expect("an exit code"))
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("its end can be awaited");
    }

    /// Asks it to stop and gives its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let asked = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        assert!(asked.expect("kill runs").success());
        self.child.wait().expect("its end can be awaited").code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // An orphaned server would outlive the test; a stopped one is already gone.
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = Command::new("kill")
                .args(["-TERM", &self.child.id().to_string()])
                .status();
            let _ = self.child.wait();
        }
    }
}

/// The events of the log, one JSON object each.
pub(crate) fn events(data: &Path, arguments: &[&str]) -> Vec<Value> {
    let all = [&["events", "cat"], arguments].concat();
    stdout(data, &all)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect()
}

/// The log of a running server, to write to it beside the program.
pub(crate) async fn log_of(up: &Up) -> events::JetStreamLog {
    let run = fs::read_to_string(up.data.join("run.json")).expect("a run file");
    let run: Value = serde_json::from_str(&run).expect("JSON");
    let address: async_nats::ServerAddr = run["nats"]
        .as_str()
        .expect("an address")
        .parse()
        .expect("an address");
    let client = async_nats::ConnectOptions::new()
        .user_and_password(
            address.username().unwrap_or_default().to_owned(),
            address.password().unwrap_or_default().to_owned(),
        )
        .connect(address)
        .await
        .expect("NATS answers");
    events::JetStreamLog::open(client, events::JetStreamSettings::default())
        .await
        .expect("the log opens")
}
