//! What keys do, and what the lamps show.

use super::*;
use crate::cli::paint::Paint;
use crate::cli::phone::picture;
use crate::feature::Status;

/// A feature, whether it is on, its values.
type Told<'a> = (&'a str, bool, &'a [(&'a str, &'a str)]);

fn notification(features: &[Told<'_>]) -> Event {
    let shown = |(feature, is_on, values): &Told<'_>| ShownFeature {
        feature: (*feature).to_owned(),
        status: Status(*is_on),
        values: values.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect(),
    };
    Event::Notified(Notification {
        cseq: 3,
        subscription_state: "active;expires=60".to_owned(),
        is_terminated: false,
        features: features.iter().map(shown).collect(),
        unreadable: Vec::new(),
    })
}

fn panel(forward_to: Option<&str>) -> Panel {
    let presentity = Presentity::parse("sip:alice@example.com").unwrap();
    let mut panel = Panel::new(presentity, forward_to.map(str::to_owned), "127.0.0.1:5060".to_owned());
    panel.event(&Event::Accepted { asked: Asked::Subscribe, expires_seconds: 60 });
    panel.event(&notification(&[
        ("DoNotDisturb", true, &[]),
        ("CallForwardingAlways", false, &[]),
        ("CallForwardingBusy", false, &[("forwardTo", "sip:carol@h")]),
    ]));
    panel
}

fn press(feature: &str, is_on: bool, target: Option<&str>) -> Act {
    let values = target.map(|target| (TARGET.to_owned(), target.to_owned())).into_iter().collect();
    Act::Press(Press { feature: feature.to_owned(), is_on, values })
}

fn typed(panel: &mut Panel, text: &str) {
    for c in text.chars() {
        assert_eq!(panel.key(Key::Char(c)), Act::Nothing);
    }
}

#[test]
fn a_key_turns_its_feature_over() {
    let mut panel = panel(Some("bob"));
    assert_eq!(panel.key(Key::Char('d')), press("DoNotDisturb", false, None));
    assert_eq!(panel.key(Key::Char('A')), press("CallForwardingAlways", true, Some("sip:bob@example.com")));
    assert_eq!(panel.pressed, ["DoNotDisturb", "CallForwardingAlways"]);
    panel.event(&notification(&[("DoNotDisturb", false, &[])]));
    let Act::Press(dnd) = press("DoNotDisturb", false, None) else { panic!("a press") };
    panel.confirmed(&dnd, true);
    assert_eq!(panel.pressed, ["CallForwardingAlways"]);
    assert_eq!(panel.key(Key::Char('d')), press("DoNotDisturb", true, None));
    assert_eq!(panel.key(Key::Char('n')), Act::Nothing);
    assert_eq!(panel.note, "CallForwardingNoAnswer is not assigned to this phone");
    for key in [Key::Char('x'), Key::Enter, Key::Escape, Key::Backspace] {
        assert_eq!(panel.key(key), Act::Nothing);
    }
    for key in [Key::Char('q'), Key::Interrupt] {
        assert_eq!(panel.key(key), Act::Quit);
    }
}

#[test]
fn a_forward_without_a_target_asks_for_one() {
    let mut panel = panel(None);
    assert_eq!(panel.key(Key::Char('b')), press("CallForwardingBusy", true, Some("sip:carol@h")), "the phone knows it");
    for (text, want) in [
        ("bob", "sip:bob@example.com"),
        ("sip:q@h", "sip:q@h"),
        ("tel:+31", "tel:+31"),
        ("q d", "sip:q d@example.com"),
        (" 200 ", "sip:200@example.com"),
    ] {
        assert_eq!(panel.key(Key::Char('a')), Act::Nothing);
        typed(&mut panel, text);
        assert_eq!(panel.key(Key::Enter), press("CallForwardingAlways", true, Some(want)));
        assert_eq!(panel.prompt, None);
    }
    panel.key(Key::Char('a'));
    typed(&mut panel, "bx");
    panel.key(Key::Backspace);
    assert_eq!(panel.prompt.as_ref().map(|prompt| prompt.text.as_str()), Some("b"));
    assert_eq!((panel.key(Key::Escape), &panel.prompt), (Act::Nothing, &None));
    panel.key(Key::Char('a'));
    assert_eq!((panel.key(Key::Enter), &panel.prompt), (Act::Nothing, &None), "nothing typed");
    panel.key(Key::Char('a'));
    assert_eq!(panel.key(Key::Interrupt), Act::Quit);
}

#[test]
fn the_picture_shows_each_lamp_in_columns() {
    let mut panel = panel(None);
    panel.event(&notification(&[("AgentState", true, &[("state", "ready\u{1b}[2J")])]));
    assert_eq!(
        picture::lines(&panel, 61, Paint::new(false)),
        [
            "┌─ sip:alice@example.com ───────────────────── subscribed ─┐",
            "│ d ● DoNotDisturb            on                           │",
            "│ a ○ CallForwardingAlways    off                          │",
            "│ b ○ CallForwardingBusy      off  forwardTo=sip:carol@h   │",
            "│ n · CallForwardingNoAnswer  not assigned                 │",
            "│   ● AgentState              on   state=ready\u{fffd}[2J         │",
            "└──────────────────────────────────────────────────────────┘",
            "  NOTIFY 3, active;expires=60",
            "  d a b n press a key · q quits · 127.0.0.1:5060",
        ]
    );
    panel.key(Key::Char('a'));
    typed(&mut panel, &"9".repeat(600));
    for columns in [1, 24, 40, 61, 300] {
        for line in picture::lines(&panel, columns, Paint::new(false)) {
            assert!(line.chars().count() <= columns.saturating_sub(1).clamp(24, 100), "{columns}: {line}");
        }
    }
}
