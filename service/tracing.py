"""Spans of OpenTelemetry, where they are asked for: one a request, with children for decode, queue and run.

Promises that OpenTelemetry's SDK is not imported, and next to nothing done, while tracing is off; that a caller's W3C
``traceparent`` is the parent of a request's span; and that neither paths, headers nor contents get into a span: only
templates of routes, names of served scenes, versions and numbers. Knows nothing of what is asked or answered.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from core.config import Settings
from core.errors import BadConfiguration
from service.engine.queues import Answer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Span, Tracer

SERVICE = "lepton"
SCOPE, VERSION = "lepton.trace", "lepton.version"  # keys of a request's ASGI scope: its trace, and what answered it
FAILED = 500  # from this status on a span is one of an error

_NOTHING: AbstractContextManager[None] = contextlib.nullcontext()


class Trace(Protocol):
    """The span of one request."""

    def part(self, name: str) -> AbstractContextManager[None]:
        """A child that lasts as long as the block."""

    def ran(self, answer: Answer) -> None:
        """Children for the wait and the run of an instance that has just been answered."""

    def end(self, method: str, route: str, status: int, **more: str) -> None:
        """The request is answered."""


class NotTraced:
    """The trace of a request while tracing is off."""

    def part(self, name: str) -> AbstractContextManager[None]:
        """Nothing."""
        return _NOTHING

    def ran(self, answer: Answer) -> None:
        """Nothing."""

    def end(self, method: str, route: str, status: int, **more: str) -> None:
        """Nothing."""


NOT_TRACED: Trace = NotTraced()


class Traced:
    """The span of a request and its children."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        from opentelemetry.trace import set_span_in_context

        self._tracer = tracer
        self._span = span
        self._here = set_span_in_context(span)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A child that lasts as long as the block."""
        span = self._tracer.start_span(name, self._here)
        try:
            yield
        finally:
            span.end()

    def ran(self, answer: Answer) -> None:
        """Children for the wait and the run of an instance that has just been answered."""
        now = time.time_ns()
        began = now - int(answer.ran * 1e9)
        for name, start, end in (("queue", began - int(answer.waited * 1e9), began), ("run", began, now)):
            self._tracer.start_span(name, self._here, start_time=start).end(end)

    def end(self, method: str, route: str, status: int, **more: str) -> None:
        """The request is answered."""
        from opentelemetry.trace import StatusCode

        self._span.update_name(f"{method} {route}")
        told: dict[str, str] = {"http.request.method": method, "http.route": route}
        self._span.set_attributes(told | {f"lepton.{name}": value for name, value in more.items()})
        self._span.set_attribute("http.response.status_code", status)
        if status >= FAILED:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class Tracing:
    """Makes a span for every request.

    Args:
        processor: takes the spans that have ended.
    """

    def __init__(self, processor: SpanProcessor) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider: TracerProvider = TracerProvider(resource=Resource.create({"service.name": SERVICE}))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(SERVICE)
        self._extract = TraceContextTextMapPropagator().extract

    def begin(self, headers: Sequence[tuple[bytes, bytes]]) -> Trace:
        """The span of a request that has just come."""
        from opentelemetry.trace import SpanKind

        wanted = (b"traceparent", b"tracestate")
        carried = {name.decode(): value.decode("latin-1") for name, value in headers if name in wanted}
        return Traced(self._tracer, self._tracer.start_span("request", self._extract(carried), SpanKind.SERVER))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def tracing(settings: Settings) -> Tracing | None:
    """What the settings ask for: None, or spans over OTLP/HTTP to where the usual ``OTEL_`` variables say.

    Raises:
        BadConfiguration: OpenTelemetry is not installed.
    """
    if settings.serve.tracing == "off":
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise BadConfiguration(
            f"serve.tracing is {settings.serve.tracing!r}, and {error.name} is not installed",
            "install the extra: pip install 'lepton[tracing]', or set tracing to off",
        ) from error
    return Tracing(BatchSpanProcessor(OTLPSpanExporter()))
