//! A story as a ladder: who takes part side by side, time downwards. Only what has to do with what was broken.

use std::time::Duration;

use crate::simulate::ledger::Broken;
use crate::simulate::story::Step;

/// Steps before the first thing that was broken, at most.
const MOST_STEPS: usize = 80;
/// Longest label of a step.
const LABEL: usize = 110;
/// Width of a column.
const WIDTH: usize = 11;

/// The ladder of what led to the first broken promise.
pub(crate) fn ladder(steps: &[Step], broken: &Broken) -> Vec<String> {
    let words = words(&broken.what);
    let fits =
        |step: &&Step| step.from.is_empty() || words.iter().any(|word| step.text.contains(word) || step.from == *word || step.to == *word);
    let until = broken.at + Duration::from_millis(1);
    let mut chosen: Vec<_> = steps.iter().filter(|step| step.at <= until).filter(fits).collect();
    chosen.drain(..chosen.len().saturating_sub(MOST_STEPS));
    let columns = columns(&chosen);
    let head = columns.iter().map(|name| format!("{name:^WIDTH$}")).collect::<Vec<_>>().concat();
    let mut lines = vec![format!("{:12}{head}", "")];
    lines.extend(chosen.iter().map(|step| row(step, &columns)));
    lines.push(broken.to_string());
    lines
}

/// What a text names: phones, presentities, dialogs, commands, addresses.
fn words(what: &str) -> Vec<String> {
    let mut words: Vec<String> = what
        .split(|letter: char| !(letter.is_ascii_alphanumeric() || ":@.".contains(letter)))
        .filter(|word| word.contains('@') || (word.len() >= 7 && word.chars().all(|letter| letter.is_ascii_hexdigit())))
        .map(|word| word.trim_matches([':', '.']).to_owned())
        .collect();
    let mut parts = what.split(' ').peekable();
    while let Some(part) = parts.next() {
        if let ("phone", Some(number)) = (part, parts.peek()) {
            words.push(format!("phone {number}"));
        }
    }
    words
}

/// Who takes part: phones first, NATS in the middle.
fn columns(steps: &[&Step]) -> Vec<String> {
    let mut names: Vec<String> =
        steps.iter().flat_map(|step| [step.from.clone(), step.to.clone()]).filter(|name| !name.is_empty()).collect();
    let rank = |name: &str| match name {
        _ if name.starts_with("phone") => 0,
        _ if name.starts_with("edge") => 1,
        "nats" => 2,
        _ => 3,
    };
    names.sort_by_key(|name| (rank(name), name.clone()));
    names.dedup();
    names
}

fn row(step: &Step, columns: &[String]) -> String {
    let place = |name: &str| columns.iter().position(|column| column == name);
    let label: String = step.text.chars().take(LABEL).collect();
    let time = format!("{:10.3}  ", step.at.as_secs_f64());
    let (Some(from), Some(to)) = (place(&step.from), place(&step.to)) else { return format!("{time}{label}") };
    let middle = |column: usize| column * WIDTH + WIDTH / 2;
    let mut line: Vec<char> = vec![' '; columns.len() * WIDTH];
    for column in 0..columns.len() {
        put(&mut line, middle(column), '│');
    }
    if from == to {
        put(&mut line, middle(from), '●');
    } else {
        let (left, right) = (middle(from.min(to)), middle(from.max(to)));
        (left + 1..right).for_each(|at| put(&mut line, at, '─'));
        let tip = if step.is_lost {
            '✗'
        } else if from < to {
            '▶'
        } else {
            '◀'
        };
        put(&mut line, if from < to { right } else { left }, tip);
    }
    format!("{time}{}  {label}", line.into_iter().collect::<String>())
}

fn put(line: &mut [char], at: usize, letter: char) {
    if let Some(place) = line.get_mut(at) {
        *place = letter;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::ledger::Invariant;

    #[test]
    fn shows_who_said_what_to_whom_and_leaves_out_the_rest() {
        let step = |at, from: &str, to: &str, text: &str, is_lost| Step {
            at: Duration::from_millis(at),
            from: from.to_owned(),
            to: to.to_owned(),
            text: text.to_owned(),
            is_lost,
        };
        let steps = [
            step(1000, "phone 0", "edge-1", "SUBSCRIBE", false),
            step(1500, "phone 1", "edge-1", "SUBSCRIBE", false),
            step(2000, "edge-1", "phone 0", "NOTIFY", true),
            step(2500, "", "", "══ begins: Full", false),
        ];
        let broken = Broken { at: Duration::from_secs(3), invariant: Invariant::Converged, what: "phone 0 shows nothing".to_owned() };
        let lines = ladder(&steps, &broken);
        assert_eq!(lines[1], "     1.000       │──────────▶       SUBSCRIBE");
        assert_eq!(lines[2], "     2.000       ✗──────────│       NOTIFY");
        assert_eq!(lines[3], "     2.500  ══ begins: Full");
        assert_eq!(lines.len(), 5);
    }
}
