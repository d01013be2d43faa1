//! What a request asks for, by its method and path. Pure.

use percent_encoding::percent_decode_str;

use crate::bus::message::ErrorBody;
use crate::feature::error::Shown;
use crate::feature::{FeatureTable, Presentity};
use crate::mi::command;

/// A request that can be answered, its presentity and feature checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// `GET /v1/features/PRESENTITY[/FEATURE]`
    Features { presentity: Presentity, feature: Option<String> },
    /// `PUT /v1/features/PRESENTITY/FEATURE`
    Set { presentity: Presentity, feature: String },
    /// `GET /v1/watchers[/PRESENTITY]`
    Watchers { presentity: Option<Presentity> },
    /// `POST /v1/resync/PRESENTITY`
    Resync { presentity: Presentity },
    /// `GET /openapi.json`
    Document,
}

/// Why a request is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) body: ErrorBody,
    /// The methods that the path has, where it has not the one that was used.
    pub(super) allow: Option<&'static str>,
}

impl From<ErrorBody> for Fault {
    fn from(body: ErrorBody) -> Self {
        Self { body, allow: None }
    }
}

/// What a path is of; the texts in it are as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place<'p> {
    Features(&'p str),
    Feature(&'p str, &'p str),
    Watchers,
    WatchersOf(&'p str),
    Resync(&'p str),
    Document,
}

const PATHS: &str =
    "/v1/features/PRESENTITY[/FEATURE], /v1/watchers[/PRESENTITY], /v1/resync/PRESENTITY or /openapi.json, PRESENTITY percent-encoded";

/// Reads method and path. `HEAD` is a `GET` whose body nobody sends.
///
/// # Errors
///
/// [`Fault`]: 404 for another path and an unknown feature, 405 for another method, 400 for what is no presentity.
pub(super) fn read(table: &FeatureTable, method: &str, path: &str) -> Result<Question, Fault> {
    let place = Place::of(path).ok_or_else(|| no_path(path))?;
    let is_read = matches!(method, "GET" | "HEAD");
    match place {
        Place::Features(of) if is_read => Ok(Question::Features { presentity: presentity(of)?, feature: None }),
        Place::Feature(of, feature) if is_read || method == "PUT" => {
            let (presentity, feature) = (presentity(of)?, feature_of(table, feature)?);
            Ok(if is_read { Question::Features { presentity, feature: Some(feature) } } else { Question::Set { presentity, feature } })
        }
        Place::Watchers if is_read => Ok(Question::Watchers { presentity: None }),
        Place::WatchersOf(of) if is_read => Ok(Question::Watchers { presentity: Some(presentity(of)?) }),
        Place::Resync(of) if method == "POST" => Ok(Question::Resync { presentity: presentity(of)? }),
        Place::Document if is_read => Ok(Question::Document),
        _ => {
            let allow = place.methods();
            let body = ErrorBody::new(405, format!("{} is no method of this path: expected {allow}", Shown(method)));
            Err(Fault { body, allow: Some(allow) })
        }
    }
}

impl<'p> Place<'p> {
    fn of(path: &'p str) -> Option<Self> {
        if path == "/openapi.json" {
            return Some(Self::Document);
        }
        let parts: Vec<_> = path.strip_prefix("/v1/")?.splitn(4, '/').collect();
        match *parts.as_slice() {
            ["features", of] if !of.is_empty() => Some(Self::Features(of)),
            ["features", of, feature] if !of.is_empty() && !feature.is_empty() => Some(Self::Feature(of, feature)),
            ["watchers"] => Some(Self::Watchers),
            ["watchers", of] if !of.is_empty() => Some(Self::WatchersOf(of)),
            ["resync", of] if !of.is_empty() => Some(Self::Resync(of)),
            _ => None,
        }
    }

    const fn methods(self) -> &'static str {
        match self {
            Self::Features(_) | Self::Watchers | Self::WatchersOf(_) | Self::Document => "GET, HEAD",
            Self::Feature(..) => "GET, HEAD, PUT",
            Self::Resync(_) => "POST",
        }
    }
}

fn no_path(path: &str) -> ErrorBody {
    ErrorBody::new(404, format!("nothing is at '{}': expected {PATHS}", Shown(path)))
}

fn decoded<'p>(field: &str, part: &'p str) -> Result<std::borrow::Cow<'p, str>, ErrorBody> {
    let wrong = |_| ErrorBody::bad(Some(field), format!("invalid {field} '{}': expected UTF-8, percent-encoded", Shown(part)));
    percent_decode_str(part).decode_utf8().map_err(wrong)
}

