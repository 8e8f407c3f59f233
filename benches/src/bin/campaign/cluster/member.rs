//! One process of the cluster: how it is started, killed, and known to do its work.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

/// How long a member may take until it does its work, on a machine that has other things to do.
const READY_WITHIN: Duration = Duration::from_mins(2);
/// How long one question after readiness may take.
const PROBE_WITHIN: Duration = Duration::from_secs(2);
/// Bytes of the log shown when a start failed.
const LOG_TAIL_BYTES: usize = 2_000;

/// What a member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Nats,
    Gateway,
    Projector,
    Runner,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Nats, Self::Gateway, Self::Projector, Self::Runner];

    /// As counted.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Nats => "nats-server",
            Self::Gateway => "gateway",
            Self::Projector => "projector",
            Self::Runner => "runner",
        }
    }
}

/// A member, running or not. Killed when dropped.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) kind: Kind,
    /// Its kind and number.
    pub(super) name: String,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// Answers with success while it does its work.
    probe: String,
    log: PathBuf,
    child: Option<Child>,
}

impl Member {
    /// A member that is not started yet and writes its log into `dir`.
    pub(super) fn new(
        kind: Kind,
        number: usize,
        program: &Path,
        arguments: Vec<String>,
        environment: Vec<(String, String)>,
        probe: String,
        dir: &Path,
    ) -> Self {
        let name = format!("{}-{number}", kind.as_str());
        Self {
            kind,
            log: dir.join(format!("{name}.log")),
            name,
            program: program.to_owned(),
            arguments,
            environment,
            probe,
            child: None,
        }
    }

    /// Starts it, with nothing of the caller's environment.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.program)
            .current_dir(self.log.parent().unwrap_or(Path::new(".")))
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started", self.name))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until it does its work.
    ///
    /// # Errors
    /// When it ends or the time passes before; with the end of its log.
    pub(super) async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let client = reqwest::Client::builder().timeout(PROBE_WITHIN).build()?;
        let (probe, child) = (self.probe.clone(), &mut self.child);
        let mut ended = None;
        let is_ready = testkit::wait_until_async(READY_WITHIN, || {
            ended = child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            let (asked, has_ended) = (client.get(&probe).send(), ended.is_some());
            async move { has_ended || asked.await.is_ok_and(|answer| answer.status().is_success()) }
        })
        .await;
        match ended {
            Some(status) => bail!("{} ended ({status}): {}", self.name, self.log_tail()),
            None if !is_ready => bail!("{} is not ready: {}", self.name, self.log_tail()),
            None => Ok(()),
        }
    }

    /// Ends it at once (`SIGKILL`).
    ///
    /// # Errors
    /// When it ended by itself before, or the system refuses.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("it does not run")?;
        if let Some(status) = child.try_wait()? {
            bail!("{} ended by itself ({status}): {}", self.name, self.log_tail());
        }
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let tail = log
            .get(log.len().saturating_sub(LOG_TAIL_BYTES)..)
            .unwrap_or(&log);
        String::from_utf8_lossy(tail).into_owned()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // There is nobody left to tell if this fails.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
