//! Names that SIP and MIME know this feature synchronisation by.

/// The event package, in `Event` and `Allow-Events`. Compared without regard to case.
pub const EVENT_PACKAGE: &str = "as-feature-event";

/// Type of a body that has one feature, both ways. Parameters after it are tolerated.
pub const CONTENT_TYPE: &str = "application/x-as-feature-event+xml";

/// Type of a NOTIFY body that has several features; its boundary is a parameter, see [`super::multipart`].
pub const MULTIPART_TYPE: &str = "multipart/mixed";

/// The only namespace that is ever sent: a phone that gets none may crash, one that gets another stops reading.
pub const NAMESPACE: &str = "http://www.ecma-international.org/standards/ecma-323/csta/ed3";

/// Namespace of the reason of an agent state, inside `extensions/privateData/private`.
pub const PRIVATE_NAMESPACE: &str = "http://schema.broadsoft.com/CSTAPrivateData";
