//! The log: text or JSON lines on stderr.

use std::fmt;
use std::io::IsTerminal;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, fmt as lines};

use super::pii;
use crate::config::{LogConfig, LogFormat};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// `log.level` is no level and no filter.
    #[error("log.level: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The process has a log already.
    #[error("the log is set up twice")]
    Twice,
}

/// Sets up the process's log as `[log]` says.
///
/// # Errors
///
/// [`LogError`]; a configuration that was loaded has a good filter, and a process sets up its log once.
pub fn install(config: &LogConfig) -> Result<(), LogError> {
    let filter = EnvFilter::builder().parse(quieted(&config.level))?;
    let ansi = config.format == LogFormat::Text && std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = lines::Subscriber::builder().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    let installed = match config.format {
        LogFormat::Text => tracing::subscriber::set_global_default(lines.event_format(ByLevel(lines::format())).finish()),
        LogFormat::Json => {
            let format = lines::format().json().flatten_event(true).with_current_span(false).with_span_list(false);
            let fields = lines::format::JsonFields::new();
            tracing::subscriber::set_global_default(lines.event_format(ByLevel(format)).fmt_fields(fields).finish())
        }
    };
    installed.map_err(|_| LogError::Twice)
}

/// At a bare `info` the NATS client keeps to its warnings: what it does is logged by us.
fn quieted(level: &str) -> String {
    if level.eq_ignore_ascii_case("info") { format!("{level},async_nats=warn") } else { level.to_owned() }
}

/// Another format that shows [`Pii`](super::Pii) in events at `debug` and below only.
struct ByLevel<F>(F);

impl<F, S, N> FormatEvent<S, N> for ByLevel<F>
where
    F: FormatEvent<S, N>,
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let is_shown = *event.metadata().level() >= Level::DEBUG;
        pii::with_shown(is_shown, || self.0.format_event(context, writer, event))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::telemetry::Pii;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_presentity_shows_at_debug_and_is_masked_above() {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = lines::Subscriber::builder()
            .with_max_level(Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .event_format(ByLevel(lines::format()))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("dialog", watcher = %Pii("sip:carol@h"));
            let _inside = span.enter();
            tracing::debug!(presentity = %Pii("sip:alice@h"), "one");
            tracing::info!(presentity = %Pii("sip:alice@h"), "two");
            tracing::error!(presentity = ?Pii("sip:alice@h"), "three");
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        let shown: Vec<bool> = text.lines().map(|line| line.contains("sip:alice@h")).collect();
        assert_eq!(shown, [true, false, false], "{text}");
        assert!(text.lines().all(|line| line.contains("sip:***@h")), "{text}");
    }
}
