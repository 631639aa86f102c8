"""The backend's own messages, and strict reading of JSON with them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_INTEGER = FieldDescriptor.TYPE_INT64
_STRING = FieldDescriptor.TYPE_STRING
#: Fields that later versions of KubernetesExecutorConfig have: name, number, type. kfp-kubernetes
#: of the older stack does not know them; the backends that this file is for do.
_LATER = (("active_deadline_seconds", 10, _INTEGER),)
_LATER_TOLERATION = (
    ("key", 1, _STRING),
    ("operator", 2, _STRING),
    ("value", 3, _STRING),
    ("effect", 4, _STRING),
    ("toleration_seconds", 5, _INTEGER),
)
_TOLERATIONS = 12


class ParseError(ValueError):
    """The data is not what the message says.

    Attributes:
      path: Where in the data, as far as it is known.
    """

    def __init__(self, text: str, path: str = ""):
        super().__init__(text)
        self.path = path


def strict(message: str, data: Any) -> dict[str, Any]:
    """Reads JSON as a message; an unknown field is an error.

    Args:
      message: `pipeline_spec`, `deployment`, `platform_spec` or `kubernetes`.
      data: A JSON object.

    Returns:
      The same data with the names that protobuf writes.

    Raises:
      ParseError: in protobuf's words, with the path taken out of them.
    """
    if not isinstance(data, dict):
        raise ParseError("it is not an object.")
    parsed = _messages()[message]()
    try:
        json_format.ParseDict(data, parsed)
    except json_format.ParseError as error:
        raise _explained(str(error), data) from None
    return json_format.MessageToDict(parsed)


@functools.cache
def _messages() -> dict[str, type[Message]]:
    from kfp.pipeline_spec import pipeline_spec_pb2

    return {
        "pipeline_spec": pipeline_spec_pb2.PipelineSpec,
        "deployment": pipeline_spec_pb2.PipelineDeploymentConfig,
        "platform_spec": pipeline_spec_pb2.PlatformSpec,
        "kubernetes": _kubernetes(),
    }


def _kubernetes() -> type[Message]:
    """KubernetesExecutorConfig, with the fields that the installed one may be too old for."""
    from kfp.kubernetes import kubernetes_executor_config_pb2 as installed

    message = installed.KubernetesExecutorConfig
    if "tolerations" in message.DESCRIPTOR.fields_by_name:
        return message
    file = descriptor_pb2.FileDescriptorProto()
    message.DESCRIPTOR.file.CopyToProto(file)
    file.name = "flywheel/kubernetes_executor_config.proto"
    package = file.package
    toleration = file.message_type.add(name="Toleration")
    for name, number, kind in _LATER_TOLERATION:
        toleration.field.add(name=name, number=number, type=kind, label=1)
    [config] = [m for m in file.message_type if m.name == "KubernetesExecutorConfig"]
    for name, number, kind in _LATER:
        config.field.add(name=name, number=number, type=kind, label=1)
    config.field.add(
        name="tolerations",
        number=_TOLERATIONS,
        type=FieldDescriptor.TYPE_MESSAGE,
        label=3,
        type_name=f".{package}.Toleration",
    )
    pool = descriptor_pool.DescriptorPool()
    for needed in _needed(message.DESCRIPTOR.file):
        pool.Add(needed)
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName(f"{package}.KubernetesExecutorConfig")
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


def _needed(file: Any) -> list[descriptor_pb2.FileDescriptorProto]:
    """What a file imports, deepest first."""
    found: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def visit(dependency: Any) -> None:
        for inner in dependency.dependencies:
            visit(inner)
        proto = descriptor_pb2.FileDescriptorProto()
        dependency.CopyToProto(proto)
        found.setdefault(dependency.name, proto)

    for dependency in file.dependencies:
        visit(dependency)
    return list(found.values())


_STEP = re.compile(r"^Failed to parse (\S+) field: ")
_UNKNOWN = re.compile(r'Message type "[\w.]*?(\w+)" has no field named "(\w+)"')


def _explained(text: str, data: Any) -> ParseError:
    """Protobuf's words, from `Failed to parse a field: Failed to parse b field: …` to one."""
    steps = []
    while match := _STEP.match(text):
        steps.append(match[1])
        text = text[match.end() :]
    unknown = _UNKNOWN.search(text)
    if unknown:
        # Older protobuf leaves the keys of maps out of the path.
        places = list(_places(data, unknown[2], ()))
        path = ".".join(places[0] if len(places) == 1 else (*steps, unknown[2]))
        return ParseError(f"`{path}` is no field of {unknown[1]}.", path)
    path = ".".join(steps)
    first = text.splitlines()[0].rstrip(".") if text else "it cannot be read"
    return ParseError(f"`{path}`: {first}." if path else f"{first}.", path)


def _places(data: Any, key: str, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Where a key is."""
    items = data.items() if isinstance(data, dict) else ()
    items = ((str(n), item) for n, item in enumerate(data)) if isinstance(data, list) else items
    for name, value in items:
        if name == key:
            yield (*above, name)
        yield from _places(value, key, (*above, name))
