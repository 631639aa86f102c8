"""The config: one YAML file, typed, every key documented, unknown keys refused."""

from __future__ import annotations

import pathlib
from typing import Annotated, Any, Literal

import pydantic
import yaml
from pydantic import Field

from cloud_functions.options import AutomationOptions, ServingOptions
from control_center.options import ControlCenterOptions
from custom_components.evaluator.options import EvaluationOptions
from custom_components.evaluator.thresholds import check_thresholds
from custom_components.example_gen.options import DataOptions
from custom_components.pusher.options import DeployOptions
from custom_components.schema_validator.options import DEFAULT_POLICY, ValidationOptions
from custom_components.tflite_quantizer import recipes
from custom_components.tflite_quantizer.options import QuantizerOptions
from models.errors import ConfigError
from models.options import (
    DistillationOptions,
    Kind,
    Options,
    PreprocessingOptions,
    StudentOptions,
    TaskOptions,
    TeacherOptions,
)
from models.text import did_you_mean
from monitoring.alerts.options import AlertOptions
from monitoring.options import MonitoringOptions
from pipeline.kubeflow.options import KubeflowOptions


class Config(Options):
    """Everything a run depends on."""

    version: Literal[1] = Field(1, description="Version of this file's format.")
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9][-a-zA-Z0-9]{0,62}$")] = Field(
        description="Name of the pipeline: letters, digits and dashes."
    )
    data: DataOptions
    task: TaskOptions
    features: dict[str, Kind] = Field(
        description="Column to `numeric`, `categorical` or `ignore`. Columns that are not named "
        "here are ignored."
    )
    validation: ValidationOptions = Field(default_factory=ValidationOptions)
    preprocessing: PreprocessingOptions = Field(default_factory=PreprocessingOptions)
    teacher: TeacherOptions = Field(default_factory=TeacherOptions)
    student: StudentOptions = Field(default_factory=StudentOptions)
    distillation: DistillationOptions = Field(default_factory=DistillationOptions)
    quantizer: QuantizerOptions = Field(default_factory=QuantizerOptions)
    evaluation: EvaluationOptions = Field(default_factory=EvaluationOptions)
    deploy: DeployOptions = Field(default_factory=DeployOptions)
    serving: ServingOptions = Field(default_factory=ServingOptions)
    monitoring: MonitoringOptions = Field(default_factory=MonitoringOptions)
    alerts: AlertOptions = Field(default_factory=AlertOptions)
    automation: AutomationOptions = Field(default_factory=AutomationOptions)
    kubeflow: KubeflowOptions = Field(default_factory=KubeflowOptions)
    control_center: ControlCenterOptions = Field(default_factory=ControlCenterOptions)
    engine: Literal["local", "beam"] = Field(
        "local",
        description="`local`: in this process, vectorised. `beam`: ExampleGen, StatisticsGen and "
        "Evaluator run on Apache Beam.",
    )
    beam_args: tuple[str, ...] = Field(
        (), description="Arguments for Beam, e.g. `--runner=FlinkRunner`; needs `engine: beam`."
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        0, description="Of weights, shuffling and dropout."
    )
    root: str = Field(
        ".flywheel", description="Folder of runs, artifacts and ML Metadata; relative to this file."
    )

    @property
    def kinds(self) -> dict[str, str]:
        """Features and label: what each column is read as."""
        label = "numeric" if self.task.type == "regression" else "categorical"
        return {**self.features, self.task.label: label}


def load(path: str | pathlib.Path) -> Config:
    """Reads a config file; relative paths in it are taken from the file's folder.

    Raises:
      ConfigError: with every problem, each at its key.
    """
    path = pathlib.Path(path)
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(
            "NO_CONFIG",
            f"There is no config file `{path}`.",
            next="Write one with `flywheel init DATA`, or name one with `--config FILE`.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "UNREADABLE_CONFIG",
            f"The config file `{path}` cannot be read: {error}.",
            next="It must be a UTF-8 text file.",
        ) from None
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}, column {where.column + 1}" if where else ""
        raise ConfigError(
            "INVALID_YAML",
            f"`{path}` is not valid YAML{line}: {getattr(error, 'problem', error)}.",
            next="Mend that line; values with `: ` or `#` in them need quotes.",
        ) from None
    if not isinstance(data, dict):
        raise ConfigError(
            "INVALID_CONFIG",
            f"`{path}` holds no settings.",
            next="Write one with `flywheel init DATA`.",
        )
    return with_absolute_paths(parse(data, str(path)), path.resolve().parent)


def parse(data: dict[str, Any], where: str = "the config") -> Config:
    """Checks settings.

    Raises:
      ConfigError: UNKNOWN_KEY, WRONG_VALUE, IMPOSSIBLE_THRESHOLD and the like, all
        problems at once.
    """
    try:
        config = Config.model_validate(data)
    except pydantic.ValidationError as error:
        raise _explain(error, where) from None
    _check(config, where)
    return config


