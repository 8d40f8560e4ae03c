//! Any permission file means what a plain reading of the rules says, before and after it is written anew.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::n;
use config::{
    AccessControl, ByteSize,
    acl::{Acl, AclPath, Privileges, Role},
};
use proptest::prelude::*;

/// One line with one identity and one role.
#[derive(Clone, Debug)]
struct Line {
    propagate: bool,
    path: &'static str,
    who: &'static str,
    role: Role,
}

const PATHS: [&str; 6] = ["/", "/datastore", "/datastore/main", "/datastore/main/a", "/datastore/main/a/b", "/remote"];
const WHO: [&str; 4] = ["a@pbs", "b@pbs", "a@pbs!t", "root@pam!t"];

fn lines() -> impl Strategy<Value = Vec<Line>> {
    let line = (
        any::<bool>(),
        prop::sample::select(&PATHS[..]),
        prop::sample::select(&WHO[..]),
        prop::sample::select(Role::ALL),
    )
        .prop_map(|(propagate, path, who, role)| Line { propagate, path, who, role });
    prop::collection::vec(line, 0..12)
}

fn file(lines: &[Line]) -> String {
    lines.iter().map(|l| format!("acl:{}:{}:{}:{}\n", u8::from(l.propagate), l.path, l.who, l.role)).collect()
}

/// What stands on one path for one identity, by the order of the lines.
fn standing(lines: &[Line], path: &str, who: &str) -> Vec<(Role, bool)> {
    let mut standing: Vec<(Role, bool)> = Vec::new();
    for line in lines.iter().filter(|line| line.path == path && line.who == who) {
        let alone = line.role == Role::NoAccess;
        standing.retain(|(role, _)| !alone && *role != Role::NoAccess && *role != line.role);
        standing.push((line.role, line.propagate));
    }
    standing
}

/// The rules, read plainly: from the path upwards, the first node that says something counts.
fn own(lines: &[Line], path: &str, who: &str) -> Privileges {
    let is_above = |above: &str| above == "/" || path == above || path.starts_with(&format!("{above}/"));
    let mut above: Vec<&str> = PATHS.into_iter().filter(|above| is_above(above)).collect();
    above.sort_by_key(|above| std::cmp::Reverse(above.len()));
    for node in above {
        let counting: Vec<_> =
            standing(lines, node, who).into_iter().filter(|(_, propagate)| *propagate || node == path).collect();
        if !counting.is_empty() {
            return counting.into_iter().fold(Privileges::NONE, |all, (role, _)| all | role.privileges());
        }
    }
    Privileges::NONE
}

fn expected(lines: &[Line], path: &str, who: &str) -> Privileges {
    match who {
        "root@pam!t" => own(lines, path, who),
        "a@pbs!t" => own(lines, path, who) & own(lines, path, "a@pbs"),
        _ => own(lines, path, who),
    }
}

proptest! {
    #[test]
    fn evaluation_agrees_with_the_plain_rules(lines in lines()) {
        let acl = Acl::parse(&file(&lines)).unwrap();
        let access = AccessControl { acl, ..AccessControl::superuser_only() };
        for path in PATHS {
            for who in WHO {
                let found = access.privileges(&n(who), &n::<AclPath>(path));
                prop_assert_eq!(found, expected(&lines, path, who), "{} on {}", who, path);
            }
        }
    }

    #[test]
    fn writing_changes_no_meaning(lines in lines()) {
        let acl = Acl::parse(&file(&lines)).unwrap();
        prop_assert_eq!(Acl::parse(&acl.to_text()).unwrap(), acl);
    }

    #[test]
    fn no_file_makes_it_panic(text in "(acl|:|[01]|/|a@pbs|,|Admin|\n|#|.){0,30}") {
        let _ = Acl::parse(&text);
    }

    #[test]
    fn no_size_makes_it_panic_and_every_number_of_bytes_reads_back(text in "[0-9a-zA-Z. +-]{0,12}", bytes in any::<u64>()) {
        let _ = text.parse::<ByteSize>();
        let size = ByteSize::from_bytes(bytes);
        prop_assert_eq!(size.to_string().parse::<ByteSize>().unwrap().bytes(), bytes);
    }
}
