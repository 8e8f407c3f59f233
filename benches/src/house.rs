//! The program as its users run it: a process with its child nats-server, on loopback, in a folder of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// What a development server takes for an external runner's key.
pub const SERVICE_KEY: &str = "dev-service-key-rotate-in-prod";
/// How long a start may take before it counts as failed.
const START_WITHIN: Duration = Duration::from_secs(30);
/// How long one question after readiness may take. A server that is not ready may be slow to say so.
const PROBE_WITHIN: Duration = Duration::from_millis(500);
/// How long a stop that was asked for may take.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// Bytes of the log shown when a start failed.
const LOG_TAIL_BYTES: usize = 2_000;

/// Where the program runs: its data folder, its port and its settings, the same at every start.
#[derive(Debug, Clone)]
pub struct Site {
    program: PathBuf,
    nats_server: PathBuf,
    data: PathBuf,
    port: u16,
    settings: Vec<(String, String)>,
}

impl Site {
    /// A place for `program` with its data in `data` and its scheduler paused.
    ///
    /// # Errors
    /// When the program or a nats-server is not there, or the folder cannot be made.
    pub fn new(program: &Path, data: &Path) -> anyhow::Result<Self> {
        let program = fs::canonicalize(program).with_context(|| program.display().to_string())?;
        fs::create_dir_all(data)?;
        Ok(Self {
            program,
            nats_server: fs::canonicalize(testkit::nats_server_binary())?,
            data: fs::canonicalize(data)?,
            port: testkit::free_port(),
            settings: Vec::new(),
        }
        .with_setting("RUNNER_PAUSED", "1")
        .with_setting("DRAMATIS_CALLS_PER_MINUTE_MAX", "1000000")
        .with_setting("RUST_LOG", "warn"))
    }

    /// The same with one more setting in the environment.
    #[must_use]
    pub fn with_setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Where it answers HTTP.
    pub fn api(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The folder of its data.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What the program wrote to its streams, over all starts.
    pub fn log_file(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// A command of the program on this folder, with nothing of the caller's environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .current_dir(self.data.parent().unwrap_or(&self.data))
            .args(arguments)
            .env_clear()
            .env("DRAMATIS_NATS_SERVER", &self.nats_server)
            .env("DRAMATIS_DATA", &self.data)
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it cannot be started; its own failure is in the output.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        Ok(self.command(arguments).output()?)
    }

    /// Creates every persona of the built-in catalog on the running server.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn seed(&self) -> anyhow::Result<()> {
        self.seed_with(&[])
    }

    /// The same for the personas of the catalog in `file`.
    ///
    /// # Errors
    /// As there.
    pub fn seed_from(&self, file: &Path) -> anyhow::Result<()> {
        let file = file.to_str().context("a path in UTF-8")?;
        self.seed_with(&["--catalog", file])
    }

