//! The log: text or JSON lines on stderr.

use std::fmt;
use std::io::IsTerminal;

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt as lines;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::level::{LogLevel, NATS_CONNECTOR, filter_of};
use super::pii;
use crate::config::{LogConfig, LogFormat};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LogError {
    /// `log.level` is no level and no filter.
    #[error("log.level: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The process has a log already.
    #[error("the log is set up twice")]
    Twice,
}

/// Sets up the process's log as `[log]` says; its level can be changed.
///
/// # Errors
///
/// [`LogError`]; a configuration that was loaded has a good filter, and a process sets up its log once.
pub(crate) fn install(config: &LogConfig) -> Result<LogLevel, LogError> {
    let filter = filter_of(&config.level)?;
    let ansi = config.format == LogFormat::Text && std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = lines::Subscriber::builder().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    let (installed, level) = match config.format {
        LogFormat::Text => {
            let lines = lines.event_format(ByLevel(lines::format())).with_filter_reloading();
            let filter = lines.reload_handle();
            let exchange = move |other| filter.reload(other).map_err(|error| error.to_string());
            (tracing::subscriber::set_global_default(lines.finish()), LogLevel::new(&config.level, Box::new(exchange)))
        }
        LogFormat::Json => {
            let format = lines::format().json().flatten_event(true).with_current_span(false).with_span_list(false);
            let fields = lines::format::JsonFields::new();
            let lines = lines.event_format(ByLevel(format)).fmt_fields(fields).with_filter_reloading();
            let filter = lines.reload_handle();
            let exchange = move |other| filter.reload(other).map_err(|error| error.to_string());
            (tracing::subscriber::set_global_default(lines.finish()), LogLevel::new(&config.level, Box::new(exchange)))
        }
    };
    installed.map_err(|_| LogError::Twice).map(|()| level)
}

/// Whether the NATS client may write the URL of its server here, user and password with it.
fn is_secret(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with(NATS_CONNECTOR) && *metadata.level() > Level::INFO
}

/// Another format that shows [`Pii`](super::Pii) in events at `debug` and below only, and never the password of a NATS URL.
struct ByLevel<F>(F);

impl<F, S, N> FormatEvent<S, N> for ByLevel<F>
where
    F: FormatEvent<S, N>,
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if is_secret(event.metadata()) {
            return Ok(());
        }
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

    fn subscriber() -> (impl Subscriber, Buffer) {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let lines = lines::Subscriber::builder().with_max_level(Level::TRACE).with_ansi(false);
        (lines.with_writer(move || writer.clone()).event_format(ByLevel(lines::format())).finish(), buffer)
    }

    #[test]
    fn where_the_nats_client_connects_to_is_not_said_at_any_level() {
        let (subscriber, buffer) = subscriber();
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!(target: "async_nats::connector", server = "nats://u:secret@h", "attempting connection");
            tracing::trace!(target: "async_nats::connector", server = "nats://u:secret@h", "whatever it is");
            tracing::info!(target: "async_nats::connector", "connected");
            tracing::debug!(target: "async_nats", "received PING");
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("secret") && text.lines().count() == 2, "{text}");
    }

    #[test]
    fn a_presentity_shows_at_debug_and_is_masked_above() {
        let (subscriber, buffer) = subscriber();
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
