//! The nats-server that `up` starts when no other is named: found, configured, watched, and ended with the house.
//!
//! If it dies it is started again on the same port and folder; the client reconnects by itself. One that a killed
//! program left behind is ended first: two servers on one folder would corrupt it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use events::{Clock, Ids, VERSION_FLOOR, version_is_at_least_floor};
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, program_dirs};
use crate::exit::CommandError;
use crate::viewers::{Viewer, Viewers};

/// How long the server may take to take connections, and to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Restarts within [`RESTART_WINDOW`] after which something is wrong that restarting does not mend.
const RESTARTS_MAX: usize = 5;
const RESTART_WINDOW: Duration = Duration::from_mins(1);
/// Who the house is to its own server.
pub(crate) const USER: &str = "dramatis";

/// How often the list of viewers is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A child server that runs.
#[derive(Debug)]
pub(crate) struct NatsChild {
    child: Child,
    program: PathBuf,
    config_file: PathBuf,
    settings: Settings,
    port: u16,
    url: SecretString,
    clock: Arc<dyn Clock>,
}

impl NatsChild {
    /// Finds the program, writes its configuration and starts it.
    ///
    /// # Errors
    /// [`CommandError::Unavailable`] with what to do when there is no fit server or it does not come up.
    pub(crate) async fn start(
        config: &Config,
        clock: Arc<dyn Clock>,
        ids: &dyn Ids,
    ) -> Result<Self, CommandError> {
        let program = find_program(config).await?;
        let dir = config.nats_dir();
        fs::create_dir_all(&dir).map_err(|error| cannot(&dir, &error))?;
        end_leftover(&dir, &*clock).await?;
        let port = if config.nats_port == 0 {
            free_port()?
        } else {
            config.nats_port
        };
        let password = password(&dir, ids)?;
        let config_file = dir.join("nats.conf");
        let settings = Settings {
            dir,
            port,
            password: password.clone(),
            websocket: config.nats_websocket.map(|address| WebSocket {
                address,
                origins: config.allowed_origins.clone(),
            }),
        };
        write_private(&config_file, &settings.text(clock.now())?)?;
        let url = SecretString::from(format!(
            "nats://{USER}:{}@127.0.0.1:{port}",
            password.expose_secret()
        ));
        metrics::counter!("nats_child_restarts_total").increment(0);
        let child = spawn(&program, &config_file)?;
        let mut server = Self {
            child,
            program,
            config_file,
            settings,
            port,
            url,
            clock,
        };
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// Where to connect, credentials included.
    pub(crate) fn url(&self) -> &SecretString {
        &self.url
    }

    async fn wait_until_ready(&mut self) -> Result<(), CommandError> {
        let start = self.clock.monotonic();
        loop {
            if tokio::net::TcpStream::connect(("127.0.0.1", self.port))
                .await
                .is_ok()
            {
                return Ok(());
            }
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || self.clock.monotonic().saturating_sub(start) > PATIENCE {
                let log = self.config_file.with_file_name("nats.log");
                return Err(CommandError::Unavailable(format!(
                    "nats-server did not come up on port {}; its log is {}",
                    self.port,
                    log.display()
                )));
            }
            self.clock.sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts the server again whenever it ends, until `stop`; then ends it in good order.
    ///
    /// # Errors
    /// The reason, when it keeps ending.
    pub(crate) async fn supervise(mut self, stop: CancellationToken) -> Result<(), String> {
        let mut restarts: Vec<Duration> = Vec::new();
        loop {
            // The arm that lost is dropped: waiting for a child that goes on, or for a stop that has not come.
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.clock.sleep(LOOK_EVERY) => {
                    self.update_viewers();
                    continue;
                }
                status = self.child.wait() => {
                    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    tracing::error!(%status, "nats-server ended; starting it again");
                }
            }
            let now = self.clock.monotonic();
            restarts.retain(|at| now.saturating_sub(*at) < RESTART_WINDOW);
            if restarts.len() >= RESTARTS_MAX {
                return Err(format!(
                    "nats-server ended {RESTARTS_MAX} times within a minute; see its log"
                ));
            }
            restarts.push(now);
            metrics::counter!("nats_child_restarts_total").increment(1);
            self.child = spawn(&self.program, &self.config_file).map_err(|error| error.to_string())?;
            if let Err(error) = self.wait_until_ready().await {
                tracing::error!(%error, "nats-server was started again and is not ready");
            }
        }
        self.end().await;
        Ok(())
    }

    /// Has the server read its configuration again when other viewers are in it than may look now.
    fn update_viewers(&self) {
        let now = match self.settings.text(self.clock.now()) {
            Ok(text) => text,
            // Those who may look stay as they are; the command that wrote the file said what is wrong with it.
            Err(error) => {
                tracing::debug!(%error, "the list of viewers cannot be read");
                return;
            }
        };
        if fs::read_to_string(&self.config_file).is_ok_and(|written| written == now) {
            return;
        }
        if let Err(error) = write_private(&self.config_file, &now) {
            tracing::error!(%error, "the configuration of nats-server cannot be written");
            return;
        }
        tracing::info!("who may look over NATS has changed");
        if let Some(pid) = self.child.id() {
            signal(pid, Signal::SIGHUP);
        }
    }

    /// Asks the server to end and waits; a deaf one is killed.
    pub(crate) async fn end(mut self) {
        if let Some(pid) = self.child.id() {
            signal(pid, Signal::SIGTERM);
        }
        if tokio::time::timeout(PATIENCE, self.child.wait()).await.is_err()
            && let Err(error) = self.child.kill().await
        {
            tracing::error!(%error, "nats-server did not end");
        }
    }
}

/// The nats-server to start: the configured one, the project's own, or one on `PATH`.
///
/// # Errors
/// [`CommandError::Unavailable`] with what to do when there is none at or above the floor.
pub(crate) async fn find_program(config: &Config) -> Result<PathBuf, CommandError> {
    let candidates = match &config.nats_server {
        Some(program) => vec![program.clone()],
        None => std::iter::once(PathBuf::from(".tools/bin"))
            .chain(program_dirs())
            .map(|dir| dir.join("nats-server"))
            .filter(|program| program.exists())
            .collect(),
    };
    let (major, minor, patch) = VERSION_FLOOR;
    let mut found = Vec::new();
    for program in candidates {
        match version_of(&program).await {
            Some(version) if version_is_at_least_floor(&version) => return Ok(program),
            version => {
                let version = version.unwrap_or_else(|| "of unknown version".to_owned());
                found.push(format!("{} is {version}", program.display()));
            }
        }
    }
    let found = if found.is_empty() {
        "none found".to_owned()
    } else {
        found.join(", ")
    };
    Err(CommandError::Unavailable(format!(
        "no nats-server {major}.{minor}.{patch} or newer ({found}); run ./deploy/install-nats, or point --nats at a \
         server or nats_server at a program"
    )))
}

/// What `nats-server --version` says, such as `2.15.1`.
pub(crate) async fn version_of(program: &Path) -> Option<String> {
    let asked = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    let output = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().rsplit(' ').next()?.trim_start_matches('v').to_owned())
}

/// What the configuration is made of.
#[derive(Debug)]
struct Settings {
    dir: PathBuf,
    port: u16,
    password: SecretString,
    websocket: Option<WebSocket>,
}

/// Where browsers connect.
#[derive(Debug)]
struct WebSocket {
    address: SocketAddr,
    origins: Vec<String>,
}

impl Settings {
    /// The configuration with everybody who may look at `now`.
    ///
    /// # Errors
    /// As [`Viewers::read`].
    fn text(&self, now: Timestamp) -> Result<String, CommandError> {
        let viewers = Viewers::read(&self.dir)?;
        let viewers = viewers.at(now).into_iter().map(Viewer::for_nats_server);
        let dir = self.dir.canonicalize().unwrap_or_else(|_| self.dir.clone());
        let [store, log, pid] = ["store", "nats.log", "nats.pid"].map(|name| quoted(&dir.join(name)));
        let password = quoted(Path::new(self.password.expose_secret()));
        let house = format!("{{ user: {USER}, password: {password} }}");
        let users: Vec<String> = std::iter::once(house).chain(viewers).collect();
        Ok(format!(
            "# Written by dramatis; edits are lost.\n\
             server_name: dramatis\n\
             listen: \"127.0.0.1:{}\"\n\
             pid_file: {pid}\n\
             log_file: {log}\n\
             logfile_size_limit: 10MB\n\
             logfile_max_num: 3\n\
             # The longest note, encrypted, is larger than the default megabyte.\n\
             max_payload: 4MB\n\
             authorization {{ users: [\n  {}\n] }}\n\
             jetstream {{\n\
             \x20 store_dir: {store}\n\
             \x20 # Acknowledged appends reach the disk within this time even if the machine loses power.\n\
             \x20 sync_interval: \"100ms\"\n\
             \x20 max_memory_store: 64MB\n\
             }}\n\
             {}",
            self.port,
            users.join("\n  "),
            self.websocket.as_ref().map(WebSocket::text).unwrap_or_default(),
        ))
    }
}

impl WebSocket {
    fn text(&self) -> String {
        // Without a list any page in the viewer's browser could connect; one that nobody has lets nobody in.
        let origins = if self.origins.is_empty() {
            vec!["http://localhost.invalid".to_owned()]
        } else {
            self.origins.clone()
        };
        format!(
            "websocket {{\n  listen: {}\n  # On the loopback interface only; a proxy brings TLS.\n  no_tls: true\n  \
             allowed_origins: {}\n}}\n",
            serde_json::Value::from(self.address.to_string()),
            serde_json::Value::from(origins)
        )
    }
}

/// A string of the server's configuration language, which escapes as JSON does.
fn quoted(text: &Path) -> String {
    serde_json::Value::from(text.to_string_lossy()).to_string()
}

/// The password between the house and its server, made once.
fn password(dir: &Path, ids: &dyn Ids) -> Result<SecretString, CommandError> {
    let file = dir.join("password");
    if let Ok(password) = fs::read_to_string(&file) {
        return Ok(SecretString::from(password.trim()));
    }
    let mut bytes = [0; 24];
    ids.fill(&mut bytes);
    let password = URL_SAFE_NO_PAD.encode(bytes);
    write_private(&file, &password)?;
    Ok(SecretString::from(password))
}

/// Ends a server that an earlier run of this program left behind in `dir`.
///
/// # Errors
/// [`CommandError::Unavailable`] when it does not end.
pub(crate) async fn end_leftover(dir: &Path, clock: &dyn Clock) -> Result<(), CommandError> {
    let Some(pid) = fs::read_to_string(dir.join("nats.pid"))
        .ok()
        .and_then(|pid| pid.trim().parse::<u32>().ok())
    else {
        return Ok(());
    };
    if !is_our_server(pid, dir) {
        return Ok(());
    }
    tracing::warn!(pid, "ending the nats-server that an earlier run left behind");
    signal(pid, Signal::SIGTERM);
    let start = clock.monotonic();
    while is_our_server(pid, dir) {
        if clock.monotonic().saturating_sub(start) > PATIENCE {
            return Err(CommandError::Unavailable(format!(
                "an earlier nats-server (process {pid}) still holds {}; end it and start again",
                dir.display()
            )));
        }
        clock.sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Whether process `pid` runs with the configuration in `dir`; a reused process id does not.
fn is_our_server(pid: u32, dir: &Path) -> bool {
    let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    let config_file = dir.join("nats.conf");
    let config_file = config_file.canonicalize().unwrap_or(config_file);
    command
        .split(|byte| *byte == 0)
        .any(|argument| argument == config_file.as_os_str().as_encoded_bytes())
}

fn signal(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid)
        && let Err(error) = kill(Pid::from_raw(pid), signal)
    {
        tracing::debug!(%error, pid, "the process could not be signalled");
    }
}

fn spawn(program: &Path, config_file: &Path) -> Result<Child, CommandError> {
    let config_file = config_file
        .canonicalize()
        .unwrap_or_else(|_| config_file.to_path_buf());
    Command::new(program)
        .arg("--config")
        .arg(config_file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A Ctrl-C at the terminal is for the house, which ends its server last.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| CommandError::Unavailable(format!("{} cannot be started: {error}", program.display())))
}

fn free_port() -> Result<u16, CommandError> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| {
            CommandError::Unavailable(format!("no free port on the loopback interface: {error}"))
        })
}

/// Writes a file that only this user may read.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), CommandError> {
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| cannot(path, &error))
}

fn cannot(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::Failed(format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::SeededIds;

    #[test]
    fn who_may_look_is_in_the_configuration_until_its_time_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut viewers = Viewers::default();
        viewers
            .add(Some("wall"), at(0), at(60), &SeededIds::new(1))
            .unwrap();
        viewers.write(dir.path()).unwrap();
        let settings = Settings {
            dir: dir.path().to_path_buf(),
            port: 4222,
            password: SecretString::from("the house's"),
            websocket: None,
        };
        assert!(settings.text(at(59)).unwrap().contains("\"wall\""));
        assert!(!settings.text(at(60)).unwrap().contains("wall"));
        assert!(settings.text(at(60)).unwrap().contains("the house's"));
    }

    #[test]
    fn without_origins_no_page_is_let_in() {
        let websocket = WebSocket {
            address: SocketAddr::from(([127, 0, 0, 1], 9222)),
            origins: Vec::new(),
        };
        assert!(websocket.text().contains("localhost.invalid"));
    }
}
