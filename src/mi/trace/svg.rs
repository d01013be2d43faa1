//! A trace as a picture: a ladder of who spoke with whom, top to bottom. Pure.
//!
//! One SVG document with no script, no style that another could replace and no external asset. Its colours are CSS variables with a
//! light and a dark value, so that it follows the page that it is put in, or its reader's setting.

use std::fmt::Write;

use super::step::{Step, Trace};
use super::word::{Outcome, StepKind};

/// Between two who speak, in pixels.
const COLUMN: usize = 190;
const LEFT: usize = 150;
const ROW: usize = 34;
const HEAD: usize = 78;
/// Longest text that has room, in characters.
const LONGEST: usize = 26;
const LONGEST_DETAIL: usize = 60;
/// Most steps that are drawn; the rest is counted.
const MOST_STEPS: usize = 400;
/// Most columns; who comes later shares the last one.
const MOST_COLUMNS: usize = 24;

const STYLE: &str = "\
.dfks-trace{--ink:#1c2733;--dim:#5b6875;--line:#c3ccd5;--paper:#ffffff;--good:#1a7f37;--wait:#8a5a00;--stop:#c4182b;\
font:13px system-ui,sans-serif;background:var(--paper)}\
@media (prefers-color-scheme:dark){.dfks-trace{--ink:#e6edf3;--dim:#9aa7b4;--line:#3a4550;--paper:#0f1720;--good:#56d364;--wait:#e3b341;--stop:#ff7b72}}\
.dfks-trace text{fill:var(--ink)}.dfks-trace .dim{fill:var(--dim)}.dfks-trace .who{font-weight:600}\
.dfks-trace line,.dfks-trace path{stroke:var(--line);fill:none}.dfks-trace rect{fill:var(--paper)}\
.dfks-trace .ok line,.dfks-trace .ok path{stroke:var(--good)}.dfks-trace .wait line,.dfks-trace .wait path{stroke:var(--wait);stroke-dasharray:5 4}\
.dfks-trace .stop line,.dfks-trace .stop path{stroke:var(--stop);stroke-width:2}.dfks-trace .stop text{fill:var(--stop)}\
.dfks-trace .wait text{fill:var(--wait)}";

/// The picture.
pub(crate) fn draw(trace: &Trace) -> String {
    let columns = columns(trace);
    let shown = trace.steps.len().min(MOST_STEPS);
    let (width, height) = (LEFT + columns.len().max(1) * COLUMN + 120, HEAD + shown * ROW + 48);
    let of = escaped(trace.presentity.as_deref().unwrap_or_default());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"dfks-trace\" role=\"img\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\"><title>{of} {cause}</title><style>{STYLE}</style><rect width=\"{width}\" height=\"{height}\"/>\
         <text x=\"14\" y=\"22\" class=\"who\">{of}</text><text x=\"14\" y=\"40\" class=\"dim\">{cause} · {outcome} · {took} ms</text>",
        cause = escaped(&trace.cause),
        outcome = trace.outcome.as_str(),
        took = trace.took_ms,
    );
    for (at, who) in columns.iter().enumerate() {
        let x = x_of(at);
        let _infallible = write!(
            svg,
            "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" class=\"who\">{}</text><line x1=\"{x}\" y1=\"{HEAD}\" x2=\"{x}\" y2=\"{}\"/>",
            HEAD - 12,
            escaped(&cut(who, LONGEST)),
            height - 40,
        );
    }
    for (row, step) in trace.steps.iter().take(MOST_STEPS).enumerate() {
        draw_step(&mut svg, step, HEAD + row * ROW + 26, &columns);
    }
    let left_out = trace.steps.len() - shown;
    if left_out > 0 {
        let _infallible = write!(svg, "<text x=\"14\" y=\"{}\" class=\"dim\">{left_out} more steps</text>", height - 14);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Who speaks, in the order in which they do.
fn columns(trace: &Trace) -> Vec<&str> {
    let mut columns: Vec<&str> = Vec::new();
    for step in &trace.steps {
        for who in [Some(&*step.who), step.to.as_deref()].into_iter().flatten() {
            if !columns.contains(&who) && columns.len() < MOST_COLUMNS {
                columns.push(who);
            }
        }
    }
    columns
}

const fn x_of(column: usize) -> usize {
    LEFT + column * COLUMN + COLUMN / 2
}

fn draw_step(svg: &mut String, step: &Step, y: usize, columns: &[&str]) {
    let place = |who: &str| columns.iter().position(|column| *column == who).unwrap_or(columns.len().saturating_sub(1));
    let class = match step.outcome {
        outcome if outcome.is_stop() => "stop",
        Outcome::Waiting => "wait",
        _ => "ok",
    };
    let from = x_of(place(&step.who));
    let took = step.took_ms.map_or_else(String::new, |took| format!(" {took} ms"));
    let status = step.status.map_or_else(String::new, |status| format!(" {status}"));
    let outcome = if step.outcome == Outcome::Ok { String::new() } else { format!(" {}", step.outcome.as_str()) };
    let text = format!("{}{status}{outcome}{took}", step.kind.as_str());
    let detail = step.detail.as_deref().unwrap_or_default();
    let _infallible = write!(
        svg,
        "<g class=\"{class}\"><title>{}</title><text x=\"14\" y=\"{y}\" class=\"dim\">+{} ms</text>",
        escaped(&format!("{} {text} {detail}", step.at)),
        step.after_ms,
    );
    if let Some(to) = step.to.as_deref().map(|to| x_of(place(to))).filter(|to| *to != from) {
        arrow(svg, (from, to), y, &text);
    } else {
        let text = if step.kind == StepKind::Change { &cut(detail, LONGEST_DETAIL) } else { &text };
        let (top, beside) = (y - 10, from + 12);
        let _infallible =
            write!(svg, "<path d=\"M{from} {top} l6 6 -6 6 -6 -6 z\"/><text x=\"{beside}\" y=\"{y}\">{}</text>", escaped(text));
    }
    svg.push_str("</g>");
}

fn arrow(svg: &mut String, (from, to): (usize, usize), y: usize, text: &str) {
    let tip: isize = if to > from { -7 } else { 7 };
    let _infallible = write!(
        svg,
        "<line x1=\"{from}\" y1=\"{y}\" x2=\"{to}\" y2=\"{y}\"/><path d=\"M{to} {y} l{tip} -4 m{back} 4 l{tip} 4\"/>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
        from.midpoint(to),
        y - 5,
        escaped(text),
        back = -tip,
    );
}

/// As much of a text as has room.
fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest - 1).chain(['…']).collect()
}

/// A text as XML 1.0 has it: what is no character there is left out.
fn escaped(text: &str) -> String {
    let is_xml = |c: &char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    quick_xml::escape::escape(text.chars().filter(is_xml).collect::<String>()).into_owned()
}
