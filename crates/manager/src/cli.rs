//! The command line as a whole.

use std::path::PathBuf;

use clap::{Args, Parser};

use crate::commands::Command;
use crate::output::OutputFormat;

/// Replicate deduplicated backups between datastores
#[derive(Debug, Parser)]
#[command(
    name = "backup-manager",
    version,
    infer_subcommands = true,
    disable_help_subcommand = false,
    max_term_width = 120,
    after_help = "Exit codes: 0 all done, 1 failed, 2 wrong usage, 3 done with warnings."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that stand before or after any command.
#[derive(Args, Debug)]
pub(crate) struct GlobalArgs {
    /// Keep all files below DIR instead of /etc, /var and /run, and run as the caller
    #[arg(long, global = true, value_name = "DIR", env = "BACKUP_MANAGER_ROOT", help_heading = "Global options")]
    pub(crate) root: Option<PathBuf>,

    /// Print the answer in this format
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        env = "PROXMOX_OUTPUT_FORMAT",
        help_heading = "Global options"
    )]
    pub(crate) output_format: OutputFormat,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_line_is_one_sentence_without_a_full_stop() {
        fn check(command: &clap::Command) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && !about.ends_with('.'), "{}: {about:?}", command.get_name());
            for arg in command.get_arguments() {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!help.is_empty() && !help.ends_with('.'), "{} {}: {help:?}", command.get_name(), arg.get_id());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
