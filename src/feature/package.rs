//! Event packages: a name in `Event`, a media type, and which codec its bodies have. Pure.

use crate::feature::multipart::MULTIPART_TYPE;

/// One event package. It lives as long as the process: a configuration is read once. Source: RFC 6665 §5.
#[derive(Debug)]
pub struct Package {
    /// Its name, in `Event` and `Allow-Events`. Compared without regard to case.
    pub name: &'static str,
    /// Type of a body that has one feature, both ways. Parameters after it are tolerated.
    pub content_type: &'static str,
    /// Whether several features may go as one `multipart/mixed` body.
    pub has_multipart: bool,
    pub(super) codec: Codec,
}

/// How a package's bodies are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Csta,
    Hoteling,
    /// Documents that a service writes.
    Raw,
}

/// DND, forwarding, agent state, and the features of `[features.NAME]` that name no other.
pub static AS_FEATURE_EVENT: Package =
    Package { name: "as-feature-event", content_type: "application/x-as-feature-event+xml", has_multipart: true, codec: Codec::Csta };

/// Which guest uses a phone.
pub(crate) static HOTELING: Package = Package {
    name: "x-broadworks-hoteling",
    content_type: "application/x-broadworks-hoteling+xml",
    has_multipart: false,
    codec: Codec::Hoteling,
};

/// The packages of a feature table, in the order in which they are advertised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packages {
    pub(super) all: Vec<&'static Package>,
    /// The value of `Allow-Events`.
    pub(super) names: String,
    /// The types of all bodies, for `Accept` where no package is known.
    pub(super) types: String,
}

impl Packages {
    pub(super) fn new(all: Vec<&'static Package>) -> Self {
        let join = |part: fn(&Package) -> &'static str| all.iter().map(|package| part(package)).collect::<Vec<_>>().join(", ");
        let (names, types) = (join(|package| package.name), join(|package| package.content_type));
        Self { all, names, types }
    }

    pub(super) fn built_in() -> Self {
        Self::new(vec![&AS_FEATURE_EVENT, &HOTELING])
    }

    pub(super) fn find(&self, name: &str) -> Option<&'static Package> {
        self.all.iter().copied().find(|package| package.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn with(&self, more: &'static Package) -> Self {
        Self::new(self.all.iter().copied().chain([more]).collect())
    }
}

/// Default for records and messages written before packages had a field.
#[must_use]
pub(crate) fn first_name() -> String {
    AS_FEATURE_EVENT.name.to_owned()
}

impl Package {
    /// `application` and the rest of its type.
    #[must_use]
    pub(crate) fn media_type(&self) -> (&'static str, &'static str) {
        self.content_type.split_once('/').unwrap_or((self.content_type, ""))
    }

    /// The `Accept` of its phones.
    #[must_use]
    pub(crate) fn accept_of_phones(&self) -> String {
        if self.has_multipart { format!("{}, {MULTIPART_TYPE}", self.content_type) } else { self.content_type.to_owned() }
    }
}

impl PartialEq for Package {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Package {}
