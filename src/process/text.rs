//! What other users chose (names, command lines) made fit to be shown.

use std::fmt::Write;

/// Printable ASCII and letters stay, every other byte is escaped.
pub(super) fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                ' '..='~' => text.push(c),
                c if !c.is_ascii() && c.is_alphanumeric() => text.push(c),
                c => escape(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

fn escape(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // writing to a String cannot fail
        let _ = write!(text, "\\x{byte:02x}");
    }
}

/// At most `limit` characters, the cut marked.
pub(super) fn shortened(text: String, limit: usize) -> String {
    if text.chars().nth(limit).is_none() {
        return text;
    }
    let mut short: String = text.chars().take(limit.saturating_sub(3)).collect();
    short.push_str("...");
    short
}
