//! The files of the pages, built into the binary.

use std::sync::LazyLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Names, types and contents. No name tells of a presentity, and none is made up from what a browser sends.
const FILES: [(&str, &str, &str); 20] = [
    ("index.html", "text/html; charset=utf-8", include_str!("asset/index.html")),
    ("style.css", "text/css; charset=utf-8", include_str!("asset/style.css")),
    ("page.css", "text/css; charset=utf-8", include_str!("asset/page.css")),
    ("icon.svg", "image/svg+xml", include_str!("asset/icon.svg")),
    ("main.js", SCRIPT, include_str!("asset/main.js")),
    ("ask.js", SCRIPT, include_str!("asset/ask.js")),
    ("element.js", SCRIPT, include_str!("asset/element.js")),
    ("word.js", SCRIPT, include_str!("asset/word.js")),
    ("event.js", SCRIPT, include_str!("asset/event.js")),
    ("stream.js", SCRIPT, include_str!("asset/stream.js")),
    ("presentity.js", SCRIPT, include_str!("asset/presentity.js")),
    ("phone.js", SCRIPT, include_str!("asset/phone.js")),
    ("feature.js", SCRIPT, include_str!("asset/feature.js")),
    ("tail.js", SCRIPT, include_str!("asset/tail.js")),
    ("now.js", SCRIPT, include_str!("asset/now.js")),
    ("fleet.js", SCRIPT, include_str!("asset/fleet.js")),
    ("flow.js", SCRIPT, include_str!("asset/flow.js")),
    ("dead.js", SCRIPT, include_str!("asset/dead.js")),
    ("change.js", SCRIPT, include_str!("asset/change.js")),
    ("poll.js", SCRIPT, include_str!("asset/poll.js")),
];

/// Of all of them together: they fit each other.
static TAG: LazyLock<String> = LazyLock::new(|| {
    let sum = FILES.iter().fold(Sha256::new(), |sum, (name, _, text)| sum.chain_update(name).chain_update(text));
    let number = sum.finalize().iter().take(12).fold(0_u128, |number, byte| (number << 8) | u128::from(*byte));
    format!("\"{number:024x}\"")
});

/// A file; 304 where the browser has it.
pub(super) fn served(name: &str, headers: &HeaderMap) -> Response {
    let Some((_, kind, text)) = FILES.iter().find(|(file, ..)| *file == name) else {
        return (StatusCode::NOT_FOUND, "no such file\n").into_response();
    };
    let kept = [(CACHE_CONTROL, "no-cache"), (ETAG, TAG.as_str())];
    let has = headers.get(IF_NONE_MATCH).is_some_and(|tags| tags.as_bytes() == TAG.as_bytes());
    if has { (StatusCode::NOT_MODIFIED, kept).into_response() } else { (kept, [(CONTENT_TYPE, *kind)], *text).into_response() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_name_only_files_that_are_there_and_none_of_elsewhere() {
        for (name, _, text) in FILES {
            for part in text.split("/console/").skip(1) {
                let named: String = part.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')).collect();
                assert!(FILES.iter().any(|(file, ..)| *file == named), "{name} names {named}");
            }
            for part in text.split("from \"./").skip(1) {
                let named = part.split('"').next().unwrap();
                assert!(FILES.iter().any(|(file, ..)| *file == named), "{name} imports {named}");
            }
            let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"), "{name}");
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=", " onclick="] {
                assert!(!text.contains(forbidden), "{name}: {forbidden}");
            }
        }
    }
}
