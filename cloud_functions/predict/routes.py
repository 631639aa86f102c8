"""The HTTP face of the deployed model.

POST /v1/models/NAME:predict, /predict, /   {"instances": [{feature: value}, …]}
POST /labels                                {"labels": [{"request_id": …, "label": …}, …]}
GET  /v1/models/NAME                        the serving version, as TF Serving says it
GET  /v1/models/NAME/metadata               what the model takes and answers
GET  /healthz, /readyz, /metrics            (/health and /ready where those are taken)
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from typing import Any

import flask
import numpy as np

from cloud_functions.predict.rows import Decoded
from cloud_functions.predict.service import Model, Service
from models.errors import ConfigError
from models.text import did_you_mean
from monitoring import prediction_log

_NAME = re.compile(r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[^/:]+))?")
_ID = re.compile(r"[\x21-\x7e]{1,100}")
_SHOWN_ERRORS = 100
_logger = logging.getLogger(__name__)


class Refused(Exception):
    """A request that gets no answer but a sentence.

    Args:
      status: HTTP status.
      code: Stable name of the reason.
      message: The sentence.
    """

    def __init__(self, status: int, code: str, message: str, **more: Any):
        super().__init__(message)
        self.status, self.code, self.more = status, code, more


def handle(service: Service, request: flask.Request) -> flask.Response:
    """Answers any request."""
    path = request.path.rstrip("/") or "/"
    kind = "other"
    try:
        kind, answer = _route(path, request.method)
        response = answer(service, request)
    except Refused as refusal:
        body = {"error": str(refusal), "code": refusal.code, **refusal.more}
        response = _json(body, refusal.status)
    except ConfigError as error:
        response = _json({"error": str(error), "code": error.reason.code}, 503)
    service.metrics.requests.labels(kind, str(response.status_code)).inc()
    return response


def _route(path: str, method: str):
    named = _NAME.match(path)
    rest = path[named.end() :] if named else path
    if named and rest == ":predict":
        rest = "/predict"
    elif named and rest in ("", "/metadata"):
        rest = rest or "/status"
    elif named:
        rest = path
    routes = {
        "/": ("predict", "POST", predict),
        "/predict": ("predict", "POST", predict),
        "/labels": ("labels", "POST", labels),
        "/status": ("status", "GET", status),
        "/metadata": ("metadata", "GET", metadata),
        "/metrics": ("metrics", "GET", metrics),
        **dict.fromkeys(("/healthz", "/health"), ("health", "GET", health)),
        **dict.fromkeys(("/readyz", "/ready"), ("ready", "GET", ready)),
    }
    if rest not in routes:
        message = (
            f"There is nothing at {ascii(path[:100])}: predictions are at POST "
            "/v1/models/NAME:predict, labels at POST /labels."
        )
        raise Refused(404, "NOT_FOUND", message)
    kind, wanted, answer = routes[rest]
    if method != wanted and not (wanted == "GET" and method == "HEAD"):
        raise Refused(405, "WRONG_METHOD", f"{path[:100]} takes {wanted}, not {method[:20]}.")
    return kind, answer


def predict(service: Service, request: flask.Request) -> flask.Response:
    """Predictions in the form of TF Serving's REST API, row by row."""
    start = time.perf_counter()
    _check_name(service, request.path)
    instances = _instances(_body(service, request), service)
    base = _request_id(request)
    ids = [base] if len(instances) == 1 else [f"{base}-{i}" for i in range(len(instances))]
    with service.model() as model:
        decoded = model.decoder.decode(instances)
        answers, predictions = _answer(model, decoded, len(instances))
        latency = int((time.perf_counter() - start) * 1e6)
        _log(service, model, decoded, answers, ids, latency)
        version = model.version
    service.metrics.seconds.observe(time.perf_counter() - start)
    body: dict[str, Any] = {"model_version": version, "request_ids": ids}
    status = 200
    if decoded.errors:
        body["errors"] = [e.to_dict() for e in decoded.errors[:_SHOWN_ERRORS]]
        first = decoded.errors[0]
        body["error"] = (
            f"{len(decoded.bad):,} of {len(instances):,} rows could not be predicted; row "
            f"{first.row}: {first.message}"
        )
        status = 200 if decoded.good else 400
    if status == 200:
        body["predictions"] = predictions
    return _json(body, status, {"X-Request-Id": base, "X-Model-Version": version})


