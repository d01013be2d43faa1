//! What holds in this house. Each rule gives every place where it is broken.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::lexer::{Kind, Token, after_group};
use crate::module::Module;
use crate::tree::{Arrow, Meaning, Tree};

/// Import circles: for each knot of files that reach each other, one shortest way around.
pub(crate) fn circles(arrows: &[Arrow]) -> Vec<String> {
    let mut next: BTreeMap<&str, Vec<&Arrow>> = BTreeMap::new();
    for arrow in arrows {
        next.entry(&arrow.from).or_default().push(arrow);
    }
    let mut told = BTreeSet::new();
    let mut found = Vec::new();
    for start in next.keys().copied() {
        let Some(way) = way_around(&next, start) else { continue };
        let files: BTreeSet<&str> = way.iter().map(|arrow| arrow.from.as_str()).collect();
        if told.insert(files) {
            let steps = way.iter().map(|arrow| format!("\n    {}:{} takes {} of {}", arrow.from, arrow.line, arrow.what, arrow.to));
            found.push(format!("a circle of imports:{}", steps.collect::<String>()));
        }
    }
    found
}

/// The shortest way from a file back to itself.
fn way_around<'a>(next: &BTreeMap<&'a str, Vec<&'a Arrow>>, start: &'a str) -> Option<Vec<&'a Arrow>> {
    let mut came_by: BTreeMap<&str, &Arrow> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for arrow in next.get(file).into_iter().flatten() {
            if !came_by.contains_key(arrow.to.as_str()) {
                came_by.insert(&arrow.to, arrow);
                queue.push_back(&arrow.to);
            }
        }
    }
    let mut way = vec![*came_by.get(start)?];
    while way.last().is_some_and(|arrow| arrow.from != start) {
        way.push(came_by.get(way.last()?.from.as_str())?);
    }
    way.reverse();
    Some(way)
}

/// Arrows from a stage to one that stands above or beside it. `order` is from the ground up, those beside each other in one row.
pub(crate) fn climbing(arrows: &[Arrow], order: &[&[&str]], exceptions: &[(&str, &str)]) -> Vec<String> {
    let rank = |file: &str| {
        let stage = file.strip_prefix("src/")?.split_once('/')?.0.to_owned();
        let row = order.iter().position(|row| row.contains(&stage.as_str()));
        Some((row.unwrap_or(usize::MAX), stage))
    };
    let is_climbing = |arrow: &&Arrow| match (rank(&arrow.from), rank(&arrow.to)) {
        (Some((from, from_stage)), Some((to, to_stage))) => from_stage != to_stage && (to >= from || from == usize::MAX),
        _ => false,
    };
    let is_excepted = |arrow: &Arrow| exceptions.contains(&(arrow.from.as_str(), arrow.to.as_str()));
    let climbing = arrows.iter().filter(is_climbing).filter(|arrow| !is_excepted(arrow));
    climbing.map(|arrow| format!("{}:{} takes {} of {}, which stands above it", arrow.from, arrow.line, arrow.what, arrow.to)).collect()
}

/// Exceptions that no arrow needs any more.
pub(crate) fn idle_exceptions(arrows: &[Arrow], exceptions: &[(&str, &str)]) -> Vec<String> {
    let is_used = |(from, to): &(&str, &str)| arrows.iter().any(|arrow| (arrow.from.as_str(), arrow.to.as_str()) == (*from, *to));
    exceptions.iter().filter(|pair| !is_used(pair)).map(|(from, to)| format!("the exception {from} -> {to} is not needed")).collect()
}

/// Crates that do I/O or run tasks.
const IMPURE_CRATES: [&str; 10] = [
    "tokio",
    "tokio_util",
    "tokio_rustls",
    "tokio_tungstenite",
    "async_nats",
    "futures_util",
    "axum",
    "socket2",
    "nix",
    "hickory_resolver",
];
/// Types of those crates that are plain data. A file that calls itself pure may name them; a pure folder may not.
const PLAIN_DATA: [&[&str]; 5] = [
    &["async_nats", "HeaderMap"],
    &["async_nats", "HeaderValue"],
    &["async_nats", "header"],
    &["async_nats", "Message"],
    &["async_nats", "StatusCode"],
];
/// Paths of `std` that do, and clocks.
const IMPURE_PATHS: [&[&str]; 11] = [
    &["std", "fs"],
    &["std", "thread"],
    &["std", "process"],
    &["std", "env"],
    &["std", "net", "TcpStream"],
    &["std", "net", "TcpListener"],
    &["std", "net", "UdpSocket"],
    &["std", "net", "ToSocketAddrs"],
    &["std", "os"],
    &["std", "time", "Instant", "now"],
    &["std", "time", "SystemTime", "now"],
];
/// Functions of the clock that read it.
const CLOCK: &str = "src/runtime/clock.rs";
const CLOCK_READERS: [&str; 5] = ["now", "utc_now", "until", "thread_cpu", "moment"];

