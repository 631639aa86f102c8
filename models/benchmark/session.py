"""Any TFLite file on LiteRT: by its signature where it has one, by its tensors where not."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Mapping

import numpy as np

from models.errors import ConfigError, FlywheelError
from models.predictor import SIGNATURE, quiet_native_stderr

#: Bytes 4 to 8 of every TFLite file: the schema's file_identifier.
_MARK = b"TFL3"
#: What such a file is instead, by its first bytes.
_OTHERS = {b"PK\x03\x04": "a zip archive (a .keras file?)", b"\x89HDF": "HDF5 (a Keras .h5 file?)"}
_CONVERT = (
    "Convert it first, for example with `tf.lite.TFLiteConverter.from_saved_model(FOLDER)`, or "
    "name another file."
)


@dataclasses.dataclass(frozen=True)
class InputTensor:
    """One input of a file.

    Attributes:
      name: In its signature, or the tensor's own.
      dtype: NumPy's; `bytes_` for strings.
      shape: As the file starts with it.
      dynamic: Per dimension, whether the caller chooses its size.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    dynamic: tuple[bool, ...]


class Session:
    """One fresh interpreter with one file.

    Calls with the same cost as `models.predictor.TFLiteRunner`, which serves Flywheel's own
    files; takes foreign ones as well.

    Args:
      path: The file.
      threads: Interpreter threads.
      xnnpack: Whether LiteRT may apply its default delegate, as it does when serving.

    Attributes:
      inputs: In the file's order.
      signature: The one that is called, `serving_default` or else the first; None when the
        file has none.
      signatures: All it has.

    Raises:
      ConfigError: NO_SUCH_FILE, NOT_TFLITE.
      FlywheelError: UNSUPPORTED_OPS, CANNOT_LOAD.
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int = 1, xnnpack: bool = True):
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        check_file(path)
        resolver = (
            OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        )
        self.path = str(path)
        self._warm = False
        self._run: Callable[..., dict[str, np.ndarray]]
        try:
            with quiet_native_stderr():
                self._interpreter = Interpreter(
                    self.path, num_threads=threads, experimental_op_resolver_type=resolver
                )
                self.signatures = tuple(self._interpreter.get_signature_list())
                self.signature = next(
                    (s for s in (SIGNATURE, *self.signatures) if s in self.signatures), None
                )
                if self.signature is not None:
                    runner = self._interpreter.get_signature_runner(self.signature)
                    details = runner.get_input_details()
                    self._run = runner
                else:
                    self._interpreter.allocate_tensors()
                    details = {d["name"]: d for d in self._interpreter.get_input_details()}
                    self._run = _Tensors(self._interpreter, details)
        except (ValueError, RuntimeError) as error:
            raise _load_error(self.path, str(error)) from error
        self.inputs = tuple(_input(name, detail) for name, detail in details.items())
        self._names = tuple(i.name for i in self.inputs)

    def __call__(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs once.

        Args:
          feed: Input name to array; may hold more than the file takes.

        Returns:
          Output name to array.
        """
        fed = {name: feed[name] for name in self._names}
        if self._warm:
            return self._run(**fed)
        with quiet_native_stderr():
            answer = self._run(**fed)
        self._warm = True
        return answer

    def partitions(self) -> int | None:
        """Parts of the graph that a delegate took over; call after the first run.

        None where this version of LiteRT does not tell.
        """
        details = getattr(self._interpreter, "_get_ops_details", None)
        if details is None:
            return None
        return sum(op["op_name"] == "DELEGATE" for op in details())


class _Tensors:
    """Calls a file that has no signature as if it had one."""

    def __init__(self, interpreter, details: Mapping[str, dict]):
        self._interpreter = interpreter
        self._index = {name: detail["index"] for name, detail in details.items()}
        self._shapes = {name: tuple(detail["shape"]) for name, detail in details.items()}
        self._outputs = {d["name"]: d["index"] for d in interpreter.get_output_details()}

    def __call__(self, **feed: np.ndarray) -> dict[str, np.ndarray]:
        shapes = {name: value.shape for name, value in feed.items()}
        if shapes != self._shapes:
            for name, shape in shapes.items():
                self._interpreter.resize_tensor_input(self._index[name], shape)
            self._interpreter.allocate_tensors()
            self._shapes = shapes
        for name, value in feed.items():
            self._interpreter.set_tensor(self._index[name], value)
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(i) for name, i in self._outputs.items()}


def _input(name: str, detail: dict) -> InputTensor:
    shape = tuple(int(size) for size in detail["shape"])
    signature = detail.get("shape_signature")
    signature = shape if signature is None or len(signature) != len(shape) else signature
    return InputTensor(name, np.dtype(detail["dtype"]), shape, tuple(int(s) < 0 for s in signature))


def check_file(path: str | os.PathLike[str]) -> None:
    """Refuses what is no TFLite file, by its first bytes.

    Raises:
      ConfigError: NO_SUCH_FILE, NOT_TFLITE.
    """
    path = pathlib.Path(path)
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(
            "NO_SUCH_FILE",
            f"There is no file `{path}`.",
            next="Name a .tflite file, or a folder that holds some.",
        ) from None
    except OSError as error:
        raise ConfigError(
            "CANNOT_READ",
            f"`{path}` cannot be read: {error.strerror}.",
            next="Name a .tflite file, or a folder that holds some.",
        ) from error
    if head[4:8] != _MARK:
        found = next((f": it is {what}" for mark, what in _OTHERS.items() if head[:4] == mark), "")
        raise ConfigError(
            "NOT_TFLITE",
            f"`{path}` is not a TFLite file{found or f'; it lacks the mark {_MARK.decode()}'}.",
            next=_CONVERT,
        )


def ops_missing(path: str, text: str) -> FlywheelError | None:
    """The error for operations LiteRT lacks, if that is what its words are about."""
    found = re.search(r"custom op: (\w+)|Node number \d+ \((Flex\w+)\)", text)
    if not found and "Select TensorFlow op" not in text:
        return None
    what = f" ({found[1] or found[2]})" if found else ""
    return FlywheelError(
        "UNSUPPORTED_OPS",
        f"`{path}` uses operations that LiteRT does not have{what}.",
        next="Convert it with `target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]`: "
        "what serves it here has neither the Flex delegate nor custom operations.",
    )


def _load_error(path: str, text: str) -> FlywheelError:
    return ops_missing(path, text) or FlywheelError(
        "CANNOT_LOAD",
        f"LiteRT cannot load `{path}`: {(text.strip().splitlines() or ['no reason given'])[0]}.",
        next="Convert it again: the file is damaged, or newer than this LiteRT "
        "(`flywheel doctor` shows its version).",
    )
