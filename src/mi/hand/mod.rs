//! What somebody does by hand: has phones told anew, ends a subscription. The edges that hold them do it. I/O.

mod service;

use std::sync::Arc;

use futures_util::future::join_all;

use crate::bus::message::{EndRequest, EndResponse, ErrorBody, Kind, ResyncRequest, ResyncResponse};
use crate::bus::subject::Pattern;
use crate::bus::trace::Cause;
use crate::bus::{EdgeWatchers, RequestError};
use crate::feature::error::Shown;
use crate::feature::{FeatureTable, Package, Presentity};
use crate::mi::bridge::{Bridge, Fanout};
pub(crate) use crate::mi::hand::service::Hands;

/// Whose phones are told anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whose {
    Presentity(Presentity),
    /// As it stands in subjects.
    Domain(String),
}

/// A request to have phones told anew, everything in it checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resync {
    pub(crate) whose: Whose,
    /// The phone of this one alone.
    pub(crate) subscription: Option<String>,
    /// Those alone of this event package.
    pub(crate) package: Option<&'static str>,
    pub(crate) actor: Option<String>,
}

impl Resync {
    /// Checks a request.
    ///
    /// # Errors
    ///
    /// 400, with the field at fault.
    pub(crate) fn read(table: &FeatureTable, request: ResyncRequest) -> Result<Self, ErrorBody> {
        let ResyncRequest { kind: _, presentity, domain, subscription, package, actor } = request;
        let whose = match (presentity, domain) {
            (Some(presentity), None) => Whose::Presentity(presentity_of(&presentity)?),
            (None, Some(_)) if subscription.is_some() => {
                return Err(ErrorBody::bad(Some("subscription"), "a subscription goes with its presentity, not with a domain".to_owned()));
            }
            (None, Some(domain)) => Whose::Domain(token_of(&domain)?),
            (None, None) => return Err(ErrorBody::missing("presentity", "sip:user@host or tel:number, or in its place a domain")),
            (Some(_), Some(_)) => return Err(ErrorBody::bad(Some("domain"), "expected a presentity or a domain, not both".to_owned())),
        };
        let package = package.map(|name| table.require_package(&name)).transpose()?.map(|package| package.name);
        Ok(Self { whose, subscription, package, actor: actor.filter(|actor| !actor.is_empty()) })
    }

    fn request(&self) -> ResyncRequest {
        let (presentity, domain) = match &self.whose {
            Whose::Presentity(presentity) => (Some(presentity.as_str().to_owned()), None),
            Whose::Domain(domain) => (None, Some(domain.clone())),
        };
        let (subscription, package, actor) = (self.subscription.clone(), self.package.map(str::to_owned), self.actor.clone());
        ResyncRequest { presentity, domain, subscription, package, actor, ..ResyncRequest::default() }
    }

    fn nobody(&self) -> ErrorBody {
        let (field, text) = match (&self.whose, &self.subscription) {
            (_, Some(id)) => ("subscription", format!("no live subscription '{}' of that presentity", Shown(id))),
            (Whose::Presentity(of), None) => ("presentity", format!("no phone has a live subscription to '{}'", Shown(of.as_str()))),
            (Whose::Domain(domain), None) => ("domain", format!("no phone of the domain '{}' has a live subscription", Shown(domain))),
        };
        ErrorBody { code: 404, description: text, field: Some(field.to_owned()) }
    }
}

/// The presentity of a request.
///
/// # Errors
///
/// 400
pub(crate) fn presentity_of(text: &str) -> Result<Presentity, ErrorBody> {
    Presentity::parse(text).map_err(|error| ErrorBody::bad(Some("presentity"), format!("Invalid presentity '{}': {error}", Shown(text))))
}

/// The domain as it stands in subjects: `example.com` is `example_com`, which stays.
fn token_of(domain: &str) -> Result<String, ErrorBody> {
    let is_token = !domain.is_empty() && domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_token {
        return Ok(domain.to_ascii_lowercase());
    }
    let of = Presentity::parse(&format!("sip:x@{domain}")).map(|of| of.domain_token());
    of.map_err(|_| ErrorBody::bad(Some("domain"), format!("invalid domain '{}': expected a host, such as example.com", Shown(domain))))
}

impl<F: Fanout> Bridge<F> {
    /// Has each edge that holds such phones tell them the full state, one after another.
    ///
    /// # Errors
    ///
    /// 404: there is no such phone; 503: the bus or an edge that holds some does not answer.
    pub(crate) async fn resync(&self, resync: &Resync, cause: &Cause) -> Result<ResyncResponse, ErrorBody> {
        let edges = self.edges_of(&resync.whose, resync.package).await.map_err(|error| away(&error))?;
        let request = resync.request();
        let subjects = self.bus().subjects();
        let asked = edges.iter().map(async |edge_id| {
            let subject = subjects.edge_resync(edge_id);
            let asked = self.bus().request::<_, ResyncResponse>(Pattern::EdgeResync, subject, &request, cause, self.bus().timeout());
            (edge_id, asked.await)
        });
        let mut phones = 0;
        let mut failed = None;
        for (edge_id, answer) in join_all(asked).await {
            match answer {
                Ok(answer) => phones += answer.phones,
                Err(error) => failed = Some((edge_id, error)),
            }
        }
        match failed {
            Some((edge_id, error)) => Err(silent(edge_id, &error, phones)),
            None if phones == 0 => Err(resync.nobody()),
            None => Ok(ResyncResponse { kind: Kind::default(), phones }),
        }
    }

