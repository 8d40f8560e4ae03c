//! What all connections share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use config::Paths;
use tasks::TaskStore;
use tokio::sync::Semaphore;

use crate::auth::directory::Directory;
use crate::auth::keys::Keys;
use crate::auth::token::Remembered;
use crate::budget::Budget;
use crate::http::error::ApiError;
use crate::scheduler_command::SchedulerCommand;
use crate::settings::Settings;
use crate::stores::Stores;
use crate::tracker::{AllDone, Tracker};
use crate::vouch::Vouchers;

/// What all connections share.
pub(crate) struct State {
    /// Limits.
    pub(crate) settings: Settings,
    /// What still runs.
    pub(crate) tracker: Tracker,
    /// Secrets of tickets.
    pub(crate) keys: Keys,
    /// Users, tokens and privileges.
    pub(crate) directory: Directory,
    /// Token secrets that were right a moment ago.
    pub(crate) tokens: Remembered,
    /// Where everything lives.
    pub(crate) paths: Paths,
    /// The datastores.
    pub(crate) stores: Stores,
    /// What this host does and did.
    pub(crate) tasks: TaskStore,
    /// Starts the scheduler where nobody else does when a run is asked for.
    pub(crate) scheduler: Option<SchedulerCommand>,
    /// Which chunks may be named without sending them.
    pub(crate) vouchers: Vouchers,
    /// Memory for uploads.
    pub(crate) uploads: Budget,
    /// Places for work that keeps a core busy.
    cores: Arc<Semaphore>,
    /// Places for answers that are held back.
    delays: Semaphore,
    /// Sessions that run.
    pub(crate) sessions: Arc<AtomicUsize>,
    next_session: AtomicU64,
}

impl State {
    /// Loads what is needed and makes what is missing.
    pub(crate) fn new(paths: Paths, settings: Settings) -> Result<(Self, AllDone), config::ConfigError> {
        let (tracker, done) = Tracker::new();
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let state = Self {
            keys: Keys::new(&config::keys::auth_key(&paths)?, &config::keys::csrf_key(&paths)?),
            directory: Directory::new(paths.clone()),
            tokens: Remembered::default(),
            stores: Stores::new(paths.clone()),
            tasks: TaskStore::new(&paths),
            scheduler: None,
            paths,
            vouchers: Vouchers::new(settings.known_chunks_memory),
            uploads: Budget::new(settings.upload_budget),
            cores: Arc::new(Semaphore::new(cores)),
            delays: Semaphore::new(settings.max_delayed),
            sessions: Arc::default(),
            next_session: AtomicU64::new(1),
            settings,
            tracker,
        };
        Ok((state, done))
    }

    /// Runs file system work away from the connections.
    ///
    /// The work is waited for at the shutdown even when its caller is gone.
    pub(crate) async fn blocking<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let running = self.tracker.running();
        let task = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(running);
            result
        });
        task.await.map_err(|error| ApiError::internal(format!("work on the datastore broke off: {error}")))
    }

    /// Like [`State::blocking`] for work that keeps a core busy: never more of it at once than there are cores.
    pub(crate) async fn compute<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let place = Arc::clone(&self.cores).acquire_owned().await;
        self.blocking(move || {
            let result = work();
            drop(place);
            result
        })
        .await
    }

    /// Holds an answer back as long as its error asks for, without holding up anything else.
    pub(crate) async fn hold_back(&self, error: &ApiError) {
        let Some(delay) = error.delay else { return };
        let place = self.delays.acquire().await;
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = self.tracker.stopped() => {}
        }
        drop(place);
    }

    /// Takes a place for a session.
    ///
    /// # Errors
    /// 400 when as many run as may.
    pub(crate) fn session_place(&self) -> Result<SessionPlace, ApiError> {
        let place = SessionPlace(Arc::clone(&self.sessions));
        if self.sessions.fetch_add(1, Ordering::Relaxed) < self.settings.max_sessions {
            return Ok(place);
        }
        Err(ApiError::bad_request("too many sessions run already, try again later"))
    }

    /// A number of its own for a session.
    pub(crate) fn session_number(&self) -> u64 {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }
}

/// A place for a session, given back when dropped.
pub(crate) struct SessionPlace(Arc<AtomicUsize>);

impl Drop for SessionPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
