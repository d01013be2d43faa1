//! The state of one feature of one presentity, as it travels on the bus.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Extra values of a feature by field name, e.g. `{"forwardTo":"sip:bob@10.0.0.11","ringCount":"4"}`.
pub type Values = BTreeMap<String, String>;

/// Whether a feature is switched on: `0` or `1` on the bus.
///
/// Taken in as `0`, `1`, `true`, `false`, `"0"` or `"1"`; written as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Status(pub bool);

impl Status {
    /// Switched off.
    pub const OFF: Self = Self(false);
    /// Switched on.
    pub const ON: Self = Self(true);

    /// Whether the feature is switched on.
    #[must_use]
    pub(crate) const fn is_on(self) -> bool {
        self.0
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "1" } else { "0" })
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(u8::from(self.0))
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Status;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("0, 1, true, false, \"0\" or \"1\"")
            }
            fn visit_bool<E: de::Error>(self, v: bool) -> Result<Status, E> {
                Ok(Status(v))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Status, E> {
                match v {
                    0 => Ok(Status::OFF),
                    1 => Ok(Status::ON),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(v), &self)),
                }
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Status, E> {
                match u64::try_from(v) {
                    Ok(v) => self.visit_u64(v),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(v), &self)),
                }
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Status, E> {
                match v {
                    "0" => Ok(Status::OFF),
                    "1" => Ok(Status::ON),
                    _ => Err(E::invalid_value(de::Unexpected::Str(v), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Status {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Status".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "enum": [0, 1, true, false, "0", "1"] })
    }
}

/// Where the state that is shown came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A responder answered for it.
    Responder,
    /// The route script changed it.
    Script,
    /// The built-in store holds it.
    Store,
    /// Nobody has said anything yet.
    #[default]
    Default,
}

/// The state of one feature.
///
/// Shape: `{"feature":"CallForwardingNoAnswer","assigned":true,"status":1,"values":{"ringCount":"4"},"version":7,"source":"store"}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeatureState {
    /// Name of the feature, as in the feature table.
    pub feature: String,
    /// Whether the presentity has this feature; `false`: its phones are not told of it.
    #[serde(default = "yes")]
    pub assigned: bool,
    /// Whether it is switched on.
    pub status: Status,
    /// Its extra values by field name.
    #[serde(default)]
    pub values: Values,
    /// Grows by one at each change; 0 before the first.
    #[serde(default)]
    pub version: u64,
    /// Where this state came from.
    #[serde(default)]
    pub source: Source,
    /// `false`: a route asked that no NOTIFY carries this state. Left out when `true`.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub notify: bool,
    /// When it goes off by itself: RFC 3339 UTC; where that is past, it is overdue. Left out: it stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl FeatureState {
    /// The initial state of a feature: assigned, off, no values, version 0.
    #[must_use]
    pub fn new(feature: &str) -> Self {
        Self {
            feature: feature.to_owned(),
            assigned: true,
            status: Status::OFF,
            values: Values::new(),
            version: 0,
            source: Source::Default,
            notify: true,
            until: None,
        }
    }

    /// Whether phones would be shown the same: `assigned`, `status` and `values` agree.
    #[must_use]
    pub(crate) fn shows_same_as(&self, other: &Self) -> bool {
        self.assigned == other.assigned && self.status == other.status && self.values == other.values
    }
}

/// Default of a field that counts as `true` where it is left out.
pub(crate) const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde's skip_serializing_if asks for")]
const fn is_true(value: &bool) -> bool {
    *value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_status_in_every_spelling_and_writes_a_number() {
        for (text, want) in [
            ("0", Some(false)),
            ("1", Some(true)),
            ("true", Some(true)),
            ("false", Some(false)),
            ("\"0\"", Some(false)),
            ("\"1\"", Some(true)),
            ("2", None),
            ("-1", None),
            ("\"on\"", None),
            ("null", None),
            ("1.0", None),
        ] {
            assert_eq!(serde_json::from_str::<Status>(text).ok().map(Status::is_on), want, "{text}");
        }
        assert_eq!(serde_json::to_string(&Status::ON).unwrap(), "1");
    }
}
