//! What every command works with: where the files are, and how to answer.

use std::future::Future;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use config::Paths;

use crate::output::Output;

/// Threads for disk work and hashing at most; the engine's own limits are tighter.
const BLOCKING_THREADS: usize = 32;

/// The surroundings of a command.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where configuration, locks and logs are.
    pub(crate) paths: Paths,
    /// Standard output.
    pub(crate) out: Output,
    /// The root that was given, if any.
    pub(crate) root: Option<PathBuf>,
    /// Whether the paths are below a root of the caller's own.
    pub(crate) own_root: bool,
}

impl Context {
    pub(crate) fn new(root: Option<PathBuf>, out: Output) -> Result<Self> {
        let Some(root) = root else { return Ok(Self { paths: Paths::system(), out, root: None, own_root: false }) };
        let root = std::path::absolute(&root).with_context(|| format!("cannot use {}", root.display()))?;
        Ok(Self { paths: Paths::under_root(&root), out, root: Some(root), own_root: true })
    }

    /// Starts the threads and runs `work` to its end. Commands that only read and write settings never call it.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .build()
            .context("cannot start the runtime")?;
        let result = runtime.block_on(work);
        // A thread that hangs in a read must not keep a cancelled command from ending.
        runtime.shutdown_background();
        result
    }
}
