"""One OpenTelemetry span a request, sent to a collector over OTLP/HTTP; it goes on the trace that a client began."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weigh.server.settings import ServerSettings


class Traces:
    """Spans of one server; a collector that is away costs spans, never answers."""

    def __init__(self, settings: ServerSettings) -> None:
        from importlib.metadata import version

        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        told = {"service.name": "weigh", "service.version": version("weigh"), "weigh.model": settings.name}
        self._provider = TracerProvider(resource=Resource.create(told))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.traces)))
        self._tracer = self._provider.get_tracer("weigh.server")
        self._context = TraceContextTextMapPropagator()
        self._kind, self._name = SpanKind.SERVER, f"infer {settings.name}"

    def begin(self, parent: bytes) -> Any:
        """A span, under the ``traceparent`` that a request brought."""
        context = self._context.extract({"traceparent": parent.decode("latin-1")}) if parent else None
        return self._tracer.start_span(self._name, context, self._kind)

    def end(self, span: Any, status: int, arm: str) -> None:
        """The span is over."""
        from opentelemetry.trace import StatusCode

        span.set_attribute("http.response.status_code", status)
        span.set_attribute("weigh.arm", arm)
        if status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end()

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()
