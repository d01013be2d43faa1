//! A file with one JSON object a line, `-` for stdin. I/O.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::exit::Failure;

/// Longest line that is read, in bytes.
const MAX_LINE_BYTES: u64 = 256 * 1024;

/// The lines of a file, with their numbers; empty ones are passed over.
pub(super) struct Lines {
    reader: BufReader<Box<dyn Read>>,
    name: String,
    number: u64,
}

impl Lines {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`]: no such file, or none that can be read.
    pub(super) fn open(file: &Path) -> Result<Self, Failure> {
        let is_stdin = file.as_os_str() == "-";
        let name = if is_stdin { "stdin".to_owned() } else { file.display().to_string() };
        let reader: Box<dyn Read> = if is_stdin {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(file).map_err(|error| Failure::Usage(format!("{name}: {error}")))?)
        };
        Ok(Self { reader: BufReader::new(reader), name, number: 0 })
    }

    /// The next line and its number, from 1; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`]: it cannot be read, is no UTF-8 or too long. What comes after is not read.
    pub(super) fn next(&mut self) -> Result<Option<(u64, String)>, Failure> {
        loop {
            let mut line = Vec::new();
            self.number += 1;
            let failed = |why: String| Failure::Refused(format!("{} line {}: {why}", self.name, self.number));
            let read = self.reader.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line);
            if read.map_err(|error| failed(error.to_string()))? == 0 {
                return Ok(None);
            }
            if line.len() as u64 > MAX_LINE_BYTES {
                return Err(failed(format!("longer than {MAX_LINE_BYTES} bytes")));
            }
            let text = String::from_utf8(line).map_err(|_| failed("no UTF-8".to_owned()))?;
            if !text.trim().is_empty() {
                return Ok(Some((self.number, text.trim().to_owned())));
            }
        }
    }

    /// The file, for an error.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_as_an_editor_counts_them() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("lines");
        std::fs::write(&file, "{}\n\n  {\"a\":1}\r\n[]").unwrap();
        let mut lines = Lines::open(&file).unwrap();
        assert_eq!(lines.next().unwrap(), Some((1, "{}".to_owned())));
        assert_eq!(lines.next().unwrap(), Some((3, "{\"a\":1}".to_owned())));
        assert_eq!(lines.next().unwrap(), Some((4, "[]".to_owned())));
        assert_eq!(lines.next().unwrap(), None);
        std::fs::write(&file, "x".repeat(300_000)).unwrap();
        assert!(Lines::open(&file).unwrap().next().unwrap_err().to_string().contains("line 1: longer than 262144 bytes"));
        assert!(Lines::open(&folder.path().join("none")).is_err());
    }
}
