//! The rules on small trees that are made up: each finds what breaks it, and nothing else.

use crate::lexer::{Kind, tokens, without_tests};
use crate::rule;
use crate::tree::{Meaning, Tree};

fn arrows(files: &[(&str, &str)]) -> Vec<String> {
    let arrows = Tree::of(files.iter().copied()).arrows();
    arrows.into_iter().map(|arrow| format!("{} -> {}: {}", arrow.from, arrow.to, arrow.what)).collect()
}

fn circles(files: &[(&str, &str)]) -> Vec<String> {
    rule::circles(&Tree::of(files.iter().copied()).arrows())
}

#[test]
fn comments_literals_and_tests_are_no_code() {
    let text = r###"
        // a::b
        /* a /* nested */ b */
        const X: &str = "use crate::a; \" #"; const Y: &str = r##"a"# b"##; const Z: &[u8] = b"x\"y";
        fn f<'a>(c: char) -> bool { c == '\'' || c == 'x' || c == '"' || b'"' == 1 }
        #[cfg(test)]
        #[path = "tests/x.rs"]
        mod tests;
        #[cfg(test)]
        use a::{b, c};
        #[cfg(test)]
        impl X { fn g() {} }
        #[cfg(test)]
        const N: [u8; 2] = [1, 2];
        fn kept() {}
    "###;
    let words: Vec<_> = without_tests(&tokens(text)).iter().filter_map(|token| token.word().map(str::to_owned)).collect();
    let want = "const X str const Y str const Z u8 fn f c char bool c c c fn kept";
    assert_eq!(words.join(" "), want);
    assert_eq!(tokens("a\n\"x\ny\"\nb").iter().map(|token| token.line).collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!(tokens("a::b")[1].kind, Kind::Sep);
}

#[test]
fn an_import_leads_to_the_file_that_defines_the_name() {
    let files = [
        ("src/lib.rs", "pub mod a; pub mod b; pub use a::Deep as Top;"),
        ("src/a/mod.rs", "mod deep; mod glob; pub use deep::{Deep, Other as Renamed}; pub use glob::*; pub struct Here;"),
        ("src/a/deep.rs", "pub struct Deep; pub struct Other;"),
        ("src/a/glob.rs", "pub fn spread() {}"),
        ("src/b.rs", "FILLED IN"),
    ];
    for (text, want) in [
        ("use crate::a::Deep;", &["src/a/deep.rs: Deep"][..]),
        ("use crate::a::{self, Renamed};", &["src/a/deep.rs: Other"]),
        ("use crate::Top;", &["src/a/deep.rs: Deep"]),
        ("use super::a::spread;", &["src/a/glob.rs: spread"]),
        ("use crate::a::*; fn f() { spread() }", &["src/a/glob.rs: spread"]),
        ("fn f() { crate::a::Here }", &["src/a/mod.rs: Here"]),
        ("use crate::a; fn f() -> a::Deep { a::Deep::new() }", &["src/a/deep.rs: Deep"]),
        ("use crate::a as other; fn f() -> other::Here {}", &["src/a/mod.rs: Here"]),
        ("fn f(x: &X) { x.a.b; x.spread(); a::Deep::new() }", &[]),
        ("use std::a::Deep; // crate::a::Deep", &[]),
        ("/// [`crate::a::Deep`]\nstruct B; #[cfg(test)] mod tests { use crate::a::Deep; }", &[]),
        ("pub use crate::a::Deep;", &[]),
        ("pub use crate::a::Deep; fn f(_: Deep) {}", &["src/a/deep.rs: Deep"]),
    ] {
        let mut files = files;
        files[4].1 = text;
        let want: Vec<_> = want.iter().map(|to| format!("src/b.rs -> {to}")).collect();
        assert_eq!(arrows(&files), want, "{text}");
    }
}