def _answer(
    model: Model, decoded: Decoded, rows: int
) -> tuple[np.ndarray | None, list[dict[str, Any] | None]]:
    """The scores of the good rows, and every row's prediction in order."""
    predictions: list[dict[str, Any] | None] = [None] * rows
    if not decoded.good:
        return None, predictions
    answers = model.predict(decoded.inputs)
    labels = model.labels(answers)
    output = model.spec.output
    several = model.spec.task == "multiclass"
    for place, scores, label in zip(decoded.good, answers.tolist(), labels, strict=True):
        predictions[place] = {output: scores if several else scores[0]}
        if model.spec.task != "regression":
            predictions[place]["prediction"] = label
    return answers, predictions


def _log(
    service: Service,
    model: Model,
    decoded: Decoded,
    answers: np.ndarray | None,
    ids: list[str],
    latency: int,
) -> None:
    rows = service.metrics.rows
    if decoded.good:
        good = [ids[place] for place in decoded.good]
        model.log.append(decoded.values, answers, request_ids=good, latency_us=latency)
        rows.labels(prediction_log.OK).inc(len(good))
    if decoded.bad:
        codes = {}
        for error in decoded.errors:
            codes.setdefault(error.row, error.code)
        model.log.append(
            list(decoded.bad.values()),
            request_ids=[ids[place] for place in decoded.bad],
            latency_us=latency,
            outcomes=[codes[place] for place in decoded.bad],
        )
        for place in decoded.bad:
            rows.labels(codes[place]).inc()


def labels(service: Service, request: flask.Request) -> flask.Response:
    """Takes ground truth; what is acknowledged is on disk."""
    body = _body(service, request)
    _known_keys(body, ("labels",))
    given = body.get("labels")
    if not isinstance(given, list) or not given or len(given) > service.settings.serving.max_rows:
        most = service.settings.serving.max_rows
        raise Refused(
            400,
            "WRONG_TYPE",
            f"`labels` must be a list of 1 to {most:,} objects with request_id and label.",
        )
    with service.model() as model:
        spec = model.spec
    ids, values, errors = [], [], []
    for place, entry in enumerate(given):
        try:
            request_id, value = _label(spec, entry)
        except Refused as refusal:
            errors.append({"row": place, "code": refusal.code, "message": str(refusal)})
            continue
        ids.append(request_id)
        values.append(value)
    if ids:
        try:
            prediction_log.write_labels(service.settings.log, ids, values)
        except OSError as error:
            raise Refused(
                503, "LOG_UNWRITABLE", f"The labels could not be stored: {error.strerror}."
            ) from error
        service.metrics.labels.inc(len(ids))
    result: dict[str, Any] = {"accepted": len(ids)}
    if errors:
        result["errors"] = errors[:_SHOWN_ERRORS]
        result["error"] = (
            f"{len(errors):,} of {len(given):,} labels were refused; row {errors[0]['row']}: "
            f"{errors[0]['message']}"
        )
    return _json(result, 200 if ids else 400)


def _label(spec: Any, entry: Any) -> tuple[str, str]:
    if not isinstance(entry, dict) or entry.keys() != {"request_id", "label"}:
        raise Refused(400, "WRONG_TYPE", "A label is an object with request_id and label.")
    request_id, value = entry["request_id"], entry["label"]
    if not isinstance(request_id, str) or not re.fullmatch(r"[\x21-\x7e]{1,120}", request_id):
        raise Refused(400, "WRONG_TYPE", "request_id must be the text that came with the answer.")
    if spec.task == "regression":
        if type(value) not in (int, float) or not np.isfinite(np.float64(value)):
            raise Refused(400, "WRONG_TYPE", "label must be a finite number.")
        return request_id, repr(value)
    text = str(value).lower() if isinstance(value, bool) else value
    if type(text) is float and text.is_integer():
        text = int(text)
    if type(text) not in (int, str) or str(text)[:200] not in spec.classes:
        known = ", ".join(spec.classes[:10])
        raise Refused(400, "UNKNOWN_CLASS", f"label must be one of {known}.")
    return request_id, str(text)


