//! Writes what is made of the command line's definitions: man pages and completions, into
//! `contrib`. `cargo run --example generate`; a test sees to it that they are current.

#[path = "pages.rs"]
mod pages;

use std::fs;
use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for stale in pages::stale(root)? {
        fs::remove_file(&stale)?;
    }
    for (path, content) in pages::all(root)? {
        let path = root.join(path);
        if fs::read(&path).ok().as_deref() != Some(content.as_bytes()) {
            fs::write(&path, content)?;
            println!("{}", path.display());
        }
    }
    Ok(())
}
