//! One small XML document, read tolerantly from untrusted bytes.
//!
//! Blanks, comments, prefixes, CDATA and a wrong encoding declaration are tolerated; a DOCTYPE, other entities and anything
//! over a limit are refused. Nothing is expanded or fetched, and elements are kept as a flat list.
//! Source: XML 1.0 §2.8, §4.1; Namespaces in XML 1.0 §6.

use quick_xml::NsReader;
use quick_xml::events::{BytesRef, Event};
use quick_xml::name::ResolveResult;

use crate::feature::error::Shown;

/// Longest body taken in, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 8 * 1024;
/// Deepest element taken in; the root is at depth 1.
pub(crate) const MAX_DEPTH: usize = 8;

/// The elements of a document, in document order, without their attributes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Document {
    /// The root first; empty only where reading failed before it.
    elements: Vec<Element>,
    /// Namespace of the root; `None` when it has none or its prefix is undeclared.
    namespace: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Element {
    depth: usize,
    name: String,
    /// Its own character data, without that of elements inside it.
    text: String,
}

/// Why bytes are not read as a document.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum XmlError {
    /// Longer than the limit; nothing of it was read.
    #[error("the body has {0} bytes: expected at most {MAX_BODY_BYTES}")]
    TooLong(usize),
    /// Elements deeper than the limit.
    #[error("elements nest deeper than {MAX_DEPTH}")]
    TooDeep,
    /// A document type declaration, and with it any entities.
    #[error("a DOCTYPE is not allowed")]
    Doctype,
    /// A reference to something other than a character or one of the five predefined entities.
    #[error("unknown entity '{}'", Shown(.0))]
    Entity(String),
    #[error("not well-formed XML")]
    Malformed(#[source] Box<quick_xml::Error>),
    /// An element that decides something is there twice, and does not say the same.
    #[error("{0} is given twice, with two values")]
    Ambiguous(String),
    /// No root element, an open one at the end, or something beside it.
    #[error("expected one XML document with one root element")]
    NotOneRoot,
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// [`XmlError`], with what was read before it, so that the feature that was meant may still be told.
    pub(super) fn read(body: &[u8]) -> Result<Self, (XmlError, Self)> {
        let mut document = Self::default();
        if body.len() > MAX_BODY_BYTES {
            return Err((XmlError::TooLong(body.len()), document));
        }
        let text = decode(body);
        match document.fill(text.strip_prefix('\u{feff}').unwrap_or(&text)) {
            Ok(()) => Ok(document),
            Err(error) => Err((error, document)),
        }
    }

    /// Name of the root element.
    pub(super) fn root(&self) -> Option<&str> {
        self.elements.first().map(|root| root.name.as_str())
    }

    /// Text of the child of the root that has this name, without the blanks around it. The first of several.
    pub(super) fn child(&self, name: &str) -> Option<&str> {
        self.children(name).next()
    }

    /// Texts of all children of the root that have this name, or of what is at this path: `extensions/private/Reason`.
    pub(super) fn children<'d>(&'d self, path: &str) -> impl Iterator<Item = &'d str> {
        let depth = 2 + path.bytes().filter(|byte| *byte == b'/').count();
        let mut here: [&'d str; MAX_DEPTH] = [""; MAX_DEPTH];
        self.elements
            .iter()
            .filter(move |element| {
                if let Some(place) = element.depth.checked_sub(1).and_then(|at| here.get_mut(at)) {
                    *place = &element.name;
                }
                element.depth == depth && here.iter().skip(1).take(depth - 1).copied().eq(path.split('/'))
            })
            .map(Element::trimmed)
    }

    /// Text of the first element of this name that is deeper than the root's children.
    pub(super) fn nested(&self, name: &str) -> Option<&str> {
        self.elements.iter().find(|element| element.depth > 2 && element.name == name).map(Element::trimmed)
    }

    /// The one text of a child of the root; repeated with the same text it counts once.
    ///
    /// # Errors
    ///
    /// [`XmlError::Ambiguous`].
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, XmlError> {
        let mut texts = self.children(name);
        let first = texts.next();
        if texts.any(|text| Some(text) != first) { Err(XmlError::Ambiguous(name.to_owned())) } else { Ok(first) }
    }

    /// Whether the root is in a namespace like this, or in none.
    pub(super) fn is_in(&self, is_like: impl FnOnce(&str) -> bool) -> bool {
        self.namespace.as_deref().is_none_or(is_like)
    }

    fn fill(&mut self, text: &str) -> Result<(), XmlError> {
        let mut reader = NsReader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        // Index of each open element, the innermost last.
        let mut open: Vec<usize> = Vec::with_capacity(MAX_DEPTH);
        loop {
            let event = reader.read_event().map_err(|error| XmlError::Malformed(Box::new(error)))?;
            match event {
                Event::Start(start) => {
                    if open.len() == MAX_DEPTH {
                        return Err(XmlError::TooDeep);
                    }
                    if open.is_empty() {
                        if !self.elements.is_empty() {
                            return Err(XmlError::NotOneRoot);
                        }
                        self.namespace = namespace(&reader.resolver().resolve_element(start.name()).0);
                    }
                    open.push(self.elements.len());
                    let name = start.local_name().into_inner().to_owned();
                    self.elements.push(Element { depth: open.len(), name, text: String::new() });
                }
                Event::End(_) => {
                    open.pop();
                }
                Event::Text(text) => self.append(open.last(), &text.xml10_content())?,
                Event::CData(text) => self.append(open.last(), &text.xml10_content())?,
                Event::GeneralRef(reference) => self.append(open.last(), resolve(&reference)?.encode_utf8(&mut [0; 4]))?,
                Event::DocType(_) => return Err(XmlError::Doctype),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Empty(_) | Event::Eof => break,
            }
        }
        if open.is_empty() && !self.elements.is_empty() { Ok(()) } else { Err(XmlError::NotOneRoot) }
    }

    fn append(&mut self, innermost: Option<&usize>, text: &str) -> Result<(), XmlError> {
        match innermost.and_then(|&index| self.elements.get_mut(index)) {
            Some(element) => element.text.push_str(text),
            None if text.trim_matches(is_blank).is_empty() => {}
            None => return Err(XmlError::NotOneRoot),
        }
        Ok(())
    }
}

