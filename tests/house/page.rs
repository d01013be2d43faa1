//! The pages that describe the house: whether what they name is there.

use std::fs;
use std::path::Path;

/// A page: its name from the root, and its text.
type Page = (String, String);

/// Folders of the repository whose files are looked up.
const FOLDERS: [&str; 10] = ["src", "tests", "docs", "fuzz", "helm", "grafana", "tools", "bench", "schemas", "examples"];

/// The pages by name, and all of a folder.
pub(crate) fn pages(root: &Path, names: &[&str], folder: &str) -> Vec<Page> {
    let below = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let below = below.map(|name| format!("{folder}/{name}"));
    let mut names: Vec<_> = names.iter().map(|&name| name.to_owned()).chain(below).collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), fs::read_to_string(root.join(name)).unwrap())).collect()
}

/// Paths in a page of which nothing is there.
pub(crate) fn missing(page: &str, text: &str, is_there: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let words = text.split(|sign: char| !sign.is_ascii_alphanumeric() && !"_-./".contains(sign));
        let paths = words.map(|word| word.trim_end_matches(['.', '/']));
        let paths = paths.filter(|path| path.split_once('/').is_some_and(|(folder, _)| FOLDERS.contains(&folder)));
        found.extend(paths.filter(|path| !is_there(path)).map(|path| format!("{page}:{line} names {path}, which is not there")));
    }
    found
}

/// Pages below a folder that one of the lists does not name.
pub(crate) fn unlisted(pages: &[Page], folder: &str, lists: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (list, text) in pages.iter().filter(|(name, _)| lists.contains(&name.as_str())) {
        let below = pages.iter().filter_map(|(name, _)| name.strip_prefix(folder)).filter(|name| !list.ends_with(name));
        found.extend(below.filter(|name| !text.contains(*name)).map(|name| format!("{list} does not name {name}")));
    }
    found
}

/// Source files below a folder that a page does not name, by their path or by their name in backquotes.
pub(crate) fn unnamed<'f>(page: &str, text: &str, files: impl IntoIterator<Item = &'f str>, folder: &str) -> Vec<String> {
    let is_named = |file: &str| {
        let name = file.rsplit('/').next().and_then(|name| name.strip_suffix(".rs"));
        text.contains(file) || name.is_some_and(|name| name == "mod" || text.contains(&format!("`{name}`")))
    };
    let below = files.into_iter().filter(|file| file.starts_with(folder) && !file.contains("/tests/"));
    below.filter(|file| !is_named(file)).map(|file| format!("{page} does not name {file}")).collect()
}

#[test]
fn a_page_is_held_against_what_is_there() {
    let text = "see `src/a.rs`, src/b/c.rs.\n[x](docs/y.md) and tests/z/ but not http://x.org/src/d or `data/e`";
    assert!(missing("P", text, |_| true).is_empty());
    let want = ["P:1 names src/a.rs, which is not there", "P:1 names src/b/c.rs, which is not there"];
    assert_eq!(missing("P", text, |path| ["docs/y.md", "tests/z"].contains(&path)), want);
    let pages = [("d/list.md", "a.md"), ("d/a.md", ""), ("d/b.md", "")].map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(unlisted(&pages, "d/", &["d/list.md"]), ["d/list.md does not name b.md"]);
    let files = ["src/e/named.rs", "src/e/mod.rs", "src/e/whole.rs", "src/e/tests/x.rs", "src/e/not.rs", "src/f/other.rs"];
    assert_eq!(unnamed("P", "`named` src/e/whole.rs not", files, "src/e/"), ["P does not name src/e/not.rs"]);
}
