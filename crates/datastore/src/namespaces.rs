//! Namespaces: directories `ns/<name>`, each level below its own `ns`.

use formats::Namespace;

use crate::error::{DatastoreError, Result};
use crate::files::{self, EntryKind};
use crate::store::{Datastore, SyncLevel, follow};

impl Datastore {
    /// Lists `below` and the namespaces in it, at most `max_depth` levels deeper (0: `below` alone), parents before children.
    ///
    /// # Errors
    /// [`NamespaceMissing`](DatastoreError::NamespaceMissing), or a directory that cannot be read.
    pub fn namespaces(&self, below: &Namespace, max_depth: Option<usize>) -> Result<Vec<Namespace>> {
        self.require_namespace(below)?;
        let mut found = vec![below.clone()];
        self.collect_namespaces(below, max_depth.unwrap_or(Namespace::MAX_DEPTH), &mut found)?;
        Ok(found)
    }

    fn collect_namespaces(&self, parent: &Namespace, depth: usize, found: &mut Vec<Namespace>) -> Result<()> {
        if depth == 0 {
            return Ok(());
        }
        let dir = self.namespace_dir(parent).join("ns");
        let mut children: Vec<_> = files::list(&dir)?
            .unwrap_or_default()
            .into_iter()
            .filter(|(_, kind)| *kind == EntryKind::Dir)
            .filter_map(|(name, _)| parent.join(&name).ok())
            .collect();
        children.sort();
        for child in children {
            found.push(child.clone());
            self.collect_namespaces(&child, depth - 1, found)?;
        }
        Ok(())
    }

    /// Tells whether a namespace exists. The root namespace always does.
    ///
    /// # Errors
    /// When its directory cannot be looked at.
    pub fn namespace_exists(&self, ns: &Namespace) -> Result<bool> {
        // Only the way to the datastore itself may be a symbolic link.
        let dir = if ns.is_root() { follow(self.path()) } else { self.namespace_dir(ns) };
        files::dir_exists(&dir)
    }

    /// Makes the namespace `name` in an existing `parent`; one that exists is fine.
    ///
    /// # Errors
    /// A name that is none or a depth that is too great; a parent that does not exist.
    pub fn create_namespace(&self, parent: &Namespace, name: &str) -> Result<Namespace> {
        let ns = parent.join(name).map_err(|e| DatastoreError::Refused(e.to_string()))?;
        self.require_namespace(parent)?;
        let below = ns.dir_path();
        files::make_dirs(self.path(), &below, self.owner_of_files())?;
        if self.sync_level() != SyncLevel::None {
            let dir = self.namespace_dir(&ns);
            for made in dir.ancestors().skip(1).take(2) {
                files::sync_dir(made)?;
            }
        }
        Ok(ns)
    }

    /// Makes a namespace and all above it that do not exist yet.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub fn create_namespace_path(&self, ns: &Namespace) -> Result<()> {
        let mut parent = Namespace::root();
        for name in ns.components() {
            parent = self.create_namespace(&parent, name)?;
        }
        Ok(())
    }

    pub(crate) fn require_namespace(&self, ns: &Namespace) -> Result<()> {
        if self.namespace_exists(ns)? {
            return Ok(());
        }
        Err(DatastoreError::NamespaceMissing { store: self.name().to_string(), namespace: ns.clone() })
    }
}
