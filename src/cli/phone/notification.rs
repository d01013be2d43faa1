//! What one NOTIFY says. Pure.

use std::fmt::Write;

use serde::Serialize;

use crate::cli::output::{feature_line, printable};
use crate::feature::multipart::MULTIPART_TYPE;
use crate::feature::{FeatureTable, Package, Status, Values, multipart};
use crate::sip::header::{SubscriptionState, Substate};
use crate::sip::{Name, Request};

/// One NOTIFY, as a phone understands it.
///
/// Shape: `{"cseq":1,"subscription_state":"active;expires=3600","is_terminated":false,"features":[{"feature":"DoNotDisturb","status":1,"values":{}}],"unreadable":[]}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Notification {
    /// Its `CSeq`.
    pub cseq: u32,
    /// Its `Subscription-State`, as received.
    pub subscription_state: String,
    /// Whether it ends the subscription.
    pub is_terminated: bool,
    /// The features in its body, in order.
    pub features: Vec<ShownFeature>,
    /// Why a part of its body could not be read, one text a part.
    pub unreadable: Vec<String>,
}

/// One feature that a NOTIFY shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ShownFeature {
    pub feature: String,
    pub status: Status,
    pub values: Values,
}

impl Notification {
    /// Reads a NOTIFY. What cannot be read is said, not refused.
    #[must_use]
    pub(crate) fn read(table: &FeatureTable, package: &'static Package, request: &Request) -> Self {
        let subscription_state = request.message().header(Name::SubscriptionState).unwrap_or_default();
        let is_terminated = SubscriptionState::parse(subscription_state).is_some_and(|state| state.state == Substate::Terminated);
        let (mut features, mut unreadable) = (Vec::new(), Vec::new());
        for part in parts(package, request, &mut unreadable) {
            match package.read_event(table, part) {
                Ok(event) => features.push(ShownFeature { feature: event.feature, status: event.status, values: event.values }),
                Err(error) => unreadable.push(error.to_string()),
            }
        }
        Self { cseq: request.cseq(), subscription_state: subscription_state.to_owned(), is_terminated, features, unreadable }
    }

    /// Whether it tells of this feature, or that nothing is assigned.
    #[must_use]
    pub(crate) fn answers_for(&self, feature: &str) -> bool {
        self.features.is_empty() || self.features.iter().any(|shown| shown.feature == feature)
    }

    /// A block for people: the state of the subscription, then a line for each feature.
    #[must_use]
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("NOTIFY {}\n", printable(&self.subscription_state));
        for shown in &self.features {
            let _infallible = writeln!(text, "  {}", feature_line(&shown.feature, shown.status, &shown.values));
        }
        for reason in &self.unreadable {
            let _infallible = writeln!(text, "  unreadable: {}", printable(reason));
        }
        if self.features.is_empty() && self.unreadable.is_empty() {
            text.push_str("  no feature\n");
        }
        text
    }
}

/// The documents of a body: one, or those of a multipart.
fn parts<'a>(package: &'static Package, request: &'a Request, unreadable: &mut Vec<String>) -> Vec<&'a [u8]> {
    let body = request.body();
    if body.is_empty() {
        return Vec::new();
    }
    let content_type = request.message().header(Name::ContentType).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(MULTIPART_TYPE) && package.has_multipart {
        multipart::split(content_type, body)
    } else if essence.eq_ignore_ascii_case(package.content_type) {
        vec![body]
    } else {
        unreadable.push(format!("Content-Type {content_type}"));
        Vec::new()
    }
}
