//! The phone's user: answers challenges, and then every request before it is asked again. Pure.
//!
//! Source: RFC 3261 §22, RFC 7616 §3.4.

use std::fmt;

use crate::sip::digest::{Algorithm, Credentials, Ha1, Offer};
use crate::sip::{Message, Name};

/// Challenges answered in a row before the request counts as refused.
const MAX_TRIES: u8 = 2;

/// Who the phone's user is, and what it was challenged with last.
#[derive(Clone)]
pub(crate) struct Login {
    username: String,
    password: String,
    challenge: Option<Challenge>,
    tries: u8,
}

#[derive(Clone)]
struct Challenge {
    offer: Offer,
    /// The header that an answer goes into.
    header: Name,
    ha1: Ha1,
    /// How often its nonce was used.
    count: u32,
}

impl Login {
    pub(crate) const fn new(username: String, password: String) -> Self {
        Self { username, password, challenge: None, tries: 0 }
    }

    /// Takes the challenge of a 401 or 407; whether the request is to be sent again with its answer. A second one that is not
    /// about a stale nonce says that the password is wrong.
    pub(crate) fn take(&mut self, message: &Message, status: u16) -> bool {
        let (from, header) = match status {
            401 => (Name::WwwAuthenticate, Name::Authorization),
            407 => (Name::ProxyAuthenticate, Name::ProxyAuthorization),
            _ => return false,
        };
        let mut offers: Vec<Offer> = message.lines(from).filter_map(Offer::read).collect();
        offers.sort_by_key(|offer| Algorithm::STRONGEST_FIRST.into_iter().position(|algorithm| algorithm == offer.algorithm));
        let Some(offer) = offers.into_iter().next() else { return false };
        if self.tries >= MAX_TRIES || (self.tries > 0 && !offer.is_stale) {
            return false;
        }
        self.tries += 1;
        let ha1 = Ha1::of_password(offer.algorithm, &self.username, &offer.realm, &self.password);
        self.challenge = Some(Challenge { offer, header, ha1, count: 0 });
        true
    }

    /// A request was accepted, or refused for another reason.
    pub(crate) const fn settled(&mut self) {
        self.tries = 0;
    }

    /// The header of the next request; `None` before the first challenge.
    pub(crate) fn header(&mut self, method: &str, uri: &str, cnonce: &str) -> Option<(&'static str, String)> {
        let Challenge { offer, header, ha1, count } = self.challenge.as_mut()?;
        *count += 1;
        let usage = offer.has_qop.then_some((*count, cnonce));
        let mut text = Credentials::answer((&self.username, &offer.realm), &offer.nonce, method, uri, ha1, usage).to_string();
        if let Some(opaque) = &offer.opaque {
            text.push_str(", opaque=");
            text.push_str(opaque);
        }
        Some((header.as_str(), text))
    }
}

/// Shows no password.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("username", &self.username).field("tries", &self.tries).finish_non_exhaustive()
    }
}
