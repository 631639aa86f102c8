"""The API keeps what its own OpenAPI promises, whatever it is asked."""

from __future__ import annotations

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.control_center import workspaces
from tests.control_center.conftest import Asked

TOKEN = "a-token-of-enough-length"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
#: These start a process or answer by an endless stream; they are tested one by one.
LEFT_OUT = {
    ("POST", "/api/jobs"),
    ("POST", "/api/config/demo"),
    ("POST", "/api/runs"),
    ("POST", "/api/runs/prepare"),
    ("GET", "/api/runs/{run_id}/events"),
}


def test_answers_are_as_described(tmp_path):
    workspaces.write_config(tmp_path)
    workspaces.add_run(tmp_path)
    asked = Asked(tmp_path, FLYWHEEL_UI_TOKEN=TOKEN)
    headers = {"host": "127.0.0.1", "authorization": f"Bearer {TOKEN}"}
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", asked.app, headers=headers)
    seen = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if (operation.method.upper(), operation.path) in LEFT_OUT:
            continue

        @settings(
            max_examples=6,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def check(case):
            case.call_and_validate(headers=headers, checks=CHECKS)

        check()
        seen += 1
    assert seen >= 25
