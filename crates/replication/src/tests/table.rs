//! The rules of a job, one row each: job, source, target, and the plan that comes of them.
//!
//! T with a number is a trap of the stock server that the row keeps us out of.

use std::collections::BTreeSet;

use formats::{Namespace, SnapshotId};

use super::notation::{inventory, job};
use crate::explain::{Explained, think};
use crate::planner::{Verdict, map_namespace};
use crate::{Inventory, JobOptions, Rule, plan};

/// What it is about; the job; the source; the target; the plan, whose lines are separated by a slash.
type Row = [&'static str; 5];

fn rows() -> impl Iterator<Item = Row> {
    let lines = [COPYING, CHOOSING, NAMESPACES, REMOVING, IN_STEP, MOVING].into_iter().flat_map(str::lines);
    lines.filter(|line| !line.is_empty()).map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        Row::try_from(cells).unwrap_or_else(|cells| panic!("not five cells: {cells:?}"))
    })
}

const COPYING: &str = r#"
an empty target gets everything | pull | vm/1: 1 2 3 | | vm/1: copy 1 2 3
what is new is copied, the newest looked at again | pull | vm/1: 1 2 3 4 | vm/1: 1 2 | vm/1: skip 1, refresh 2, copy 3 4
a push does not look again | push | vm/1: 1 2 3 | vm/1: 1 2 | vm/1: skip 1 2, copy 3
T21 what is older is skipped though it is missing | pull | vm/1: 1 2 3 | vm/1: 2 | vm/1: skip 1 (older), refresh 2, copy 3
older than a newest that the source does not have | pull | vm/1: 1 2 | vm/1: 5 | vm/1: skip 1 2 (older)
T21 gaps are filled on request | pull gaps | vm/1: 1 2 3 4 | vm/1: 2 | vm/1: copy 1 (gap), refresh 2, copy 3 4
a gap is one that was never finished, too | pull gaps | vm/1: 1 2 | vm/1: 1~ 5 | vm/1: copy 1 2 (gap)
a remote takes nothing older | push gaps | vm/1: 1 2 | vm/1: 2 | vm/1: skip 1 (older), skip 2
T39 an unfinished one holds nothing up | pull | vm/1: 1 2 | vm/1: 1 9~ | vm/1: refresh 1, copy 2
T39 nor does it on push | push | vm/1: 1 2 | vm/1: 1 9~ | vm/1: skip 1, copy 2
T33 one that broke off goes on | pull | vm/1: 1 2 | vm/1: 1 2~ | vm/1: refresh 1, copy 2
the source still writes it | pull | vm/1: 1 2~ 3 | | vm/1: copy 1, skip 2 (unfinished), copy 3
T42 what cannot be read is an error | pull | vm/1: 1 2? 3 | | vm/1: copy 1, skip 2 (unreadable), copy 3 / error vm/1/1970-01-01T00:00:02Z
T42 on push as well | push | vm/1: 1 2? | | vm/1: copy 1, skip 2 (unreadable) / error vm/1/1970-01-01T00:00:02Z
an old one that cannot be read is nobody's concern | pull | vm/1: 1? 2 | vm/1: 2 | vm/1: skip 1 (unreadable), refresh 2
but with gaps it is | pull gaps | vm/1: 1? 2 | vm/1: 2 | vm/1: skip 1 (unreadable), refresh 2 / error vm/1/1970-01-01T00:00:01Z
a copy that cannot be read is mended when it is the newest | pull | vm/1: 1 2 | vm/1: 1 2? | vm/1: skip 1, refresh 2
"#;

