//! Whether a script has the routes that were meant: a name mistyped would take a policy away without a word. Pure.

use rhai::AST;

use crate::config::RoutesConfig;
use crate::feature::nearest::nearest;
use crate::worker::route::Route;
use crate::worker::script::error::ScriptError;

/// Refuses a script that lacks a route which the configuration names, and gives what else was hardly meant.
///
/// A route is named where its name is not the default: under the default names a script may have one route and not the other.
pub(super) fn check(ast: &AST, config: &RoutesConfig) -> Result<Vec<String>, ScriptError> {
    let defaults = RoutesConfig::default();
    let functions: Vec<&str> = ast.iter_functions().map(|function| function.name).collect();
    let routes = [
        (Route::Get, "routes.get_route", &config.get_route, &defaults.get_route),
        (Route::Set, "routes.set_route", &config.set_route, &defaults.set_route),
    ];
    let is_there = |name: &str| functions.contains(&name);
    let missing = || routes.iter().filter(|(_, _, name, _)| !is_there(name));
    let others = || functions.iter().copied().filter(|function| routes.iter().all(|(_, _, route, _)| function != route));
    if let Some((_, key, name, _)) = missing().find(|(_, _, name, default)| name != default) {
        let near = near(ast, name, config).map(str::to_owned);
        return Err(ScriptError::Missing { path: config.script.clone(), key, function: (*name).clone(), near });
    }
    let path = config.script.display();
    let mut warnings = Vec::new();
    for function in others() {
        let near = nearest(function, missing().map(|(_, _, name, _)| name.as_str()));
        if let Some((route, _, name, _)) = missing().find(|(_, _, name, _)| near == Some(name)) {
            let kind = route.as_str();
            warnings.push(format!("routes.script {path}: fn {function} is no route, is it meant to be the {kind} route {name}?"));
        }
    }
    if missing().count() == routes.len() {
        let (get, set) = (&config.get_route, &config.set_route);
        warnings.push(format!("routes.script {path}: it has neither {get} nor {set}, and changes nothing"));
    }
    Ok(warnings)
}

/// The function that was perhaps meant by a route that is not there.
pub(super) fn near<'a>(ast: &'a AST, route: &str, config: &RoutesConfig) -> Option<&'a str> {
    let is_route = |name: &str| name == config.get_route || name == config.set_route;
    nearest(route, ast.iter_functions().map(|function| function.name).filter(|name| !is_route(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::script::Script;

    fn compile(text: &str, set_route: &str) -> Result<Script, ScriptError> {
        let config = RoutesConfig { script: "r.rhai".into(), set_route: set_route.into(), ..RoutesConfig::default() };
        Script::compile(&config, text)
    }

    #[test]
    fn warns_of_a_name_that_is_nearly_a_route_and_of_a_script_without_any() {
        let near = "routes.script r.rhai: fn dfks_sett is no route, is it meant to be the set route dfks_set?";
        let none = "routes.script r.rhai: it has neither dfks_get nor dfks_set, and changes nothing";
        for (text, want) in [
            ("fn dfks_get(dfks) {} fn dfks_set(dfks) {}", &[][..]),
            ("fn dfks_get(dfks) {}", &[]),
            ("fn dfks_set(dfks) {} fn helper(x) {}", &[]),
            ("fn dfks_get(dfks) {} fn dfks_sett(dfks) {}", &[near]),
            ("fn dfks_sett(dfks) {}", &[near, none]),
            ("", &[none]),
            ("fn tariff(x) { x }", &[none]),
        ] {
            assert_eq!(compile(text, "dfks_set").unwrap().warnings(), want, "{text}");
        }
    }

    #[test]
    fn refuses_a_script_without_a_route_that_is_named() {
        let error = compile("fn billing_sett(dfks) {}", "billing_set").unwrap_err().to_string();
        let want = "routes.set_route = \"billing_set\": expected a function of routes.script r.rhai, which has none of that name (but billing_sett)";
        assert_eq!(error, want);
        let error = compile("", "billing_set").unwrap_err().to_string();
        assert!(error.ends_with("which has none of that name"), "{error}");
        compile("fn billing_set(dfks) {}", "billing_set").unwrap();
    }
}
