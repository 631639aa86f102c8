"""A server that holds requests to the published API of Kubeflow Pipelines, over real HTTP.

What it answers is kept in memory; what a client sends is checked name by name and type by type
against the definition, and whatever the definition does not know is refused as KFP's gateway
refuses it, and remembered as a violation.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import email.parser
import email.policy
import http.server
import json
import pathlib
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

HERE = pathlib.Path(__file__).parent
VERSIONS = ("2.0.5", "2.17.0")
GRPC = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 500: 13, 503: 14}


@dataclasses.dataclass
class Fault:
    """What goes wrong with the next matching request.

    Attributes:
      method: HTTP method it waits for, `*` for any.
      path: Beginning of the path after `/apis/v2beta1`.
      status: HTTP status to answer; 0 closes the connection without an answer.
      acted: Whether the request takes effect before the answer goes wrong.
      seconds: Silence before it.
      times: How often.
    """

    method: str
    path: str
    status: int = 0
    acted: bool = False
    seconds: float = 0.0
    times: int = 1


class Refused(Exception):
    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class Api:
    """One published version of the API."""

    def __init__(self, version: str):
        self.version = version
        definition = yaml.safe_load((HERE / f"api-{version}.yaml").read_text("utf-8"))
        self._types = definition["definitions"]
        self._operations = []
        for name, operation in definition["operations"].items():
            method, path = name.split(" ")
            pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/:]+)", re.escape(path))
            self._operations.append((method, re.compile(pattern + r"\Z"), path, operation))

    def find(self, method: str, path: str) -> tuple[str, dict[str, str], dict[str, Any]]:
        """The operation a request is for, and what its path holds."""
        for known, pattern, name, operation in self._operations:
            match = pattern.match(path)
            if match and known == method:
                return f"{method} {name}", match.groupdict(), operation
        raise Refused(404, f"Not Found: {method} {path}")

    def check(self, value: Any, kind: Any, where: str) -> None:
        """Refuses what the definition does not know.

        Raises:
          Refused: 400, in the words of the gateway's JSON parser.
        """
        if isinstance(kind, list):
            if not isinstance(value, list):
                raise Refused(400, f"{where}: unexpected token {value!r}, expected a list")
            for item in value:
                self.check(item, kind[0], where)
            return
        base = {"string": str, "integer": int, "boolean": bool, "object": dict}
        if kind == "string:int64":
            ok = str(value).lstrip("-").isdigit()
        elif kind == "string:date-time":
            ok = isinstance(value, str) and "T" in value
        elif kind in base:
            ok = isinstance(value, base[kind])
        else:
            fields = self._types[kind]
            if isinstance(fields, list):
                ok = value in fields
            else:
                if not isinstance(value, dict):
                    raise Refused(400, f"{where}: unexpected token {value!r}")
                for name, item in value.items():
                    if name not in fields:
                        raise Refused(400, f'{where}: unknown field "{name}" in {kind}')
                    self.check(item, fields[name], f"{where}.{name}")
                return
        if not ok:
            raise Refused(400, f"{where}: {value!r} is no {kind}")


class Kfp:
    """The state of a cluster, and its server.

    Args:
      version: Of the API.
      token: Bearer token that requests must carry; None: none.
      cookie: Cookie that requests must carry.
      multi_user: Whether a namespace must be named.
    """

    def __init__(
        self,
        version: str,
        *,
        token: str | None = None,
        cookie: str | None = None,
        multi_user: bool = False,
    ):
        self.api = Api(version)
        self.token, self.cookie, self.multi_user = token, cookie, multi_user
        self.pipelines: dict[str, dict] = {}
        self.versions: dict[str, dict] = {}
        self.experiments: dict[str, dict] = {}
        self.runs: dict[str, dict] = {}
        self.recurring: dict[str, dict] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.violations: list[str] = []
        #: States a run goes through, one per look; the last stays.
        self.story = ["PENDING", "RUNNING", "SUCCEEDED"]
        self.most_enabled = 0
        self._looks: dict[str, int] = {}
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """Serves on a free loopback port; yields the address."""
        kfp = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, answer = kfp.answer(self.command, self.path, self.headers, body)
                if status == 0:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            do_GET = do_POST = do_DELETE = do_PATCH = _serve

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()

    def answer(self, method: str, url: str, headers: Any, body: bytes) -> tuple[int, Any]:
        """What the server says to one request."""
        parts = urlsplit(url)
        fault = self._fault(method, parts.path)
        if fault and not fault.acted:
            time.sleep(fault.seconds)
            return fault.status, _error(fault.status, "as the test wants it")
        status, result = self._act(method, parts, headers, body)
        if fault:
            time.sleep(fault.seconds)
            return fault.status, _error(fault.status, "as the test wants it")
        return status, result

    def _fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.method in ("*", method) and path.startswith("/apis/v2beta1" + fault.path):
                    fault.times -= 1
                    if fault.times <= 0:
                        self.faults.remove(fault)
                    return fault
        return None

    def _act(self, method: str, parts: Any, headers: Any, body: bytes) -> tuple[int, Any]:
        with self._lock:
            self.requests.append(f"{method} {parts.path}")
            try:
                name, path, operation = self.api.find(method, parts.path)
                query = {k: v[0] for k, v in parse_qs(parts.query).items()}
                for key, value in query.items():
                    if key not in operation.get("query", {}):
                        raise Refused(400, f"unknown query parameter {key}")
                    if operation["query"][key] == "integer" and not value.isdigit():
                        raise Refused(400, f"{key} is no integer: {value}")
                data: Any = None
                if "body" in operation:
                    data = json.loads(body)
                    self.api.check(data, operation["body"], "body")
                elif "file" in operation:
                    data = _file(headers, body, operation["file"])
                self._admit(headers)
                result = self._do(name, path, query, data)
                enabled = [r for r in self.recurring.values() if r["status"] == "ENABLED"]
                self.most_enabled = max(self.most_enabled, len(enabled))
                if "answer" in operation:
                    self.api.check(result, operation["answer"], "answer")
                return 200, result
            except Refused as refused:
                if refused.status == 400 or str(refused).startswith("Not Found"):
                    self.violations.append(f"{method} {parts.path}: {refused}")
                return refused.status, _error(refused.status, str(refused))

    def _admit(self, headers: Any) -> None:
        if self.token and headers.get("Authorization") != f"Bearer {self.token}":
            raise Refused(401, "Request header error: there is no user identity header")
        if self.cookie and self.cookie not in (headers.get("Cookie") or ""):
            raise Refused(401, "Request header error: there is no user identity header")

    def _do(self, name: str, path: dict, query: dict, data: Any) -> Any:
        match name.removeprefix("GET ").removeprefix("POST ").replace("/apis/v2beta1", ""):
            case "/healthz":
                return {"multi_user": self.multi_user}
            case "/pipelines":
                return _listed("pipelines", self.pipelines, query, "namespace")
            case "/pipelines/upload":
                pipeline = self._new(
                    self.pipelines,
                    "pipeline_id",
                    query["name"],
                    unique=True,
                    namespace=query.get("namespace", ""),
                )
                self._version(pipeline["pipeline_id"], query["name"], data)
                return pipeline
            case "/pipelines/upload_version":
                return self._version(query["pipelineid"], query["name"], data)
            case "/pipelines/{pipeline_id}/versions":
                own = {
                    k: v
                    for k, v in self.versions.items()
                    if v["pipeline_id"] == path["pipeline_id"]
                }
                return _listed("pipeline_versions", own, query)
            case "/experiments" if data is not None:
                return self._new(
                    self.experiments, "experiment_id", data.pop("display_name"), unique=True, **data
                )
            case "/experiments":
                if self.multi_user and not query.get("namespace"):
                    raise Refused(403, "Namespace should not be empty in multi-user mode")
                return _listed("experiments", self.experiments, query, "namespace")
            case "/runs" if data is not None:
                self._known(data)
                return self._new(
                    self.runs, "run_id", data.pop("display_name"), state="PENDING", **data
                )
            case "/runs":
                return _listed("runs", self.runs, query, "experiment_id")
            case "/runs/{run_id}":
                return self._look(path["run_id"])
            case "/runs/{run_id}:terminate":
                self._run(path["run_id"])["state"] = "CANCELED"
                return {}
            case "/recurringruns" if data is not None:
                self._known(data)
                if len(data["trigger"]["cron_schedule"]["cron"].split()) != 6:
                    raise Refused(400, "Schedule cron is not a valid cron format (six fields)")
                mode = data.pop("mode")
                return self._new(
                    self.recurring,
                    "recurring_run_id",
                    data.pop("display_name"),
                    status=mode + "D",
                    **data,
                )
            case "/recurringruns":
                return _listed("recurringRuns", self.recurring, query, "experiment_id")
            case "/recurringruns/{recurring_run_id}:disable":
                self._recurring(path)["status"] = "DISABLED"
                return {}
            case "DELETE /recurringruns/{recurring_run_id}":
                self._recurring(path)
                del self.recurring[path["recurring_run_id"]]
                return {}
        raise Refused(501, f"the test's server does not do {name}")

    def _new(
        self, things: dict, key: str, name: str, *, unique: bool = False, **fields: Any
    ) -> dict:
        if unique and any(
            t["display_name"] == name and t.get("namespace") == fields.get("namespace")
            for t in things.values()
        ):
            raise Refused(409, f"The name {name} already exist. Please specify a new name")
        identifier = str(uuid.uuid4())
        things[identifier] = {
            key: identifier,
            "display_name": name,
            "created_at": datetime.datetime.now(datetime.timezone.utc).isoformat(),
            **fields,
        }
        return things[identifier]

    def _version(self, pipeline_id: str, name: str, content: bytes) -> dict:
        if pipeline_id not in self.pipelines:
            raise Refused(404, f"Pipeline {pipeline_id} not found")
        if any(
            v["display_name"] == name and v["pipeline_id"] == pipeline_id
            for v in self.versions.values()
        ):
            raise Refused(409, f"The version {name} already exist")
        documents = list(yaml.safe_load_all(content))
        return self._new(
            self.versions,
            "pipeline_version_id",
            name,
            pipeline_id=pipeline_id,
            pipeline_spec=documents[0],
        )

    def _known(self, data: dict) -> None:
        reference = data.get("pipeline_version_reference") or {}
        version = self.versions.get(reference.get("pipeline_version_id", ""))
        if version is None or data.get("experiment_id") not in self.experiments:
            raise Refused(404, "Pipeline version or experiment not found")

    def _run(self, run_id: str) -> dict:
        if run_id not in self.runs:
            raise Refused(404, f"Run {run_id} not found")
        return self.runs[run_id]

    def _recurring(self, path: dict) -> dict:
        if path["recurring_run_id"] not in self.recurring:
            raise Refused(404, f"Recurring run {path['recurring_run_id']} not found")
        return self.recurring[path["recurring_run_id"]]

    def _look(self, run_id: str) -> dict:
        run = self._run(run_id)
        if run["state"] != "CANCELED":
            look = min(self._looks.get(run_id, 0), len(self.story) - 1)
            self._looks[run_id] = look + 1
            run["state"] = self.story[look]
        now = datetime.datetime.now(datetime.timezone.utc)
        ended = run["state"] not in ("PENDING", "RUNNING")
        version = self.versions[run["pipeline_version_reference"]["pipeline_version_id"]]
        names = list(version["pipeline_spec"]["root"]["dag"]["tasks"])
        details = [
            {
                "run_id": run_id,
                "task_id": f"{run_id}-{index}",
                "display_name": name,
                "state": run["state"],
                "start_time": (now - datetime.timedelta(seconds=9 - min(index, 8))).isoformat(),
                "end_time": now.isoformat() if ended else "1970-01-01T00:00:00Z",
            }
            for index, name in enumerate(["root-driver", *names, "executor"])
        ]
        if run["state"] == "FAILED":
            details[1]["error"] = {"code": 13, "message": "the trainer ran out of memory"}
        return (
            {**run, "run_details": {"task_details": details}} if run["state"] != "PENDING" else run
        )


def _listed(key: str, things: dict, query: dict, *fields: str) -> dict:
    kept = list(things.values())
    for field in fields:
        if query.get(field):
            kept = [t for t in kept if t.get(field) == query[field]]
    if query.get("filter"):
        for predicate in json.loads(query["filter"])["predicates"]:
            assert predicate["operation"] in (1, "EQUALS"), predicate
            kept = [t for t in kept if t[predicate["key"]] == predicate["stringValue"]]
    start = int(query.get("page_token") or 0)
    end = start + min(int(query.get("page_size") or 20), 3)  # short pages: clients must turn them
    page = {key: kept[start:end], "total_size": len(kept)}
    if end < len(kept):
        page["next_page_token"] = str(end)
    return page


def _file(headers: Any, body: bytes, field: str) -> bytes:
    head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    for part in message.iter_parts():
        if part.get_param("name", header="content-disposition") == field:
            return part.get_payload(decode=True)
    raise Refused(400, f"no form field {field}")


def _error(status: int, message: str) -> dict:
    return {"error": message, "code": GRPC.get(status, 2), "message": message, "details": []}
