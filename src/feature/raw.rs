//! Raw features: documents that a responder or a command brings, sent to phones as they are. Pure.

use crate::feature::body::{BodyError, BodyErrorKind, BodyEvent, FeatureChange};
use crate::feature::error::FeatureError;
use crate::feature::package::Package;
use crate::feature::state::{FeatureState, Status};
use crate::feature::table::{DOCUMENT, FeatureSpec, FeatureTable, Wire};
use crate::feature::xml::{Document, decode};

/// A phone asks for no change of them: what it sends is named, and may be passed through.
pub(super) fn read_request(package: &Package, body: &[u8]) -> Result<FeatureChange, BodyError> {
    let document = Document::read(body).map_err(|(error, _partial)| BodyError::new(error, None))?;
    let root = document.root().unwrap_or_default().to_owned();
    Err(BodyError::new(BodyErrorKind::OfServices { root, package: package.name }, None))
}

/// Reads the document of a NOTIFY, as a phone does. Whose it is, it does not say: where the package has several features, the package
/// stands for them.
pub(super) fn read_event(package: &Package, table: &FeatureTable, body: &[u8]) -> Result<BodyEvent, BodyError> {
    Document::read(body).map_err(|(error, _partial)| BodyError::new(error, None))?;
    let mut features = of_package(package, table).map(FeatureSpec::name);
    let feature = match (features.next(), features.next()) {
        (Some(only), None) => only,
        _ => package.name,
    };
    let values = [(DOCUMENT.to_owned(), decode(body))].into();
    Ok(BodyEvent { device: String::new(), feature: feature.to_owned(), status: Status(true), values })
}

/// Appends the document of a raw feature of this package, where there is one. `false` for any other feature.
pub(super) fn write_event(package: &Package, table: &FeatureTable, state: &FeatureState, out: &mut Vec<u8>) -> bool {
    let is_raw = of_package(package, table).any(|spec| spec.name() == state.feature);
    if let (true, Some(document)) = (is_raw, state.values.get(DOCUMENT)) {
        out.extend_from_slice(document.as_bytes());
    }
    is_raw
}

/// Whether the package has raw features.
pub(super) fn has_any(package: &Package, table: &FeatureTable) -> bool {
    of_package(package, table).next().is_some()
}

fn of_package<'t>(package: &Package, table: &'t FeatureTable) -> impl Iterator<Item = &'t FeatureSpec> {
    table.iter().filter(move |spec| spec.wire == Wire::Raw && spec.package == package)
}

/// # Errors
///
/// [`FeatureError::Raw`] for a raw feature: no phone has a document that asks for it.
pub(super) fn refuse_request(table: &FeatureTable, feature: &str) -> Result<(), FeatureError> {
    if table.require(feature)?.wire == Wire::Raw { Err(FeatureError::Raw { feature: feature.to_owned() }) } else { Ok(()) }
}

/// A feature that is not of this package.
pub(super) fn not_of(package: &Package, table: &FeatureTable, feature: &str) -> FeatureError {
    FeatureError::unknown(feature, of_package(package, table).map(FeatureSpec::name))
}
