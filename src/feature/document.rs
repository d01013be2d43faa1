//! Whether a text is a document that phones can be sent as it is. Pure.

use crate::feature::error::FeatureError;
use crate::feature::xml::{Document, MAX_BODY_BYTES};
use crate::feature::xml_write::is_xml_character;

/// Checks a document that phones are to be sent. An empty one stands for none.
///
/// # Errors
///
/// [`FeatureError::Document`]: it is not one small well-formed document in UTF-8.
pub(super) fn check_document(field: &str, value: &str) -> Result<(), FeatureError> {
    let refused = |why: String| Err(FeatureError::Document { field: field.to_owned(), why });
    if value.is_empty() {
        return Ok(());
    }
    if value.len() > MAX_BODY_BYTES {
        return refused(format!("it has {} bytes, expected at most {MAX_BODY_BYTES}", value.len()));
    }
    if let Some(character) = value.chars().find(|character| !is_xml_character(*character)) {
        return refused(format!("it has the character U+{:04X}", u32::from(character)));
    }
    if let Some(encoding) = encoding(value).filter(|name| !["utf-8", "us-ascii"].contains(&name.to_ascii_lowercase().as_str())) {
        return refused(format!("it says that it is {encoding:.32}, and is sent in UTF-8"));
    }
    match Document::read(value.as_bytes()) {
        Ok(_) => Ok(()),
        Err((error, _partial)) => refused(error.to_string()),
    }
}

/// The encoding that the XML declaration names. Source: XML 1.0 §4.3.3.
fn encoding(document: &str) -> Option<&str> {
    let (declaration, _) = document.strip_prefix("<?xml")?.split_once("?>")?;
    let (_, rest) = declaration.split_once("encoding")?;
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    rest.get(1..)?.split(quote).next()
}
