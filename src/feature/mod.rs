//! What features are: names, states, the feature table, and their CSTA XML. Pure.
//!
//! ```text
//! body ─▶ xml ─▶ csta::read_request ─▶ FeatureChange ─▶ change::merge ─▶ FeatureState ─▶ csta_write::write_event ─▶ body
//!                     (table: which element is which feature, field and status)          multipart: several in one body
//! ```

mod bodies;
pub(crate) mod body;
mod built_in;
pub(crate) mod change;
pub mod csta;
pub mod csta_write;
mod document;
pub(crate) mod error;
mod forward;
pub(crate) mod hoteling;
pub mod multipart;
pub(crate) mod nearest;
pub mod package;
mod package_config;
pub(crate) mod presentity;
mod raw;
mod rule;
mod short_name;
pub(crate) mod state;
pub mod table;
mod table_config;
mod target;
mod tree;
pub(crate) mod xml;
mod xml_write;

pub use body::{BodyError, FeatureChange};
pub(crate) use change::{implied_status, merge};
pub use error::FeatureError;
pub use package::Package;
pub use package_config::{PackageConfig, PackageError};
pub(crate) use presentity::domain_token;
pub use presentity::{Presentity, PresentityError};
pub(crate) use state::yes;
pub use state::{FeatureState, Source, Status, Values};
pub use table::{FeatureSpec, FeatureTable};
pub use table_config::{FeatureConfig, FeatureKind, TableError};
pub use target::Target;
