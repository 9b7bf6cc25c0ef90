//! Who is the caller: /proc read by the rules of semantics.md.
