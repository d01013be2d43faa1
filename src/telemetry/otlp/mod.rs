//! Spans that leave the house: OTLP over HTTP, in its JSON encoding. Source: OpenTelemetry Protocol 1.7, W3C Trace Context.
//!
//! ```text
//! any stage ─ record ─▶ queue ─▶ exporter ─ POST /v1/traces ─▶ collector
//!                └─(full)─▶ dropped, counted
//! ```
//! One exporter a process, installed at start as the metrics recorder is. Without one nothing is recorded, and whoever asks looks at one
//! number.

mod encode;
mod exporter;
mod queue;
mod span;

pub(crate) use exporter::install;
pub(crate) use queue::{describe, is_on, is_sampled, record};
pub(crate) use span::{Span, SpanKind};
