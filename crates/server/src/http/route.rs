//! Matching of decoded path segments against patterns, and the tree the patterns span.

use http::Method;

/// Something that is reached by a method and a path pattern such as `admin/datastore/{store}/groups`.
pub(crate) trait Routed {
    /// Method it answers.
    fn method(&self) -> &Method;
    /// Its pattern; segments in braces match anything.
    fn pattern(&self) -> &'static str;
}

/// Finds the entry for a request and the values of its variable segments.
pub(crate) fn find<'table, R: Routed>(
    table: &'table [R],
    method: &Method,
    segments: &[String],
) -> Option<(&'table R, Vec<(&'static str, String)>)> {
    table.iter().filter(|route| route.method() == method).find_map(|route| {
        let variables = variables(route.pattern(), segments)?;
        Some((route, variables))
    })
}

fn variables(pattern: &'static str, segments: &[String]) -> Option<Vec<(&'static str, String)>> {
    let mut values = Vec::new();
    let mut rest = segments.iter();
    for part in parts(pattern) {
        let segment = rest.next()?;
        match variable(part) {
            Some(name) => values.push((name, segment.clone())),
            None if part == segment => {}
            None => return None,
        }
    }
    rest.next().is_none().then_some(values)
}

/// Names of the children of an inner node; `None` when no pattern goes through it.
pub(crate) fn children<R: Routed>(table: &[R], segments: &[String]) -> Option<Vec<&'static str>> {
    let mut children: Vec<&'static str> = Vec::new();
    let mut inner = false;
    for route in table {
        let mut pattern = parts(route.pattern());
        let through = segments
            .iter()
            .all(|segment| pattern.next().is_some_and(|part| part == segment || variable(part).is_some()));
        let Some(next) = pattern.next().filter(|_| through) else { continue };
        inner = true;
        if variable(next).is_none() {
            children.push(next);
        }
    }
    children.sort_unstable();
    children.dedup();
    inner.then_some(children)
}

fn parts(pattern: &'static str) -> impl Iterator<Item = &'static str> {
    pattern.split('/').filter(|part| !part.is_empty())
}

fn variable(part: &'static str) -> Option<&'static str> {
    part.strip_prefix('{')?.strip_suffix('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Entry(Method, &'static str);

    impl Routed for Entry {
        fn method(&self) -> &Method {
            &self.0
        }
        fn pattern(&self) -> &'static str {
            self.1
        }
    }

    fn table() -> Vec<Entry> {
        vec![
            Entry(Method::GET, "version"),
            Entry(Method::GET, "admin/datastore"),
            Entry(Method::GET, "admin/datastore/{store}/groups"),
            Entry(Method::DELETE, "admin/datastore/{store}/groups"),
        ]
    }

    fn path(text: &str) -> Vec<String> {
        text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn variables_are_taken_from_their_segments() {
        let table = table();
        let (route, variables) = find(&table, &Method::DELETE, &path("admin/datastore/a/groups")).unwrap();
        assert_eq!(route.1, "admin/datastore/{store}/groups");
        assert_eq!(variables, [("store", "a".to_owned())]);
        assert!(find(&table, &Method::PUT, &path("admin/datastore/a/groups")).is_none());
        assert!(find(&table, &Method::GET, &path("admin/datastore/a")).is_none());
    }

    #[test]
    fn inner_nodes_list_their_children() {
        let table = table();
        assert_eq!(children(&table, &path("")), Some(vec!["admin", "version"]));
        assert_eq!(children(&table, &path("admin/datastore/x")), Some(vec!["groups"]));
        assert_eq!(children(&table, &path("admin/datastore/x/groups")), None);
        assert_eq!(children(&table, &path("nothing")), None);
    }
}