const CHOOSING: &str = r#"
transfer-last counts positions | pull last=2 | vm/1: 1 2 3 4 | | vm/1: skip 1 2 (transfer-last), copy 3 4
it never leaves the newest at the target out | pull last=1 | vm/1: 1 2 3 4 | vm/1: 2 | vm/1: skip 1 (older), refresh 2, skip 3 (transfer-last), copy 4
more than there are | pull last=9 | vm/1: 1 2 | | vm/1: copy 1 2
what is not to choose from does not count | pull last=1 | vm/1: 1 2~ | | vm/1: copy 1, skip 2 (unfinished)
nor what another filter leaves out | pull last=1 verified-only | vm/1: 1v 2v 3 | | vm/1: skip 1 (transfer-last), copy 2, skip 3 (not verified)
gaps as far as transfer-last goes | pull gaps last=2 | vm/1: 1 2 3 | vm/1: 3 | vm/1: skip 1 (transfer-last), copy 2 (gap), refresh 3
verified-only | pull verified-only | vm/1: 1v 2 3f 4v | | vm/1: copy 1, skip 2 3 (not verified), copy 4
verified-only fills gaps with verified ones | pull gaps verified-only | vm/1: 1 2v 3v | vm/1: 3 | vm/1: skip 1 (not verified), copy 2 (gap), refresh 3
encrypted-only | pull encrypted-only | vm/1: 1e 2 3e | | vm/1: copy 1, skip 2 (not encrypted), copy 3
both on push | push verified-only encrypted-only | vm/1: 1e 2v 3ev | | vm/1: skip 1 (not verified), skip 2 (not encrypted), copy 3
resync-corrupt takes damaged copies again | pull resync | vm/1: 1 2 3 | vm/1: 1f 2? 3 | vm/1: copy 1 2 (corrupt), refresh 3
the newest, too | pull resync | vm/1: 1 2 | vm/1: 1 2f | vm/1: skip 1, copy 2 (corrupt)
whatever transfer-last says | pull resync last=1 | vm/1: 1 2 | vm/1: 1f 2 | vm/1: copy 1 (corrupt), refresh 2
not unasked | pull | vm/1: 1 2 | vm/1: 1f 2 | vm/1: skip 1, refresh 2
T5 never on push | push resync | vm/1: 1 2 | vm/1: 1f 2f | vm/1: skip 1 2
not what the source lost | pull resync | vm/1: 2 | vm/1: 1f 2 | vm/1: refresh 2
excluded groups are not looked at | pull filter=exclude:type:vm | vm/1: 1; ct/1: 1 | | ct/1: copy 1
an exclusion wins, in any order | pull filter=type:vm filter=exclude:group:vm/2 | vm/1: 1; vm/2: 1; ct/1: 1 | | vm/1: copy 1
a regular expression looks at type and id | pull filter=regex:^vm/.$ | vm/1: 1; vm/22: 1; ct/1: 1 | | vm/1: copy 1
T28 a group of another owner is an error | pull | vm/1: 1; ct/1: 1 | vm/1 @bob@pbs: 1 | ct/1: copy 1 / error vm/1
T28 user and token are two identities | pull | vm/1: 1 | vm/1 @root@pam!t-1: 1 | error vm/1
T41 also on push | push | vm/1: 1; ct/1: 1 | vm/1 @bob@pbs: 1 | ct/1: copy 1 / error vm/1
a group whose list fails is an error, the others go on | pull | vm/1: !; ct/1: 1 | | ct/1: copy 1 / error vm/1
"#;

const NAMESPACES: &str = r#"
missing namespaces are made | pull | a vm/1: 1; a/b vm/2: 1 | a vm/1: 1 | a vm/1: refresh 1 / create a/b / a/b vm/2: copy 1
T30 with the anchor and below it | pull from=x to=t/u | x vm/1: 1; x/y vm/2: 1; z vm/3: 1 | | create t/u / t/u vm/1: copy 1 / create t/u/y / t/u/y vm/2: copy 1
T30 on push | push to=t/u | vm/1: 1 | | create t/u / t/u vm/1: copy 1
max-depth 0 is the anchor alone | pull depth=0 | vm/1: 1; a vm/2: 1 | | vm/1: copy 1
max-depth counts from the anchor | pull from=x depth=1 | x vm/1: 1; x/y vm/2: 1; x/y/z vm/3: 1 | | vm/1: copy 1 / create y / y vm/2: copy 1
T10 eight levels are refused before any work | pull to=1/2/3/4/5 | vm/1: 1; a/b vm/2: 1; a/b/c vm/3: 1 | | error namespace `a/b/c`
"#;

