//! The pieces that documents are written from, in plain ASCII.
//!
//! Source: XML 1.0 §2.2 for the allowed characters.

/// What every document starts with.
pub(super) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>";

/// Appends an element with a text.
pub(super) fn element(name: &str, value: &str, out: &mut Vec<u8>) {
    extend(out, &["<", name, ">"]);
    text(value, out);
    close(name, out);
}

/// Appends an end tag.
pub(super) fn close(name: &str, out: &mut Vec<u8>) {
    extend(out, &["</", name, ">"]);
}

/// Appends markup as it is.
pub(super) fn extend(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Character data: escaped, in ASCII (all else as numeric references, which every declared encoding allows), and without
/// what XML 1.0 does not allow at all.
pub(super) fn text(value: &str, out: &mut Vec<u8>) {
    for character in value.chars() {
        match character {
            '&' => out.extend_from_slice(b"&amp;"),
            '<' => out.extend_from_slice(b"&lt;"),
            '>' => out.extend_from_slice(b"&gt;"),
            ' '..='~' => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            allowed if is_xml_character(allowed) => out.extend_from_slice(format!("&#{};", u32::from(allowed)).as_bytes()),
            _ => {}
        }
    }
}

/// XML 1.0 §2.2 `Char`.
pub(super) const fn is_xml_character(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}