impl Element {
    fn trimmed(&self) -> &str {
        self.text.trim_matches(is_blank)
    }
}

/// XML 1.0 §2.3 `S`.
const fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

/// UTF-8 where it is valid, else ISO-8859-1, whatever the declaration says: phones declare one and send the other.
pub(crate) fn decode(body: &[u8]) -> String {
    std::str::from_utf8(body).map_or_else(|_| body.iter().copied().map(char::from).collect(), str::to_owned)
}

fn namespace(namespace: &ResolveResult<'_>) -> Option<String> {
    match namespace {
        ResolveResult::Bound(namespace) => Some(namespace.as_ref().trim().to_owned()),
        ResolveResult::Unbound | ResolveResult::Unknown(_) => None,
    }
}

fn resolve(reference: &BytesRef<'_>) -> Result<char, XmlError> {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => Ok(character),
        Ok(None) => match reference.as_ref() {
            "amp" => Ok('&'),
            "lt" => Ok('<'),
            "gt" => Ok('>'),
            "quot" => Ok('"'),
            "apos" => Ok('\''),
            other => Err(XmlError::Entity(other.to_owned())),
        },
        Err(error) => Err(XmlError::Malformed(Box::new(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn child(body: &[u8]) -> Option<String> {
        Document::read(body).map_err(|(error, _)| error.to_string()).unwrap().child("b").map(str::to_owned)
    }

    #[test]
    fn text_is_put_together_from_all_its_forms() {
        for (body, want) in [
            (&b"<a><b>x</b></a>"[..], "x"),
            (b"<a><b> \r\n\t x y \r</b></a>", "x y"),
            (b"<a><b>1&lt;2&amp;&quot;&apos;&gt;&#65;&#x42;</b></a>", "1<2&\"'>AB"),
            (b"<a><b>x<![CDATA[<&y]]>z</b></a>", "x<&yz"),
            (b"<a><b>x<!-- - -->y<?p i?>z</b></a>", "xyz"),
            (b"<a><b>1<c>2</c>3</b></a>", "13"),
            (b"<a><b/></a>", ""),
            (b"<a><b></b ></a >", ""),
            (b"\xef\xbb\xbf<a><b>\xc3\xa9</b></a>", "é"),
            (b"<a><b>\xe9</b></a>", "é"),
            (b"<a><c><b>deep</b></c><b>x</b><b>second</b></a>", "x"),
            (b"\r<?xml version='1.0' encoding='ISO-8859-1'?>\r\r\n<a\r>\n<b\rx='1'\n>x</b>\r</a>\r\n\r", "x"),
        ] {
            assert_eq!(child(body).as_deref(), Some(want), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn what_is_no_single_plain_document_is_refused() {
        let long = format!("<a>{}</a>", " ".repeat(MAX_BODY_BYTES));
        let deepest = format!("{}{}", "<a>".repeat(MAX_DEPTH), "</a>".repeat(MAX_DEPTH));
        let deeper = format!("{}{}", "<a>".repeat(MAX_DEPTH + 1), "</a>".repeat(MAX_DEPTH + 1));
        for (body, want) in [
            (long.as_str(), Some("the body has 8199 bytes: expected at most 8192")),
            (deepest.as_str(), None),
            (deeper.as_str(), Some("elements nest deeper than 8")),
            ("<!DOCTYPE a><a/>", Some("a DOCTYPE is not allowed")),
            ("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", Some("a DOCTYPE is not allowed")),
            ("<!ENTITY x 'y'><a>&x;</a>", Some("not well-formed XML")),
            ("<a>&x;</a>", Some("unknown entity 'x'")),
            ("<a>&#0;</a>", Some("not well-formed XML")),
            ("<a>&#xD800;</a>", Some("not well-formed XML")),
            ("<a>& </a>", Some("not well-formed XML")),
            ("<a></b>", Some("not well-formed XML")),
            ("<a", Some("not well-formed XML")),
            ("<a>", Some("expected one XML document with one root element")),
            ("<a/><a/>", Some("expected one XML document with one root element")),
            ("<a/>x", Some("expected one XML document with one root element")),
            ("x<a/>", Some("expected one XML document with one root element")),
            ("", Some("expected one XML document with one root element")),
            ("{}", Some("expected one XML document with one root element")),
        ] {
            assert_eq!(Document::read(body.as_bytes()).err().map(|(error, _)| error.to_string()).as_deref(), want, "{body}");
        }
    }

    #[test]
    fn the_namespace_of_the_root_is_kept() {
        for (root, want) in
            [("<a/>", None), ("<a xmlns=' urn:x '/>", Some("urn:x")), ("<p:a xmlns:p='urn:x'/>", Some("urn:x")), ("<p:a/>", None)]
        {
            let document = Document::read(root.as_bytes()).unwrap();
            assert_eq!((document.root(), document.namespace.as_deref()), (Some("a"), want), "{root}");
        }
    }

    #[test]
    fn what_was_read_before_the_fault_is_kept() {
        let (_, document) = Document::read(b"<a><b>x</b><c>").unwrap_err();
        assert_eq!((document.root(), document.child("b")), (Some("a"), Some("x")));
    }

    proptest! {
        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _any = Document::read(&body).is_ok();
        }
        #[test]
        fn never_panics_on_near_xml(body in "(<[/!?]?[ab:]{0,3}( xmlns(:a)?=['\"]u?['\"])?/?>|&#?x?[0-9a-z]{0,9};|<!\\[CDATA\\[|\\]\\]>|<!--|-->|[x \r\n&<])*") {
            let _any = Document::read(body.as_bytes()).is_ok();
        }
    }
}
