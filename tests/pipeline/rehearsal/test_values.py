"""Values, placeholders and conditions, as the backend's own code treats them."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.rehearsal import conditions, placeholders, values
from pipeline.rehearsal.retries import RetryPolicy
from pipeline.rehearsal.values import TaskError

finite = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | finite | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_json_says_the_same(value: Any) -> None:
    assert json.loads(values.to_json(value)) == value


@given(finite)
def test_numbers_have_no_exponent_and_keep_their_value(value: float) -> None:
    text = values.number(value)
    assert "e" not in text and not text.endswith((".", ".0"))
    assert float(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.0, "3"), (True, "true"), ("x", "x"), (0.25, "0.25"), ([1.0, "a"], '[1,"a"]'), (None, "")],
)
def test_text_in_command_lines(value: Any, text: str) -> None:
    assert values.to_text(value) == text


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("STRING", " x ", " x "),
        ("NUMBER_INTEGER", "3\n", 3),
        ("NUMBER_DOUBLE", "0.5\n", 0.5),
        ("BOOLEAN", "True", True),
        ("BOOLEAN", "0", False),
        ("LIST", "[1]", [1]),
        ("STRUCT", '{"a": 1}', {"a": 1}),
    ],
)
def test_output_parameters_are_parsed(kind: str, text: str, value: Any) -> None:
    assert values.from_text(text, kind) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [("NUMBER_INTEGER", "3.5"), ("BOOLEAN", "yes"), ("LIST", "{}"), ("STRUCT", "[]"), ("LIST", "")],
)
def test_other_output_parameters_are_refused(kind: str, text: str) -> None:
    with pytest.raises(ValueError):
        values.from_text(text, kind)


def test_only_strings_take_any_value() -> None:
    assert values.checked("n", 3.0, "STRING") == "3"
    for value, kind in (("3", "NUMBER_INTEGER"), (1, "BOOLEAN"), ([], "STRUCT"), (None, "LIST")):
        with pytest.raises(TaskError):
            values.checked("n", value, kind)


_INPUT = {
    "inputs": {
        "parameterValues": {"n": 3.0, "name": "a b", "flag": False, "many": [1, {"k": "v"}]},
        "artifacts": {"x": {"artifacts": [{"uri": "s3://bucket/in"}]}},
    },
    "outputs": {
        "artifacts": {"y": {"artifacts": [{"uri": "minio://bucket/out"}]}},
        "parameters": {"z": {"outputFile": "/tmp/kfp/outputs/z"}},
        "outputFile": "/minio/bucket/output_metadata.json",
    },
}


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{$.inputs.parameters['n']}}", ["3"]),
        ("--x={{$.inputs.parameters['name']}}!", ["--x=a b!"]),
        ("{{$.inputs.parameters['flag']}}", ["false"]),
        ("{{$.inputs.parameters['many']}}", ['[1,{"k":"v"}]']),
        ("{{$.inputs.artifacts['x'].uri}}", ["s3://bucket/in"]),
        ("{{$.inputs.artifacts['x'].path}}", ["/s3/bucket/in"]),
        ("{{$.outputs.artifacts['y'].path}}", ["/minio/bucket/out"]),
        ("{{$.outputs.parameters['z'].output_file}}", ["/tmp/kfp/outputs/z"]),
        ("{{$.inputs.parameters['late']}}", ["default"]),
        ('{"IfPresent": {"InputName": "n", "Then": ["--n", "{{$.inputs.parameters[\'n\']}}"]}}',
         ["--n", "3"]),
        ('{"IfPresent": {"InputName": "no", "Then": "a", "Else": "b"}}', ["b"]),
        ('{"IfPresent": {"InputName": "no", "Then": "a"}}', []),
        ("{{$.nothing}}", ["{{$.nothing}}"]),
    ],
)  # fmt: skip
def test_placeholders(template: str, words: list[str]) -> None:
    container = {"command": ["run"], "args": [template]}
    found = placeholders.command_line(container, _INPUT, {"late": "default"})
    assert found == ["run", *words]


def test_the_whole_input_is_one_argument() -> None:
    [_, text] = placeholders.command_line({"command": ["run", "{{$}}"]}, _INPUT, {"late": 1})
    assert json.loads(text)["inputs"]["parameterValues"]["late"] == 1
    assert json.loads(text)["outputs"] == _INPUT["outputs"]


@given(st.text(string.printable), st.text(string.printable))
def test_what_is_put_in_is_not_looked_at_again(one: str, other: str) -> None:
    """A value that looks like a placeholder stays what it is."""
    given_ = {"inputs": {"parameterValues": {"a": one + "{{$.outputs.parameters['z']}}"}}}
    container = {"command": ["x", other.replace("{{$", ""), "{{$.inputs.parameters['a']}}"]}
    assert placeholders.command_line(container, given_)[2].startswith(one)


def test_a_missing_input_is_an_error() -> None:
    with pytest.raises(TaskError) as error:
        placeholders.command_line({"command": ["x", "{{$.inputs.parameters['q']}}"]}, _INPUT)
    assert error.value.reason.code == "UNKNOWN_PARAMETER"
    with pytest.raises(TaskError) as error:
        placeholders.command_line({"image": "x"}, _INPUT)
    assert error.value.reason.code == "NO_COMMAND"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("inputs.parameter_values['name'] == 'a b'", True),
        ("inputs.parameter_values['n'] > 2", True),
        ("int(inputs.parameter_values['n']) >= 4", False),
        ("inputs.parameter_values['flag'] == false", True),
        ("!(inputs.parameter_values['n'] == 3) || inputs.parameter_values['name'] != 'x'", True),
        ("!inputs.parameter_values['flag'] && inputs.parameter_values['n'] < 3.5", True),
        ("string(inputs.parameter_values['flag']) == 'true'", False),
        ("inputs.artifacts['x'].artifacts[0].uri == 's3://bucket/in'", True),
    ],
)
def test_conditions(condition: str, expected: bool) -> None:
    assert conditions.holds(condition, _INPUT) is expected


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("inputs.parameter_values['absent'] == 1", "CONDITION_FAILED"),
        ("inputs.parameter_values['name'] > 1", "CONDITION_FAILED"),
        ("inputs.parameter_values['n']", "CONDITION_FAILED"),
        ("[1].exists(x, x == 1)", "UNSUPPORTED_CONDITION"),
        ("a ? b : c", "UNSUPPORTED_CONDITION"),
        ("__import__('os').system('true') == 0", "UNSUPPORTED_CONDITION"),
        ("", "UNSUPPORTED_CONDITION"),
    ],
)
def test_conditions_beyond_us_are_said(condition: str, code: str) -> None:
    with pytest.raises(TaskError) as error:
        conditions.holds(condition, _INPUT)
    assert error.value.reason.code == code


def test_retries_wait_longer_each_time_and_end_with_the_span() -> None:
    policy = RetryPolicy.of(
        {
            "retryPolicy": {
                "maxRetryCount": 3,
                "backoffDuration": "10s",
                "backoffFactor": 2.0,
                "backoffMaxDuration": "60s",
            }
        }
    )
    assert [policy.next_wait(n, 0) for n in (1, 2, 3, 4)] == [10, 20, 40, None]
    assert policy.next_wait(2, 41) is None  # Argo counts from the first start
    assert RetryPolicy.of({}).next_wait(1, 0) is None
