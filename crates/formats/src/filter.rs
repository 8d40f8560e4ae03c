//! Group filters: which groups a job copies, lists or removes.

use std::fmt;
use std::str::FromStr;

use regex::Regex;

use crate::group::{BackupType, GroupId};
use crate::name_error::{NameError, serde_as_text};

/// What a filter does with the groups it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FilterAction {
    /// Only included groups are accepted, as soon as there is any including filter.
    Include,
    /// Excluded groups are never accepted.
    Exclude,
}

/// Which groups a filter matches.
#[derive(Debug, Clone)]
enum Pattern {
    Type(BackupType),
    Group(GroupId),
    Regex(Regex),
}

/// One filter: `[include:|exclude:]` and then `type:TYPE`, `group:TYPE/ID` or `regex:EXPRESSION`.
///
/// An expression is searched for, unanchored, in the text `type/id`. `include:` is the default and is not written.
#[derive(Debug, Clone)]
pub struct GroupFilter {
    action: FilterAction,
    pattern: Pattern,
}

impl GroupFilter {
    /// Returns what happens to the groups that match.
    pub fn action(&self) -> FilterAction {
        self.action
    }

    /// Tells whether `group` is one of those that the filter speaks of, whatever its action.
    pub fn matches(&self, group: &GroupId) -> bool {
        match &self.pattern {
            Pattern::Type(backup_type) => *backup_type == group.backup_type,
            Pattern::Group(only) => only == group,
            Pattern::Regex(regex) => regex.is_match(&group.to_string()),
        }
    }
}

impl FromStr for GroupFilter {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (action, rest) = match text.split_once(':') {
            Some(("include", rest)) => (FilterAction::Include, rest),
            Some(("exclude", rest)) => (FilterAction::Exclude, rest),
            _ => (FilterAction::Include, text),
        };
        let pattern = match rest.split_once(':') {
            Some(("type", backup_type)) => Pattern::Type(backup_type.parse()?),
            Some(("group", group)) => Pattern::Group(group.parse()?),
            Some(("regex", expression)) => Pattern::Regex(
                Regex::new(expression)
                    .map_err(|_| NameError::new("group filter", text, "is no valid regular expression"))?,
            ),
            _ => {
                let rule = "must be [include:|exclude:] and then type:, group: or regex:";
                return Err(NameError::new("group filter", text, rule));
            }
        };
        Ok(Self { action, pattern })
    }
}

impl fmt::Display for GroupFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.action == FilterAction::Exclude {
            f.write_str("exclude:")?;
        }
        match &self.pattern {
            Pattern::Type(backup_type) => write!(f, "type:{backup_type}"),
            Pattern::Group(group) => write!(f, "group:{group}"),
            Pattern::Regex(regex) => write!(f, "regex:{regex}"),
        }
    }
}

impl PartialEq for GroupFilter {
    fn eq(&self, other: &Self) -> bool {
        self.action == other.action
            && match (&self.pattern, &other.pattern) {
                (Pattern::Type(a), Pattern::Type(b)) => a == b,
                (Pattern::Group(a), Pattern::Group(b)) => a == b,
                (Pattern::Regex(a), Pattern::Regex(b)) => a.as_str() == b.as_str(),
                _ => false,
            }
    }
}

impl Eq for GroupFilter {}

serde_as_text!(GroupFilter);

/// All filters of a job. Their order has no meaning.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct FilterSet {
    filters: Vec<GroupFilter>,
}

impl FilterSet {
    /// Makes a set; without filters it accepts every group.
    pub fn new(filters: Vec<GroupFilter>) -> Self {
        Self { filters }
    }

    /// Tells whether there is no filter.
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Returns the filters as given.
    pub fn filters(&self) -> &[GroupFilter] {
        &self.filters
    }

    /// Decides on a group: accepted when no including filter exists or any matches, and no excluding one matches.
    pub fn accepts(&self, group: &GroupId) -> bool {
        let of = |action| self.filters.iter().filter(move |filter| filter.action == action);
        let mut includes = of(FilterAction::Include).peekable();
        let included = includes.peek().is_none() || includes.any(|filter| filter.matches(group));
        included && !of(FilterAction::Exclude).any(|filter| filter.matches(group))
    }
}

impl FromIterator<GroupFilter> for FilterSet {
    fn from_iter<I: IntoIterator<Item = GroupFilter>>(filters: I) -> Self {
        Self::new(filters.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(filters: &[&str]) -> Vec<&'static str> {
        let set: FilterSet = filters.iter().map(|text| text.parse().unwrap()).collect();
        let groups = ["ct/100", "host/alpha", "vm/100", "vm/1001"];
        groups.into_iter().filter(|group| set.accepts(&group.parse().unwrap())).collect()
    }

    #[test]
    fn without_including_filters_everything_but_the_excluded_is_accepted() {
        assert_eq!(accepted(&[]), ["ct/100", "host/alpha", "vm/100", "vm/1001"]);
        assert_eq!(accepted(&["exclude:type:vm"]), ["ct/100", "host/alpha"]);
    }

    #[test]
    fn any_including_filter_is_enough_and_any_excluding_one_wins() {
        assert_eq!(accepted(&["type:vm", "group:ct/100"]), ["ct/100", "vm/100", "vm/1001"]);
        assert_eq!(accepted(&["exclude:group:vm/100", "type:vm"]), ["vm/1001"]);
        assert_eq!(accepted(&["include:type:vm", "exclude:regex:."]), Vec::<&str>::new());
    }

    #[test]
    fn a_group_filter_is_exact_and_an_expression_is_searched() {
        assert_eq!(accepted(&["group:vm/100"]), ["vm/100"]);
        assert_eq!(accepted(&["regex:vm/100"]), ["vm/100", "vm/1001"]);
        assert_eq!(accepted(&["regex:^(ct|vm)/100$"]), ["ct/100", "vm/100"]);
    }

    #[test]
    fn include_is_dropped_and_exclude_kept_on_writing() {
        for (read, written) in [
            ("include:type:vm", "type:vm"),
            ("exclude:group:vm/100", "exclude:group:vm/100"),
            ("regex:a:b", "regex:a:b"),
            ("include:regex:regex:x", "regex:regex:x"),
        ] {
            assert_eq!(read.parse::<GroupFilter>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn malformed_filters_are_refused() {
        for bad in [
            "",
            "vm",
            "type:VM",
            "type:pod",
            "group:vm",
            "group:vm/../x",
            "regex:(",
            "regex:(?=x)",
            "only:type:vm",
            "include:",
        ] {
            assert!(bad.parse::<GroupFilter>().is_err(), "{bad:?}");
        }
    }
}
