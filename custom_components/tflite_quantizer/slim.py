"""Takes out of a TFLite file what no interpreter reads, and quantizes what the converter leaves.

In a small model most bytes are structure: names of tensors, an empty buffer for
each, shapes and options repeated. What remains answers by signature as before,
value by value.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from custom_components.tflite_quantizer.pack import pack

_OPERATOR = schema.BuiltinOperator
_TYPE = schema.TensorType
#: Operations with weights, in the order in which `sensitivity` counts them, and which operand
#: these are.
_LAYERS = {_OPERATOR.CONV_2D: 1, _OPERATOR.DEPTHWISE_CONV_2D: 1, _OPERATOR.FULLY_CONNECTED: 1}
_WEIGHTS = {**_LAYERS, _OPERATOR.GATHER: 0}
#: Where a convolution's weights have their channels: each gets a scale of its own.
_CHANNELS = {_OPERATOR.CONV_2D: 0, _OPERATOR.DEPTHWISE_CONV_2D: 3}
#: Versions of the operations' kernels that take 8-bit weights with float activations.
_HYBRID_VERSIONS = {
    _OPERATOR.CONV_2D: 5,
    _OPERATOR.DEPTHWISE_CONV_2D: 6,
    _OPERATOR.FULLY_CONNECTED: 9,
    _OPERATOR.GATHER: 2,
}
_FROM_INT8, _FROM_FLOAT16 = 2, 3  # versions of DEQUANTIZE
_BEFORE_PLACEHOLDER = 127  # larger codes do not fit the field that old readers look at


def slim(
    content: bytes,
    weights: Literal["float32", "float16", "int8"] = "float32",
    least_elements: int = 1,
    float_layers: Collection[int | None] = (),
) -> bytes:
    """The same model in fewer bytes.

    Args:
      content: A file as the converter wrote it.
      weights: How float weights of dense layers, convolutions and tables are stored;
        constants of the preprocessing stay as they are.
      least_elements: Smaller ones stay float.
      float_layers: What stays float whatever its size: places among the convolutions and dense
        layers, in the order in which they compute; None is the embedding table.
    """
    # LiteRT's schema and not TensorFlow's, which may be older and lose what it does not know.
    model = schema.ModelT.InitFromPackedBuf(bytearray(content), 0)
    for graph in model.subgraphs:
        graph.inputs, graph.outputs = _indices(graph.inputs), _indices(graph.outputs)
        for operator in graph.operators:
            operator.inputs = _indices(operator.inputs)
            operator.outputs = _indices(operator.outputs)
        kept = _operators_of(model, graph, float_layers)
        if weights == "int8":
            _to_int8(model, graph, least_elements, kept)
        elif weights == "float16":
            _to_float16(model, graph, least_elements, kept)
    _forget(model)
    for graph in model.subgraphs:
        _merge_constants(model, graph)
    _keep_used_buffers(model)
    return pack(model)


def _forget(model: Any) -> None:
    """Drops descriptions: an interpreter goes by index, a caller by the signature's names."""
    model.description = None
    model.metadata = None
    model.metadataBuffer = None
    for graph in model.subgraphs:
        graph.name = None
        outside = {*graph.inputs, *graph.outputs}
        for index, tensor in enumerate(graph.tensors):
            tensor.name = None
            quantization = tensor.quantization
            if quantization is not None and quantization.scale is None and not _blocks(tensor):
                tensor.quantization = None
            if index not in outside:
                tensor.shapeSignature = None
            if not _data(model, tensor):
                tensor.buffer = 0


def _indices(vector: Any) -> list[int]:
    """A vector of the file as a list; an empty one may be absent."""
    return [] if vector is None else [int(i) for i in vector]


def _blocks(tensor: Any) -> Any | None:
    """Of weights with a scale for every block: which tensors hold scales and zero points."""
    details = tensor.quantization and tensor.quantization.details
    return details if isinstance(details, schema.BlockwiseQuantizationT) else None


def _data(model: Any, tensor: Any) -> bytes:
    data = model.buffers[tensor.buffer].data
    return b"" if data is None else bytes(data)