    fn seed_with(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut seed = self.command(&["seed", "--json", "--api", &self.api()]);
        seed.args(arguments);
        let output = seed.env("MANA_ADMIN_JWT", self.admin_token()?).output()?;
        if !output.status.success() {
            bail!("seed failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// A token of the built-in administrator.
    ///
    /// # Errors
    /// When there are no accounts yet.
    pub fn admin_token(&self) -> anyhow::Result<String> {
        let output = self.run(&["token"])?;
        if !output.status.success() {
            bail!("no token: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Connects to the running program's NATS server as the program itself does.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn nats(&self) -> anyhow::Result<async_nats::Client> {
        let file = self.run_file();
        let address: async_nats::ServerAddr = file["nats"].as_str().context("it does not run")?.parse()?;
        let (user, password) = (
            address.username().unwrap_or_default(),
            address.password().unwrap_or_default(),
        );
        let options =
            async_nats::ConnectOptions::new().user_and_password(user.to_owned(), password.to_owned());
        Ok(options.connect(address.clone()).await?)
    }

    /// Registers an account and logs it in; gives its token.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn account(&self, email: &str) -> anyhow::Result<String> {
        let client = reqwest::Client::new();
        let body = json!({"email": email, "password": "a long enough password"});
        let ask = async |path: &str| -> anyhow::Result<Value> {
            let asked = client.post(format!("{}{path}", self.api())).json(&body);
            Ok(asked.send().await?.error_for_status()?.json().await?)
        };
        ask("/api/v1/auth/register").await?;
        let login = ask("/api/v1/auth/login").await?;
        Ok(login["token"].as_str().context("login gives a token")?.to_owned())
    }

    /// What the running server tells the commands beside it.
    pub fn run_file(&self) -> Value {
        let text = fs::read_to_string(self.data.join("run.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// The process of its nats-server, if one that runs on this folder is there.
    pub fn nats_pid(&self) -> Option<u32> {
        let pid = fs::read_to_string(self.data.join("nats/nats.pid")).ok()?;
        let pid: u32 = pid.trim().parse().ok()?;
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        command
            .contains(self.data.join("nats/nats.conf").to_str()?)
            .then_some(pid)
    }

    /// Kills its nats-server (`SIGKILL`); says whether there was one.
    pub fn kill_nats(&self) -> bool {
        self.nats_pid().is_some_and(|pid| send(pid, Signal::SIGKILL))
    }

    /// Starts the program.
    ///
    /// # Errors
    /// When it cannot be started. Whether it comes up is [`House::wait_until_ready`]'s to say.
    pub fn start(&self) -> anyhow::Result<House> {
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let child = self
            .command(&["up", "--listen", &format!("127.0.0.1:{}", self.port)])
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started", self.program.display()))?;
        let probe = reqwest::Client::builder().timeout(PROBE_WITHIN).build()?;
        Ok(House {
            child,
            site: self.clone(),
            probe,
        })
    }

    /// Starts the program and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_ready(&self) -> anyhow::Result<House> {
        let mut house = self.start()?;
        house.wait_until_ready().await?;
        Ok(house)
    }
}

/// The running program. Asked to end when dropped.
#[derive(Debug)]
pub struct House {
    child: Child,
    site: Site,
    probe: reqwest::Client,
}

impl House {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until this very process says that requests are welcome.
    ///
    /// # Errors
    /// When it ends or half a minute passes before; with the end of its log.
    pub async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let (probe, readyz) = (self.probe.clone(), format!("{}/readyz", self.site.api()));
        let (pid, site) = (self.pid(), self.site.clone());
        let mut ended = None;
        let child = &mut self.child;
        testkit::wait_until_async(START_WITHIN, || {
            ended = child.try_wait().ok().flatten();
            let (probe, readyz, has_ended) = (probe.clone(), readyz.clone(), ended.is_some());
            let is_ours = site.run_file()["pid"] == pid;
            async move {
                has_ended
                    || is_ours
                        && probe
                            .get(readyz)
                            .send()
                            .await
                            .is_ok_and(|answer| answer.status().is_success())
            }
        })
        .await;
        if let Some(status) = ended {
            bail!("it ended ({status}): {}", self.log_tail());
        }
        let is_ready = self.probe.get(readyz).send().await?.status().is_success();
        anyhow::ensure!(is_ready, "it is not ready: {}", self.log_tail());
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.site.log_file()).unwrap_or_default();
        let tail = log
            .get(log.len().saturating_sub(LOG_TAIL_BYTES)..)
            .unwrap_or(&log);
        String::from_utf8_lossy(tail).into_owned()
    }

    /// Ends the process at once (`SIGKILL`). Its nats-server stays behind, as it does when a process dies.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop (`SIGTERM`) and waits; gives how it ended.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(mut self) -> anyhow::Result<ExitStatus> {
        send(self.pid(), Signal::SIGTERM);
        let mut ended = None;
        let child = &mut self.child;
        testkit::wait_until_async(STOP_WITHIN, || {
            ended = child.try_wait().ok().flatten();
            std::future::ready(ended.is_some())
        })
        .await;
        ended.context("it did not stop")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            send(self.pid(), Signal::SIGTERM);
            let is_gone = testkit::wait_until(STOP_WITHIN, || !matches!(self.child.try_wait(), Ok(None)));
            if !is_gone {
                // There is nobody left to tell if this fails too.
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
    }
}

fn send(pid: u32, signal: Signal) -> bool {
    i32::try_from(pid).is_ok_and(|pid| kill(Pid::from_raw(pid), signal).is_ok())
}

/// The resident memory of a process as the kernel counts it, KiB.
///
/// # Errors
/// When there is no such process.
pub fn resident_kib(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.context("the kernel counts it")?.parse()?)
}
