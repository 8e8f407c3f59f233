//! A few threads that do nothing but hash passwords.
//!
//! A hash works in 19 MiB. On a pool of many threads the allocator keeps such a piece for every thread that has ever
//! hashed, hundreds of megabytes for a handful of logins; on these few it keeps one for each.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// The threads. They end when the last handle is gone.
#[derive(Debug, Clone)]
pub(crate) struct HashingThreads {
    jobs: SyncSender<Job>,
}

impl HashingThreads {
    /// Starts `threads` of them, before which at most `waiting_max` jobs wait.
    ///
    /// # Errors
    /// What the operating system says when it gives no thread.
    pub(crate) fn start(threads: usize, waiting_max: usize) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(waiting_max);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name("password-hash".to_owned())
                .spawn(move || work_off(&queue))?;
        }
        Ok(Self { jobs })
    }

    /// Runs `job` on one of the threads. `None` when it panicked, or when more wait than may.
    pub(crate) async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, outcome) = oneshot::channel();
        let job = Box::new(move || {
            // Whoever asked may have gone away; the work was done all the same.
            drop(done.send(job()));
        });
        self.jobs.try_send(job).ok()?;
        outcome.await.ok()
    }
}

fn work_off(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A job that panics tells whoever waits by dropping its channel; the thread is there for the next one.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_leaves_its_thread_to_the_next() {
        let threads = HashingThreads::start(1, 4).unwrap();
        assert_eq!(threads.run(|| -> u32 { panic!("on purpose") }).await, None);
        assert_eq!(threads.run(|| 7).await, Some(7));
    }

    #[tokio::test]
    async fn no_more_jobs_wait_than_may() {
        let threads = HashingThreads::start(1, 1).unwrap();
        let (go, held) = std::sync::mpsc::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let first = threads.clone();
        let first = async move {
            first
                .run(move || {
                    begun.send(()).unwrap();
                    held.recv().unwrap();
                })
                .await
        };
        let rest = async {
            has_begun.await.unwrap();
            let second = threads.run(|| 2);
            let third = threads.run(|| 3);
            let (second, third, ()) = tokio::join!(second, third, async { go.send(()).unwrap() });
            (second, third)
        };
        let (first, (second, third)) = tokio::join!(first, rest);
        assert_eq!((first, second, third), (Some(()), Some(2), None));
    }
}
