//! A row of the table: a request, made of the usual SUBSCRIBE by a few changes, and what it gets.

use crate::harness::{Dialog, Packet, Phone, Subscribe};
use crate::site::{Site, TRANSPORTS};

/// One change of the usual SUBSCRIBE. In every text `{user}`, `{branch}`, `{token}`, `{edge}` and `{local}` stand for the row's own.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    /// Another start-line.
    Start(&'static str),
    /// Another line in the place of those of the same name; one more where there is none.
    Line(&'static str),
    /// No line of this name.
    Without(&'static str),
    /// One more line at the end.
    Add(&'static str),
    /// A body with its type.
    Body(&'static str, &'static str),
    /// Any other change of the whole text.
    Text(fn(&str) -> String),
    /// Every character is sent as one byte.
    Latin1,
}
pub(crate) use Edit::{Add, Body, Latin1, Line, Start, Text, Without};

/// What the phone is told after the response.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// Nothing.
    Nothing,
    /// Just this: the features of the next NOTIFYs, in order.
    Just(&'static [&'static str]),
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// What the row shows.
    pub(crate) name: &'static str,
    /// Whether the phone has a subscription already, in whose dialog the request is.
    pub(crate) in_dialog: bool,
    pub(crate) edits: Vec<Edit>,
    pub(crate) status: u16,
    /// Headers of the response: `name: value`, `name` alone for any value, `!name` for none. `start` is the start-line.
    pub(crate) owes: &'static [&'static str],
    pub(crate) told: Told,
    /// Headers of the first NOTIFY.
    pub(crate) notify: &'static [&'static str],
    /// Transports that it is about; empty: all.
    pub(crate) only: &'static [&'static str],
}

/// A row outside a dialog.
pub(crate) fn row(name: &'static str, edits: Vec<Edit>, status: u16, owes: &'static [&'static str]) -> Row {
    Row { name, in_dialog: false, edits, status, owes, told: Told::Nothing, notify: &[], only: &[] }
}

impl Row {
    pub(crate) fn in_dialog(self) -> Self {
        Self { in_dialog: true, ..self }
    }

    pub(crate) fn told(self, told: Told) -> Self {
        Self { told, ..self }
    }

    pub(crate) fn notify(self, notify: &'static [&'static str]) -> Self {
        Self { notify, ..self }
    }

    pub(crate) fn only(self, only: &'static [&'static str]) -> Self {
        Self { only, ..self }
    }
}

/// Runs every row of a section over every transport. The phone of a transport keeps its connection from row to row.
pub(crate) fn run(site: &Site, section: &str, rows: &[Row]) {
    for transport in TRANSPORTS {
        let phone = site.phone(transport);
        let mut quiet = Vec::new();
        for (at, row) in rows.iter().enumerate().filter(|(_, row)| row.only.is_empty() || row.only.contains(&transport.0)) {
            let place = Place { site, section, transport, phone: &phone, user: format!("row{at}-{}", transport.0) };
            if let Some(dialog) = place.run(row) {
                quiet.push((row.name, dialog));
            }
        }
        for (name, (dialog, before)) in quiet {
            assert_eq!(dialog.notify_count(), before, "{section}: {name} over {}: a NOTIFY that nobody owes", transport.0);
        }
    }
}

struct Place<'a> {
    site: &'a Site,
    section: &'a str,
    transport: (&'static str, &'static str),
    phone: &'a Phone,
    user: String,
}

impl<'a> Place<'a> {
    /// Gives the dialog back where nothing is to be told in it, and how many NOTIFYs it has had.
    fn run(&self, row: &Row) -> Option<(Dialog<'a>, usize)> {
        let what = format!("{}: {} over {}", self.section, row.name, self.transport.0);
        let mut dialog = self.phone.dialog(&format!("sip:{}@127.0.0.1", self.user));
        if row.in_dialog {
            assert_eq!(dialog.send(&Subscribe::default()).status(), Some(200), "{what}: before it");
            dialog.shows(4);
        }
        let before = dialog.notify_count();
        let (text, branch) = dialog.request(&Subscribe::default());
        let packet = self.edited(&text, &branch, &row.edits);
        self.phone.send(&packet);
        let response = dialog.response(&branch);
        assert_eq!(response.status(), Some(row.status), "{what}: {}", String::from_utf8_lossy(&response.raw));
        check(&response, row.owes, &what);
        let keeps_from = !row.edits.iter().any(|edit| matches!(edit, Line(line) if line.starts_with("From")));
        check_echo(&text, &response, keeps_from, &what);
        let mut first = None;
        match row.told {
            Told::Nothing => return Some((dialog, before)),
            Told::Just(wanted) => {
                let mut shown = Vec::new();
                while shown.len() < wanted.len() || first.is_none() {
                    let notify = dialog.notify();
                    shown.extend(notify.shows());
                    first.get_or_insert(notify);
                }
                assert_eq!(shown, wanted, "{what}");
            }
        }
        let first = first.expect("a NOTIFY");
        assert!(first.must("subscription-state").contains(';'), "{what}");
        check(&first, row.notify, &what);
        None
    }

