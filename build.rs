//! Routes read(2) of the binary through `src/read.rs`, so that the daemon sees
//! FUSE_INTERRUPT, which fuser answers as unknown: see `src/fuse/interrupt.rs`.
//! Without this the daemon notices and refuses to start.

fn main() {
    // Understood by GNU ld, gold, lld and mold alike.
    println!("cargo::rustc-link-arg-bins=-Wl,--wrap=read");
    println!("cargo::rerun-if-changed=build.rs");
}