    /// Has the edge that holds a subscription end it.
    ///
    /// # Errors
    ///
    /// 404: there is none; 503: the bus or that edge does not answer.
    pub(crate) async fn end_subscription(&self, request: &EndRequest, cause: &Cause) -> Result<EndResponse, ErrorBody> {
        let unknown = || {
            let description = format!("no live subscription '{}'", Shown(&request.subscription));
            ErrorBody { code: 404, description, field: Some("subscription".to_owned()) }
        };
        let mut asked_before = None;
        // It may move to another edge meanwhile: once.
        loop {
            let holder = self.fanout().holder(&request.subscription).await.map_err(|error| away(&error))?;
            let Some(edge_id) = holder.filter(|edge_id| asked_before.as_ref() != Some(edge_id)) else { return Err(unknown()) };
            let subject = self.bus().subjects().edge_end(&edge_id);
            match self.bus().request(Pattern::EdgeEnd, subject, request, cause, self.bus().timeout()).await {
                Ok(ended) => return Ok(ended),
                Err(RequestError::Refused(body)) if body.code == 404 && asked_before.is_none() => asked_before = Some(edge_id),
                Err(RequestError::Refused(body)) if body.code == 404 => return Err(unknown()),
                Err(error) => return Err(silent(&edge_id, &error, 0)),
            }
        }
    }

    async fn edges_of(&self, whose: &Whose, package: Option<&str>) -> Result<Vec<Arc<str>>, RequestError> {
        let packages: Vec<&'static Package> =
            self.table().packages().iter().copied().filter(|one| package.is_none_or(|name| one.name == name)).collect();
        match whose {
            Whose::Presentity(of) => {
                let edges = self.fanout().watchers(of, &packages, None).await?;
                Ok(edges.into_iter().map(|EdgeWatchers { edge_id, .. }| edge_id).collect())
            }
            Whose::Domain(_) => Ok(self.fanout().edges()),
        }
    }
}

/// Which edges hold what is not known.
fn away(error: &RequestError) -> ErrorBody {
    ErrorBody::new(503, format!("which edges hold the phones is not known: {error}"))
}

/// An edge that holds some of them has not done it.
fn silent(edge_id: &str, error: &RequestError, told: u64) -> ErrorBody {
    let code = if let RequestError::Refused(body) = error { body.code } else { 503 };
    let others = if told > 0 { format!("; {told} phones of other edges are told") } else { String::new() };
    ErrorBody::new(code, format!("the edge {} did not do it: {error}{others}", Shown(edge_id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_a_presentity_or_a_domain() {
        let request = |presentity: Option<&str>, domain: Option<&str>, subscription: Option<&str>| ResyncRequest {
            presentity: presentity.map(str::to_owned),
            domain: domain.map(str::to_owned),
            subscription: subscription.map(str::to_owned),
            ..ResyncRequest::default()
        };
        let alice = Whose::Presentity(Presentity::parse("sip:alice@h").unwrap());
        for (request, want) in [
            (request(Some("sips:alice@H:5061"), None, Some("ab")), Ok(alice)),
            (request(None, Some("Example.COM"), None), Ok(Whose::Domain("example_com".to_owned()))),
            (request(None, Some("example_com"), None), Ok(Whose::Domain("example_com".to_owned()))),
            (request(None, Some("[2001:db8::1]"), None), Ok(Whose::Domain("2001-db8--1".to_owned()))),
            (request(None, Some("tel"), None), Ok(Whose::Domain("tel".to_owned()))),
            (request(None, Some("a b"), None), Err("domain")),
            (request(None, Some(""), None), Err("domain")),
            (request(None, Some("h.example"), Some("ab")), Err("subscription")),
            (request(Some("alice"), None, None), Err("presentity")),
            (request(None, None, None), Err("presentity")),
            (request(Some("sip:alice@h"), Some("h"), None), Err("domain")),
        ] {
            let read = Resync::read(&FeatureTable::built_in(), request.clone()).map(|resync| resync.whose);
            assert_eq!(read.map_err(|error| (error.code, error.field)), want.map_err(|field| (400, Some(field.to_owned()))), "{request:?}");
        }
        let odd = ResyncRequest { package: Some("presence".to_owned()), ..request(Some("sip:a@h"), None, None) };
        assert_eq!(Resync::read(&FeatureTable::built_in(), odd).unwrap_err().code, 400);
    }
}
