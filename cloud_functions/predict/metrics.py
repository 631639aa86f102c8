"""What the predict function counts, in Prometheus' text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Metrics:
    """The counters of one process."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def make(kind, name, text, labels=(), **options):
            return kind(f"flywheel_{name}", text, labels, registry=self.registry, **options)

        self.requests = make(Counter, "requests_total", "Requests by answer.", ("path", "status"))
        self.rows = make(Counter, "predictions_total", "Rows by outcome.", ("outcome",))
        self.seconds = make(
            Histogram, "request_seconds", "Time of a prediction request.", buckets=_SECONDS
        )
        self.labels = make(Counter, "labels_total", "Labels taken.")
        self.reloads = make(Counter, "reloads_total", "Versions taken up or refused.", ("outcome",))
        self.dropped = make(Gauge, "log_dropped_rows", "Predictions answered and not logged.")
        self.version = make(Gauge, "model_info", "1 for the serving version.", ("version",))
        self.created = make(
            Gauge, "model_created_timestamp_seconds", "When the serving version was made."
        )
        self.loaded = make(Gauge, "model_loaded_timestamp_seconds", "When this process took it up.")

    def text(self) -> bytes:
        """The page of `/metrics`."""
        return generate_latest(self.registry)