const REMOVING: &str = r#"
nothing is removed unasked | pull | vm/1: 3 | vm/1: 1 2p 3; vm/2: 1; a vm/3: 1 | vm/1: refresh 3
vanished ones go, protected ones stay | pull mirror | vm/1: 3 | vm/1: 1 2p 3 4 | vm/1: remove 1, keep 2 (protected), refresh 3, remove 4
somebody may be writing it | pull mirror | vm/1: 3 | vm/1: 3 4~ | vm/1: refresh 3, keep 4 (unfinished)
what is about to go holds nothing up | pull mirror | vm/1: 1 2 | vm/1: 9 | vm/1: copy 1 2, remove 9
what stays does | pull mirror | vm/1: 1 2 | vm/1: 9p | vm/1: skip 1 2 (older), keep 9 (protected)
a remote refuses older ones until it is gone | push mirror | vm/1: 1 2 | vm/1: 9 | vm/1: skip 1 2 (older), remove 9
T22 what cannot be read is there | pull mirror | vm/1: 1? 2 | vm/1: 1 2 | vm/1: skip 1 (unreadable), refresh 2
T22 what is unfinished is there | pull mirror | vm/1: 1~ 2 | vm/1: 1 2 | vm/1: skip 1, refresh 2
T23 a lost verification is no absence | pull mirror verified-only | vm/1: 1 2v | vm/1: 1 2 | vm/1: skip 1, refresh 2
T23 nor is a plain one | pull mirror encrypted-only | vm/1: 1 2 | vm/1: 1 2 | vm/1: skip 1 2
T23 nor one that transfer-last leaves out | push mirror last=1 | vm/1: 1 2 3 | vm/1: 1 2 3 | vm/1: skip 1 2 3
the group filter holds at the target | pull mirror filter=type:ct | vm/1: 1; ct/1: 1 | vm/1: 1 7; ct/1: 1 | ct/1: refresh 1
T24 a group without snapshots proves nothing | pull mirror | vm/1:; ct/1: 1 | vm/1: 1 2; ct/1: 1 | ct/1: refresh 1
T24 a source without groups proves nothing | pull mirror | | vm/1: 1 | 
T24 nor does a namespace without groups | pull mirror | a ct/1: 1 | vm/1: 1; a ct/1: 1 | a ct/1: refresh 1
T24 after a failed list no namespace goes | pull mirror | vm/1: !; ct/1: 1 | vm/1: 1; b ct/1: 1 | ct/1: copy 1 / error vm/1
vanished groups go | pull mirror | vm/1: 1 | vm/1: 1; vm/2: 1 | vm/1: refresh 1 / vm/2: remove all
but for protected ones | pull mirror | vm/1: 1 | vm/1: 1; vm/2: 1p 2 | vm/1: refresh 1 / vm/2: keep all (protected)
and those somebody writes in | pull mirror | vm/1: 1 | vm/1: 1; vm/2: 1~ | vm/1: refresh 1 / vm/2: keep all (unfinished)
and those of others | pull mirror | vm/1: 1 | vm/1: 1; vm/2 @bob@pbs: 1 | vm/1: refresh 1 / vm/2: keep all (other owner)
and those outside the filter | pull mirror filter=type:ct | ct/1: 1 | ct/1: 1; vm/2: 1 | ct/1: refresh 1 / vm/2: keep all (filtered)
and those whose list failed | pull mirror | vm/1: 1 | vm/1: 1; vm/2: ! | vm/1: refresh 1 / vm/2: keep all (unknown)
a token's group counts as its user's on pull | pull mirror | vm/1: 1 | vm/1: 1; vm/2 @root@pam!t-1: 1 | vm/1: refresh 1 / vm/2: remove all
T44 a push removes what the very same identity owns | push mirror | vm/1: 1 | vm/1: 1; vm/2 @root@pam!t-1: 1 | vm/1: skip 1 / vm/2: keep all (other owner)
vanished namespaces go, deepest first | pull mirror | vm/1: 1 | vm/1: 1; a vm/2: 1; a/b vm/3: 1; c | vm/1: refresh 1 / a/b vm/3: remove all / remove a/b / a vm/2: remove all / remove a / remove c
T25 groups of others keep them | pull mirror | vm/1: 1 | vm/1: 1; a; a/b vm/3 @bob@pbs: 1 | vm/1: refresh 1 / a/b vm/3: keep all (other owner) / keep a/b (other owner) / keep a (not empty)
T25 groups outside the filter keep them | push mirror filter=type:vm | vm/1: 1 | vm/1: 1; a ct/3: 1 | vm/1: skip 1 / a ct/3: keep all (filtered) / keep a (filtered)
so do namespaces in them that stay | pull mirror | vm/1: 1; a/b | vm/1: 1; a; a/b | vm/1: refresh 1 / keep a (not empty)
none outside the anchor goes | pull mirror to=t | vm/1: 1 | t vm/1: 1; t/a; u | t vm/1: refresh 1 / remove t/a
none below max-depth goes | pull mirror depth=1 | vm/1: 1 | vm/1: 1; a/b; c | vm/1: refresh 1 / remove c
T24 too many keep everything | pull mirror | vm/1: 7 8 | vm/1: 1 2 3 4 5 6 7 | vm/1: keep 1 2 3 4 5 6 (max-removals), refresh 7, copy 8
T24 wherever they are | pull mirror | vm/1: 1 | vm/1: 1; vm/2: 1 2 3p 4; a vm/3: 1 2 3 4 | vm/1: refresh 1 / vm/2: keep all (max-removals) / a vm/3: keep all (max-removals) / keep a (max-removals)
five go by default | pull mirror | vm/1: 6 | vm/1: 1 2 3 4 5 6 | vm/1: remove 1 2 3 4 5, refresh 6
a number holds them | pull mirror max=1 | vm/1: 3 | vm/1: 1 2 3 | vm/1: keep 1 2 (max-removals), refresh 3
up to it they go | pull mirror max=2 | vm/1: 3 | vm/1: 1 2 3 | vm/1: remove 1 2, refresh 3
a percentage holds them | pull mirror max=49% | vm/1: 2 3 | vm/1: 1 2 | vm/1: keep 1 (max-removals), refresh 2, copy 3
up to it they go | push mirror max=50% | vm/1: 2 3 | vm/1: 1 2 | vm/1: remove 1, skip 2, copy 3
one run may be allowed any number | pull mirror max=0 allow | vm/1: 3 | vm/1: 1 2 3; vm/2: 1 | vm/1: remove 1 2, refresh 3 / vm/2: remove all
only what the job is about counts | pull mirror max=50% filter=type:vm | vm/1: 3 | vm/1: 1 2 3; ct/1: 1 2 3 4 5 6 7 8 9 | vm/1: keep 1 2 (max-removals), refresh 3 / ct/1: keep all (filtered)
protected ones do not count, those beside them go | pull mirror max=1 | vm/1: 1 | vm/1: 1; vm/2: 1p 2p 3 | vm/1: refresh 1 / vm/2: keep all (protected)
or are held | pull mirror max=0 | vm/1: 1 | vm/1: 1; vm/2: 1p 2p 3 | vm/1: refresh 1 / vm/2: keep all (max-removals)
"#;

