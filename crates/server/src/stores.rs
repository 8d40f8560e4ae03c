//! The datastores of `datastore.cfg`, opened when first used.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use config::Paths;
use config::datastores::{DatastoreConfig, MaintenanceType};
use datastore::{Datastore, ManifestHashes, StoreConfig, SyncLevel};
use formats::StoreName;

use crate::http::error::ApiError;
use crate::stamp::Stamped;

/// What a datastore is wanted for; maintenance may allow one and not the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Reading only.
    Read,
    /// Changing something.
    Write,
}

/// The datastores.
pub(crate) struct Stores {
    paths: Paths,
    configured: Stamped<Vec<DatastoreConfig>>,
    open: Mutex<HashMap<StoreName, Opened>>,
    operations: Mutex<HashMap<StoreName, Arc<Operations>>>,
}

struct Opened {
    path: PathBuf,
    sync_level: SyncLevel,
    store: Datastore,
    manifests: Arc<ManifestHashes>,
}

/// Operations that run on a datastore.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    read: AtomicU64,
    write: AtomicU64,
}

impl Operations {
    /// How many read and how many write.
    pub(crate) fn counts(&self) -> api_types::ActiveOperations {
        api_types::ActiveOperations {
            read: self.read.load(Ordering::Relaxed),
            write: self.write.load(Ordering::Relaxed),
        }
    }
}

/// One operation that runs; counted until dropped.
pub(crate) struct Operation(Arc<Operations>, Purpose);

impl Operation {
    fn counter(&self) -> &AtomicU64 {
        match self.1 {
            Purpose::Read => &self.0.read,
            Purpose::Write => &self.0.write,
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        self.counter().fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stores {
    /// The datastores configured below `paths`.
    pub(crate) fn new(paths: Paths) -> Self {
        let file = paths.datastore_cfg();
        Self { paths, configured: Stamped::new(vec![file]), open: Mutex::default(), operations: Mutex::default() }
    }

    /// All configured datastores, sorted by name.
    pub(crate) fn configured(&self) -> Result<Arc<Vec<DatastoreConfig>>, ApiError> {
        self.configured.get(|| {
            let loaded = config::datastores::load(&self.paths)
                .map_err(|error| ApiError::internal(format!("cannot read the datastore configuration: {error}")))?;
            for problem in &loaded.problems {
                tracing::warn!(%problem, "datastore configuration");
            }
            let mut entries = loaded.entries;
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(entries)
        })
    }

    /// The configuration of one datastore.
    ///
    /// # Errors
    /// 400 when there is none of that name.
    pub(crate) fn config(&self, name: &StoreName) -> Result<DatastoreConfig, ApiError> {
        let found = self.configured()?.iter().find(|store| store.name == *name).cloned();
        found.ok_or_else(|| ApiError::bad_request(format!("no such datastore '{name}'")))
    }

    /// Opens a datastore for a purpose.
    ///
    /// # Errors
    /// 400 when there is none of that name, when its maintenance forbids the purpose, or when its directory is not one.
    pub(crate) fn open(&self, name: &StoreName, purpose: Purpose) -> Result<Datastore, ApiError> {
        let config = self.config(name)?;
        let broken =
            |error: &dyn std::fmt::Display| ApiError::internal(format!("configuration of datastore '{name}': {error}"));
        let maintenance = config.maintenance().map_err(|error| broken(&error))?;
        if let Some(maintenance) = maintenance
            && (maintenance.kind != MaintenanceType::ReadOnly || purpose == Purpose::Write)
        {
            let mode = config.maintenance_mode.as_deref().unwrap_or_default();
            return Err(ApiError::bad_request(format!("datastore '{name}' is in maintenance: {mode}")));
        }
        let tuning = config.tuning().map_err(|error| broken(&error))?;
        let sync_level = match tuning.sync_level {
            config::datastores::SyncLevel::None => SyncLevel::None,
            config::datastores::SyncLevel::File => SyncLevel::File,
            config::datastores::SyncLevel::Filesystem => SyncLevel::Filesystem,
        };
        let path = config.path.clone();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = open.get(name)
            && opened.path == path
            && opened.sync_level == sync_level
        {
            return Ok(opened.store.clone());
        }
        let store = Datastore::open(StoreConfig {
            name: name.clone(),
            path: path.clone(),
            locks: self.paths.locks(),
            sync_level,
        })?;
        let manifests = Arc::default();
        open.insert(name.clone(), Opened { path, sync_level, store: store.clone(), manifests });
        Ok(store)
    }

    /// What is remembered of the manifests of a datastore that was opened.
    pub(crate) fn manifests(&self, name: &StoreName) -> Arc<ManifestHashes> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(name).map(|opened| Arc::clone(&opened.manifests)).unwrap_or_default()
    }

    /// The operations that run on a datastore.
    pub(crate) fn operations(&self, name: &StoreName) -> Arc<Operations> {
        let mut all = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(name.clone()).or_default())
    }

    /// Counts an operation until the result is dropped.
    pub(crate) fn operation(&self, name: &StoreName, purpose: Purpose) -> Operation {
        let operation = Operation(self.operations(name), purpose);
        operation.counter().fetch_add(1, Ordering::Relaxed);
        operation
    }
}
