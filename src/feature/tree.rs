//! Writes an operator's document: elements inside others, in namespaces and under prefixes of its own.
//!
//! ```text
//! device, on, ext/private/Reason, ext/private/Code  ─▶  <device/><on/><ext><private><Reason/><Code/></private></ext>
//! ```
//! Source: Namespaces in XML 1.0 §3, §6.

use crate::feature::table::Names;
use crate::feature::xml_write::{extend, text};

/// What every element of a document is named by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree<'a> {
    pub(super) names: &'a Names,
    /// The namespace where the row has none.
    pub(super) csta: &'a str,
}

impl Tree<'_> {
    /// Appends the root with its leaves, each a path and a text. Leaves that share the beginning of their paths share its elements.
    pub(super) fn write(&self, root: &str, leaves: &[(&str, &str)], out: &mut Vec<u8>) {
        let Names { namespace, prefix, .. } = self.names;
        let namespace = if namespace.is_empty() { self.csta } else { namespace };
        Self::open(prefix, root, out);
        declare(prefix, namespace, out);
        out.push(b'>');
        self.inside(leaves, false, out);
        Self::close(prefix, root, out);
    }

    /// What stands in one element, in the order in which its parts come first.
    fn inside(&self, leaves: &[(&str, &str)], is_nested: bool, out: &mut Vec<u8>) {
        let Names { prefix, value_namespace, value_prefix, .. } = self.names;
        let mut done: Vec<&str> = Vec::new();
        for (path, value) in leaves {
            let Some((outer, _)) = path.split_once('/') else {
                let (prefix, has_own) = if is_nested && !value_namespace.is_empty() { (value_prefix, true) } else { (prefix, false) };
                Self::open(prefix, path, out);
                if has_own && value_prefix.is_empty() {
                    declare("", value_namespace, out);
                }
                out.push(b'>');
                text(value, out);
                Self::close(prefix, path, out);
                continue;
            };
            if done.contains(&outer) {
                continue;
            }
            done.push(outer);
            let inner: Vec<(&str, &str)> = leaves
                .iter()
                .filter_map(|(path, value)| path.split_once('/').filter(|(first, _)| *first == outer).map(|(_, rest)| (rest, *value)))
                .collect();
            Self::open(prefix, outer, out);
            // Where the leaves are, as clients look for it.
            if !value_prefix.is_empty() && inner.iter().any(|(rest, _)| !rest.contains('/')) {
                declare(value_prefix, value_namespace, out);
            }
            out.push(b'>');
            self.inside(&inner, true, out);
            Self::close(prefix, outer, out);
        }
    }

    fn open(prefix: &str, name: &str, out: &mut Vec<u8>) {
        let colon = if prefix.is_empty() { "" } else { ":" };
        extend(out, &["<", prefix, colon, name]);
    }

    fn close(prefix: &str, name: &str, out: &mut Vec<u8>) {
        let colon = if prefix.is_empty() { "" } else { ":" };
        extend(out, &["</", prefix, colon, name, ">"]);
    }
}

fn declare(prefix: &str, namespace: &str, out: &mut Vec<u8>) {
    let colon = if prefix.is_empty() { "" } else { ":" };
    extend(out, &[" xmlns", colon, prefix, "=\"", namespace, "\""]);
}
