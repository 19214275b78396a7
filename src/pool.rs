//! Threads for work that blocks or takes long: hashing, reading from the store. Bounded: what does not fit is refused
//! at once. Knows nothing of what it runs.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use prometheus::{IntCounter, IntGauge};
use rustix::process::setpriority_process;
use tokio::sync::oneshot;

use crate::kernel::fault::{Fault, Kind};

/// How far threads that give way go: a seventieth of the share of the others, where all want the processor. With a tenth (10)
/// or a thirtieth (15), those that answer often wait for the end of a slice. Not `SCHED_IDLE`: where nothing is left, sign-ins
/// would come to a stop, and with a thread that holds what others wait for, they would.
const NICENESS: i32 = 19;

/// Lets the calling thread give way to all others from now on.
pub fn give_way(name: &'static str) {
    // Linux takes the calling thread for the process here.
    if let Err(error) = setpriority_process(None, NICENESS) {
        tracing::warn!(name, %error, "a thread keeps its priority");
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads behind a bounded queue. Dropping the pool lets its threads finish what is queued.
#[derive(Debug)]
pub struct Pool {
    jobs: SyncSender<Job>,
    waiting: Option<IntGauge>,
    refusals: Option<IntCounter>,
}

/// Why a job gave no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The queue is full; the job was not started.
    #[error("too much work is waiting")]
    Full,
    /// The job panicked, or no thread is left to run it.
    #[error("the work was lost")]
    Lost,
}

impl Fault for PoolError {
    fn kind(&self) -> Kind {
        match self {
            Self::Full => Kind::Busy,
            Self::Lost => Kind::Bug,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Full => "pool-full",
            Self::Lost => "pool-job-lost",
        }
    }
}

impl Pool {
    /// Starts `threads` threads (0 is one per core) called `name`, before which at most `queue` jobs wait.
    ///
    /// # Errors
    /// When the operating system gives no more threads.
    pub fn new(name: &'static str, threads: usize, queue: usize) -> io::Result<Self> {
        Self::started(name, threads, queue, || {})
    }

    /// The same, for work that takes all the processor there is for long: its threads give way to the others, so that
    /// who asks for little does not wait for who asks for much. They still get a share of a machine that is busy.
    ///
    /// # Errors
    /// When the operating system gives no more threads.
    pub fn giving_way(name: &'static str, threads: usize, queue: usize) -> io::Result<Self> {
        Self::started(name, threads, queue, move || give_way(name))
    }

    fn started(
        name: &'static str,
        threads: usize,
        queue: usize,
        prepare: impl Fn() + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let (jobs, queued) = sync_channel(queue);
        let queued = Arc::new(Mutex::new(queued));
        for _ in 0..or_cores(threads) {
            let (queued, prepare) = (Arc::clone(&queued), prepare.clone());
            let run = move || {
                prepare();
                run_jobs(&queued);
            };
            thread::Builder::new().name(name.to_owned()).spawn(run)?;
        }
        Ok(Self { jobs, waiting: None, refusals: None })
    }

    /// Counts the jobs that wait and the jobs that were refused.
    #[must_use]
    pub fn counted(self, waiting: IntGauge, refusals: IntCounter) -> Self {
        Self { waiting: Some(waiting), refusals: Some(refusals), ..self }
    }

    /// Runs `work` on one of the threads. A caller that goes away before its job starts cancels it.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PoolError> {
        let (reply, result) = oneshot::channel();
        let place = Place::take(self.waiting.clone());
        let job = move || {
            drop(place);
            if !reply.is_closed() {
                // An error is the result of a caller who left meanwhile: nobody wants it.
                reply.send(work()).ok();
            }
        };
        self.jobs.try_send(Box::new(job)).map_err(|refused| self.refusal(&refused))?;
        result.await.map_err(|_| PoolError::Lost)
    }

    fn refusal(&self, refused: &TrySendError<Job>) -> PoolError {
        match refused {
            TrySendError::Full(_) => {
                self.refusals.iter().for_each(IntCounter::inc);
                PoolError::Full
            }
            TrySendError::Disconnected(_) => PoolError::Lost,
        }
    }
}

