//! Spans: how long a piece of work took, and as part of what, for whoever watches over OpenTelemetry.
//!
//! A room that does such work is handed [`Spans`] and starts a [`Span`] for it; a span ends when it is dropped.
//! Nobody watches unless an operator says so, and then nothing here costs more than asking whether somebody does.
//! What is in a span leaves the house: names and kinds, counts and ways to fail. Never an argument, a result, a text
//! somebody wrote, a token, or who a person is.

pub mod names;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use opentelemetry::global::{BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue, Value};

/// Where spans go. Nowhere by default.
#[derive(Clone, Default)]
pub struct Spans(Option<Arc<BoxedTracer>>);

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Spans(on)"
        } else {
            "Spans(off)"
        })
    }
}

/// The span that another one is part of, as it is written in W3C trace context.
#[derive(Debug, Clone, Copy)]
pub struct Parent<'a> {
    /// `00-TRACE-SPAN-FLAGS`.
    pub traceparent: &'a str,
    /// What tracing systems add to that.
    pub tracestate: Option<&'a str>,
}

impl<'a> Parent<'a> {
    /// With nothing added.
    pub fn new(traceparent: &'a str) -> Self {
        Self {
            traceparent,
            tracestate: None,
        }
    }

    /// None for what is no version 00 traceparent.
    fn context(self) -> Option<SpanContext> {
        let mut parts = self.traceparent.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version != "00" || parts.next().is_some() {
            return None;
        }
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
        let state = self.tracestate.and_then(|state| state.parse::<TraceState>().ok());
        let context = SpanContext::new(
            TraceId::from_hex(trace).ok()?,
            SpanId::from_hex(span).ok()?,
            flags,
            true,
            state.unwrap_or_default(),
        );
        context.is_valid().then_some(context)
    }
}

impl Spans {
    /// Hands spans to `tracer`.
    pub fn to(tracer: BoxedTracer) -> Self {
        Self(Some(Arc::new(tracer)))
    }

    /// Work done because somebody outside asked for it.
    pub fn server(&self, parent: Option<Parent<'_>>, name: impl FnOnce() -> String) -> Span {
        self.start(SpanKind::Server, parent, name)
    }

    /// Waiting for somebody outside to do it.
    pub fn client(&self, parent: Option<Parent<'_>>, name: impl FnOnce() -> String) -> Span {
        self.start(SpanKind::Client, parent, name)
    }

    /// Work of our own.
    pub fn internal(&self, parent: Option<Parent<'_>>, name: impl FnOnce() -> String) -> Span {
        self.start(SpanKind::Internal, parent, name)
    }

    fn start(&self, kind: SpanKind, parent: Option<Parent<'_>>, name: impl FnOnce() -> String) -> Span {
        let Some(tracer) = &self.0 else {
            return Span(None);
        };
        let parent = parent.and_then(Parent::context);
        let around = parent.map_or_else(Context::new, |parent| {
            Context::new().with_remote_span_context(parent)
        });
        let builder = SpanBuilder::from_name(name()).with_kind(kind);
        Span(Some(tracer.build_with_context(builder, &around)))
    }
}

/// A piece of work that is under way. Dropped, it has ended.
#[derive(Debug, Default)]
pub struct Span(Option<BoxedSpan>);

impl Span {
    /// Whether anybody hears of it.
    pub fn is_watched(&self) -> bool {
        self.0.is_some()
    }

    /// What work that is part of this one names as its parent; `None` when nobody watches.
    pub fn traceparent(&self) -> Option<String> {
        let context = self.0.as_ref()?.span_context();
        let flags = context.trace_flags().to_u8();
        Some(format!(
            "00-{}-{}-{flags:02x}",
            context.trace_id(),
            context.span_id()
        ))
    }

    /// Says something about it.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(name, value));
        }
    }

    /// Says so where there is something to say.
    pub fn set_some(&mut self, name: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// It did not go well, in a way there is a word for. What was said about it stays here.
    pub fn failed(&mut self, how: impl Into<Cow<'static, str>>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(names::ERROR_TYPE, how.into()));
            span.set_status(Status::error(""));
        }
    }

    /// Something happened during it.
    pub fn happened<const N: usize>(
        &mut self,
        what: &'static str,
        about: impl FnOnce() -> [(&'static str, Value); N],
    ) {
        if let Some(span) = &mut self.0 {
            let about = about().map(|(name, value)| KeyValue::new(name, value));
            span.add_event(what, about.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn where_nobody_watches_a_span_is_nothing_and_has_no_name() {
        let name = || unreachable!("nobody asks for it");
        let span = Spans::default().server(Some(Parent::new(PARENT)), name);
        assert_eq!(span.traceparent(), None);
    }

    #[test]
    fn a_parent_is_one_only_in_the_form_of_version_00() {
        let state = "vendor=1";
        let parent = Parent {
            tracestate: Some(state),
            ..Parent::new(PARENT)
        };
        let context = parent.context().unwrap();
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        assert!(context.is_sampled() && context.is_remote());
        assert_eq!(context.trace_state().header(), state);
        for broken in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-zz",
        ] {
            assert_eq!(Parent::new(broken).context(), None, "{broken}");
        }
    }
}
