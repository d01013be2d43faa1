//! Colours for a terminal, and none for anything else.

use std::io::IsTerminal;

/// How a piece of text is highlighted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    /// What matters most.
    Bold,
    /// What matters least.
    Dim,
    /// Switched on, delivered.
    Good,
    Bad,
    /// A name to find one's way.
    Name,
}

/// Whether there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paint {
    has_colour: bool,
}

impl Paint {
    /// On a terminal that can, unless `NO_COLOR` is set to anything (<https://no-color.org>).
    pub(super) fn of_stdout() -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { has_colour: std::io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb }
    }

    /// With colours or without.
    #[cfg(test)]
    pub(super) const fn new(has_colour: bool) -> Self {
        Self { has_colour }
    }

    /// The text in this style. Source: ECMA-48 §8.3.117 (SGR).
    pub(super) fn text(self, style: Style, text: &str) -> String {
        let code = match style {
            _ if !self.has_colour || text.is_empty() => return text.to_owned(),
            Style::Plain => return text.to_owned(),
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Bad => "31",
            Style::Name => "36",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paints_only_where_there_are_colours() {
        assert_eq!(Paint::new(false).text(Style::Bad, "failed"), "failed");
        assert_eq!(Paint::new(true).text(Style::Bad, "failed"), "\x1b[31mfailed\x1b[0m");
        assert_eq!([Paint::new(true).text(Style::Plain, "x"), Paint::new(true).text(Style::Good, "")], ["x", ""]);
    }
}