#[test]
fn a_name_of_another_crate_is_known_in_full() {
    let tree = Tree::of([("src/a.rs", "use tokio::net::{TcpStream as Stream}; use std::time::Instant;")]);
    let foreign = |path: &str| match tree.resolve(&["a".to_owned()], &path.split("::").map(str::to_owned).collect::<Vec<_>>()) {
        Some(Meaning::Foreign(path)) => path.join("::"),
        other => format!("{other:?}"),
    };
    assert_eq!(foreign("Stream::connect"), "tokio::net::TcpStream::connect");
    assert_eq!(foreign("Instant::now"), "std::time::Instant::now");
    assert_eq!(foreign("tokio::spawn"), "tokio::spawn");
}

#[test]
fn a_circle_is_found_and_shown() {
    let round = [
        ("src/a/mod.rs", "mod x; mod y; mod z; pub use y::Y;"),
        ("src/a/x.rs", "use super::Y; pub struct X;"),
        ("src/a/y.rs", "use crate::a::z::Z; pub struct Y;"),
        ("src/a/z.rs", "pub struct Z; fn f() -> super::x::X {}"),
    ];
    let found = circles(&round);
    assert_eq!(found.len(), 1, "{found:?}");
    for step in ["src/a/x.rs:1 takes Y of src/a/y.rs", "src/a/y.rs:1 takes Z of src/a/z.rs", "src/a/z.rs:1 takes X of src/a/x.rs"] {
        assert!(found[0].contains(step), "{found:?}");
    }
    assert_eq!(circles(&round[..3]), [""; 0]);
    // A re-export alone makes none: its module takes nothing.
    assert_eq!(
        circles(&[("src/a/mod.rs", "mod x; pub use x::X; pub struct A;"), ("src/a/x.rs", "use super::A; pub struct X(A);")]),
        [""; 0]
    );
    assert_eq!(circles(&[("src/a/mod.rs", "mod x; use x::X; pub struct A(X);"), ("src/a/x.rs", "use super::A; pub struct X;")]).len(), 1);
}

#[test]
fn an_arrow_up_or_sideways_is_found() {
    let order: &[&[&str]] = &[&["ground"], &["left", "right"], &["roof"]];
    let of = |exceptions: &[(&str, &str)]| {
        let arrows = Tree::of([
            ("src/ground.rs", "pub struct G;"),
            ("src/ground/deep.rs", "use crate::roof::top::R;"),
            ("src/left/a.rs", "use crate::right::b::B; use crate::ground::deep::D; pub struct A;"),
            ("src/right/b.rs", "use crate::right::c::C; pub struct B;"),
            ("src/right/c.rs", "pub struct C;"),
            ("src/roof/top.rs", "use crate::left::a::A; pub struct R;"),
            ("src/shed/x.rs", "use crate::ground::deep::D;"),
        ])
        .arrows();
        (rule::climbing(&arrows, order, exceptions), rule::idle_exceptions(&arrows, exceptions))
    };
    let (climbing, idle) = of(&[]);
    let want = [
        "src/ground/deep.rs:1 takes R of src/roof/top.rs, which stands above it",
        "src/left/a.rs:1 takes B of src/right/b.rs, which stands above it",
        "src/shed/x.rs:1 takes D of src/ground/deep.rs, which stands above it",
    ];
    assert_eq!((climbing, idle), (want.map(str::to_owned).to_vec(), Vec::new()));
    let (climbing, idle) = of(&[("src/left/a.rs", "src/right/b.rs"), ("src/right/b.rs", "src/left/a.rs")]);
    assert_eq!((climbing.len(), idle.len()), (2, 1));
}