def status(service: Service, request: flask.Request) -> flask.Response:
    """The serving version, as TF Serving says it."""
    _check_name(service, request.path)
    with service.model() as model:
        entry = {
            "version": model.version,
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
    return _json({"model_version_status": [entry]})


def metadata(service: Service, request: flask.Request) -> flask.Response:
    """What the model takes and answers."""
    _check_name(service, request.path)
    with service.model() as model:
        spec, version = model.spec, model.version
    features = {f.name: "number" for f in spec.numeric}
    for feature in spec.categorical:
        features[feature.name] = "whole number" if feature.dtype == "integer" else "text"
    if spec.image is not None:
        features[spec.image.name] = 'image file as {"b64": …}'
    description = {
        "task": spec.task,
        "label": spec.label,
        "classes": list(spec.classes),
        "output": spec.output,
        "features": features,
    }
    model_spec = {"name": service.settings.name, "version": version}
    return _json({"model_spec": model_spec, "metadata": description})


def metrics(service: Service, request: flask.Request) -> flask.Response:
    """Prometheus' page."""
    service.count_dropped()
    return flask.Response(service.metrics.text(), content_type=service.metrics.content_type)


def health(service: Service, request: flask.Request) -> flask.Response:
    """The process answers."""
    return _json({"status": "ok"})


def ready(service: Service, request: flask.Request) -> flask.Response:
    """Whether a model serves; 503 with the reason until then."""
    with service.model() as model:
        return _json({"status": "ready", "model_version": model.version})


def _check_name(service: Service, path: str) -> None:
    named = _NAME.match(path)
    if not named:
        return
    name, version = named["name"], named["version"]
    if name != service.settings.name:
        close = did_you_mean(name, [service.settings.name])
        raise Refused(
            404,
            "UNKNOWN_MODEL",
            f"This serves `{service.settings.name}`, not {ascii(name)}.{close}",
        )
    if version and version != service.version:
        raise Refused(
            404, "UNKNOWN_VERSION", f"Version {service.version} serves, not {ascii(version[:50])}."
        )


def _body(service: Service, request: flask.Request) -> dict[str, Any]:
    most = service.settings.serving.max_bytes
    too_large = Refused(413, "TOO_LARGE", f"A request has {most:,} bytes at most.")
    if (request.content_length or 0) > most:
        raise too_large
    content = request.get_data(cache=True)
    if len(content) > most:
        raise too_large
    try:
        text = content.decode(json.detect_encoding(content), "surrogatepass")
        body = _DECODER.decode(text)
    except RecursionError:
        raise Refused(400, "INVALID_JSON", "The body is nested too deeply.") from None
    except ValueError as error:  # of bytes that are no UTF-8, too
        raise Refused(400, "INVALID_JSON", f"The body is not JSON: {error}.") from None
    if not isinstance(body, dict):
        raise Refused(400, "WRONG_TYPE", "The body must be a JSON object.")
    return body


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value; a missing value is null")


#: Made once: with arguments of their own, `json.loads` and `json.dumps` make one per call.
_DECODER = json.JSONDecoder(parse_constant=_no_constant)
_ENCODER = json.JSONEncoder(allow_nan=False)


def _instances(body: dict[str, Any], service: Service) -> list[Any]:
    if "inputs" in body and "instances" not in body:
        raise Refused(
            400, "UNKNOWN_KEY", "Rows go into `instances`; the column form, `inputs`, is not taken."
        )
    _known_keys(body, ("instances", "signature_name"))
    if body.get("signature_name") not in (None, "", "serving_default"):
        raise Refused(400, "UNKNOWN_SIGNATURE", "The model has the signature serving_default only.")
    if "instances" not in body:
        raise Refused(400, "MISSING_KEY", "The body has no `instances`: the list of rows.")
    instances = body["instances"]
    most = service.settings.serving.max_rows
    if not isinstance(instances, list) or not 1 <= len(instances) <= most:
        raise Refused(400, "WRONG_TYPE", f"`instances` must be a list of 1 to {most:,} rows.")
    return instances


def _known_keys(body: dict[str, Any], known: tuple[str, ...]) -> None:
    for key in body:
        if key not in known:
            close = did_you_mean(key, known)
            raise Refused(400, "UNKNOWN_KEY", f"Unknown key {ascii(key[:60])}.{close}")


def _request_id(request: flask.Request) -> str:
    given = request.headers.get("X-Request-Id")
    if given is None:
        return secrets.token_hex(16)
    if not _ID.fullmatch(given):
        raise Refused(
            400, "WRONG_REQUEST_ID", "X-Request-Id must be 1 to 100 printable ASCII characters."
        )
    return given


def _json(
    body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> flask.Response:
    text = _ENCODER.encode(body)
    return flask.Response(text, status, headers, content_type="application/json")
