//! What the lamps of a phone show, and what its keys mean. Pure.

use super::input::{Asked, Event};
use super::notification::{Notification, ShownFeature};
use crate::cli::args::Press;
use crate::cli::output::printable;
use crate::feature::{Presentity, Values};

/// The keys that press a feature's key.
pub(super) const KEYS: [(char, &str); 4] =
    [('d', "DoNotDisturb"), ('a', "CallForwardingAlways"), ('b', "CallForwardingBusy"), ('n', "CallForwardingNoAnswer")];
/// The value that a forward needs.
const TARGET: &str = "forwardTo";
/// Longest target that can be typed, as long as the longest that is taken.
const MAX_TARGET_CHARS: usize = 512;

/// A key of the keyboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Interrupt,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    Nothing,
    Press(Press),
    Quit,
}

/// A target that is being typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prompt {
    pub(super) feature: String,
    pub(super) text: String,
}

/// The state of the subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Subscribing,
    Subscribed,
    Leaving,
    Ended,
}

/// The phone as someone sees it.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) presentity: Presentity,
    pub(super) server: String,
    pub(super) line: Line,
    /// In the order in which they were told first.
    pub(super) lamps: Vec<ShownFeature>,
    /// Features whose key was pressed and is not confirmed yet.
    pub(super) pressed: Vec<String>,
    pub(super) prompt: Option<Prompt>,
    /// What happened last.
    pub(super) note: String,
    forward_to: Option<String>,
}

impl Panel {
    /// The phone of a presentity before its first NOTIFY.
    pub(super) fn new(presentity: Presentity, forward_to: Option<String>, server: String) -> Self {
        let forward_to = forward_to.and_then(|text| target(&text, &presentity));
        let note = "subscribing".to_owned();
        Self { presentity, server, line: Line::Subscribing, lamps: Vec::new(), pressed: Vec::new(), prompt: None, note, forward_to }
    }

    /// Someone presses a key.
    pub(super) fn key(&mut self, key: Key) -> Act {
        if key == Key::Interrupt {
            return Act::Quit;
        }
        if let Some(prompt) = self.prompt.take() {
            return self.typed(prompt, key);
        }
        match key {
            Key::Char(c) => match KEYS.iter().find(|(known, _)| known.eq_ignore_ascii_case(&c)) {
                Some((_, feature)) => self.toggle(feature),
                None if c.eq_ignore_ascii_case(&'q') => Act::Quit,
                None => Act::Nothing,
            },
            _ => Act::Nothing,
        }
    }

    fn toggle(&mut self, feature: &str) -> Act {
        let Some(lamp) = self.lamps.iter().find(|lamp| lamp.feature == feature) else {
            self.note = format!("{feature} is not assigned to this phone");
            return Act::Nothing;
        };
        let is_on = !lamp.status.is_on();
        if !is_on || !feature.starts_with("CallForwarding") {
            return self.press(feature, is_on, Values::new());
        }
        let known = lamp.values.get(TARGET).filter(|target| !target.is_empty()).cloned();
        if let Some(target) = self.forward_to.clone().or(known) {
            return self.press(feature, true, [(TARGET.to_owned(), target)].into());
        }
        self.prompt = Some(Prompt { feature: feature.to_owned(), text: String::new() });
        Act::Nothing
    }

    fn typed(&mut self, mut prompt: Prompt, key: Key) -> Act {
        match key {
            Key::Char(c) if !c.is_control() && prompt.text.chars().count() < MAX_TARGET_CHARS => prompt.text.push(c),
            Key::Char(_) | Key::Interrupt => {}
            Key::Backspace => drop(prompt.text.pop()),
            Key::Escape => return Act::Nothing,
            Key::Enter => {
                return match target(&prompt.text, &self.presentity) {
                    Some(target) => self.press(&prompt.feature, true, [(TARGET.to_owned(), target)].into()),
                    None => Act::Nothing,
                };
            }
        }
        self.prompt = Some(prompt);
        Act::Nothing
    }

    fn press(&mut self, feature: &str, is_on: bool, values: Values) -> Act {
        self.pressed.push(feature.to_owned());
        self.note = format!("pressed {feature}");
        Act::Press(Press { feature: feature.to_owned(), is_on, values })
    }

    /// Something came from the server.
    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Accepted { asked: Asked::Unsubscribe, .. } => self.line = Line::Ended,
            Event::Accepted { asked, expires_seconds } => {
                self.line = Line::Subscribed;
                if !matches!(asked, Asked::Press(_)) {
                    self.note = format!("subscribed for {expires_seconds} s");
                }
            }
            Event::Refused { asked, status, reason } => {
                if let Asked::Press(feature) = asked {
                    self.released(feature);
                }
                self.note = format!("{status} {}", printable(reason));
            }
            Event::NoAnswer(_) => "no answer".clone_into(&mut self.note),
            Event::Notified(notification) => self.notified(notification),
        }
    }

    fn notified(&mut self, notification: &Notification) {
        for shown in &notification.features {
            match self.lamps.iter_mut().find(|lamp| lamp.feature == shown.feature) {
                Some(lamp) => lamp.clone_from(shown),
                None => self.lamps.push(shown.clone()),
            }
        }
        self.note = match notification.unreadable.first() {
            Some(reason) => format!("NOTIFY {}, unreadable: {}", notification.cseq, printable(reason)),
            None => format!("NOTIFY {}, {}", notification.cseq, printable(&notification.subscription_state)),
        };
        if notification.is_terminated {
            self.line = Line::Ended;
        }
    }

    /// A press was confirmed, or the phone was told otherwise.
    pub(super) fn confirmed(&mut self, press: &Press, is_taken: bool) {
        self.released(&press.feature);
        if !is_taken {
            self.note = format!("{} was not taken", press.feature);
        }
    }

    /// A press came to nothing.
    pub(super) fn not_pressed(&mut self, feature: &str, reason: String) {
        self.released(feature);
        self.note = reason;
    }

    fn released(&mut self, feature: &str) {
        if let Some(at) = self.pressed.iter().position(|pressed| pressed == feature) {
            self.pressed.remove(at);
        }
    }
}

/// What was typed as a target: `bob` is `sip:bob@` and the phone's own host.
fn target(text: &str, presentity: &Presentity) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let uri = if text.contains(':') { text.to_owned() } else { format!("sip:{text}") };
    let has_host = uri.contains('@') || !uri.starts_with("sip") || presentity.host().is_empty();
    Some(if has_host { uri } else { format!("{uri}@{}", presentity.host()) })
}

#[cfg(test)]
#[path = "tests/panel.rs"]
mod tests;
