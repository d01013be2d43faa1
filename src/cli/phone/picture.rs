//! The picture of a phone: a lamp and a key for each feature. Pure.

use super::panel::{KEYS, Line, Panel};
use crate::cli::output::printable;
use crate::cli::paint::{Paint, Style};

/// Widest picture, in columns.
const MAX_WIDTH: usize = 100;
/// Narrowest one; a terminal that is narrower still cuts it.
const MIN_WIDTH: usize = 24;
/// Widest name of a feature of the built-in table.
const NAME_WIDTH: usize = 22;

/// The lines of the picture, none wider than `columns`.
pub(super) fn lines(panel: &Panel, columns: usize, paint: Paint) -> Vec<String> {
    let width = columns.saturating_sub(1).clamp(MIN_WIDTH, MAX_WIDTH);
    let inner = width - 4;
    let line = match panel.line {
        Line::Subscribing => ("subscribing", Style::Dim),
        Line::Subscribed => ("subscribed", Style::Good),
        Line::Leaving => ("leaving", Style::Dim),
        Line::Ended => ("not subscribed", Style::Dim),
    };
    let name = cut(&printable(panel.presentity.as_str()), inner.saturating_sub(line.0.len() + 4));
    let rule = "─".repeat(width.saturating_sub(name.chars().count() + line.0.len() + 8));
    let mut lines = vec![format!("┌─ {} {rule} {} ─┐", paint.text(Style::Bold, &name), paint.text(line.1, line.0))];
    for (key, feature) in KEYS {
        lines.push(lamp(panel, Some(key), feature, inner, paint));
    }
    for other in panel.lamps.iter().filter(|lamp| KEYS.iter().all(|(_, feature)| *feature != lamp.feature)) {
        lines.push(lamp(panel, None, &other.feature, inner, paint));
    }
    lines.push(format!("└{}┘", "─".repeat(width - 2)));
    if let Some(prompt) = &panel.prompt {
        lines.push(cut_start(&format!("  {} to: ", prompt.feature), &format!("{}_", prompt.text), width));
        lines.push(paint.text(Style::Dim, &cut("  Enter: switch it on · Esc: leave it off", width)));
    } else {
        lines.push(cut(&format!("  {}", panel.note), width));
        lines.push(paint.text(Style::Dim, &cut(&format!("  d a b n press a key · q quits · {}", panel.server), width)));
    }
    lines
}

/// `│  d  ● DoNotDisturb            on   │`
fn lamp(panel: &Panel, key: Option<char>, feature: &str, inner: usize, paint: Paint) -> String {
    let shown = panel.lamps.iter().find(|lamp| lamp.feature == feature);
    let (light, word, style) = match shown {
        Some(lamp) if lamp.status.is_on() => ("●", "on", Style::Good),
        Some(_) => ("○", "off", Style::Plain),
        None => ("·", "not assigned", Style::Dim),
    };
    let values = shown.into_iter().flat_map(|lamp| &lamp.values).filter(|(_, value)| !value.is_empty());
    let values: String = values.map(|(field, value)| printable(&format!(" {field}={value}"))).collect();
    let waits = if panel.pressed.iter().any(|pressed| pressed == feature) { " …" } else { "" };
    let key = key.unwrap_or(' ');
    let rest = format!("{:NAME_WIDTH$}  {word:3}{waits} {values}", printable(feature));
    // the key, the lamp and the blanks around them
    let rest_width = inner.saturating_sub(6);
    let rest = cut(rest.trim_end(), rest_width);
    let blanks = " ".repeat(rest_width.saturating_sub(rest.chars().count()));
    format!("│ {} {} {}{blanks}   │", paint.text(Style::Name, &key.to_string()), paint.text(style, light), paint.text(style, &rest))
}

/// The text, cut to so many columns.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// The text after a label, cut at its start: its end is what is being typed.
fn cut_start(label: &str, text: &str, width: usize) -> String {
    let room = width.saturating_sub(label.chars().count());
    let skipped = text.chars().count().saturating_sub(room);
    format!("{}{}", cut(label, width), text.chars().skip(skipped).collect::<String>())
}
