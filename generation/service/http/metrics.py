"""What Prometheus is told: orders by kind and outcome, faces, batches, who waits, who was turned away, memory."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from generation.service.admission import resident
from generation.service.engine import Engine

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _EngineMetrics(Collector):
    """Reads the engine's own counts when it is asked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        engine, turns = self._engine, self._engine.turns
        orders = CounterMetricFamily("mimique_orders", "Orders that have ended", labels=("kind", "outcome"))
        for (kind, outcome), count in sorted(engine.tally.items()):
            if kind != "faces" or outcome != "delivered":
                orders.add_metric((kind, outcome), count)
        yield orders
        yield CounterMetricFamily("mimique_faces", "Verified faces delivered", value=engine.tally["faces", "delivered"])
        yield CounterMetricFamily("mimique_draws", "Faces drawn, accepted or not", value=turns.tally["draws"])
        yield CounterMetricFamily("mimique_batches", "Batches in which they were drawn", value=turns.tally["batches"])
        yield CounterMetricFamily("mimique_calls", "Edits and readings computed", value=turns.tally["calls"])
        yield CounterMetricFamily("mimique_busy_seconds", "Seconds of computing", value=turns.busy)
        away = CounterMetricFamily("mimique_turned_away", "Orders turned away", labels=("limit",))
        for whose, count in sorted(engine.admission.turned_away.items()):
            away.add_metric((whose,), count)
        yield away
        yield GaugeMetricFamily("mimique_orders_inside", "Orders being worked on", value=engine.admission.inside)
        yield GaugeMetricFamily("mimique_draws_waiting", "Draws, edits and readings that wait", value=turns.waiting)
        yield GaugeMetricFamily("mimique_jobs", "Data sets kept or in the making", value=len(engine.jobs))
        yield GaugeMetricFamily("mimique_resident_bytes", "Memory held", value=resident())


def registry_of(engine: Engine) -> CollectorRegistry:
    """A registry with the engine's figures only."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_EngineMetrics(engine))
    return registry


def written(registry: CollectorRegistry) -> bytes:
    """The figures in the text format."""
    return generate_latest(registry)
