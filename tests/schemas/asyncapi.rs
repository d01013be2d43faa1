//! `schemas/asyncapi.yaml`: the one that the code generates, in order for the tools that read such documents, and so is its page.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use dfks::bus::asyncapi;

use crate::directory;

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether Node is there with the packages of `tools/node`. Without it the tests with it are skipped; never in CI.
pub(crate) fn has_node() -> bool {
    let is_there = root().join(".tools/node/node_modules/@asyncapi/parser").is_dir();
    assert!(is_there || std::env::var_os("CI").is_none(), "run `make tools`");
    if !is_there {
        eprintln!("skipped: the packages of tools/node are not there, run `make tools`");
    }
    is_there
}

pub(crate) fn run(program: impl AsRef<Path>, args: &[&str]) -> Output {
    let program = program.as_ref();
    Command::new(program)
        .args(args)
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

type Check = fn(&Path) -> Output;

/// `@asyncapi/parser`, references to the schemas included.
fn parse(file: &Path) -> Output {
    run("node", &["tools/node/check-asyncapi.mjs", file.to_str().unwrap()])
}

/// Spectral with all its rules for AsyncAPI.
fn lint(file: &Path) -> Output {
    let spectral = root().join(".tools/node/node_modules/.bin/spectral");
    run(spectral, &["lint", "--ruleset", "tools/node/spectral.yaml", "--fail-severity", "hint", file.to_str().unwrap()])
}

#[test]
fn the_committed_document_is_the_generated_one() {
    let written = fs::read_to_string(directory().join(asyncapi::FILE_NAME)).unwrap();
    assert_eq!(written, asyncapi::to_yaml().unwrap(), "write it again with `make schemas`");
}

#[test]
fn the_parser_and_spectral_find_no_fault() {
    if !has_node() {
        return;
    }
    let file = directory().join(asyncapi::FILE_NAME);
    for output in [parse(&file), lint(&file)] {
        assert!(output.status.success(), "{}", said(&output));
    }
}

#[test]
fn the_parser_and_spectral_would_find_a_fault() {
    if !has_node() {
        return;
    }
    let (text, folder) = (fs::read_to_string(directory().join(asyncapi::FILE_NAME)).unwrap(), tempfile::tempdir().unwrap());
    for entry in fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap()).filter(|entry| entry.file_type().unwrap().is_file()) {
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let checks: [(&str, &str, Check); 4] = [
        ("queue: dfks-mi", "subject: dfks-mi", parse),
        ("$ref: ./set_request.json", "$ref: ./nowhere.json", parse),
        ("channels/set/messages/set_request", "channels/set/messages/get_request", parse),
        ("  license:\n", "  licence:\n", lint),
    ];
    for (was, is, check) in checks {
        assert!(text.contains(was), "{was}");
        let file = folder.path().join(asyncapi::FILE_NAME);
        fs::write(&file, text.replacen(was, is, 1)).unwrap();
        let output = check(&file);
        assert!(!output.status.success(), "{is}: {}", said(&output));
    }
}

#[test]
fn the_page_is_in_one_piece_and_shows_every_subject() {
    if !has_node() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("asyncapi.html");
    let file = directory().join(asyncapi::FILE_NAME);
    let made = run("node", &["tools/node/asyncapi-html.mjs", file.to_str().unwrap(), page.to_str().unwrap()]);
    assert!(made.status.success(), "{}", said(&made));
    let html = fs::read_to_string(&page).unwrap();
    for loads in ["<script src", "<link rel=\"stylesheet\"", "<img src=\"http", "@import", "url(http", "url(\"http"] {
        assert!(!html.contains(loads), "{loads}");
    }
    // a browser refuses what is not in the page itself
    assert!(html.contains("Content-Security-Policy") && html.contains("default-src 'none'"));
    let Some(chromium) = chromium() else {
        eprintln!("the page was not drawn: chromium is not there");
        return;
    };
    let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
    let address = format!("file://{}", page.display());
    let args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr", &profile];
    let drawn = run(chromium, &[&args[..], &["--virtual-time-budget=20000", "--dump-dom", &address]].concat());
    let dom = String::from_utf8_lossy(&drawn.stdout);
    let (before, after) = dom.split_once("<div id=\"asyncapi\">").unwrap_or_else(|| panic!("no page: {}", said(&drawn)));
    let shown = after.split("<script").next().unwrap();
    assert!(before.contains("<title>dfks"), "{before:.300}");
    for (_, channel) in asyncapi::document().channels.iter() {
        if let Some(address) = &channel.address {
            assert!(shown.contains(address.as_str()), "{address} is not shown: {}", String::from_utf8_lossy(&drawn.stderr));
        }
    }
    let complaints: Vec<_> = std::str::from_utf8(&drawn.stderr).unwrap().lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name))).find(|program| program.is_file())
}