/// So many threads, or for 0 one per core.
pub fn or_cores(threads: usize) -> usize {
    if threads > 0 { threads } else { thread::available_parallelism().map_or(1, usize::from) }
}

/// Takes one job after another until the pool is dropped. A panic ends its job, not the thread; the hook set by
/// `telemetry` has logged it.
fn run_jobs(queued: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is released before the job runs.
        let next = queued.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        catch_unwind(AssertUnwindSafe(job)).ok();
    }
}

/// A job's place in the queue, counted as long as it is held.
struct Place(Option<IntGauge>);

impl Place {
    fn take(waiting: Option<IntGauge>) -> Self {
        waiting.iter().for_each(IntGauge::inc);
        Self(waiting)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.iter().for_each(IntGauge::dec);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use futures_util::FutureExt as _;
    use rustix::process::getpriority_process;

    use super::*;

    /// A pool of one thread with room for `queue` more jobs, and its figures.
    fn pool(queue: usize) -> (Arc<Pool>, IntGauge, IntCounter) {
        let waiting = IntGauge::new("waiting", "jobs").unwrap();
        let refusals = IntCounter::new("refusals", "jobs").unwrap();
        let pool = Pool::new("test", 1, queue).unwrap().counted(waiting.clone(), refusals.clone());
        (Arc::new(pool), waiting, refusals)
    }

    /// Occupies the pool's thread until the sender is used or dropped.
    async fn occupy(pool: &Arc<Pool>) -> (mpsc::Sender<()>, tokio::task::JoinHandle<Result<(), PoolError>>) {
        let (release, held) = mpsc::channel();
        let (started, has_started) = oneshot::channel();
        let pool = Arc::clone(pool);
        let job = tokio::spawn(async move {
            pool.run(move || {
                started.send(()).unwrap();
                held.recv().ok();
            })
            .await
        });
        has_started.await.unwrap();
        (release, job)
    }

    #[tokio::test]
    async fn work_comes_back_and_a_panic_ends_only_its_job() {
        let (pool, ..) = pool(4);
        assert_eq!(pool.run(|| 6 * 7).await, Ok(42));
        assert_eq!(pool.run(|| panic!("on purpose")).await, Err::<(), _>(PoolError::Lost));
        assert_eq!(pool.run(|| thread::current().name().map(str::to_owned)).await, Ok(Some("test".to_owned())));
    }

    #[tokio::test]
    async fn threads_give_way_where_they_are_told_to() {
        let own = getpriority_process(None).unwrap();
        let giving_way = Pool::giving_way("test", 1, 1).unwrap();
        assert_eq!(giving_way.run(|| getpriority_process(None)).await.unwrap(), Ok(NICENESS));
        assert_eq!(pool(1).0.run(|| getpriority_process(None)).await.unwrap(), Ok(own));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_is_counted() {
        let (pool, waiting, refusals) = pool(1);
        let (release, running) = occupy(&pool).await;
        let mut queued = Box::pin(pool.run(|| 1));
        assert_eq!(queued.as_mut().now_or_never(), None);
        assert_eq!(waiting.get(), 1);
        assert_eq!(pool.run(|| 2).await, Err(PoolError::Full));
        assert_eq!((waiting.get(), refusals.get()), (1, 1));
        release.send(()).unwrap();
        assert_eq!(queued.await, Ok(1));
        assert_eq!(running.await.unwrap(), Ok(()));
        assert_eq!(waiting.get(), 0);
    }

    #[tokio::test]
    async fn a_caller_that_leaves_cancels_its_queued_job() {
        let (pool, waiting, _) = pool(4);
        let (release, running) = occupy(&pool).await;
        let ran = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ran);
        assert_eq!(pool.run(move || flag.store(true, Ordering::SeqCst)).now_or_never(), None);
        release.send(()).unwrap();
        running.await.unwrap().unwrap();
        pool.run(|| ()).await.unwrap();
        assert!(!ran.load(Ordering::SeqCst));
        assert_eq!(waiting.get(), 0);
    }
}
