//! Writes the pages that come from the parsers into `man/`; `make man` runs it.
//!
//! An example and no program, so that release builds leave it out.

use std::path::Path;

fn main() -> anyhow::Result<()> {
    let man = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../man");
    for page in manual::pages(&man.join("parts"))? {
        std::fs::write(man.join(&page.file), page.text)?;
    }
    Ok(())
}