const IN_STEP: &str = r#"
T32 notes and protection stay apart unasked | pull | vm/1 "notes": 1np 2np | vm/1: 1 2 | vm/1: skip 1, refresh 2
T32 they follow on request | pull sync-metadata | vm/1: 1n 2np 3p | vm/1: 1 2m 3 | vm/1: update+notes 1, update+notes+protect 2, refresh+protect 3
in both ways | pull sync-metadata | vm/1: 1 2n 3 | vm/1: 1np 2n 3 | vm/1: update+notes+unprotect 1, skip 2, refresh 3
on push all are compared by their lists | push sync-metadata | vm/1: 1n 2p | vm/1: 1 2 | vm/1: update+notes 1, update+protect 2
a new copy has its notes and lacks protection | pull sync-metadata | vm/1: 1np | | vm/1: copy+protect 1
a mended one keeps its protection | pull sync-metadata resync | vm/1: 1 2p 3 | vm/1: 1fp 2fp 3 | vm/1: copy+unprotect 1 (corrupt), copy 2 (corrupt), refresh 3
also those that a filter leaves out | pull sync-metadata verified-only | vm/1: 1n 2v | vm/1: 1 2 | vm/1: update+notes 1, refresh 2
not what cannot be read at either end | pull sync-metadata | vm/1: 1?p 2p 3 | vm/1: 1 2? 3 | vm/1: skip 1 (unreadable), skip 2, refresh 3
nor what is unfinished | push sync-metadata | vm/1: 1~p 2 | vm/1: 1n 2~ 3 | vm/1: skip 1, skip 2 (older)
not what only one end has | pull sync-metadata | vm/1: 1p 3 | vm/1: 2p 3 | vm/1: skip 1 (older), refresh 3
notes of groups follow | pull sync-metadata | vm/1 "new": 1; ct/1 "kept": 1 | vm/1 "old": 1; ct/1 "kept": 1 | vm/1: refresh 1, notes / ct/1: refresh 1
also to a group that is made | push sync-metadata | vm/1 "new": 1; ct/1 "none": 1~ | | vm/1: copy 1, notes / ct/1: skip 1 (unfinished)
not to a group that goes | pull mirror sync-metadata | vm/1 "new": 1~; ct/1: 1 | vm/1: 2; ct/1: 1 | vm/1: skip 1 (unfinished), remove 2 / ct/1: refresh 1
never to a group of somebody else | push sync-metadata | vm/1 "new": 1p | vm/1 @bob@pbs: 1 | error vm/1
"#;

