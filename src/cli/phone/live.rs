//! A phone on a terminal: its lamps are drawn, and keys press its keys.

use super::device::{Phone, sleep_until};
use super::input::Input;
use super::panel::{Act, Line, Panel};
use super::picture;
use super::script::{Order, Script};
use super::terminal::Terminal;
use crate::cli::exit::Failure;
use crate::cli::paint::Paint;
use crate::runtime::{StopSignals, clock};

/// Runs the phone until someone quits.
pub(super) async fn run(mut phone: Phone, mut panel: Panel) -> Result<(), Failure> {
    let mut signals = StopSignals::new().map_err(|error| Failure::Refused(format!("signals: {error}")))?;
    let failed = |error: std::io::Error| Failure::Refused(format!("terminal: {error}"));
    let mut terminal = Terminal::open().map_err(failed)?;
    let paint = Paint::of_stdout();
    let mut script = Script::live(clock::now());
    loop {
        if let Some(outcome) = obey(&mut script, &mut phone, &mut panel) {
            panel.line = Line::Ended;
            panel.prompt = None;
            terminal.draw(&picture::lines(&panel, Terminal::columns(), paint)).map_err(failed)?;
            return outcome;
        }
        terminal.draw(&picture::lines(&panel, Terminal::columns(), paint)).map_err(failed)?;
        let due = script.poll_timeout();
        let act = tokio::select! {
            event = phone.next() => {
                let event = event.map_err(|error| Failure::NobodyAnswered(format!("{}: {error}", panel.server)))?;
                panel.event(&event);
                script.event(&event, clock::now());
                Act::Nothing
            }
            () = sleep_until(due) => {
                script.timeout(clock::now());
                Act::Nothing
            }
            key = terminal.key() => match key {
                Ok(key) => key.map_or(Act::Nothing, |key| panel.key(key)),
                // the terminal is gone
                Err(_) => Act::Quit,
            },
            _ = signals.recv() => Act::Quit,
        };
        match act {
            Act::Nothing => {}
            Act::Press(press) => {
                let feature = press.feature.clone();
                if !script.press(press, clock::now()) {
                    panel.not_pressed(&feature, "too many keys wait for an answer".to_owned());
                }
            }
            Act::Quit if panel.line == Line::Leaving => {
                return Err(Failure::Refused("left without unsubscribing".to_owned()));
            }
            Act::Quit => {
                panel.line = Line::Leaving;
                panel.prompt = None;
                script.stop(clock::now());
            }
        }
    }
}

/// Carries out what the script wants; what became of it all, once it is over.
fn obey(script: &mut Script, phone: &mut Phone, panel: &mut Panel) -> Option<Result<(), Failure>> {
    while let Some(order) = script.poll_order() {
        match order {
            Order::Tell(input) => {
                let pressed = if let Input::Press { feature, .. } = &input { Some(feature.clone()) } else { None };
                if let Err(error) = phone.tell(input) {
                    if let Some(feature) = pressed {
                        panel.not_pressed(&feature, error.to_string());
                    }
                    script.not_taken(error.to_string(), clock::now());
                }
            }
            Order::Confirmed { press, is_taken } => panel.confirmed(&press, is_taken),
            Order::Finish(outcome) => return Some(outcome),
        }
    }
    None
}
