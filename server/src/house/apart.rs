//! Work that takes the processor for long: a thread of its own, after all others. Tasks take turns on their workers by
//! themselves, and a call that comes while a batch is folded would wait for all of it; between threads the system deals
//! out the time, and whoever has an answer to give goes first.

use std::future::Future;
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// How far such a thread steps back: beside one of usual priority it gets a quarter of a processor that both want.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

/// Runs `work` on a thread named `name`, and gives what it gives. Whoever stops waiting does not stop it.
///
/// Sockets and timers stay with the runtime of whoever calls. Threads that `work` starts, such as that of a connection
/// to SQLite, have its priority.
pub(super) async fn run(
    name: &'static str,
    work: impl Future<Output = Result<(), String>> + Send + 'static,
) -> Result<(), String> {
    let runtime = Handle::current();
    let (end, ended) = oneshot::channel();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        step_back();
        // Nobody may be waiting any more.
        let _ = end.send(runtime.block_on(work));
    });
    thread.map_err(|error| format!("there is no thread for {name}: {error}"))?;
    ended.await.unwrap_or_else(|_| Err(format!("{name} panicked")))
}

/// Lowers the priority of this thread.
#[cfg(target_os = "linux")]
fn step_back() {
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}

/// Elsewhere a thread has no priority of its own: it would be the whole program's.
#[cfg(not(target_os = "linux"))]
fn step_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_it_gives_comes_back_and_so_does_its_panic() {
        let name = async {
            tokio::task::yield_now().await;
            Err(thread::current().name().unwrap_or_default().to_owned())
        };
        assert_eq!(run("a-thread", name).await, Err("a-thread".to_owned()));
        let panics = async { panic!("on purpose") };
        assert_eq!(run("another", panics).await, Err("another panicked".to_owned()));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn it_steps_back_and_so_do_the_threads_it_starts() {
        fn nice() -> i32 {
            rustix::process::getpriority_process(None).unwrap()
        }
        let here = nice();
        let work = async {
            let own = nice();
            let started = thread::spawn(nice).join().unwrap();
            Err(format!("{own} {started}"))
        };
        // 19 is the furthest there is.
        let back = (here + NICE).min(19);
        assert_eq!(run("a-thread", work).await, Err(format!("{back} {back}")));
        assert_eq!(nice(), here);
    }
}