    fn edited(&self, text: &str, branch: &str, edits: &[Edit]) -> Vec<u8> {
        let fill = |text: &str| {
            let (edge, local) = (self.site.product.at(self.transport.0).to_string(), self.phone.local().to_string());
            let text = text.replace("{user}", &self.user).replace("{branch}", branch).replace("{token}", self.transport.1);
            text.replace("{edge}", &edge).replace("{local}", &local)
        };
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let (mut lines, mut body): (Vec<String>, _) = (head.split("\r\n").map(str::to_owned).collect(), body.to_owned());
        let is_named = |line: &str, name: &str| line.split(':').next().unwrap().trim_end().eq_ignore_ascii_case(name);
        let mut latin_1 = false;
        let mut changes = Vec::new();
        for edit in edits {
            match edit {
                Start(start) => lines[0] = fill(start),
                Line(line) => {
                    let name = line.split(':').next().unwrap();
                    let at = lines.iter().position(|line| is_named(line, name)).unwrap_or(lines.len());
                    lines.retain(|line| !is_named(line, name));
                    lines.insert(at, fill(line));
                }
                Without(name) => lines.retain(|line| !is_named(line, name)),
                Add(line) => lines.push(fill(line)),
                Body(content_type, text) => {
                    body = fill(text);
                    lines.retain(|line| !is_named(line, "Content-Type") && !is_named(line, "Content-Length"));
                    lines.push(format!("Content-Type: {content_type}"));
                    lines.push(format!("Content-Length: {}", body.len()));
                }
                Text(change) => changes.push(change),
                Latin1 => latin_1 = true,
            }
        }
        let text = changes.into_iter().fold(format!("{}\r\n\r\n{body}", lines.join("\r\n")), |text, change| change(&text));
        if latin_1 { text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect() } else { text.into_bytes() }
    }
}

/// Checks `name: value`, `name`, `!name` and `start …` against a message.
pub(crate) fn check(packet: &Packet, owes: &[&str], what: &str) {
    let text = String::from_utf8_lossy(&packet.raw);
    for owed in owes {
        if let Some(start) = owed.strip_prefix("start ") {
            assert_eq!(packet.start, start, "{what}");
        } else if let Some(name) = owed.strip_prefix('!') {
            assert_eq!(packet.header(name), None, "{what}: no {name} in\n{text}");
        } else if let Some((name, value)) = owed.split_once(": ") {
            let values: Vec<_> = packet.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect();
            assert!(values.contains(&value), "{what}: {owed} in\n{text}");
        } else {
            assert!(packet.header(owed).is_some_and(|value| !value.is_empty()), "{what}: {owed} in\n{text}");
        }
    }
}

/// What every response repeats of its request, and adds to it. Source: RFC 3261 §8.2.6.2.
fn check_echo(request: &str, response: &Packet, keeps_from: bool, what: &str) {
    let line = |name: &str| request.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    assert_eq!(response.must("call-id"), line("Call-ID: "), "{what}");
    assert!(response.param("to", "tag").is_some_and(|tag| !tag.is_empty()), "{what}: a To tag");
    if keeps_from {
        assert_eq!(response.param("from", "tag").as_deref(), line("From: ").split("tag=").nth(1), "{what}");
    }
    let retry_after = response.header("retry-after").map(|value| value.parse::<u32>().is_ok_and(|seconds| seconds > 0));
    assert_ne!(retry_after, Some(false), "{what}: Retry-After in seconds");
    assert!(response.header("warning").is_none_or(|value| value.starts_with("399 ") && value.ends_with('"')), "{what}: {response:?}");
}
