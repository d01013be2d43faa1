//! The modules of the crate, and what a path means in one of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::module::Module;

/// All modules, by their path.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// By path in the crate.
    pub(crate) modules: BTreeMap<Vec<String>, Module>,
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// An item, in the module with this path that defines it.
    Item(Vec<String>, String),
    /// A module.
    Module(Vec<String>),
    /// Another crate's, in full: `tokio::net::TcpStream`.
    Foreign(Vec<String>),
}

/// One file that takes something from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrow {
    /// Who takes it.
    pub(crate) from: String,
    /// Who defines it.
    pub(crate) to: String,
    /// Where it is taken.
    pub(crate) line: usize,
    /// What is taken.
    pub(crate) what: String,
}

/// Longest chain of re-exports that is followed: more is a circle of them.
const MOST_STEPS: usize = 16;

impl Tree {
    /// Reads files: name and text.
    pub(crate) fn of<'t>(files: impl IntoIterator<Item = (&'t str, &'t str)>) -> Self {
        let modules = files.into_iter().map(|(file, text)| Module::read(file, text)).map(|module| (module.path.clone(), module));
        Self { modules: modules.collect() }
    }

    /// Reads the sources of a crate, without the tests beside them.
    pub(crate) fn read(root: &Path) -> Self {
        let files: Vec<_> = files(root, "src").into_iter().filter(|(name, _)| !is_test(name)).collect();
        Self::of(files.iter().map(|(name, text)| (name.as_str(), text.as_str())))
    }

    /// Every path that a module names, with what it means. Re-exports that it does not use itself are not among them.
    pub(crate) fn meanings(&self, module: &Module) -> Vec<(Meaning, usize)> {
        let imported = module.uses.iter().filter(|used| !used.is_reexport && used.name != "*");
        let imported = imported.map(|used| (self.resolve(&module.path, &used.path), used.line));
        let named = module.named.iter().map(|named| (self.resolve(&module.path, &named.path), named.line));
        imported.chain(named).filter_map(|(meaning, line)| Some((meaning?, line))).collect()
    }

    /// What each file takes from which other.
    pub(crate) fn arrows(&self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        for module in self.modules.values() {
            for (meaning, line) in self.meanings(module) {
                let Meaning::Item(path, what) = meaning else { continue };
                let Some(target) = self.modules.get(&path).filter(|target| target.file != module.file) else { continue };
                arrows.push(Arrow { from: module.file.clone(), to: target.file.clone(), line, what });
            }
        }
        arrows.sort();
        arrows.dedup_by(|a, b| (&a.from, &a.to) == (&b.from, &b.to));
        arrows
    }

    /// What a path means in the module at `here`; `None` for a local name.
    pub(crate) fn resolve(&self, here: &[String], path: &[String]) -> Option<Meaning> {
        self.resolve_within(here, path, MOST_STEPS)
    }

    fn resolve_within(&self, here: &[String], path: &[String], steps: usize) -> Option<Meaning> {
        let steps = steps.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.descend(Vec::new(), rest, steps),
            "dfks" if here == ["main"] => self.descend(Vec::new(), rest, steps),
            "self" => self.descend(here.to_vec(), rest, steps),
            "super" => self.descend(here.split_last()?.1.to_vec(), rest, steps),
            _ => match self.find(here, first, rest.is_empty(), steps) {
                Some(Meaning::Module(module)) => self.descend(module, rest, steps),
                Some(Meaning::Foreign(crate_path)) => Some(Meaning::Foreign([&crate_path, rest].concat())),
                Some(item) => Some(item),
                None if rest.is_empty() => None,
                None => Some(Meaning::Foreign(path.to_vec())),
            },
        }
    }

    /// The rest of a path, inside a module.
    fn descend(&self, module: Vec<String>, rest: &[String], steps: usize) -> Option<Meaning> {
        let steps = steps.checked_sub(1)?;
        let Some((first, more)) = rest.split_first() else { return Some(Meaning::Module(module)) };
        if first == "super" {
            return self.descend(module.split_last()?.1.to_vec(), more, steps);
        }
        match self.find(&module, first, more.is_empty(), steps) {
            Some(Meaning::Module(inner)) => self.descend(inner, more, steps),
            Some(Meaning::Foreign(path)) => Some(Meaning::Foreign([&path, more].concat())),
            Some(item) => Some(item),
            // A macro defines it.
            None => Some(Meaning::Item(module, first.clone())),
        }
    }

    /// One name in a module: an item, a module below it, or what it imports.
    fn find(&self, here: &[String], name: &str, is_last: bool, steps: usize) -> Option<Meaning> {
        let steps = steps.checked_sub(1)?;
        let child = [here, &[name.to_owned()]].concat();
        let is_child = self.modules.range(child.clone()..).next().is_some_and(|(path, _)| path.starts_with(&child));
        let Some(module) = self.modules.get(here) else { return is_child.then_some(Meaning::Module(child)) };
        if module.items.contains(name) && !is_child {
            return Some(Meaning::Item(here.to_vec(), name.to_owned()));
        }
        let imported = module.uses.iter().find(|used| used.name == name);
        match imported {
            Some(used) if is_last || !is_child => {
                let meaning = if used.path == [name.to_owned()] { None } else { self.resolve_within(here, &used.path, steps) };
                return meaning.or_else(|| Some(Meaning::Foreign(used.path.clone())));
            }
            _ if is_child => return Some(Meaning::Module(child)),
            _ => {}
        }
        let globs = module.uses.iter().filter(|used| used.name == "*");
        globs.into_iter().find_map(|glob| match self.resolve_within(here, &glob.path, steps)? {
            Meaning::Module(from) => self.find(&from, name, is_last, steps),
            Meaning::Item(..) | Meaning::Foreign(_) => None,
        })
    }
}

/// Every Rust file below a folder: its name from the root, and its text.
pub(crate) fn files(root: &Path, folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn is_test(name: &str) -> bool {
    name.contains("/tests/") || name.ends_with("/tests.rs")
}
