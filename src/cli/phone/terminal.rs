//! The screen and the keyboard of a terminal. I/O.

use std::io::{self, Write};

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::terminal::{Clear, ClearType, disable_raw_mode, enable_raw_mode, size};
use crossterm::{cursor, queue, style};
use futures_util::StreamExt;

use super::panel::Key;

/// Columns of a terminal that does not tell.
const DEFAULT_COLUMNS: usize = 80;

/// A terminal in raw mode. Its settings are restored on drop, also after a panic.
pub(super) struct Terminal {
    keys: EventStream,
    /// Lines of the picture that is on the screen.
    drawn: u16,
}

impl Terminal {
    /// Takes the terminal over.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn open() -> io::Result<Self> {
        enable_raw_mode()?;
        let terminal = Self { keys: EventStream::new(), drawn: 0 };
        // the message of a panic would be written before this is dropped
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
        let mut out = io::stdout().lock();
        queue!(out, cursor::Hide)?;
        out.flush()?;
        Ok(terminal)
    }

    /// Columns of the screen.
    pub(super) fn columns() -> usize {
        size().ok().map(|(columns, _)| usize::from(columns)).filter(|columns| *columns > 0).unwrap_or(DEFAULT_COLUMNS)
    }

    /// Draws the picture over the one before.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(2048);
        if self.drawn > 0 {
            queue!(frame, cursor::MoveUp(self.drawn))?;
        }
        queue!(frame, cursor::MoveToColumn(0), Clear(ClearType::FromCursorDown))?;
        for line in lines {
            queue!(frame, style::Print(line), style::Print("\r\n"))?;
        }
        self.drawn = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        let mut out = io::stdout().lock();
        out.write_all(&frame)?;
        out.flush()
    }

    /// The next key; `None` for what is no key, such as another size of the window. Dropped before that, nothing is lost.
    ///
    /// # Errors
    ///
    /// What the system says, or the end of the keyboard.
    pub(super) async fn key(&mut self) -> io::Result<Option<Key>> {
        match self.keys.next().await {
            None => Err(io::ErrorKind::UnexpectedEof.into()),
            Some(Err(error)) => Err(error),
            Some(Ok(Event::Key(event))) if event.kind != KeyEventKind::Release => Ok(meaning(event)),
            Some(Ok(_)) => Ok(None),
        }
    }
}

fn meaning(event: KeyEvent) -> Option<Key> {
    match event.code {
        KeyCode::Char('c' | 'd') if event.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Interrupt),
        KeyCode::Char(c) if !event.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => Some(Key::Char(c)),
        KeyCode::Enter => Some(Key::Enter),
        KeyCode::Esc => Some(Key::Escape),
        KeyCode::Backspace => Some(Key::Backspace),
        _ => None,
    }
}

fn restore() {
    let _nobody_left = disable_raw_mode();
    let mut out = io::stdout().lock();
    let _nobody_left = queue!(out, cursor::Show).and_then(|()| out.flush());
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}
