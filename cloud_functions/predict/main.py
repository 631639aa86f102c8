"""The predict function: entry point for functions-framework and Cloud Run."""

from __future__ import annotations

import flask
import functions_framework

from cloud_functions.predict import routes, settings
from cloud_functions.predict.service import service


@functions_framework.http
def predict(request: flask.Request) -> flask.Response:
    """Any request; see `cloud_functions.predict.routes`."""
    return routes.handle(service(settings.load), request)
