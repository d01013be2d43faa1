//! One file as a module: what it defines, what it imports, and every path that it names.

use std::collections::BTreeSet;

use crate::lexer::{Kind, Token, tokens, without_tests};

/// A file of `src/`.
#[derive(Debug)]
pub(crate) struct Module {
    /// `src/edge/run.rs`
    pub(crate) file: String,
    /// Its path in the crate: `["edge", "run"]`.
    pub(crate) path: Vec<String>,
    /// Whether its documentation says that it is pure.
    pub(crate) says_pure: bool,
    /// The items that it defines itself.
    pub(crate) items: BTreeSet<String>,
    /// What its `use` declarations bring in.
    pub(crate) uses: Vec<Use>,
    /// Every path and name outside of `use` declarations.
    pub(crate) named: Vec<Named>,
    /// All of it, without tests.
    pub(crate) tokens: Vec<Token>,
}

/// One name that a `use` declaration brings in.
#[derive(Debug)]
pub(crate) struct Use {
    /// The name here; `*`: everything.
    pub(crate) name: String,
    /// Where it is from; without the `*`.
    pub(crate) path: Vec<String>,
    /// Whether others may use it from here.
    pub(crate) is_reexport: bool,
    /// Its line.
    pub(crate) line: usize,
}

/// A path somewhere in the code.
#[derive(Debug)]
pub(crate) struct Named {
    /// Its segments.
    pub(crate) path: Vec<String>,
    /// Its line.
    pub(crate) line: usize,
}

impl Module {
    /// Reads a file.
    pub(crate) fn read(file: &str, text: &str) -> Self {
        let tokens = without_tests(&tokens(text));
        let documentation: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        let mut module = Self {
            file: file.to_owned(),
            path: path_of(file),
            says_pure: documentation.contains("Pure."),
            items: BTreeSet::new(),
            uses: Vec::new(),
            named: Vec::new(),
            tokens: Vec::new(),
        };
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at = match token.word() {
                Some("use") if is_start_of_item(&tokens, at) => module.read_use(&tokens, at),
                Some("struct" | "enum" | "union" | "trait" | "type" | "fn" | "const" | "static" | "mod") => {
                    if let Some(name) = tokens.get(at + 1).and_then(Token::word).filter(|name| *name != "fn" && *name != "mut") {
                        module.items.insert(name.to_owned());
                    }
                    // The name of an item is not named by itself.
                    at + if tokens.get(at + 1).and_then(Token::word) == Some("fn") { 1 } else { 2 }
                }
                Some(_) => module.read_path(&tokens, at),
                None => at + 1,
            };
        }
        module.tokens = tokens;
        module
    }

    fn read_use(&mut self, tokens: &[Token], start: usize) -> usize {
        let is_reexport = start > 0 && (tokens[start - 1].word() == Some("pub") || tokens[start - 1].is(')'));
        let mut at = start + 1;
        if tokens.get(at).is_some_and(|token| token.kind == Kind::Sep) {
            at += 1;
        }
        at = self.read_tree(tokens, at, &[], is_reexport);
        at + 1
    }

    /// `a::b::{c, d as e, f::*}`; returns where the tree ends.
    fn read_tree(&mut self, tokens: &[Token], mut at: usize, prefix: &[String], is_reexport: bool) -> usize {
        let mut path = prefix.to_vec();
        let line = tokens.get(at).map_or(0, |token| token.line);
        while let Some(token) = tokens.get(at) {
            match &token.kind {
                Kind::Word(word) if word == "as" => {
                    let name = tokens.get(at + 1).and_then(Token::word).unwrap_or("_").to_owned();
                    self.uses.push(Use { name, path, is_reexport, line: token.line });
                    return at + 2;
                }
                Kind::Word(word) => path.push(word.clone()),
                Kind::Sep => {}
                Kind::Sign('*') => {
                    self.uses.push(Use { name: "*".to_owned(), path, is_reexport, line: token.line });
                    return at + 1;
                }
                Kind::Sign('{') => {
                    at += 1;
                    while tokens.get(at).is_some_and(|token| !token.is('}')) {
                        at = self.read_tree(tokens, at, &path, is_reexport);
                        at += usize::from(tokens.get(at).is_some_and(|token| token.is(',')));
                    }
                    return at + 1;
                }
                _ => break,
            }
            at += 1;
        }
        if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
            path.pop();
        }
        if let Some(name) = path.last().cloned() {
            self.uses.push(Use { name, path, is_reexport, line });
        }
        at
    }

    fn read_path(&mut self, tokens: &[Token], start: usize) -> usize {
        let sign_before = |back: usize, sign: char| start >= back && tokens[start - back].is(sign);
        let is_member = sign_before(1, '.') && !sign_before(2, '.');
        let mut path = Vec::new();
        let mut at = start;
        while let Some(word) = tokens.get(at).and_then(Token::word) {
            path.push(word.to_owned());
            at += 1;
            let goes_on = tokens.get(at).is_some_and(|token| token.kind == Kind::Sep);
            if !goes_on || tokens.get(at + 1).and_then(Token::word).is_none() {
                break;
            }
            at += 1;
        }
        let is_after_path = start > 0 && tokens[start - 1].kind == Kind::Sep;
        if !is_member && !is_after_path {
            self.named.push(Named { path, line: tokens[start].line });
        }
        at
    }
}

fn is_start_of_item(tokens: &[Token], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).and_then(|before| tokens.get(before)) else { return true };
    before.word() == Some("pub") || [';', '{', '}', ')', ']'].into_iter().any(|sign| before.is(sign))
}

/// `src/edge/run.rs` is `edge::run`; `src/edge/mod.rs` is `edge`; `src/lib.rs` is the crate.
fn path_of(file: &str) -> Vec<String> {
    let inside = file.trim_start_matches("src/").trim_end_matches(".rs");
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    if inside == "lib" { Vec::new() } else { inside.split('/').map(str::to_owned).collect() }
}
