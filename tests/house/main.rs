//! Keeps the house in order: who may import whom, what is pure, which way the flow goes, how long a file may be, and whether the
//! pages that describe it name what is there.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod lexer;
mod made_up;
mod module;
mod page;
mod rule;
mod tree;

use std::path::Path;

use tree::{Tree, files};

/// The stages from the ground up; those of one row do not know each other.
///
/// `config` and `telemetry` stand low: sections of the file and gauges are what the stages above are made with, and neither
/// knows a stage.
const STAGES: [&[&str]; 11] = [
    &["runtime"],
    &["feature"],
    &["sip"],
    &["config"],
    &["telemetry"],
    &["bus"],
    &["notify"],
    &["worker", "mi", "edge"],
    &["console"],
    &["cli"],
    &["simulate"],
];

/// Arrows that run up that order all the same: from which file to which, each with its reason. None is needed so far.
const EXCEPTIONS: [(&str, &str); 0] = [];

/// Folders in which nothing opens a socket, starts a task or reads a clock.
const PURE: [&str; 5] = ["src/feature/", "src/sip/", "src/edge/notifier/", "src/edge/subscription/", "src/edge/gate/"];
/// The folder in one of them that does.
const IMPURE: &str = "src/sip/transport/";

/// The files of the notifier in the order of the flow, from the top down.
const FLOW: [&str; 10] = ["hand", "intake", "ownership", "exchange", "route", "tell", "notify", "reach", "lifecycle", "step"];

const MOST_LINES: usize = 400;

/// Fewer imports than this are found only when the reader of the sources is broken.
const FEWEST_ARROWS: usize = 700;

#[test]
fn the_house_is_in_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tree = Tree::read(root);
    let arrows = tree.arrows();
    assert!(arrows.len() > FEWEST_ARROWS, "only {} imports were found", arrows.len());
    let sources = [files(root, "src"), files(root, "tests")].concat();
    let findings = [
        rule::circles(&arrows),
        rule::climbing(&arrows, &STAGES, &EXCEPTIONS),
        rule::idle_exceptions(&arrows, &EXCEPTIONS),
        rule::impure(&tree, |file| !file.starts_with(IMPURE) && PURE.iter().any(|folder| file.starts_with(folder))),
        rule::uphill(&tree, "Notifier", "src/edge/notifier", &FLOW),
        rule::naming(&tree, "src/edge/notifier/state/", "Notifier"),
        rule::long(sources.iter().map(|(name, text)| (name.as_str(), text.as_str())), MOST_LINES),
    ]
    .concat();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn the_pages_name_what_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = page::pages(root, &["ARCHITECTURE.md", "CONTRIBUTING.md"], "docs/decisions");
    let files = files(root, "src");
    let architecture = &pages[0].1;
    let findings = [
        pages.iter().flat_map(|(name, text)| page::missing(name, text, |path| root.join(path).exists())).collect(),
        page::unlisted(&pages, "docs/decisions/", &["docs/decisions/README.md", "ARCHITECTURE.md"]),
        page::unnamed("ARCHITECTURE.md", architecture, files.iter().map(|(name, _)| name.as_str()), "src/edge/"),
    ]
    .concat();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}
