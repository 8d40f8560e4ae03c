//! Namespaces: the tree of rooms that groups live in.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::name_error::{NAME_MAX, NameError, SAFE_ID_RULE, is_safe_id, serde_as_text};

/// A place in the tree of namespaces: safe ids joined with `/`, the empty text for the root.
///
/// At most [`Namespace::MAX_DEPTH`] components and [`Namespace::MAX_LENGTH`] characters. The order is bytewise on the
/// text, so a parent comes before everything below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Namespace(String);

impl Namespace {
    /// Most components a namespace has.
    pub const MAX_DEPTH: usize = 7;
    /// Most characters of the text form.
    pub const MAX_LENGTH: usize = 256;

    /// Returns the root namespace.
    pub fn root() -> Self {
        Self::default()
    }

    /// Tells whether this is the root namespace.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of components, 0 for the root.
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// Returns the components from the top down, none for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|component| !component.is_empty())
    }

    /// Returns the last component, `None` for the root.
    pub fn name(&self) -> Option<&str> {
        self.components().next_back()
    }

    /// Returns the namespace above, `None` for the root.
    pub fn parent(&self) -> Option<Namespace> {
        match self.0.rfind('/') {
            Some(slash) => Some(Self(self.0[..slash].to_owned())),
            None if self.is_root() => None,
            None => Some(Self::root()),
        }
    }

    /// Returns the child named `component`.
    ///
    /// # Errors
    /// When `component` is no safe id, or the child would be too deep or too long.
    pub fn join(&self, component: &str) -> Result<Namespace, NameError> {
        let whole = || if self.is_root() { component.to_owned() } else { format!("{}/{component}", self.0) };
        if !is_safe_id(component) {
            return Err(NameError::new("namespace component", component, SAFE_ID_RULE));
        }
        if self.depth() >= Self::MAX_DEPTH {
            return Err(NameError::new("namespace", &whole(), "must have at most 7 components"));
        }
        if component.len() > NAME_MAX || self.0.len() + component.len() + 1 > Self::MAX_LENGTH {
            return Err(NameError::new("namespace", &whole(), "must have at most 256 characters, 255 per component"));
        }
        Ok(Self(whole()))
    }

    /// Returns the directory of this namespace below the datastore: `ns/a/ns/b` for `a/b`, empty for the root.
    pub fn dir_path(&self) -> PathBuf {
        self.components().fold(PathBuf::new(), |path, component| path.join("ns").join(component))
    }

    /// Returns the name of this namespace's lock directory: components joined with `:`, empty for the root.
    pub fn lock_dir(&self) -> String {
        self.0.replace('/', ":")
    }

    /// Tells whether `other` is this namespace or lies below it.
    pub fn contains(&self, other: &Namespace) -> bool {
        self.strip(other).is_some()
    }

    /// Returns `other` seen from here (the root when both are equal), `None` when it does not lie here.
    pub fn relative(&self, other: &Namespace) -> Option<Namespace> {
        self.strip(other).map(|rest| Namespace(rest.to_owned()))
    }

    /// Returns this namespace, which lies at or below `from`, moved to the same place below `to`.
    ///
    /// # Errors
    /// When it does not lie below `from`, or the result would be too deep or too long.
    pub fn map_prefix(&self, from: &Namespace, to: &Namespace) -> Result<Namespace, NameError> {
        let Some(rest) = from.relative(self) else {
            return Err(NameError::new("namespace", &self.0, "does not lie below the namespace it is mapped from"));
        };
        rest.components().try_fold(to.clone(), |namespace, component| namespace.join(component))
    }

    /// Returns the text form, empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn strip<'a>(&self, other: &'a Namespace) -> Option<&'a str> {
        if self.is_root() {
            return Some(&other.0);
        }
        let rest = other.0.strip_prefix(&self.0)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }
}

impl FromStr for Namespace {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Ok(Self::root());
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(NameError::new("namespace", text, "must have at most 256 characters"));
        }
        text.split('/').try_fold(Self::root(), |namespace, component| namespace.join(component))
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

serde_as_text!(Namespace);

#[cfg(test)]
mod tests {
    use super::*;

    fn ns(text: &str) -> Namespace {
        text.parse().unwrap()
    }

    #[test]
    fn every_component_is_a_directory_below_its_own_ns() {
        assert_eq!(ns("a/b").dir_path(), PathBuf::from("ns/a/ns/b"));
        assert_eq!(Namespace::root().dir_path(), PathBuf::new());
        assert_eq!(ns("x/y").lock_dir(), "x:y");
    }

    #[test]
    fn seven_components_pass_and_eight_do_not() {
        assert_eq!(ns("1/2/3/4/5/6/7").depth(), 7);
        assert!("1/2/3/4/5/6/7/8".parse::<Namespace>().is_err());
    }

    #[test]
    fn the_length_limit_counts_the_slashes() {
        let first = "x".repeat(255);
        assert_eq!(ns(&first).depth(), 1);
        assert!("x".repeat(256).parse::<Namespace>().is_err());

        let whole = format!("{}/{}", "x".repeat(100), "y".repeat(155));
        assert_eq!(ns(&whole).as_str().len(), 256);
        assert!(format!("{whole}y").parse::<Namespace>().is_err());
    }

    #[test]
    fn paths_out_of_the_tree_are_refused() {
        for bad in ["/", "a/", "/a", "a//b", "..", "a/../b", ".hidden", "a b", "a\0"] {
            assert!(bad.parse::<Namespace>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_namespace_contains_itself_and_what_is_below_but_no_longer_name() {
        assert!(ns("a").contains(&ns("a")) && ns("a").contains(&ns("a/b")) && ns("").contains(&ns("a")));
        assert!(!ns("a").contains(&ns("ab")) && !ns("a/b").contains(&ns("a")));
        assert_eq!(ns("a").relative(&ns("a/b/c")), Some(ns("b/c")));
    }

    #[test]
    fn mapping_keeps_the_place_below_the_anchor() {
        assert_eq!(ns("a/b/c").map_prefix(&ns("a"), &ns("x/y")).unwrap(), ns("x/y/b/c"));
        assert_eq!(ns("a").map_prefix(&ns("a"), &ns("")).unwrap(), ns(""));
        assert!(ns("ab").map_prefix(&ns("a"), &ns("x")).is_err());
        assert!(ns("1/2/3/4").map_prefix(&ns(""), &ns("a/b/c/d")).is_err());
    }

    #[test]
    fn parents_go_up_to_the_root_and_end_there() {
        assert_eq!(ns("a/b").parent(), Some(ns("a")));
        assert_eq!(ns("a").parent(), Some(ns("")));
        assert_eq!(ns("").parent(), None);
        assert_eq!(ns("a/b").name(), Some("b"));
    }
}
