"""New columns as expressions of others, in the syntax of `pandas.eval`.

`big_tipper: tips > 0.2 * fare` - arithmetic, comparisons, `and or not`, `in`, and the functions
of pandas.eval (abs, sqrt, log, exp, sin ...). Names that are no Python names go in backticks.
A result is missing where an operand is, and where it is no finite number.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from custom_components.example_gen.column_types import canonical, finite
from models.errors import ConfigError

_BACKTICKS = re.compile(r"`([^`]+)`")
_FUNCTIONS = frozenset(
    "sin cos exp log expm1 log1p sqrt sinh cosh tanh arcsin arccos arctan arccosh arcsinh arctanh "
    "abs log10 floor ceil arctan2".split()
)
# No attributes and no other calls: a config is data, it must not be able to run code.
_ALLOWED = (
    ast.Expression, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Name, ast.Constant,
    ast.Call, ast.List, ast.Tuple, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.Load,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Derived:
    """One derived column.

    Attributes:
      name: The new column.
      expression: As configured.
      code: The expression with a plain Python name for each operand.
      operands: Plain name: column.
      type: int64, double or string.
    """

    name: str
    expression: str
    code: str
    operands: Mapping[str, str]
    type: pa.DataType

    def compute(self, batch: pa.RecordBatch) -> pa.Array:
        """The column for a batch that holds the operands.

        Raises:
          ConfigError: DERIVE_FAILED, the expression fails on these values.
        """
        operands = {plain: batch.column(column) for plain, column in self.operands.items()}
        present = np.ones(batch.num_rows, bool)
        for values in operands.values():
            present &= values.is_valid().to_numpy(zero_copy_only=False)
        rows = pa.array(np.flatnonzero(present))
        # Only whole rows are computed, so that no block has a dtype of its own.
        result = _evaluate(self, {plain: v.take(rows) for plain, v in operands.items()})
        if result.type != self.type:
            result = result.cast(self.type, safe=False)
        if self.type == pa.float64():
            result = finite(result)
        index = pa.array(np.cumsum(present) - 1, mask=~present)
        return result.take(index)


def plan(expressions: Mapping[str, str], schema: pa.Schema) -> tuple[Derived, ...]:
    """Checks the expressions against the columns of the data.

    Args:
      expressions: New column: expression; a later one may use an earlier one.
      schema: Columns of the data, typed.

    Raises:
      ConfigError: COLUMN_MISSING for an unknown operand, DUPLICATE_COLUMNS for a name that the
        data has already, DERIVE_FAILED for an expression that cannot be computed.
    """
    types = dict(zip(schema.names, schema.types, strict=True))
    derived = []
    for name, expression in expressions.items():
        if name in types:
            raise ConfigError(
                "DUPLICATE_COLUMNS",
                f"The derived column `{name}` has the name of a column of the data.",
                next="Give it another name under `data.derive`.",
            )
        code, operands = _parse(name, expression, types)
        new = Derived(name, expression, code, operands, pa.null())
        empty = {plain: pa.array([], types[column]) for plain, column in operands.items()}
        new = dataclasses.replace(new, type=_evaluate(new, empty).type)
        types[name] = new.type
        derived.append(new)
    return tuple(derived)


def _parse(
    name: str, expression: str, types: Mapping[str, pa.DataType]
) -> tuple[str, dict[str, str]]:
    quoted: dict[str, str] = {}

    def plain(match: re.Match[str]) -> str:
        quoted[f"column_{len(quoted)}_"] = match.group(1)
        return f"column_{len(quoted) - 1}_"

    code = _BACKTICKS.sub(plain, expression)
    try:
        tree = ast.parse(code.strip(), mode="eval")
    except SyntaxError as error:
        raise _failed(name, expression, error.msg) from error
    functions = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    operands: dict[str, str] = {}
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED):
            raise _failed(name, expression, f"{type(node).__name__} is not allowed")
        if not isinstance(node, ast.Name):
            continue
        if id(node) in functions:
            if node.id not in _FUNCTIONS:
                raise _failed(name, expression, f"there is no function `{node.id}`")
            continue
        column = quoted.get(node.id, node.id)
        if column not in types:
            close = difflib.get_close_matches(column, types, 1, cutoff=0.5)
            raise ConfigError(
                "COLUMN_MISSING",
                f"The derived column `{name}` = `{expression}` uses `{column}`, which the data "
                "does not have.",
                next=f"Did you mean `{close[0]}`?"
                if close
                else f"The data has: {', '.join(types)}.",
            )
        operands[node.id] = column
    if not operands:
        raise _failed(name, expression, "it uses no column")
    return code.strip(), operands


def _evaluate(derived: Derived, operands: Mapping[str, pa.Array]) -> pa.Array:
    import pandas as pd

    frames = {
        plain: values.to_pandas().astype(float)
        if pa.types.is_null(values.type)
        else values.to_pandas()
        for plain, values in operands.items()
    }
    try:
        result = pd.eval(
            derived.code, engine="python", parser="pandas", local_dict=frames, global_dict={}
        )
        result = pd.Series(result)
        kind = pa.string() if result.dtype == object else None
        values = canonical(pa.Array.from_pandas(result, type=kind), derived.name)
    except Exception as error:  # whatever pandas raises, it is the expression that is wrong
        raise _failed(derived.name, derived.expression, str(error)) from error
    return values.cast(pa.int64()) if pa.types.is_boolean(values.type) else values


def _failed(name: str, expression: str, why: str) -> ConfigError:
    return ConfigError(
        "DERIVE_FAILED",
        f"The derived column `{name}` = `{expression}` cannot be computed: {why.rstrip('.')}.",
        next="Correct it under `data.derive`; the syntax is that of pandas.eval.",
    )
