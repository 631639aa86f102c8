"""Trigger conditions of tasks: the part of CEL that pipeline compilers write."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Mapping
from typing import Any

from pipeline.rehearsal.values import TaskError, to_text

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<and>&&)|(?P<or>\|\|)|(?P<compare>==|!=|<=|>=|<|>)|(?P<not>!)
    |(?P<word>[A-Za-z_][A-Za-z_0-9]*)|(?P<number>-?\d+(?:\.\d+)?)|(?P<mark>[\[\]().]))""",
    re.VERBOSE,
)
#: CEL's `!` binds tighter than its comparisons, as Python's `~` does and its `not` does not.
_WORDS = {"and": "and", "or": "or", "not": "~"}
_LITERALS = {"true": "True", "false": "False", "null": "None"}
_FIELDS = {"parameter_values": "parameterValues", "string_value": None, "number_value": None}
_COMPARE = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS = {"int": int, "double": float, "string": to_text}


class _BeyondUs(Exception):
    """An expression that is not among those we know."""


def holds(condition: str, executor_input: Mapping[str, Any]) -> bool:
    """Whether a task is started.

    Knows comparisons of input parameters and metadata with constants and with each other, `&&`,
    `||`, `!`, `int()`, `double()`, `string()`.

    Raises:
      TaskError: UNSUPPORTED_CONDITION, CONDITION_FAILED.
    """
    try:
        tree = ast.parse(_python(condition), mode="eval")
    except (SyntaxError, ValueError):
        raise _unsupported(condition) from None
    try:
        result = _value(tree.body, executor_input)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise TaskError(
            "CONDITION_FAILED",
            f"The condition `{condition}` cannot be decided: {type(error).__name__}: {error}.",
            next="Compare values that the task gets, and of one type.",
        ) from None
    except _BeyondUs:
        raise _unsupported(condition) from None
    if not isinstance(result, bool):
        raise TaskError(
            "CONDITION_FAILED", f"The condition `{condition}` is neither true nor false."
        )
    return result


def _unsupported(condition: str) -> TaskError:
    return TaskError(
        "UNSUPPORTED_CONDITION",
        f"The condition `{condition}` uses more of CEL than a rehearsal knows.",
        next="It knows comparisons of inputs with constants, `&&`, `||`, `!`, `int()`, `double()` "
        "and `string()`.",
    )


def _python(condition: str) -> str:
    """The condition in Python's words."""
    parts, position = [], 0
    text = condition.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise ValueError(text[position:])
        kind, token = match.lastgroup, match[match.lastgroup or 0]
        parts.append(_WORDS.get(kind or "") or _LITERALS.get(token, token))
        position = match.end()
    return " ".join(parts).replace(" . ", ".")


def _value(node: ast.expr, scope: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.BoolOp):
        values = (_value(part, scope) for part in node.values)
        return all(values) if isinstance(node.op, ast.And) else any(values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
        return not _value(node.operand, scope)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, scope)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        left, right = _value(node.left, scope), _value(node.comparators[0], scope)
        if isinstance(left, str) != isinstance(right, str):
            raise TypeError(f"{left!r} and {right!r} are of different types")
        return _COMPARE[type(node.ops[0])](left, right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1:
        if node.func.id in _FUNCTIONS:
            return _FUNCTIONS[node.func.id](_value(node.args[0], scope))
    if isinstance(node, ast.Subscript):
        return _value(node.value, scope)[_value(node.slice, scope)]
    if isinstance(node, ast.Attribute):
        field = _FIELDS.get(node.attr, node.attr)
        found = _value(node.value, scope)
        return found if field is None else found[field]
    if isinstance(node, ast.Name) and node.id in ("inputs", "outputs"):
        return scope[node.id]
    raise _BeyondUs(ast.dump(node))
