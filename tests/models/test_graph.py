"""The graph against a plain NumPy reading of the contract, in TensorFlow and in TFLite."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from models import bundle
from models.network import build_network
from models.options import StudentOptions, TeacherOptions
from models.predictor import Predictor, SavedModelRunner, TFLiteRunner
from models.spec import CategoricalFeature, ModelSpec, NumericFeature

NUMERIC = (
    NumericFeature("fare", 5.0, 0.0, 50.0, 10.0, 4.0),
    NumericFeature("miles", 1.0, -2.0, 20.0, 3.0, 2.0, "integer"),
)
HOUR = CategoricalFeature("hour", "integer", ("-3", "7", "9"), "integer")
AREA = CategoricalFeature("area", "integer", ("100", "4000"), "integer")
PAYMENT = CategoricalFeature("payment", "string", ("Cash", "Crédit"))
COMPANY = CategoricalFeature("company", "string", ("A",))

SPECS = {
    "mixed": ModelSpec("binary", "y", ("0", "1"), NUMERIC, (HOUR, PAYMENT, AREA, COMPANY)),
    "numbers": ModelSpec("regression", "y", (), NUMERIC, (), 3.0, 2.0),
    "categories": ModelSpec("multiclass", "y", ("a", "b", "c"), (), (PAYMENT, HOUR)),
    "odd names": ModelSpec(
        "binary",
        "y",
        ("0", "1"),
        tuple(dataclasses.replace(NUMERIC[0], name=n) for n in ("petal (cm)", "petal [cm]", "1st")),
        tuple(dataclasses.replace(PAYMENT, name=n) for n in ("größe", "_x", "Petal (cm)")),
    ),
    "one text": ModelSpec("binary", "y", ("0", "1"), (), (PAYMENT,)),
    "one integer": ModelSpec("binary", "y", ("0", "1"), (), (HOUR,)),
}
CELLS = {
    "fare": [np.nan, 12.5, -7.0, 1e9],
    "miles": [2.0, np.nan, 21.0, -3.0],
    "hour": [np.nan, -3.0, 8.0, 9.0],
    "area": [100.0, 101.0, np.nan, 5000.0],
    "payment": [b"", b"Cash", "Crédit".encode(), b"Bitcoin"],
    "company": [b"A", b"", b"a", b"A"],
}
CELLS |= {name: CELLS["fare"] for name in ("petal (cm)", "petal [cm]", "1st")}
CELLS |= {name: CELLS["payment"] for name in ("größe", "_x", "Petal (cm)")}


def inputs(spec: ModelSpec) -> dict[str, np.ndarray]:
    return {
        f.name: np.array(
            [[v] for v in CELLS[f.name]],
            dtype=object if isinstance(CELLS[f.name][0], bytes) else np.float32,
        )
        for f in spec.features
    }


def expected_numeric(spec: ModelSpec) -> np.ndarray:
    columns = []
    for f in spec.numeric:
        x = np.array(CELLS[f.name], np.float32)
        x = np.clip(np.where(np.isnan(x), f.impute, x), f.low, f.high)
        columns.append((x - f.mean) / f.std)
    return np.stack(columns, axis=1) if columns else np.zeros((4, 0))


def expected_ids(spec: ModelSpec) -> np.ndarray:
    columns = []
    for f, offset in zip(spec.categorical, spec.offsets, strict=True):
        ids = []
        for value in CELLS[f.name]:
            if isinstance(value, bytes):
                missing, text = value == b"", value.decode()
            else:
                missing, text = np.isnan(value), "" if np.isnan(value) else str(int(value))
            known = f.vocabulary.index(text) + 2 if text in f.vocabulary else 1
            ids.append(offset + (0 if missing else known))
        columns.append(ids)
    return np.array(columns).T if columns else np.zeros((4, 0))


@pytest.mark.parametrize("name", SPECS)
def test_preprocessing_is_the_contract(name):
    import tensorflow as tf

    from models.graph import Preprocessor

    spec = SPECS[name]
    numeric, ids = Preprocessor(spec)({k: tf.constant(v) for k, v in inputs(spec).items()})
    np.testing.assert_allclose(numeric.numpy(), expected_numeric(spec), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(ids.numpy(), expected_ids(spec))


@pytest.mark.parametrize("options", [StudentOptions(), TeacherOptions(frequencies=4)])
@pytest.mark.parametrize("name", SPECS)
def test_tflite_saved_model_and_examples_answer_alike(name, options, tmp_path):
    import tensorflow as tf

    from custom_components.tflite_quantizer import recipes
    from custom_components.tflite_quantizer.convert import to_tflite
    from models.graph import Serving

    spec = SPECS[name]
    network = build_network(spec, options, seed=3)
    bundle.save(str(tmp_path), spec, options, network)
    fed = inputs(spec)
    saved = Predictor(spec, SavedModelRunner(tmp_path / "Format-Serving")).predict_inputs(fed)
    content = to_tflite(Serving(spec, network), recipes.get("float32"))
    lite = Predictor(spec, TFLiteRunner(content)).predict_inputs(fed)
    np.testing.assert_allclose(saved, lite, rtol=1e-5, atol=1e-6)
    assert saved.shape == (4, spec.units)

    model = tf.saved_model.load(str(tmp_path / "Format-Serving"))
    answers = model.signatures["serving_default"](
        tf.constant([_example(spec, r) for r in range(4)])
    )
    np.testing.assert_allclose(answers[spec.output].numpy(), saved, rtol=1e-5, atol=1e-6)

    again_spec, _, again = bundle.load(str(tmp_path))
    assert again_spec == spec
    for mine, theirs in zip(network.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def _example(spec: ModelSpec, row: int) -> bytes:
    """A row as tf.Example, missing cells as keys with no value."""
    import tensorflow as tf

    example = tf.train.Example()
    for f in spec.features:
        value, feature = CELLS[f.name][row], example.features.feature[f.name]
        if value == b"" or value != value:
            continue
        if f.column_type == "integer":
            feature.int64_list.value.append(int(value))
        elif f.column_type == "real":
            feature.float_list.value.append(value)
        else:
            feature.bytes_list.value.append(value)
    return example.SerializeToString()


def test_no_operation_needs_flex():
    from ai_edge_litert.interpreter import Interpreter

    from custom_components.tflite_quantizer import recipes
    from custom_components.tflite_quantizer.convert import to_tflite
    from models.graph import Serving

    spec = SPECS["mixed"]
    content = to_tflite(
        Serving(spec, build_network(spec, StudentOptions())), recipes.get("float32")
    )
    operations = {op["op_name"] for op in Interpreter(model_content=content)._get_ops_details()}
    assert not [name for name in operations if "Flex" in name or "Custom" in name]
    assert "HASHTABLE_FIND" in operations
