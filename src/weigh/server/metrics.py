"""What Prometheus reads of a server, by arm."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weigh.server.router import Router

BUCKETS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0
)  # fmt: skip


class Metrics:
    """Counters of one router, in a registry of their own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()
        self._requests = Counter(
            "weigh_requests",
            "Requests by arm, version and status.",
            ["arm", "version", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "weigh_request_seconds", "Seconds from the whole request to its answer.", ["arm"], buckets=BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self._failures = Counter(
            "weigh_arm_failures", "Requests that the arm could not answer; the champion may have.", ["arm"],
            registry=self.registry,
        )  # fmt: skip
        self._up = Gauge("weigh_arm_up", "Whether the arm answers.", ["arm"], registry=self.registry)
        self._waiting = Gauge(
            "weigh_arm_waiting", "Requests that the arm has not answered.", ["arm"], registry=self.registry
        )
        self._share = Gauge("weigh_arm_share", "Share of the units that meet the arm.", ["arm"], registry=self.registry)
        self._deaths = Gauge("weigh_arm_deaths", "Times that the arm's process ended.", ["arm"], registry=self.registry)
        self._lost = Gauge("weigh_log_lost", "Answers that the log could not take.", registry=self.registry)
        self._dropped = Gauge(
            "weigh_shadow_dropped", "Copies that a shadow did not keep up with.", registry=self.registry
        )
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._timers: dict[str, Histogram] = {}

    def count(self, arm: str, version: str, status: int, seconds: float) -> None:
        """One request."""
        key = (arm, version, status)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._requests.labels(arm, version, str(status))
            self._timers[arm] = self._seconds.labels(arm)
        counter.inc()
        self._timers[arm].observe(seconds)

    def failed(self, arm: str) -> None:
        """A request that the arm could not answer."""
        self._failures.labels(arm).inc()

    def page(self, router: Router) -> bytes:
        """All of it, as Prometheus reads it."""
        from prometheus_client import generate_latest

        shares = {one.arm: one.high - one.low for one in router.cut}
        for arm in router.arms():
            self._up.labels(arm.name).set(arm.up)
            self._waiting.labels(arm.name).set(arm.waiting)
            self._deaths.labels(arm.name).set(getattr(arm, "deaths", 0))
            self._share.labels(arm.name).set(round(shares.pop(arm.name, 0.0), 9))
        for name in shares:
            self._share.labels(name).set(0.0)
        self._lost.set(router.log.lost)
        self._dropped.set(router.dropped)
        return generate_latest(self.registry)
