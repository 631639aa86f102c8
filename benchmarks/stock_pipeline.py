"""The pipeline a user would write with stock TFX: seven components, one Keras 3 model.

    python -m benchmarks.stock_pipeline CSV_FOLDER WORK_FOLDER [STEPS]

Leaves `seconds.json` in the work folder: seconds per component, and of all.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
import time

START = time.time()
LABEL = "big_tipper"
NUMERIC = (
    "fare trip_miles trip_seconds pickup_latitude pickup_longitude dropoff_latitude "
    "dropoff_longitude"
).split()
INTEGERS = (
    "trip_start_hour trip_start_day trip_start_month pickup_community_area dropoff_community_area"
).split()
STRINGS = ["payment_type", "company"]


def run_fn(fn_args) -> None:
    """The Trainer's module: a Keras model with preprocessing layers, as TFX's own examples do."""
    import keras
    import tensorflow as tf
    from tfx_bsl.public import tfxio

    schema = fn_args.schema_path
    from tfx.utils import io_utils

    schema = io_utils.SchemaReader().read(schema)

    def number(name, value):
        if name in STRINGS:
            value = tf.strings.to_hash_bucket_fast(value, 64)
        value = tf.cast(value, tf.float32)
        return tf.clip_by_value(value, 0.0, 99.0) if name in INTEGERS else value

    def dataset(pattern, batch):
        def dense(features, label):
            inputs = {}
            for name in NUMERIC + INTEGERS:
                value = features[name]
                value = tf.sparse.to_dense(value) if isinstance(value, tf.SparseTensor) else value
                inputs[name] = number(name, tf.reshape(value[:, :1], [-1, 1]))
            for name in STRINGS:
                value = features[name]
                value = (
                    tf.sparse.to_dense(value, "") if isinstance(value, tf.SparseTensor) else value
                )
                inputs[name] = number(name, tf.reshape(value[:, :1], [-1, 1]))
            return inputs, tf.reshape(tf.cast(label, tf.float32), [-1, 1])

        return fn_args.data_accessor.tf_dataset_factory(
            pattern,
            tfxio.TensorFlowDatasetOptions(batch_size=batch, label_key=LABEL),
            schema,
        ).map(dense)

    train = dataset(fn_args.train_files, 128).repeat()
    valid = dataset(fn_args.eval_files, 128)
    parts, inputs = [], {}
    for name in NUMERIC:
        inputs[name] = keras.Input((1,), name=name)
        parts.append(keras.layers.BatchNormalization()(inputs[name]))
    for name in INTEGERS:
        inputs[name] = keras.Input((1,), name=name)
        x = keras.layers.Embedding(100, 8)(inputs[name])
        parts.append(keras.layers.Flatten()(x))
    for name in STRINGS:
        inputs[name] = keras.Input((1,), name=name)
        parts.append(keras.layers.Flatten()(keras.layers.Embedding(64, 8)(inputs[name])))
    x = keras.layers.Concatenate()(parts)
    for units in (128, 64):
        x = keras.layers.Dense(units, activation="relu")(x)
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))
    model.compile("adam", "binary_crossentropy")
    model.fit(
        train,
        steps_per_epoch=fn_args.train_steps,
        validation_data=valid,
        validation_steps=fn_args.eval_steps,
        verbose=0,
    )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serve(examples):
        # Missing cells are empty lists here, which defaults of FixedLenFeature do not survive.
        kinds = {feature.name: feature.type for feature in schema.feature}
        dtypes = {1: tf.string, 2: tf.int64, 3: tf.float32}
        names = [*NUMERIC, *INTEGERS, *STRINGS]
        parsed = tf.io.parse_example(
            examples, {n: tf.io.VarLenFeature(dtypes[kinds[n]]) for n in names}
        )
        rows = tf.shape(examples, out_type=tf.int64)[0]
        dense = {
            n: tf.sparse.to_dense(tf.SparseTensor(x.indices, x.values, [rows, 1]))
            for n, x in parsed.items()
        }
        fed = {n: number(n, x) for n, x in dense.items()}
        return {"probability": model(fed)}

    exported = tf.Module()
    exported.model, exported.serve = model, serve
    tf.saved_model.save(exported, fn_args.serving_model_dir, {"serving_default": serve})


def main() -> None:
    import tensorflow_model_analysis as tfma
    from tfx import v1 as tfx  # what TFX's own tutorials import
    from tfx.orchestration.local import local_dag_runner

    data, work = map(pathlib.Path, sys.argv[1:3])
    steps = int(sys.argv[3]) if len(sys.argv) > 3 else 200
    del sys.argv[1:]
    imported = time.time()
    gen = tfx.components.CsvExampleGen(input_base=str(data))
    stats = tfx.components.StatisticsGen(examples=gen.outputs["examples"])
    schema = tfx.components.SchemaGen(statistics=stats.outputs["statistics"])
    valid = tfx.components.ExampleValidator(
        statistics=stats.outputs["statistics"], schema=schema.outputs["schema"]
    )
    trainer = tfx.components.Trainer(
        run_fn="benchmarks.stock_pipeline.run_fn",
        examples=gen.outputs["examples"],
        schema=schema.outputs["schema"],
        train_args=tfx.proto.TrainArgs(num_steps=steps),
        eval_args=tfx.proto.EvalArgs(num_steps=20),
    )
    evaluator = tfx.components.Evaluator(
        examples=gen.outputs["examples"],
        model=trainer.outputs["model"],
        eval_config=tfma.EvalConfig(
            model_specs=[tfma.ModelSpec(signature_name="serving_default", label_key=LABEL)],
            slicing_specs=[
                tfma.SlicingSpec(),
                tfma.SlicingSpec(feature_keys=["payment_type"]),
                tfma.SlicingSpec(feature_keys=["trip_start_day"]),
            ],
            metrics_specs=[
                tfma.MetricsSpec(
                    metrics=[
                        tfma.MetricConfig(class_name="ExampleCount"),
                        tfma.MetricConfig(
                            class_name="AUC",
                            threshold=tfma.MetricThreshold(
                                value_threshold=tfma.GenericValueThreshold(
                                    lower_bound={"value": 0.0}
                                )
                            ),
                        ),
                    ]
                )
            ],
        ),
    )
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(work / "pushed"))
        ),
    )
    metadata = work / "metadata.sqlite"
    local_dag_runner.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            pipeline_name="stock",
            pipeline_root=str(work / "root"),
            components=[gen, stats, schema, valid, trainer, evaluator, pusher],
            metadata_connection_config=(
                tfx.orchestration.metadata.sqlite_metadata_connection_config(str(metadata))
            ),
        )
    )
    assert any((work / "pushed").iterdir()), "the stock pipeline pushed nothing"
    (work / "seconds.json").write_text(
        json.dumps(
            {
                "imports": imported - START,
                "total": time.time() - START,
                "components": component_seconds(metadata),
            }
        )
    )


def component_seconds(metadata: pathlib.Path) -> dict[str, float]:
    """Seconds of each execution in ML Metadata, by component."""
    from ml_metadata.metadata_store import metadata_store
    from ml_metadata.proto import metadata_store_pb2

    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = os.fspath(metadata)
    return {
        e.type.rsplit(".", 1)[-1]: (e.last_update_time_since_epoch - e.create_time_since_epoch)
        / 1000
        for e in metadata_store.MetadataStore(connection).get_executions()
    }


if __name__ == "__main__":
    main()