def _merge_constants(model: Any, graph: Any) -> None:
    """Constants that are equal become one; tensors nobody reads go."""
    kept: dict[Any, int] = {}
    target = list(range(len(graph.tensors)))
    for index, tensor in enumerate(graph.tensors):
        data = _data(model, tensor)
        if not data or index in graph.inputs or index in graph.outputs or tensor.quantization:
            continue
        shape = () if tensor.shape is None else tuple(int(n) for n in tensor.shape)
        target[index] = kept.setdefault((tensor.type, shape, data), index)
    used = {*graph.inputs, *graph.outputs}
    for operator in graph.operators:
        operator.inputs = [target[i] if i >= 0 else i for i in operator.inputs]
        used.update(i for i in (*operator.inputs, *operator.outputs) if i >= 0)
    for blocks in filter(None, (_blocks(graph.tensors[i]) for i in tuple(used))):
        blocks.scales = target[blocks.scales]
        used.add(blocks.scales)
        if blocks.zeroPoints > 0:
            used.add(blocks.zeroPoints)
    order = sorted(used)
    place = {old: new for new, old in enumerate(order)}
    place[-1] = -1
    graph.tensors = [graph.tensors[i] for i in order]
    for blocks in filter(None, map(_blocks, graph.tensors)):
        blocks.scales = place[blocks.scales]
        blocks.zeroPoints = place[blocks.zeroPoints] if blocks.zeroPoints > 0 else -1
    graph.inputs = [place[i] for i in graph.inputs]
    graph.outputs = [place[i] for i in graph.outputs]
    for operator in graph.operators:
        operator.inputs = [place[i] for i in operator.inputs]
        operator.outputs = [place[i] for i in operator.outputs]
    at = model.subgraphs.index(graph)
    for signature in model.signatureDefs or []:
        if signature.subgraphIndex == at:
            for named in (*signature.inputs, *signature.outputs):
                named.tensorIndex = place[named.tensorIndex]


def _keep_used_buffers(model: Any) -> None:
    """Buffer 0 is the empty one by convention; each other content is kept once."""
    buffers, place = [schema.BufferT()], {b"": 0}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = _data(model, tensor)
            if data not in place:
                place[data] = len(buffers)
                buffers.append(schema.BufferT())
                buffers[-1].data = np.frombuffer(data, np.uint8)
            tensor.buffer = place[data]
    model.buffers = buffers


def _operators_of(model: Any, graph: Any, layers: Collection[int | None]) -> list[Any]:
    """The operators that compute these layers."""
    found, place = [], 0
    for operator in graph.operators:
        code = _code(model, operator)
        if code in _LAYERS:
            if place in layers:
                found.append(operator)
            place += 1
        elif code == _OPERATOR.GATHER and None in layers:
            found.append(operator)
    return found


def _to_int8(model: Any, graph: Any, least: int, kept: list[Any]) -> None:
    """Dense weights and tables in 8 bits, one scale each; convolutions', one for each channel.

    The converter's own dynamic-range quantization starts at 1,024 elements.
    """
    operators = []
    for operator in graph.operators:
        operators.append(operator)
        operand = None if operator in kept else _weights_of(model, graph, operator, least)
        if operand is None:
            continue
        code = _code(model, operator)
        operator.inputs[operand] = table = _as_int8(
            model, graph, operator.inputs[operand], _CHANNELS.get(code)
        )
        operator.opcodeIndex = _opcode(model, code, _HYBRID_VERSIONS[code])
        if code == _OPERATOR.FULLY_CONNECTED:
            # Symmetric ranges would waste half of the 8 bits on activations after a ReLU.
            operator.builtinOptions.asymmetricQuantizeInputs = True
        if code in _LAYERS:
            continue
        output = operator.outputs[0]
        gathered = _tensor_like(graph.tensors[output], _TYPE.INT8)
        gathered.quantization = graph.tensors[table].quantization
        graph.tensors.append(gathered)
        operator.outputs = [len(graph.tensors) - 1]
        operators.append(_dequantize(model, operator.outputs[0], output, _FROM_INT8))
    graph.operators = operators