fn presentity(part: &str) -> Result<Presentity, ErrorBody> {
    command::read_presentity(&decoded("presentity", part)?)
}

/// The feature that is meant, as on the command line: its name or a short one, in any case.
fn feature_of(table: &FeatureTable, part: &str) -> Result<String, ErrorBody> {
    let name = decoded("feature", part)?;
    if let Some(spec) = table.meant(&name) {
        return Ok(spec.name().to_owned());
    }
    let unknown = |error: crate::feature::FeatureError| ErrorBody { code: 404, ..error.into() };
    table.require(&name).map(|spec| spec.name().to_owned()).map_err(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(method: &str, path: &str) -> Result<Question, (u16, Option<&'static str>, String)> {
        read(&FeatureTable::built_in(), method, path).map_err(|fault| (fault.body.code, fault.allow, fault.body.description))
    }

    #[test]
    fn a_path_names_a_presentity_in_any_spelling_and_a_feature_as_people_write_it() {
        let alice = || Presentity::parse("sip:alice@10.0.0.11").unwrap();
        let (dnd, all) = (Some("DoNotDisturb".to_owned()), None);
        for (method, path, want) in [
            ("GET", "/v1/features/sip:alice@10.0.0.11", Question::Features { presentity: alice(), feature: all.clone() }),
            ("HEAD", "/v1/features/sip%3Aalice%4010.0.0.11", Question::Features { presentity: alice(), feature: all }),
            ("GET", "/v1/features/sips:alice@10.0.0.11:5061/dnd", Question::Features { presentity: alice(), feature: dnd.clone() }),
            ("PUT", "/v1/features/sip:alice@10.0.0.11/DoNotDisturb", Question::Set { presentity: alice(), feature: dnd.unwrap() }),
            ("GET", "/v1/watchers", Question::Watchers { presentity: None }),
            ("GET", "/v1/watchers/sip:alice@10.0.0.11", Question::Watchers { presentity: Some(alice()) }),
            ("POST", "/v1/resync/sip:alice@10.0.0.11", Question::Resync { presentity: alice() }),
            ("GET", "/openapi.json", Question::Document),
        ] {
            assert_eq!(question(method, path), Ok(want), "{method} {path}");
        }
        let odd = question("GET", "/v1/features/sip:a%2Fb%2523@h").unwrap();
        assert_eq!(odd, Question::Features { presentity: Presentity::parse("sip:a/b%23@h").unwrap(), feature: None });
    }

    #[test]
    fn each_fault_has_its_status_and_says_what_is_allowed() {
        for (method, path, code, allow, text) in [
            ("GET", "/v1", 404, None, "nothing is at '/v1': expected /v1/features/PRESENTITY"),
            ("GET", "/v1/features", 404, None, "expected /v1/features/PRESENTITY"),
            ("GET", "/v1/features/", 404, None, "nothing is at"),
            ("GET", "/v1/features/sip:a@h/DND/x", 404, None, "nothing is at"),
            ("GET", "/v1/features/sip:a/b@h", 400, None, "Invalid presentity 'sip:a'"),
            (
                "DELETE",
                "/v1/features/sip:a@h/DND",
                405,
                Some("GET, HEAD, PUT"),
                "DELETE is no method of this path: expected GET, HEAD, PUT",
            ),
            ("PUT", "/v1/features/sip:a@h", 405, Some("GET, HEAD"), "expected GET, HEAD"),
            ("GET", "/v1/resync/sip:a@h", 405, Some("POST"), "expected POST"),
            ("POST", "/v1/watchers", 405, Some("GET, HEAD"), "expected GET, HEAD"),
            ("GET", "/v1/features/alice", 400, None, "Invalid presentity 'alice': a presentity is sip:user@host or tel:number"),
            ("GET", "/v1/features/sip:%FF@h", 400, None, "expected UTF-8, percent-encoded"),
            ("GET", "/v1/features/sip:a@h/DoNotDistrub", 404, None, "unknown feature 'DoNotDistrub': did you mean DoNotDisturb?"),
        ] {
            let (found, allowed, said) = question(method, path).unwrap_err();
            assert_eq!((found, allowed), (code, allow), "{method} {path}: {said}");
            assert!(said.contains(text), "{method} {path}: {said}");
        }
    }
}
