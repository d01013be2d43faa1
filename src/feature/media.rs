//! Names that MIME and XML know this feature synchronisation by; those of each package are in [`super::package`].

/// Type of a NOTIFY body that has several features; its boundary is a parameter, see [`super::multipart`].
pub const MULTIPART_TYPE: &str = "multipart/mixed";

/// The only CSTA namespace that is ever sent: a phone that gets none may crash, one that gets another stops reading.
pub const NAMESPACE: &str = "http://www.ecma-international.org/standards/ecma-323/csta/ed3";

/// Namespace of the reason of an agent state, inside `extensions/privateData/private`.
pub const PRIVATE_NAMESPACE: &str = "http://schema.broadsoft.com/CSTAPrivateData";
