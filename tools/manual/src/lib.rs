//! The manual pages of the commands, made of their parsers and of what only a person can write.
//!
//! One page per group of commands: a page per command would repeat the options that `pull`, `push` and sync jobs share,
//! and nobody looks up `backup-manager-sync-job-create`. What a parser does not know - FILES, EXAMPLES, SEE ALSO - stands
//! in `man/parts/PAGE.man` and is put behind what it does know. The pages are kept in the repository, so that a change of
//! an option shows in the manual when it is reviewed, and a package is built without this tool; a test compares them.

mod page;
mod render;

pub use page::{Page, pages};
