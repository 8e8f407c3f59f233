//! Work that takes the processor for long: a thread of its own. Tasks take turns on their workers by themselves, and a call
//! that waits behind a batch being folded waits for all of it; between threads the system deals out the time.

use std::future::Future;
use std::thread;

use tokio::sync::oneshot;

/// Runs `work` on a thread named `name`, and gives what it gives. Whoever stops waiting does not stop it.
pub(super) async fn run(
    name: &'static str,
    work: impl Future<Output = Result<(), String>> + Send + 'static,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("there is no runtime for {name}: {error}"))?;
    let (end, ended) = oneshot::channel();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Nobody may be waiting any more.
        let _ = end.send(runtime.block_on(work));
    });
    thread.map_err(|error| format!("there is no thread for {name}: {error}"))?;
    ended.await.unwrap_or_else(|_| Err(format!("{name} panicked")))
}

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
}
