"""Small TFLite files of the real converter, foreign to Flywheel: one per way to be different."""

from __future__ import annotations

import atexit
import functools
import pathlib
import shutil
import tempfile


@functools.cache
def shared() -> dict[str, pathlib.Path]:
    """The files, converted once for all tests of a process: name to path."""
    folder = tempfile.mkdtemp(prefix="tflite-files-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return write(pathlib.Path(folder))


def write(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Converts all of them into a folder.

    Returns:
      Name to path: `small` and `large` (dense, dynamic batch, signature `serving_default`),
      `image` (quantized 8-bit image, fixed shape, no signature), `words` (strings in), `tokens`
      (integers in), `int8` (dense, quantized inside), `flex` (needs TensorFlow's own
      operations), `custom` (one nobody has),
      `several` (two signatures, neither of them the usual one).
    """
    import numpy as np
    import tensorflow as tf
    from tensorflow.lite.tools import flatbuffer_utils

    rng = np.random.default_rng(0)

    def dense(*widths: int) -> tf.Module:
        module = tf.Module()
        module.weights = [
            tf.constant(rng.normal(size=shape) * 0.1, tf.float32)
            for shape in zip(widths[:-1], widths[1:], strict=True)
        ]

        @tf.function(input_signature=[tf.TensorSpec([None, widths[0]], tf.float32, name="x")])
        def answer(x):
            for weight in module.weights:
                x = tf.nn.relu(x @ weight)
            return {"y": x}

        module.answer = answer
        return module

    words = tf.Module()
    words.table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(["a", "bc"]), tf.constant([1, 2], tf.int64)
        ),
        0,
    )
    tokens, flex, custom, image = (tf.Module() for _ in range(4))
    tokens.rows = tf.constant(rng.normal(size=(8, 3)), tf.float32)
    image.kernel = tf.constant(rng.normal(size=(3, 3, 1, 4)), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.string, name="word")])
    def look_up(word):
        return {"id": words.table.lookup(word)}

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.int32, name="token")])
    def embed(token):
        return {"row": tf.gather(tokens.rows, token)}

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.string, name="word")])
    def hashed(word):
        return {"id": tf.strings.to_hash_bucket_fast(word, 7)}

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    def erf_inverse(x):
        return {"y": tf.math.erfinv(x)}

    @tf.function(input_signature=[tf.TensorSpec([1, 8, 8, 1], tf.float32, name="pixels")])
    def convolve(pixels):
        return {"y": tf.reduce_mean(tf.nn.conv2d(pixels, image.kernel, 1, "SAME"), axis=[1, 2])}

    words.answer, tokens.answer, image.answer = look_up, embed, convolve
    flex.answer, custom.answer = hashed, erf_inverse

    def converted(module: tf.Module, signatures=("serving_default",), **settings) -> bytes:
        path = tempfile.mkdtemp(dir=folder)
        tf.saved_model.save(module, path, signatures=dict.fromkeys(signatures, module.answer))
        converter = tf.lite.TFLiteConverter.from_saved_model(path, signature_keys=list(signatures))
        for key, value in settings.items():
            setattr(converter, key, value)
        return converter.convert()

    def typical():
        return ([rng.uniform(-1, 1, (1, 16)).astype(np.float32)] for _ in range(50))

    def pictures():
        return ([rng.random((1, 8, 8, 1)).astype(np.float32)] for _ in range(10))

    def without_signature(content: bytes) -> bytes:
        model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
        model.signatureDefs = []
        return bytes(flatbuffer_utils.convert_object_to_bytearray(model))

    with_flex = tf.lite.TargetSpec(
        supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    )
    files = {
        "small": converted(dense(16, 8, 1)),
        "large": converted(dense(16, 512, 512, 512, 1)),
        "image": without_signature(
            converted(
                image,
                optimizations=[tf.lite.Optimize.DEFAULT],
                representative_dataset=pictures,
                inference_input_type=tf.int8,
                inference_output_type=tf.int8,
            )
        ),
        "words": converted(words),
        "several": converted(dense(16, 2), ("encode", "score")),
        "tokens": converted(tokens),
        "int8": converted(
            dense(16, 8, 4),
            optimizations=[tf.lite.Optimize.DEFAULT],
            representative_dataset=typical,
        ),
        "flex": converted(flex, target_spec=with_flex),
        "custom": converted(custom, allow_custom_ops=True),
    }
    paths = {name: folder / f"{name}.tflite" for name in files}
    for name, content in files.items():
        paths[name].write_bytes(content)
    return paths
