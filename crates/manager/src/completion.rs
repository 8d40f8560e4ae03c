//! Completion in the shell: commands and options come from the parser, names from the configuration.
//!
//! The script that the shell loads asks this program, which answers before anything else happens. What an argument's
//! names are is told by its type, so that a new command is completed without a word about it here.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, Command, CommandFactory, value_parser};
use clap_complete::env::CompleteEnv;
use clap_complete::{ArgValueCandidates, CompletionCandidate};
use config::Paths;
use formats::{JobId, RemoteName, StoreName};

use crate::cli::Cli;

/// Variable with the name of the shell that asks; not the usual `COMPLETE`, which may be set for another reason.
const VARIABLE: &str = "_BACKUP_MANAGER_COMPLETE";

/// Answers a shell that asks and ends the process then; does nothing in an ordinary run.
pub(crate) fn answer() {
    CompleteEnv::with_factory(command).var(VARIABLE).bin("backup-manager").completer("backup-manager").complete();
}

/// Things that have names in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    Datastores,
    Remotes,
    Jobs,
    Keys,
}

/// The command line with the names that its arguments take.
fn command() -> Command {
    Cli::command().mut_subcommands(|group| {
        let name = group.get_name().to_owned();
        with_names(group, &[&name])
    })
}

fn with_names(command: Command, path: &[&str]) -> Command {
    let command = command.mut_args(|arg| match names(path, &arg) {
        Some(names) => arg.add(ArgValueCandidates::new(move || names.candidates())),
        None => arg,
    });
    command.mut_subcommands(|sub| {
        let name = sub.get_name().to_owned();
        with_names(sub, &[path, &[&name]].concat())
    })
}

/// What `arg` of the command at `path` names, if that is known here: not what is new, nor what a remote has.
fn names(path: &[&str], arg: &Arg) -> Option<Names> {
    let is = |parser: ValueParser| arg.get_value_parser().type_id() == parser.type_id();
    let id = arg.get_id().as_str();
    if arg.is_positional() && (path.last() == Some(&"create") || id.starts_with("new_")) {
        return None;
    }
    if is(value_parser!(StoreName).into()) {
        let elsewhere = path[0] == "remote" || path[0] == "relay" || id.contains("remote_store");
        return (!elsewhere).then_some(Names::Datastores);
    }
    if is(value_parser!(RemoteName).into()) {
        return Some(Names::Remotes);
    }
    if id.ends_with("_key") || (path[0] == "encryption-key" && is(value_parser!(JobId).into())) {
        return Some(Names::Keys);
    }
    is(value_parser!(JobId).into()).then_some(Names::Jobs)
}

impl Names {
    /// The names there are. A configuration that cannot be read has none: this is no place for messages.
    fn candidates(self) -> Vec<CompletionCandidate> {
        let paths = paths(std::env::args_os(), std::env::var_os("BACKUP_MANAGER_ROOT"));
        self.read(&paths).into_iter().map(CompletionCandidate::new).collect()
    }

    fn read(self, paths: &Paths) -> Vec<String> {
        fn ids<T, I: ToString>(loaded: config::Result<config::Loaded<T>>, id: impl Fn(&T) -> I) -> Vec<String> {
            loaded.map(|loaded| loaded.entries.iter().map(|entry| id(entry).to_string()).collect()).unwrap_or_default()
        }
        match self {
            Self::Datastores => ids(config::datastores::load(paths), |store| store.name.clone()),
            Self::Remotes => ids(config::remotes::load(paths), |remote| remote.name.clone()),
            Self::Jobs => ids(config::sync_jobs::load(paths), |job| job.id.clone()),
            Self::Keys => ids(config::encryption_keys::load(paths), |key| key.id.clone()),
        }
    }
}

/// Where the command that is being typed has its configuration: `--root` among its words, else the variable.
fn paths(words: impl Iterator<Item = OsString>, variable: Option<OsString>) -> Paths {
    let mut root = variable;
    let mut words = words.skip_while(|word| word != "--").skip(1);
    while let Some(word) = words.next() {
        if word == "--root" {
            root = words.next().or(root);
        } else if let Some(value) = word.to_str().and_then(|word| word.strip_prefix("--root=")) {
            root = Some(value.into());
        }
    }
    root.map(PathBuf::from).map_or_else(Paths::system, |root| Paths::under_root(&root))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &[&str], arg: &str) -> Option<Names> {
        let mut command = Cli::command();
        for name in path {
            command = command.find_subcommand(name).unwrap().clone();
        }
        names(path, command.get_arguments().find(|candidate| candidate.get_id() == arg).unwrap())
    }

    #[test]
    fn an_argument_is_completed_with_what_may_stand_there() {
        for (path, arg, expected) in [
            (&["sync-job", "run"][..], "id", Some(Names::Jobs)),
            (&["sync-job", "create"], "id", None),
            (&["sync-job", "create"], "after", Some(Names::Jobs)),
            (&["sync-job", "create"], "store", Some(Names::Datastores)),
            (&["sync-job", "create"], "remote", Some(Names::Remotes)),
            (&["sync-job", "create"], "remote_store", None),
            (&["sync-job", "update"], "active_encryption_key", Some(Names::Keys)),
            (&["sync-job", "reverse"], "new_id", None),
            (&["datastore", "show"], "name", Some(Names::Datastores)),
            (&["datastore", "create"], "name", None),
            (&["remote", "check"], "name", Some(Names::Remotes)),
            (&["remote", "check"], "stores", None),
            (&["encryption-key", "export"], "id", Some(Names::Keys)),
            (&["pull"], "store", Some(Names::Datastores)),
            (&["pull"], "remote_store", None),
            (&["relay"], "to_store", None),
        ] {
            assert_eq!(named(path, arg), expected, "{path:?} {arg}");
        }
    }

    #[test]
    fn names_are_those_below_the_root_that_is_being_typed() {
        let of = |words: &[&str], variable: Option<&str>| {
            paths(words.iter().map(OsString::from), variable.map(OsString::from)).sync_cfg().display().to_string()
        };

        assert_eq!(of(&["x", "--", "x", "sync-job"], None), "/etc/backup-manager/sync.cfg");
        assert_eq!(of(&["x", "--", "x", "sync-job"], Some("/v")), "/v/etc/backup-manager/sync.cfg");
        assert_eq!(of(&["x", "--", "x", "--root", "/w", "run"], Some("/v")), "/w/etc/backup-manager/sync.cfg");
        assert_eq!(of(&["x", "--", "x", "run", "--root=/w"], None), "/w/etc/backup-manager/sync.cfg");
        assert_eq!(of(&["x", "--", "x", "--root"], Some("/v")), "/v/etc/backup-manager/sync.cfg");
    }
}
