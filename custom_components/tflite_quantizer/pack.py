"""Writes a TFLite flatbuffer in which what is equal is stored once.

The FlatBuffers format lets several tables point to the same vector, string or
table. The stock builder shares virtual tables only; in a small model the shapes,
options and operands of dozens of tensors and operations are the same few values.
"""

from __future__ import annotations

from typing import Any

import flatbuffers

_IDENTIFIER = b"TFL3"
#: The schema's `force_align` of buffers, which Python's generated code leaves out.
_DATA_ALIGNMENT = 16


class SharingBuilder(flatbuffers.Builder):
    """A builder that takes back what it has just written when it has written it before."""

    def __init__(self, size: int = 1 << 16):
        super().__init__(size)
        self._written: dict[Any, int] = {}
        self._start = 0
        self._elements: tuple[int, int] = (0, 0)
        self._fields: dict[int, Any] = {}
        self._slots = 0
        self._points = False

    def _once(self, key: Any, position: int) -> int:
        """The earlier copy's place when there is one; what was just written is dropped."""
        earlier = self._written.setdefault(key, position)
        if earlier != position:
            self.head = len(self.Bytes) - self._start
            # A layout first seen in what is dropped (padding may differ) goes with it.
            self.vtables = {k: at for k, at in self.vtables.items() if at <= self._start}
        return earlier

    def StartVector(self, elemSize, numElems, alignment):
        # Only buffers (and custom options) are vectors of bytes.
        self._start = self.Offset()
        self._elements = (elemSize, numElems)
        self._points = False
        return super().StartVector(
            elemSize, numElems, _DATA_ALIGNMENT if elemSize == 1 else alignment
        )

    def PrependUOffsetTRelative(self, off):
        self._points = True
        super().PrependUOffsetTRelative(off)

    def EndVector(self, numElems=None):
        size, count = self._elements
        position = super().EndVector()
        if self._points:  # relative offsets: equal bytes elsewhere mean something else
            return position
        first = self.head + 4
        return self._once(
            ("vector", size, bytes(self.Bytes[first : first + size * count])), position
        )

    def CreateString(self, s, encoding="utf-8", errors="strict"):
        self._start = self.Offset()
        # The base class ends a string as a vector; it is shared here, not there.
        self._points = True
        position = super().CreateString(s, encoding, errors)
        return self._once(("string", s if isinstance(s, bytes) else s.encode(encoding)), position)

    def StartObject(self, numfields):
        self._start = self.Offset()
        self._fields, self._slots = {}, numfields
        super().StartObject(numfields)

    def PrependSlot(self, flags, o, x, d):
        if x is not None and x != d:
            self._fields[o] = (flags.bytewidth, flags.py_type, x)
        super().PrependSlot(flags, o, x, d)

    def PrependUOffsetTRelativeSlot(self, o, x, d):
        if x != d:
            self._fields[o] = ("offset", x)
        super().PrependUOffsetTRelativeSlot(o, x, d)

    def EndObject(self):
        fields = tuple(sorted(self._fields.items(), key=lambda field: field[0]))
        return self._once(("table", self._slots, fields), super().EndObject())


def pack(model: Any) -> bytes:
    """The file of a model object (LiteRT's generated `ModelT`)."""
    builder = SharingBuilder()
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())