def _to_float16(model: Any, graph: Any, least: int, kept: list[Any]) -> None:
    """Weights and tables in 16 bits, widened where they are used.

    The converter would do the same to the constants of the preprocessing, where
    16 bits are too few: a longitude of -87.65 is off by 0.03, a zip code by ten.
    """
    operators, widened = [], {}
    for operator in graph.operators:
        operand = None if operator in kept else _weights_of(model, graph, operator, least)
        if operand is not None:
            source = operator.inputs[operand]
            if source not in widened:
                values = np.frombuffer(_data(model, graph.tensors[source]), np.float32)
                half = _constant(model, graph, source, values.astype(np.float16), _TYPE.FLOAT16)
                graph.tensors.append(_tensor_like(graph.tensors[source], _TYPE.FLOAT32))
                widened[source] = len(graph.tensors) - 1
                operators.append(_dequantize(model, half, widened[source], _FROM_FLOAT16))
            operator.inputs[operand] = widened[source]
        operators.append(operator)
    graph.operators = operators


def _weights_of(model: Any, graph: Any, operator: Any, least: int) -> int | None:
    """Which operand of a layer or of a look-up is its float weights, if any."""
    operand = _WEIGHTS.get(_code(model, operator))
    if operand is None:
        return None
    tensor = graph.tensors[operator.inputs[operand]]
    is_float = tensor.type == _TYPE.FLOAT32 and len(_data(model, tensor)) // 4 >= max(least, 1)
    return operand if is_float else None


def _as_int8(model: Any, graph: Any, index: int, channels: int | None = None) -> int:
    """A new int8 tensor for a constant float one; symmetric, range -127 to 127.

    Args:
      model, graph: Of the file.
      index: Of the float tensor.
      channels: The dimension whose every slice has a scale of its own; None for one scale.
    """
    shape = [int(n) for n in graph.tensors[index].shape]
    values = np.frombuffer(_data(model, graph.tensors[index]), np.float32).reshape(shape)
    others = None if channels is None else tuple(i for i in range(len(shape)) if i != channels)
    scale = np.maximum(
        np.abs(values).max(axis=others, keepdims=True) / np.float32(127.0),
        np.finfo(np.float32).tiny,
    )
    rounded = np.round(values / scale).astype(np.int8)
    made = _constant(model, graph, index, rounded, _TYPE.INT8)
    graph.tensors[made].quantization = schema.QuantizationParametersT()
    graph.tensors[made].quantization.scale = scale.reshape(-1).astype(np.float32)
    graph.tensors[made].quantization.zeroPoint = np.zeros(scale.size, np.int64)
    graph.tensors[made].quantization.quantizedDimension = channels or 0
    return made


def _constant(model: Any, graph: Any, source: int, values: np.ndarray, kind: int) -> int:
    """A new tensor of the shape of another one, with values."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(buffer)
    made = _tensor_like(graph.tensors[source], kind)
    made.buffer = len(model.buffers) - 1
    graph.tensors.append(made)
    return len(graph.tensors) - 1


def _tensor_like(source: Any, kind: int) -> Any:
    made = schema.TensorT()
    made.shape, made.hasRank, made.type = source.shape, source.hasRank, kind
    made.buffer = 0
    return made


def _dequantize(model: Any, source: int, target: int, version: int) -> Any:
    made = schema.OperatorT()
    made.opcodeIndex = _opcode(model, _OPERATOR.DEQUANTIZE, version)
    made.inputs, made.outputs = [source], [target]
    return made


def _code(model: Any, operator: Any) -> int:
    code = model.operatorCodes[operator.opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def _opcode(model: Any, code: int, version: int) -> int:
    """Index of the operation in the model's list, which it joins when it is not there."""
    for index, known in enumerate(model.operatorCodes):
        if max(known.builtinCode, known.deprecatedBuiltinCode) == code:
            known.version = max(known.version, version)
            return index
    made = schema.OperatorCodeT()
    made.builtinCode, made.version = code, version
    made.deprecatedBuiltinCode = min(code, _BEFORE_PLACEHOLDER)
    model.operatorCodes.append(made)
    return len(model.operatorCodes) - 1
