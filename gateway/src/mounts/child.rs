//! Child processes that speak MCP: each in a process group of its own, ended as a group, and never outliving us.
//!
//! What keeps them from outliving a `kill -9` of ours is one shell beside them, the watchdog: it is told of every
//! group and reads from a pipe that only we hold. When we are gone, however that came, the pipe ends, and it kills the
//! groups that are left.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use events::Clock;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

/// How long a child may take to end by itself once its input has ended, and again once it was asked to.
const END_WITHIN: Duration = Duration::from_secs(2);
/// How much of what a child complains about is kept, until it has said hello.
const COMPLAINT_BYTES_MAX: usize = 2_000;
/// Keeps the groups it is told of (`+ 17`, `- 17`) and kills those that are left when its input ends. `kill` reads a
/// negative number as a group.
const WATCHDOG: &str = r#"
groups=
while read -r op group; do
    rest=
    for other in $groups; do [ "$other" = "$group" ] || rest="$rest $other"; done
    groups=$rest
    [ "$op" = + ] && groups="$groups $group"
done
for group in $groups; do kill -KILL -- "-$group" 2>/dev/null; done
"#;

/// Why a child process does not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChildError {
    /// As many as allowed run already.
    #[error("as many child processes run as children_max allows")]
    TooMany,
    /// It does not start.
    #[error("{program} cannot be started: {reason}")]
    Start {
        /// The program alone: arguments may hold secrets.
        program: String,
        /// Why.
        reason: std::io::Error,
    },
}

/// What starts children and keeps count of them.
#[derive(Debug)]
pub(super) struct Children {
    environment: BTreeMap<String, String>,
    places: Arc<Semaphore>,
    watchdog: Mutex<Option<Watchdog>>,
    clock: Arc<dyn Clock>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Watchdog {
    process: Child,
    input: ChildStdin,
}

impl Children {
    pub(super) fn new(
        environment: BTreeMap<String, String>,
        children_max: usize,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            environment,
            places: Arc::new(Semaphore::new(children_max)),
            watchdog: Mutex::default(),
            clock,
            tasks,
        }
    }

    /// Starts `command`, and hands out what it says and hears.
    pub(super) async fn start(
        self: &Arc<Self>,
        command: &[String],
        environment: &BTreeMap<String, String>,
    ) -> Result<(Group, ChildStdout, ChildStdin), ChildError> {
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| ChildError::TooMany)?;
        let program = command.first().cloned().unwrap_or_default();
        let failed = |reason| ChildError::Start {
            program: program.clone(),
            reason,
        };
        let mut process = Command::new(&program)
            .args(command.iter().skip(1))
            .env_clear()
            .envs(&self.environment)
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let id = process.id().and_then(|id| i32::try_from(id).ok());
        let streams = (process.stdout.take(), process.stdin.take(), process.stderr.take());
        let (Some(id), (Some(stdout), Some(stdin), Some(stderr))) = (id, streams) else {
            return Err(failed(std::io::Error::other("it has no standard streams")));
        };
        let complaint = Arc::new(std::sync::Mutex::new(Complaint::default()));
        drop(self.tasks.spawn(listen(stderr, complaint.clone())));
        let group = Group {
            id: Pid::from_raw(id),
            process: Some(process),
            complaint,
            children: self.clone(),
            _place: place,
        };
        self.tell(&format!("+ {id}\n")).await.map_err(failed)?;
        Ok((group, stdout, stdin))
    }

    /// Tells the watchdog, starting one where there is none (any more).
    async fn tell(&self, line: &str) -> std::io::Result<()> {
        let mut watchdog = self.watchdog.lock().await;
        if let Some(running) = watchdog.as_mut()
            && running.process.try_wait()?.is_none()
        {
            return running.input.write_all(line.as_bytes()).await;
        }
        let mut process = Command::new("/bin/sh")
            .args(["-c", WATCHDOG])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C at the terminal is for us; it does its work after we have done ours.
            .process_group(0)
            .spawn()?;
        let input = process.stdin.take();
        let mut input = input.ok_or_else(|| std::io::Error::other("the watchdog has no input"))?;
        input.write_all(line.as_bytes()).await?;
        *watchdog = Some(Watchdog { process, input });
        Ok(())
    }

    /// Ends the watchdog, once all groups have ended.
    pub(super) async fn stop(&self) {
        let watchdog = self.watchdog.lock().await.take();
        if let Some(Watchdog { mut process, input }) = watchdog {
            drop(input);
            // Whichever is first: it only has to read the end of its input.
            tokio::select! {
                _ = process.wait() => {}
                () = self.clock.sleep(END_WITHIN) => {}
            }
        }
    }
}