/// What pure files name that is not pure. A file is pure when `is_pure` says so of its folder, or its documentation does.
pub(crate) fn impure(tree: &Tree, is_pure: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for module in tree.modules.values().filter(|module| module.says_pure || is_pure(&module.file)) {
        let may_hold_data = !is_pure(&module.file);
        let mut names = BTreeMap::new();
        for (meaning, line) in tree.meanings(module) {
            if let Some(name) = impure_name(tree, meaning, may_hold_data) {
                names.entry(name).or_insert(line);
            }
        }
        for token in module.tokens.iter().filter(|token| matches!(token.word(), Some("async" | "await"))) {
            names.entry("async".to_owned()).or_insert(token.line);
        }
        found.extend(names.into_iter().map(|(name, line)| format!("{}:{line} is to be pure and names {name}", module.file)));
    }
    found
}

fn begins_with_one_of(path: &[String], starts: &[&[&str]]) -> bool {
    starts.iter().any(|start| path.iter().map(String::as_str).take(start.len()).eq(start.iter().copied()))
}

fn impure_name(tree: &Tree, meaning: Meaning, may_hold_data: bool) -> Option<String> {
    match meaning {
        Meaning::Foreign(path) => {
            let is_impure = IMPURE_CRATES.contains(&path.first()?.as_str()) || begins_with_one_of(&path, &IMPURE_PATHS);
            let is_impure = is_impure && !(may_hold_data && begins_with_one_of(&path, &PLAIN_DATA));
            is_impure.then(|| path.join("::"))
        }
        Meaning::Item(path, name) => {
            let is_clock = tree.modules.get(&path).is_some_and(|module| module.file == CLOCK);
            (is_clock && CLOCK_READERS.contains(&name.as_str())).then(|| format!("clock::{name}"))
        }
        Meaning::Module(_) => None,
    }
}

/// Calls of methods of `owner` that run up the order of the flow, and methods of it outside of the flow. `order` is from the top
/// down, files of `folder`; its `mod.rs` stands outside of the order.
pub(crate) fn uphill(tree: &Tree, owner: &str, folder: &str, order: &[&str]) -> Vec<String> {
    let place = |module: &Module| order.iter().position(|name| module.file == format!("{folder}/{name}.rs"));
    let own: Vec<_> = tree.modules.values().map(|module| (module, own_blocks(&module.tokens, owner))).collect();
    let flow: Vec<_> = own.iter().filter_map(|(module, blocks)| Some((place(module)?, *module, blocks))).collect();
    let mut defined = BTreeMap::new();
    for (at, module, blocks) in &flow {
        for name in blocks.iter().flat_map(|block| methods(block)) {
            defined.insert(name.to_owned(), (*at, &module.file));
        }
    }
    let mut found = Vec::new();
    for (module, blocks) in &own {
        let is_strange = !blocks.is_empty() && place(module).is_none() && module.file != format!("{folder}/mod.rs");
        found.extend(is_strange.then(|| format!("{} has methods of {owner}, and is no file of its flow", module.file)));
    }
    for (at, module, blocks) in &flow {
        for (name, line) in blocks.iter().flat_map(|block| calls(block)) {
            if let Some((_, above)) = defined.get(name).filter(|(above, _)| above < at) {
                found.push(format!("{}:{line} calls {name}, which stands above it in {above}", module.file));
            }
        }
    }
    found
}

/// The bodies of the `impl` blocks of a type itself.
fn own_blocks<'t>(tokens: &'t [Token], owner: &str) -> Vec<&'t [Token]> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_start = at == 0 || tokens[at - 1].is('}') || tokens[at - 1].is(';') || tokens[at - 1].is(']');
        if !is_start || tokens[at].word() != Some("impl") {
            at += 1;
            continue;
        }
        let open = tokens.iter().skip(at).position(|token| token.is('{')).map_or(tokens.len(), |ahead| at + ahead);
        let end = after_group(tokens, open);
        let head: Vec<_> = tokens[at..open].iter().filter_map(Token::word).collect();
        if head.contains(&owner) && !head.contains(&"for") {
            found.push(&tokens[open..end]);
        }
        at = end;
    }
    found
}

fn methods(block: &[Token]) -> impl Iterator<Item = &str> {
    block.windows(2).filter(|pair| pair[0].word() == Some("fn")).filter_map(|pair| pair[1].word())
}

/// `self.name(`, `notifier.name(` in a step, and `Self::name`.
fn calls(block: &[Token]) -> impl Iterator<Item = (&str, usize)> {
    block.windows(4).filter_map(|tokens| {
        let is_method = matches!(tokens[0].word(), Some("self" | "notifier")) && tokens[1].is('.') && tokens[3].is('(');
        let is_path = tokens[0].word() == Some("Self") && tokens[1].kind == Kind::Sep;
        tokens[2].word().filter(|_| is_method || is_path).map(|name| (name, tokens[2].line))
    })
}

/// Files below a folder that name a word.
pub(crate) fn naming(tree: &Tree, folder: &str, word: &str) -> Vec<String> {
    let below = tree.modules.values().filter(|module| module.file.starts_with(folder));
    let first = below.filter_map(|module| module.tokens.iter().find(|token| token.word() == Some(word)).map(|token| (module, token.line)));
    first.map(|(module, line)| format!("{}:{line} names {word}", module.file)).collect()
}

/// Files that are too long.
pub(crate) fn long<'f>(files: impl IntoIterator<Item = (&'f str, &'f str)>, most_lines: usize) -> Vec<String> {
    let counted = files.into_iter().map(|(name, text)| (name, text.lines().count())).filter(|(_, lines)| *lines > most_lines);
    counted.map(|(name, lines)| format!("{name} has {lines} lines: at most {most_lines}")).collect()
}
