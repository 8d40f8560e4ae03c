//! The program `backup-manager`; everything is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    manager::main()
}
