//! Words of the command line: features, fields, key presses. Pure.

use clap::ValueEnum;

use crate::feature::{FeatureTable, Values};

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// Switched on
    #[value(alias = "1", alias = "true")]
    On,
    /// Switched off
    #[value(alias = "0", alias = "false")]
    Off,
}

/// One key press.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Press {
    /// Which feature.
    pub(crate) feature: String,
    /// What it becomes.
    pub(crate) is_on: bool,
    /// Its values.
    pub(crate) values: Values,
}

pub(super) fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((field, value)) if !field.is_empty() => Ok((field.to_owned(), value.to_owned())),
        _ => Err("expected FIELD=TEXT, e.g. ringCount=4".to_owned()),
    }
}

pub(super) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=31_536_000.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds, e.g. 5 or 0.5".to_owned()),
    }
}

/// `DoNotDisturb=on`, `CallForwardingNoAnswer=on,ringCount=4,forwardTo=sip:bob@10.0.0.11`.
///
/// A part after a comma that is no `FIELD=` belongs to the value before it.
pub(super) fn press(text: &str) -> Result<Press, String> {
    let expected = || "expected FEATURE=on|off[,FIELD=TEXT], e.g. DoNotDisturb=on".to_owned();
    let mut parts = text.split(',');
    let (feature, status) = parts.next().and_then(|first| first.split_once('=')).ok_or_else(expected)?;
    let is_on = match status {
        "on" | "1" | "true" => true,
        "off" | "0" | "false" => false,
        _ => return Err(expected()),
    };
    if feature.is_empty() {
        return Err(expected());
    }
    let mut fields: Vec<(String, String)> = Vec::new();
    for part in parts {
        let is_field = |field: &str| !field.is_empty() && field.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        match (part.split_once('='), fields.last_mut()) {
            (Some((field, value)), _) if is_field(field) => fields.push((field.to_owned(), value.to_owned())),
            (_, Some((_, value))) => {
                value.push(',');
                value.push_str(part);
            }
            _ => return Err(expected()),
        }
    }
    Ok(Press { feature: name_of(feature), is_on, values: fields.into_iter().collect() })
}

/// The name of a feature as people write it: short, or in any case. One that is not built in stays as it is written.
fn name_of(text: &str) -> String {
    FeatureTable::built_in().meant(text).map_or_else(|| text.to_owned(), |spec| spec.name().to_owned())
}

/// [`name_of`], as clap asks for it.
#[expect(clippy::unnecessary_wraps, reason = "the signature of a value parser")]
pub(super) fn feature_name(text: &str) -> Result<String, std::convert::Infallible> {
    Ok(name_of(text))
}
