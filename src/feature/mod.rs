//! What features are: names, states, the feature table, and their CSTA XML. Pure.

pub mod presentity;
pub mod state;

pub use presentity::{Presentity, PresentityError};
pub use state::{FeatureState, Source, Status, Values};