const MOVING: &str = r#"
what is copied is moved | pull move | vm/1: 1 2 | | vm/1: copy+move 1 2
what an earlier run copied is moved | pull move | vm/1: 1 2 3 | vm/1: 1 2 | vm/1: skip+move 1, refresh+move 2, copy+move 3
on push, too | push move | vm/1: 1 2 | vm/1: 1 | vm/1: skip+move 1, copy+move 2
protected ones are copied and stay | pull move | vm/1: 1p 2p 3 | vm/1: 1 | vm/1: refresh 1 (stays: protected), copy 2 (stays: protected), copy+move 3
what the target lacks stays | pull move | vm/1: 1 2~ 3? 4 | vm/1: 4 | vm/1: skip 1 (older), skip 2 (unfinished), skip 3 (unreadable), refresh+move 4
what a filter leaves out stays, also where it was copied before | pull move verified-only | vm/1: 1 2v 3 | vm/1: 1 | vm/1: skip 1 (stays: not verified), copy+move 2, skip 3 (not verified)
encrypted-only likewise | push move encrypted-only | vm/1: 1 2e | vm/1: 1 | vm/1: skip 1 (stays: not encrypted), copy+move 2
transfer-last likewise | pull move last=2 | vm/1: 1 2 3 | vm/1: 1 | vm/1: refresh 1 (stays: transfer-last), copy+move 2 3
and counts what was moved before | pull move gaps last=2 | vm/1: 1 | vm/1: 2 3 | vm/1: skip 1 (transfer-last)
groups outside the filter stay | pull move filter=type:ct | vm/1: 1; ct/1: 1 | vm/1: 1 | ct/1: copy+move 1
damaged copies are mended first | pull move resync | vm/1: 1 2 | vm/1: 1f 2 | vm/1: copy+move 1 (corrupt), refresh+move 2
nothing is removed at the target | pull move | vm/1: 3 | vm/1: 1 2 3; vm/2: 1 | vm/1: refresh+move 3
an update is moved as well | push move sync-metadata | vm/1: 1n 2p | vm/1: 1 2 | vm/1: update+notes+move 1, update+protect 2 (stays: protected)
a group's notes go along | pull move | vm/1 "old": 1 | vm/1: 1 | vm/1: refresh+move 1, notes
unless the target has its own | pull move | vm/1 "old": 1 | vm/1 "own": 1 | vm/1: refresh+move 1
a copy job takes none | pull | vm/1 "old": 1 | vm/1: 1 | vm/1: refresh 1
"#;

