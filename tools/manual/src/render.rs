//! Pieces of a page, in the macros of man(7).

use clap::{Arg, Command};
use clap_mangen::Man;

/// Day of the last change that a reader would notice, in every page's footer.
const DATE: &str = "2026-11-26";

/// The heading that the options of every command stand under.
const GLOBAL: &str = "Global options";

/// The line that begins a page of section 8.
pub(crate) fn title(name: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(".TH {} 8 {DATE} \"Backup Replicator {version}\" \"System Administration\"\n", escape(&name.to_uppercase()))
}

/// The NAME section, by which a page is found.
pub(crate) fn name(name: &str, command: &Command) -> String {
    let about = about(command);
    let mut letters = about.chars();
    let about: String = letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect();
    format!(".SH NAME\n{} \\- {}\n", escape(name), escape(&about))
}

/// The command's help line.
pub(crate) fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// How the command is called, in one line.
pub(crate) fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").split_whitespace().collect::<Vec<_>>().join(" ");
    format!(".nh\n.B {}\n.hy\n", escape(&usage))
}

/// Whether a group's page describes the option beside its command; others stand once, at the end.
pub(crate) fn is_own(arg: &Arg) -> bool {
    arg.get_help_heading() != Some(GLOBAL) && arg.get_id() != "help" && arg.get_id() != "version"
}

/// The options and arguments that are `wanted`, under the headings they have in `--help`.
pub(crate) fn options(command: &Command, wanted: impl Fn(&Arg) -> bool) -> String {
    let command = command.clone().mut_args(|arg| if wanted(&arg) { arg } else { arg.hide(true) });
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    let _ = Man::new(command).render_options_section(&mut bytes);
    // The quotation mark is defined at the top of the library's own pages; an empty line between two breaks is too much.
    let text = String::from_utf8_lossy(&bytes).replace("\\*(Aq", "\\(aq").replace(".br\n\n.br\n", ".sp\n");
    let mut page = String::new();
    for line in text.lines().filter(|line| !line.starts_with(".ie ") && !line.starts_with(".el ")) {
        match line.strip_prefix(".SH ").map(|heading| heading.trim_matches('"')) {
            // The page has these headings already.
            Some(heading) if heading == "OPTIONS" || heading.eq_ignore_ascii_case(GLOBAL) => {}
            Some(heading) => page += &format!(".PP\n.B {}\n", capitalised(heading)),
            None => {
                page += line.trim_end();
                page.push('\n');
            }
        }
    }
    page
}

fn capitalised(heading: &str) -> String {
    let (first, rest) = heading.split_at(1);
    format!("{first}{}:", rest.to_lowercase())
}

/// Text as it stands: dashes that can be copied, no accidental request at the beginning of a line.
pub(crate) fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
