"""The predict function: entry point for functions-framework and Cloud Run."""

from __future__ import annotations

import os

# LiteRT does the arithmetic: numpy's own threads would be started before the server forks, and
# serve nobody.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Arrow's own allocator keeps what a log file took; the process needs it until the next one only.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

import flask
import functions_framework

from cloud_functions.predict import routes, settings
from cloud_functions.predict.service import service


@functions_framework.http
def predict(request: flask.Request) -> flask.Response:
    """Any request; see `cloud_functions.predict.routes`."""
    return routes.handle(service(settings.load), request)
