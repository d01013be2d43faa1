//! Tests of what scripts see as `data`: each kind of file, each way to look at it, every bound.

use std::sync::Arc;

use super::*;
use crate::config::RoutesConfig;
use crate::feature::FeatureTable;
use crate::worker::route::Route;
use crate::worker::script::Script;
use crate::worker::script::call::Call;

const JSON: &str = r#"{"word": "yes", "count": 3, "rate": 1.5, "open": true, "none": null, "big": 18446744073709551615,
  "list": ["a", 2, false, ["deep"]], "table": {"Night Desk": {"at": 22}, "b": 1}, "rows": [{"k": "x", "v": 1}, {"k": "y", "v": 2}]}"#;

fn written(name: &str, text: &str) -> (tempfile::TempDir, RouteData) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    (dir, RouteData::File(path))
}

/// What the expression comes to in a set route that sees this file.
fn shown(data: &RouteData, expression: &str) -> Result<String, String> {
    let config = RoutesConfig { data: data.clone(), ..RoutesConfig::default() };
    let text = format!("fn dfks_set(dfks) {{ log(`${{{expression}}}`); }}");
    let script = Script::compile(&config, &text).map_err(|error| error.to_string())?;
    let table = Arc::new(FeatureTable::built_in());
    let state = table.require("DoNotDisturb").unwrap().default_state();
    let (outcome, mut said) = script.rehearse(Route::Set, Call::new(Route::Set, table, "sip:alice@h", None, state));
    outcome.map_err(|error| error.message)?;
    Ok(said.remove(0))
}

#[test]
fn a_script_looks_into_data_as_into_its_own_lists_and_maps() {
    let (_dir, data) = written("a.json", JSON);
    for (expression, want) in [
        ("data.word", "yes"),
        ("data.count + 1", "4"),
        ("data.rate", "1.5"),
        ("data.open && data.list[2] == false", "true"),
        ("data.none == () && data.nowhere == () && data.table.nowhere == ()", "true"),
        ("data.list[0] + data.list[-1][0]", "adeep"),
        ("data.list[9] == () && data.list[-9] == ()", "true"),
        (r#"data.table["Night Desk"].at"#, "22"),
        (r#""a" in data.list && 2 in data.list && false in data.list && !("b" in data.list) && !(3 in data.list)"#, "true"),
        (r#""b" in data.table && !("c" in data.table)"#, "true"),
        (r#"data.rows.find("k", "y").v"#, "2"),
        (r#"data.rows.find("v", 1).k + data.rows.find("k", "z")"#, "x"),
        ("data.list.len() + data.table.len()", "6"),
        ("data.list.is_empty()", "false"),
        ("data.table.keys()[0] + data.rows.values()[1].k", "Night Desky"),
        ("{ let sum = 0; for row in data.rows { sum += row.v; } sum }", "3"),
        (r#"{ let names = ""; for name in data.table { names += name; } names }"#, "Night Deskb"),
        ("data.rows", "[list of 2]"),
        ("data", "[table of 9]"),
        ("{ let data = 7; data }", "7"),
        ("[1, 2].map(|data| data * 2)", "[2, 4]"),
    ] {
        assert_eq!(shown(&data, expression).as_deref(), Ok(want), "{expression}");
    }
}

#[test]
fn data_cannot_be_written() {
    let (_dir, data) = written("a.json", JSON);
    for expression in
        ["{ data.word = 1; }", "{ data.table.b = 2; }", "{ let d = data; d.word = 1; }", "{ data = 1; }", "{ data.list[0] = 1; }"]
    {
        let refused = shown(&data, expression);
        assert!(refused.is_err(), "{expression}: {refused:?}");
    }
    assert_eq!(shown(&data, "data.word").as_deref(), Ok("yes"));
}

#[test]
fn each_kind_of_file_is_read_and_a_bad_one_names_its_line() {
    let csv = "\u{feff}number, name\n0031,\"Jan, de\"\n 0049 ,Udo\n";
    let toml = "date = 2026-12-24\nlist = [1.5, true]\n[a.b]\nc = \"d\"\n";
    for (name, text, expression, want) in [
        ("a.csv", csv, r#"data[0].number + data[0].name + data.find("number", "0049").name"#, Ok("0031Jan, deUdo")),
        ("a.CSV", "a\n", "data.len()", Ok("0")),
        ("a.toml", toml, "data.date + data.list[0] + data.a.b.c", Ok("2026-12-241.5d")),
        ("a.json", "[[1]]", "data[0][0]", Ok("1")),
        ("a.json", "\"text\"", "data", Err("expected an object or an array")),
        ("a.json", "{\n\"a\": 1,\n}", "data", Err("line 3 column 1")),
        ("a.toml", "a = 1\nb = = 2\n", "data", Err("line 2: ")),
        ("a.csv", "a,a\n1,2\n", "data", Err("line 1: there are two columns 'a'")),
        ("a.csv", "a,\n1,2\n", "data", Err("line 1: column 2 has no name")),
        ("a.csv", "a,b\n1,2\n3,4,5\n", "data", Err("line 3: 3 values, the first line names 2")),
        ("a.yaml", "a: 1", "data", Err("expected a name that ends in .toml, .json or .csv")),
    ] {
        let (_dir, data) = written(name, text);
        match (shown(&data, expression), want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want, "{name} {text}"),
            (Err(error), Err(want)) => {
                assert!(error.contains(want) && error.starts_with("routes.data ") && !error.contains('\n'), "{name} {text}: {error}");
            }
            (got, want) => panic!("{name} {text}: got {got:?}, want {want:?}"),
        }
    }
    let table = RouteData::Table(toml::from_str("a = [1, { b = \"c\" }]").unwrap());
    assert_eq!(shown(&table, "data.a[1].b").as_deref(), Ok("c"));
    assert_eq!(shown(&RouteData::default(), "data.a").unwrap_err(), "there is no data: routes.data is empty");
}

#[test]
fn data_is_bounded() {
    let (_dir, data) = written("a.json", &format!("[{}1]", "1,".repeat(MAX_ENTRIES)));
    assert!(matches!(Data::load(&data), Err(DataError::TooMany { .. })));
    let (_dir, data) = written("a.csv", &"x".repeat(MAX_BYTES + 1));
    assert!(matches!(Data::load(&data), Err(DataError::TooLarge { .. })));
    let (_dir, data) = written("a.json", &"[".repeat(100_000));
    assert!(matches!(Data::load(&data), Err(DataError::Content { .. })));
    let (_dir, data) = written("a.toml", &format!("a = {}", "[".repeat(100_000)));
    assert!(matches!(Data::load(&data), Err(DataError::Content { .. })));
}

#[test]
fn a_script_looks_through_thousands_of_rows() {
    let rows = (0..50_000).fold("number,name\n".to_owned(), |rows, at| rows + format!("{at},name {at}\n").as_str());
    let (_dir, data) = written("a.csv", &rows);
    assert_eq!(shown(&data, r#"data.find("number", "49999").name"#).as_deref(), Ok("name 49999"));
}