#[test]
fn every_rule_has_a_row_that_holds() {
    let mut wrong = Vec::new();
    for [what, words, source, target, expected] in rows() {
        let found = plan(&job(words), &inventory(source), &inventory(target)).brief().replace('\n', " / ");
        if found != expected {
            wrong.push(format!("{what} | {words} | {source} | {target}\n found: {found}\n wanted: {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// All snapshots of an inventory, with their namespaces.
fn snapshots(inventory: &Inventory) -> Vec<(Namespace, SnapshotId)> {
    let groups = |entry: &'_ crate::NamespaceInventory| entry.groups.clone().unwrap_or_default();
    let mut found = Vec::new();
    for entry in &inventory.namespaces {
        for group in groups(entry) {
            let ids = group.snapshots.listed().unwrap_or_default().iter().map(|info| info.id.clone());
            found.extend(ids.map(|id| (entry.namespace.clone(), id)));
        }
    }
    found
}

#[test]
fn an_explanation_ends_with_what_the_plan_does() {
    let (mut decided, mut passed) = (BTreeSet::new(), BTreeSet::new());
    for [what, words, source, target, _] in rows() {
        let options: JobOptions = job(words);
        let (from, to) = (inventory(source), inventory(target));
        let planned = plan(&options, &from, &to);
        for (namespace, id) in snapshots(&from) {
            let Ok(target_ns) = map_namespace(&options, &namespace) else { continue };
            let explained = think(&options, (&from, &namespace), (&to, &target_ns), &id);
            let Explained::Known(explanation) = explained else { panic!("{what}: {id} is there") };
            let step = planned.steps().find(|step| step.snapshot == id).map(|step| step.action.word());
            let pairs = || planned.namespaces.iter().filter(|entry| entry.source == namespace);
            if pairs().any(|entry| entry.groups.iter().any(|group| group.id == id.group)) {
                assert!(
                    step.is_some_and(|word| planned.namespaces.len() > 1 || word == explanation.action),
                    "{what}: {id}"
                );
            }
            for finding in &explanation.rules {
                match finding.verdict {
                    Verdict::Decided => decided.insert(finding.rule),
                    Verdict::Passed => passed.insert(finding.rule),
                    Verdict::NotUsed | Verdict::NotReached => false,
                };
            }
        }
        for (target_ns, id) in snapshots(&to) {
            let Ok(namespace) = target_ns.map_prefix(&options.target_ns, &options.source_ns) else { continue };
            let explained = think(&options, (&from, &namespace), (&to, &target_ns), &id);
            let Explained::Known(explanation) = explained else { panic!("{what}: {id} is there") };
            decided.extend(explanation.rules.iter().filter(|one| one.verdict == Verdict::Decided).map(|one| one.rule));
        }
    }
    let silent: Vec<Rule> =
        Rule::ALL.into_iter().filter(|rule| !decided.contains(rule) && !passed.contains(rule)).collect();
    assert_eq!(silent, [], "rules that no row asks");
    let all_but_those_beside = Rule::ALL
        .into_iter()
        .filter(|rule| !matches!(rule, Rule::SyncMetadata | Rule::Move | Rule::FillGaps | Rule::Namespace));
    let never: Vec<Rule> = all_but_those_beside.filter(|rule| !decided.contains(rule)).collect();
    assert_eq!(never, [], "rules that settle no row");
}

#[track_caller]
fn explain(words: &str, source: &str, target: &str, at: (&str, &str)) -> crate::Explanation {
    let (options, from, to) = (job(words), inventory(source), inventory(target));
    let namespace: Namespace = at.0.parse().unwrap();
    let target_ns = map_namespace(&options, &namespace).unwrap();
    match think(&options, (&from, &namespace), (&to, &target_ns), &at.1.parse().unwrap()) {
        Explained::Known(explanation) => *explanation,
        Explained::Nowhere { .. } => panic!("it is there"),
    }
}

#[test]
fn an_explanation_names_the_rule_that_decided_and_what_would_change_it() {
    for (words, source, target, at, rule, action, remedy) in [
        ("pull", "vm/1: 1 2", "vm/1: 2", "1", Rule::Older, "skip", Some("fill-gaps")),
        ("push", "vm/1: 1 2", "vm/1: 2", "1", Rule::Older, "skip", Some("a remote takes only")),
        ("pull last=1", "vm/1: 1 2", "", "1", Rule::TransferLast, "skip", Some("transfer-last")),
        ("pull verified-only", "vm/1: 1", "", "1", Rule::VerifiedOnly, "skip", Some("verified-only")),
        ("pull encrypted-only", "vm/1: 1", "", "1", Rule::EncryptedOnly, "skip", Some("encrypted-only")),
        ("pull filter=type:ct", "vm/1: 1; ct/1: 1", "", "1", Rule::GroupFilter, "skip", Some("group filter")),
        ("pull", "vm/1: 1", "vm/1 @bob@pbs: 1", "1", Rule::Owner, "fail", Some("change-owner")),
        ("pull", "vm/1: 1~", "", "1", Rule::Finished, "skip", Some("wait")),
        ("pull mirror", "vm/1: 2", "vm/1: 1p 2", "1", Rule::RemoveVanished, "keep", Some("protection")),
        ("pull mirror", "vm/1: 2", "vm/1: 1 2", "1", Rule::RemoveVanished, "remove", Some("protect it")),
        ("pull mirror max=0", "vm/1: 2", "vm/1: 1 2", "1", Rule::MaxRemovals, "keep", Some("--allow-removals")),
        ("pull mirror", "ct/1: 2", "vm/1: 1; ct/1: 2", "1", Rule::RemoveVanished, "remove", Some("protect it")),
        ("pull mirror", "vm/1:; ct/1: 2", "vm/1: 1; ct/1: 2", "1", Rule::RemoveVanished, "keep", Some("by hand")),
        ("pull resync", "vm/1: 1 2", "vm/1: 1f 2", "1", Rule::ResyncCorrupt, "copy", None),
        ("pull", "vm/1: 1 2", "vm/1: 1 2", "2", Rule::AtTarget, "refresh", None),
    ] {
        let explanation = explain(words, source, target, ("", &format!("vm/1/1970-01-01T00:00:0{at}Z")));
        let decided = explanation.rules.iter().rev().find(|finding| finding.verdict == Verdict::Decided).unwrap();
        assert_eq!((decided.rule, explanation.action), (rule, action), "{words}: {source} -> {target}");
        let told = explanation.remedy.as_deref().unwrap_or_default();
        assert_eq!(remedy.is_some(), explanation.remedy.is_some(), "{words}: {told}");
        assert!(told.contains(remedy.unwrap_or_default()), "{words}: {told}");
    }
    let moved = explain("pull move", "a vm/1: 1p", "", ("a", "vm/1/1970-01-01T00:00:01Z"));
    assert_eq!((moved.action, moved.source_action), ("copy", Some("stays")));
    assert!(moved.remedy.unwrap().contains("lift its protection"));
    let left = explain("pull", "vm/1: 2", "vm/1: 1 2", ("", "vm/1/1970-01-01T00:00:01Z"));
    assert_eq!(left.action, "keep");
    assert!(left.reason.contains("remove-vanished"), "{}", left.reason);
}

#[test]
fn a_snapshot_at_neither_end_has_neighbours() {
    let (options, from, to) = (job("pull"), inventory("vm/1: 1 3 9"), inventory("vm/1: 2 8"));
    let root = Namespace::root();
    let nearest = |at: &str| match think(&options, (&from, &root), (&to, &root), &at.parse().unwrap()) {
        Explained::Nowhere { before, after } => (before.map(|time| time.unix()), after.map(|time| time.unix())),
        Explained::Known(_) => panic!("it is not there"),
    };

    assert_eq!(nearest("vm/1/1970-01-01T00:00:05Z"), (Some(3), Some(8)));
    assert_eq!(nearest("vm/1/1970-01-01T00:01:00Z"), (Some(9), None));
    assert_eq!(nearest("vm/2/1970-01-01T00:00:05Z"), (None, None));
}