/// A child and whatever it started. Killed as a group when dropped; [`Group::end`] is the orderly way.
#[derive(Debug)]
pub(super) struct Group {
    id: Pid,
    process: Option<Child>,
    complaint: Arc<std::sync::Mutex<Complaint>>,
    children: Arc<Children>,
    _place: OwnedSemaphorePermit,
}

impl Group {
    /// What the child said on its standard error before it was found to be well. Afterwards nothing of it is kept: it
    /// may repeat what it was called with.
    pub(super) fn complaint(&self) -> String {
        let complaint = self
            .complaint
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = String::from_utf8_lossy(&complaint.text);
        text.lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or_default()
            .trim()
            .to_owned()
    }

    /// The child said hello: from here on what it complains about is only counted.
    pub(super) fn is_well(&self) {
        let mut complaint = self
            .complaint
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        complaint.is_kept = false;
        complaint.text = Vec::new();
    }

    /// Waits for the child, whose input has ended, to end by itself; asks it to; and kills what is left of its group.
    pub(super) async fn end(mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        let clock = &self.children.clock;
        let has_ended = tokio::select! {
            _ = process.wait() => true,
            () = clock.sleep(END_WITHIN) => false,
        };
        if !has_ended {
            signal(self.id, Signal::SIGTERM);
            tokio::select! {
                _ = process.wait() => {}
                () = clock.sleep(END_WITHIN) => {}
            }
        }
        signal(self.id, Signal::SIGKILL);
        // A killed child is gone in a moment; waiting for it leaves no zombie.
        tokio::select! {
            _ = process.wait() => {}
            () = clock.sleep(END_WITHIN) => tracing::warn!("a child process does not end"),
        }
        if let Err(error) = self.children.tell(&format!("- {}\n", self.id)).await {
            tracing::warn!(%error, "the watchdog of child processes cannot be told");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.process.is_some() {
            signal(self.id, Signal::SIGKILL);
        }
    }
}

fn signal(group: Pid, signal: Signal) {
    // Nobody left to be signalled is what is hoped for.
    if let Err(error) = killpg(group, signal)
        && error != nix::errno::Errno::ESRCH
    {
        tracing::warn!(%error, "a group of child processes could not be signalled");
    }
}

#[derive(Debug)]
struct Complaint {
    is_kept: bool,
    text: Vec<u8>,
}

impl Default for Complaint {
    fn default() -> Self {
        Self {
            is_kept: true,
            text: Vec::new(),
        }
    }
}

/// Reads a child's standard error to its end, so that the child never waits for a reader.
async fn listen(stderr: ChildStderr, complaint: Arc<std::sync::Mutex<Complaint>>) {
    let mut lines = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line without an end is cut, not collected.
        let read = (&mut lines)
            .take(COMPLAINT_BYTES_MAX as u64)
            .read_until(b'\n', &mut line)
            .await;
        match read {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let mut complaint = complaint
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if complaint.is_kept && complaint.text.len() + line.len() <= COMPLAINT_BYTES_MAX {
            complaint.text.extend_from_slice(&line);
        }
    }
}
