//! Named steps of everything that changes the disk.
//!
//! In the shipped program [`step`] is empty. Under test a hook sees each step before it happens and may end the process there,
//! which is how the crash tests die at every step in turn, and how the order of writes and syncs is checked.

#[cfg(any(test, feature = "fixtures"))]
mod hook {
    use std::cell::RefCell;
    use std::path::Path;

    /// Receives each step of the calling thread before it is taken.
    pub trait FaultPoint {
        /// Called with a verb ("rename", "sync file", ...) and the path that is about to change.
        ///
        /// # Errors
        /// An error returned here is what the step answers instead of happening.
        fn reach(&mut self, step: &'static str, path: &Path) -> std::io::Result<()>;
    }

    thread_local! {
        static HOOK: RefCell<Option<Box<dyn FaultPoint>>> = const { RefCell::new(None) };
    }

    /// Installs a hook for the calling thread; `None` takes it away.
    pub fn install(hook: Option<Box<dyn FaultPoint>>) {
        HOOK.with(|slot| *slot.borrow_mut() = hook);
    }

    pub(crate) fn step(step: &'static str, path: &Path) -> std::io::Result<()> {
        HOOK.with(|slot| match slot.borrow_mut().as_mut() {
            Some(hook) => hook.reach(step, path),
            None => Ok(()),
        })
    }
}

#[cfg(any(test, feature = "fixtures"))]
pub(crate) use hook::step;
#[cfg(any(test, feature = "fixtures"))]
pub use hook::{FaultPoint, install};

/// Does nothing: fault injection exists only under test.
#[cfg(not(any(test, feature = "fixtures")))]
#[inline(always)]
pub(crate) fn step(_step: &'static str, _path: &std::path::Path) -> std::io::Result<()> {
    Ok(())
}
