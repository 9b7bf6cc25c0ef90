//! Text from outside, made fit to be shown.

use std::fmt::Write as _;

/// A name or other text from outside, fit for a line of a log, a status or a
/// terminal: control characters, invalid UTF-8, characters that reorder or end
/// a line and the backslash are escaped, so two names never look the same.
pub fn printable(text: impl AsRef<[u8]>) -> String {
    let mut shown = String::new();
    for chunk in text.as_ref().utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' || unprintable(c) {
                escape(&mut shown, c);
            } else {
                shown.push(c);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String does not fail.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// Text from outside in a line of ours: in quotes if it has anything by which
/// it could pass for a part of the line.
pub fn quoted(text: String, plain: impl Fn(char) -> bool) -> String {
    if text.chars().all(|c| c.is_alphanumeric() || plain(c)) {
        text
    } else {
        format!("\"{}\"", text.replace('"', "\\\""))
    }
}

/// Whether a character must not reach a terminal or a log as it is.
pub fn unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Appends the escape of a character.
pub fn escape(to: &mut String, c: char) {
    match c {
        '\\' => to.push_str("\\\\"),
        '\n' => to.push_str("\\n"),
        '\t' => to.push_str("\\t"),
        '\r' => to.push_str("\\r"),
        c if c.is_ascii() => {
            let _ = write!(to, "\\x{:02x}", u32::from(c));
        }
        c => {
            let _ = write!(to, "\\u{{{:x}}}", u32::from(c));
        }
    }
}
