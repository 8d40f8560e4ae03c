//! Which pages there are, and what stands on them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};

use crate::render;

/// A finished page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its file, such as `backup-server.8`.
    pub file: String,
    /// Its source, in the macros of man(7).
    pub text: String,
}

/// Makes every page that a parser has a part in.
///
/// # Errors
/// A file is missing in `parts`: a new group of commands needs examples.
pub fn pages(parts: &Path) -> Result<Vec<Page>> {
    let mut manager = manager::command().disable_help_subcommand(true);
    manager.build();
    let mut server = server::Options::command();
    server.build();

    let mut pages =
        vec![page(parts, "backup-manager", &overview(&manager))?, page(parts, "backup-server", &tool(&server))?];
    for group in manager.get_subcommands().filter(|group| !group.is_hide_set()) {
        pages.push(page(parts, &format!("backup-manager-{}", group.get_name()), &group_page(&manager, group))?);
    }
    Ok(pages)
}

fn page(parts: &Path, name: &str, text: &str) -> Result<Page> {
    let path = parts.join(format!("{name}.man"));
    let part = fs::read_to_string(&path).with_context(|| format!("{name}(8) needs {}", path.display()))?;
    let text = format!(".\\\" Made by `make man` from the parser and man/parts/{name}.man.\n{text}{part}");
    Ok(Page { file: format!("{name}.8"), text })
}

/// `backup-manager(8)`: the list of commands.
fn overview(manager: &Command) -> String {
    let mut text = render::title("backup-manager") + &render::name("backup-manager", manager);
    text += ".SH SYNOPSIS\n.B backup\\-manager\n.RI [ OPTIONS ]\n.I COMMAND ...\n.SH COMMANDS\n";
    for group in manager.get_subcommands().filter(|group| !group.is_hide_set()) {
        text += &format!(
            ".TP\n.BR backup\\-manager\\-{} (8)\n{}\n",
            render::escape(group.get_name()),
            render::escape(&render::about(group))
        );
    }
    text + ".SH OPTIONS\n" + &render::options(manager, |_| true)
}

/// A program without commands.
fn tool(program: &Command) -> String {
    let name = program.get_name();
    let text = render::title(name) + &render::name(name, program) + ".SH SYNOPSIS\n" + &render::usage(program);
    text + ".SH OPTIONS\n" + &render::options(program, |_| true)
}

/// A group of commands, or a command that stands alone.
fn group_page(manager: &Command, group: &Command) -> String {
    let name = format!("backup-manager-{}", group.get_name());
    let mut text = render::title(&name) + &render::name(&name, group) + ".SH SYNOPSIS\n";
    let commands: Vec<&Command> = group.get_subcommands().filter(|command| !command.is_hide_set()).collect();
    if commands.is_empty() {
        text += &render::usage(group);
        text = text + ".SH OPTIONS\n" + &render::options(group, render::is_own);
    } else {
        text += &format!(
            ".B backup\\-manager {}\n.RI [ OPTIONS ]\n.I COMMAND ...\n.SH COMMANDS\n",
            render::escape(group.get_name())
        );
        for command in commands {
            text += &format!(
                ".SS {}\n{}.PP\n{}.\n",
                render::escape(command.get_name()),
                render::usage(command),
                render::escape(&render::about(command))
            );
            text += &render::options(command, render::is_own);
        }
    }
    text + ".SH \"GLOBAL OPTIONS\"\n" + &render::options(manager, |arg| !render::is_own(arg))
}
