"""Spans that a collector gets, under the trace that a client began."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from servers import Running, body


def test_each_request_is_a_span_of_the_clients_trace(serve: Callable[..., Running]):
    got: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            got.append(gzip.decompress(raw) if self.headers.get("content-encoding") == "gzip" else raw)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    collector = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    try:
        server = serve("--traces", f"http://127.0.0.1:{collector.server_port}/v1/traces")
        trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
        assert server.infer(body(), traceparent=f"00-{trace}-{parent}-01")[0] == 200
        assert server.infer({})[0] == 400
        assert server.stop() == 0
    finally:
        collector.shutdown()
        collector.server_close()
    spans = [
        span
        for raw in got
        for resource in ExportTraceServiceRequest.FromString(raw).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    told = [({one.key: one.value for one in span.attributes}, span) for span in spans]
    assert [attributes["http.response.status_code"].int_value for attributes, _ in told] == [200, 400]
    assert told[0][0]["weigh.arm"].string_value == "champion"
    assert told[0][1].trace_id.hex() == trace and told[0][1].parent_span_id.hex() == parent
    assert told[1][1].trace_id.hex() != trace


def test_a_collector_that_is_away_costs_no_answer(serve: Callable[..., Running]):
    server = serve("--traces", "http://127.0.0.1:9/v1/traces")
    assert [server.infer()[0] for _ in range(5)] == [200] * 5
