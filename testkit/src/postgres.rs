//! A real Postgres for tests: a cluster of one test's own on a free port, gone on drop.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::{free_port, wait_until};

/// How long the server may take to come up.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// How often another port is tried when somebody was quicker.
const STARTS_MAX: u32 = 3;
/// Who runs the server where the tests run as root, which Postgres refuses to.
const UNPRIVILEGED_USERS: [&str; 2] = ["postgres", "nobody"];

/// A Postgres cluster of one test's own. It does not wait for the disk, which no test is about.
#[derive(Debug)]
pub struct Postgres {
    child: Option<Child>,
    port: u16,
    bin: PathBuf,
    /// The user to become, as the ids `setpriv` takes, where the tests run as root.
    user: Option<(u32, u32)>,
    dir: tempfile::TempDir,
}

impl Postgres {
    /// Makes a cluster and starts it on a free port of the loopback interface.
    ///
    /// # Panics
    /// When there is no Postgres to start, or it does not come up.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let user = geteuid().is_root().then(unprivileged_user);
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(dir.path(), Some(uid), Some(gid)).expect("the folder can be given away");
        }
        let mut server = Self {
            child: None,
            port: 0,
            bin: postgres_bin(),
            user,
            dir,
        };
        server.make_cluster();
        server.restart();
        server
    }

    /// Where clients connect: the database `postgres`, as its superuser, without a password.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// As [`Postgres::url`], for another of its databases.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Ends it as a crash would: nothing is finished or flushed, and the next start recovers from its log.
    ///
    /// # Panics
    /// When the operating system refuses.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn crash(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = i32::try_from(child.id()).expect("a process id");
            // Postgres's own immediate shutdown, which ends its worker processes too; it fails only when it is over.
            let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
            child.wait().expect("the server's end can be awaited");
        }
    }

    /// Starts it (again) on the same files; the port may be another after the first start.
    ///
    /// # Panics
    /// When it does not come up.
    #[expect(
        clippy::panic,
        clippy::expect_used,
        reason = "a test cannot go on without its server"
    )]
    pub fn restart(&mut self) {
        self.crash();
        for _ in 0..STARTS_MAX {
            if self.port == 0 {
                self.port = free_port();
            }
            let log = fs::File::create(self.log_file()).expect("the server's log can be made");
            let mut child = self
                .command("postgres")
                .arg("-D")
                .arg(self.data_dir())
                .args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-k", ""])
                .args(["-c", "fsync=off", "-c", "full_page_writes=off"])
                .args(["-c", "shared_buffers=64MB", "-c", "max_connections=60"])
                .stdin(Stdio::null())
                .stdout(log.try_clone().expect("a log handle"))
                .stderr(log)
                .spawn()
                .expect("postgres starts");
            let pid_file = self.data_dir().join("postmaster.pid");
            let mut is_over = false;
            let is_up = wait_until(READY_WITHIN, || {
                is_over = matches!(child.try_wait(), Ok(Some(_)));
                is_over || fs::read_to_string(&pid_file).is_ok_and(|text| text.contains("\nready"))
            }) && !is_over;
            self.child = Some(child);
            if is_up {
                return;
            }
            // Somebody may have taken the port between its choice and its use.
            self.crash();
            self.port = 0;
        }
        panic!(
            "postgres did not come up: {}",
            fs::read_to_string(self.log_file()).unwrap_or_default()
        );
    }

    /// A fresh cluster takes a processor a second, a copy of one nobody has used a tenth of that.
    fn make_cluster(&self) {
        let template = template_dir(&self.bin, self.user);
        let copy = |from: &Path, to: &Path| {
            let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
            copied.is_ok_and(|status| status.success())
        };
        if template.exists() && copy(&template, &self.data_dir()) {
            return;
        }
        // What an interrupted copy may have left is in the way of a new one.
        let _ = fs::remove_dir_all(self.data_dir());
        self.make_new_cluster();
        // Others may be at the same: whoever renames first is as good as any, and without a template all goes on.
        let own = template.with_extension(std::process::id().to_string());
        if !copy(&self.data_dir(), &own) || fs::rename(&own, &template).is_err() {
            let _ = fs::remove_dir_all(&own);
        }
    }

    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    fn make_new_cluster(&self) {
        let made = self
            .command("initdb")
            .arg("-D")
            .arg(self.data_dir())
            .args([
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ])
            .stdin(Stdio::null())
            .output()
            .expect("initdb starts");
        assert!(
            made.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&made.stderr)
        );
    }

    /// One of Postgres's programs, as a user who may run it.
    fn command(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        let mut command = match self.user {
            None => Command::new(program),
            Some((uid, gid)) => {
                let mut command = Command::new("setpriv");
                command
                    .arg(format!("--reuid={uid}"))
                    .arg(format!("--regid={gid}"))
                    .arg("--clear-groups")
                    .arg(program);
                command
            }
        };
        // The folder the tests run in may be closed to that user.
        command.current_dir(self.dir.path());
        command
    }

    /// The folder of its files.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("postgres.log")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.crash();
    }
}

/// Where a cluster nobody has used is kept for the tests of this checkout, for one version of Postgres and one user.
fn template_dir(bin: &Path, user: Option<(u32, u32)>) -> PathBuf {
    let program = fs::canonicalize(bin.join("initdb")).unwrap_or_default();
    let version = program.components().rev().nth(2);
    let version = version.map(|part| part.as_os_str().to_string_lossy().into_owned());
    let uid = user.map_or_else(|| geteuid().as_raw(), |(uid, _)| uid);
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    target.join(format!("postgres-{}-of-{uid}", version.unwrap_or_default()))
}

/// The folder with `initdb` and `postgres`: the one on `PATH`, else the newest of Debian's.
///
/// # Panics
/// When there is none.
#[expect(clippy::panic, reason = "a test cannot go on without its server")]
fn postgres_bin() -> PathBuf {
    let has_both = |dir: &Path| dir.join("initdb").exists() && dir.join("postgres").exists();
    let on_path =
        std::env::var_os("PATH").and_then(|path| std::env::split_paths(&path).find(|dir| has_both(dir)));
    on_path
        .or_else(|| {
            let mut installed: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
                .ok()?
                .flatten()
                .filter_map(|version| {
                    let number = version.file_name().to_str()?.parse().ok()?;
                    let bin = version.path().join("bin");
                    has_both(&bin).then_some((number, bin))
                })
                .collect();
            installed.sort_unstable();
            installed.pop().map(|(_, bin)| bin)
        })
        .unwrap_or_else(|| {
            panic!(
                "no initdb and postgres found; install them (Debian and Ubuntu: apt-get install postgresql)"
            )
        })
}

/// The ids of a user who may run Postgres.
#[expect(clippy::panic, reason = "a test cannot go on without its server")]
fn unprivileged_user() -> (u32, u32) {
    let id_of = |flag: &str, user: &str| -> Option<u32> {
        let asked = Command::new("id").args([flag, user]).output().ok()?;
        String::from_utf8(asked.stdout).ok()?.trim().parse().ok()
    };
    UNPRIVILEGED_USERS
        .iter()
        .find_map(|user| Some((id_of("-u", user)?, id_of("-g", user)?)))
        .unwrap_or_else(|| panic!("Postgres does not run as root, and there is no other user to run it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_cluster_comes_up_survives_a_crash_and_is_gone_with_its_handle() {
        let mut server = Postgres::start();
        server.crash();
        assert!(TcpStream::connect(("127.0.0.1", server.port)).is_err());
        server.restart();
        let (port, dir) = (server.port, server.dir.path().to_owned());
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        drop(server);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        assert!(!dir.exists());
    }
}
