//! `docs/phones.md` and what it names.

use std::path::Path;

/// ```text
/// | vendor | on | snippet | does | does not, known faults | profile | source |
/// ```
#[test]
fn each_row_of_the_phones_has_its_source_and_each_snippet_its_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/phones.md")).unwrap();
    let table = page.split("## The table").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<Vec<&str>> =
        table.lines().filter(|line| line.starts_with("| ")).skip(1).map(|line| line.split(" | ").collect()).collect();
    assert!(rows.len() >= 12, "{}", rows.len());
    let mut named = Vec::new();
    for row in &rows {
        let (vendor, source) = (row.first().unwrap(), row.last().unwrap());
        assert!(source.contains("](http"), "no public source for {vendor}");
        let whole = row.concat();
        for link in whole.split("](../").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            assert!(root.join(link).exists(), "{vendor}: {link}");
            named.push(link.to_owned());
        }
        let has_snippet = whole.contains("](../examples/phones/");
        assert!(has_snippet || whole.contains("no public source"), "neither a snippet nor a reason for {vendor}");
    }
    for entry in std::fs::read_dir(root.join("examples/phones")).unwrap() {
        let name = format!("examples/phones/{}", entry.unwrap().file_name().to_str().unwrap());
        assert!(named.contains(&name), "no row names {name}");
    }
}