def _check(config: Config, where: str) -> None:
    """What one key alone does not show."""
    if config.features.get(config.task.label, "ignore") != "ignore":
        raise ConfigError(
            "LABEL_IS_FEATURE",
            f"In {where}, `{config.task.label}` is the label and a feature: the model would read "
            "the answer.",
            next="Take it out of `features`.",
        )
    if not any(kind != "ignore" for kind in config.features.values()):
        raise ConfigError(
            "NO_FEATURES",
            f"In {where}, `features` names no column to learn from.",
            next="Set at least one column to `numeric` or `categorical`.",
        )
    images = [name for name, kind in config.features.items() if kind == "image"]
    if len(images) > 1:
        raise ConfigError(
            "SEVERAL_IMAGES",
            f"In {where}, {' and '.join(f'`{name}`' for name in images)} are images; a model "
            "takes one.",
            next="Set the others to `ignore` under `features`.",
        )
    config.quantizer.chosen()
    if not config.quantizer.recipes:
        raise ConfigError(
            "NO_RECIPES",
            f"In {where}, `quantizer.recipes` is empty.",
            next=f"Name at least one of: {', '.join(recipes.names())}.",
        )
    for code in config.validation.policy:
        if code not in DEFAULT_POLICY:
            raise ConfigError(
                "UNKNOWN_KEY",
                f"In {where}, `validation.policy` names an unknown reason code "
                f"{code!r}.{did_you_mean(code, DEFAULT_POLICY)}",
                next=f"Known codes: {', '.join(DEFAULT_POLICY)}.",
            )
    if config.beam_args and config.engine != "beam":
        raise ConfigError(
            "BEAM_ARGS_UNUSED",
            f"In {where}, `beam_args` is set and `engine` is `local`: they would do nothing.",
            next="Set `engine: beam`, or remove `beam_args`.",
        )
    check_thresholds(config.evaluation, config.task.type)


def _explain(error: pydantic.ValidationError, where: str) -> ConfigError:
    """Every problem in one paragraph, unknown keys with the closest known name."""
    sentences, cases = [], []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _known_keys(problem["loc"][:-1])
            close = did_you_mean(str(problem["loc"][-1]), known)
            sentences.append(f"unknown key `{key}`.{close}" if close else f"unknown key `{key}`")
        elif problem["type"] == "missing":
            sentences.append(f"`{key}` is missing")
        else:
            value = repr(problem["input"])
            value = value if len(value) <= 60 else value[:57] + "…"
            text = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            verb = "must be " if problem["msg"].startswith("Input should be ") else ""
            sentences.append(f"`{key}` is {value}: {verb}{text}")
        cases.append({"key": key, "problem": sentences[-1]})
    only_unknown = all(p["type"] == "extra_forbidden" for p in error.errors())
    return ConfigError(
        "UNKNOWN_KEY" if only_unknown else "WRONG_VALUE",
        f"In {where}: {'; '.join(sentences)}" + ("" if sentences[-1].endswith("?") else "."),
        next="Every key is described in docs/configuration.md.",
        cases=cases,
    )


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    model: Any = Config
    for part in location:
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field else None
    return list(getattr(model, "model_fields", {}))


def with_absolute_paths(config: Config, folder: pathlib.Path) -> Config:
    """The same config with its paths resolved against a folder."""

    def absolute(path: str | None) -> str | None:
        if path is None or "://" in path or path.startswith("demo:"):
            return path
        return str(folder / pathlib.Path(path).expanduser())

    def changed(options: Options, key: str) -> Options:
        return options.model_copy(update={key: absolute(getattr(options, key))})

    automation = config.automation
    for key in ("ledger", "jobs", "inbox"):
        automation = changed(automation, key)
    monitoring = config.monitoring
    for key in ("log", "reference"):
        monitoring = changed(monitoring, key)
    shipped = changed(monitoring.shipped, "float_model")
    monitoring = monitoring.model_copy(update={"shipped": shipped})
    alerts = changed(config.alerts, "dead_letters")
    channels = tuple(
        changed(c, key) if (key := {"file": "path", "prometheus": "folder"}.get(c.type)) else c
        for c in alerts.channels
    )
    return config.model_copy(
        update={
            "alerts": alerts.model_copy(update={"channels": channels}),
            "automation": automation,
            "data": changed(config.data, "path"),
            "validation": changed(config.validation, "schema_path"),
            "distillation": changed(config.distillation, "extra_data"),
            "deploy": changed(config.deploy, "path"),
            "monitoring": monitoring,
            "root": absolute(config.root),
        }
    )


def dump(config: Config) -> str:
    """The config as YAML, every setting written out."""
    return yaml.safe_dump(
        config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100
    )