#[test]
fn what_is_not_pure_is_found_in_pure_files() {
    for (text, want) in [
        ("use tokio::sync::mpsc::Sender;", Some("tokio::sync::mpsc::Sender")),
        ("fn f() { async_nats::connect() }", Some("async_nats::connect")),
        ("use std::net::{IpAddr, TcpStream};", Some("std::net::TcpStream")),
        ("use std::fs; fn f() { fs::read() }", Some("std::fs")),
        ("use std::time::Instant; fn f() { Instant::now() }", Some("std::time::Instant::now")),
        ("use crate::runtime::clock; fn f() { clock::utc_now() }", Some("clock::utc_now")),
        ("use crate::runtime::clock::now;", Some("clock::now")),
        ("async fn f() {}", Some("async")),
        ("use crate::runtime::clock; fn f(at: SystemTime) { clock::rfc3339(at) }", None),
        ("use std::net::SocketAddr; use std::time::{Duration, Instant};", None),
        ("// tokio::spawn\n#[cfg(test)] mod tests { use std::fs; }", None),
    ] {
        let tree =
            |file, text| Tree::of([("src/runtime/clock.rs", "pub fn now() {} pub fn utc_now() {} pub fn rfc3339() {}"), (file, text)]);
        let found = rule::impure(&tree("src/pure/a.rs", text), |file| file.starts_with("src/pure/"));
        assert_eq!(found.is_empty(), want.is_none(), "{text}: {found:?}");
        assert!(want.is_none_or(|want| found[0].ends_with(&format!("names {want}"))), "{text}: {found:?}");
        assert!(rule::impure(&tree("src/other/a.rs", text), |_| false).is_empty(), "{text}");
        let says = format!("//! What it is. Pure.\n\n{text}");
        assert_eq!(rule::impure(&tree("src/other/a.rs", &says), |_| false).len(), found.len(), "{text}");
    }
    let data = Tree::of([("src/pure/a.rs", "//! Data. Pure.\n\nuse async_nats::{HeaderMap, Message};")]);
    assert_eq!(rule::impure(&data, |_| false), [""; 0], "plain data");
    assert_eq!(rule::impure(&data, |file| file.starts_with("src/pure/")).len(), 2, "in a pure folder");
}

#[test]
fn a_call_up_the_flow_is_found() {
    let of = |high: &str, low: &str, other: &str| {
        let files = [("src/n/mod.rs", "impl Owner { fn all(&self) { self.up() } }"), ("src/n/high.rs", high), ("src/n/low.rs", low)];
        rule::uphill(&Tree::of(files.into_iter().chain([("src/n/other.rs", other)])), "Owner", "src/n", &["high", "low"])
    };
    let (high, low) = ("impl Owner { fn up(&self) { self.down() } }", "impl Owner { fn down(&self) { self.all() } }");
    assert_eq!(of(high, low, ""), [""; 0]);
    for (low, want) in [
        ("impl Owner { fn down(&self) {\n self.up() } }", "src/n/low.rs:2 calls up, which stands above it in src/n/high.rs"),
        ("impl Owner { fn down(&self) { list.map(Self::up) } }", "src/n/low.rs:1 calls up, which stands above it in src/n/high.rs"),
    ] {
        assert_eq!(of(high, low, ""), [want]);
    }
    assert_eq!(
        of(high, "impl Part { fn up(&self) {} fn f(&self) { self.up() } } impl T for Owner { fn up(&self) { self.up() } }", ""),
        [""; 0]
    );
    assert_eq!(of(high, low, "impl<'a> Owner<'a> { fn x() {} }"), ["src/n/other.rs has methods of Owner, and is no file of its flow"]);
    let named = Tree::of([("src/n/state/a.rs", "// Owner\nfn f(\nowner: &Owner) {}"), ("src/n/b.rs", "struct Owner;")]);
    assert_eq!(rule::naming(&named, "src/n/state/", "Owner"), ["src/n/state/a.rs:3 names Owner"]);
}

#[test]
fn a_long_file_is_found() {
    assert_eq!(rule::long([("a.rs", "1\n2\n3"), ("b.rs", "1\n2\n")], 2), ["a.rs has 3 lines: at most 2"]);
}
