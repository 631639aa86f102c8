"""Are the splits alike, and is the data still what the deployed model was trained on?"""

from __future__ import annotations

from collections.abc import Mapping

from custom_components.schema_validator import columns as reading
from custom_components.schema_validator.baseline import version_words
from custom_components.schema_validator.columns import SplitStatistics
from custom_components.schema_validator.findings import Finding
from custom_components.schema_validator.options import ValidationOptions
from models.images import summary_columns
from monitoring.drift import FeatureDrift, Thresholds, compare_statistics

NAMES = {"psi": "PSI", "jsd": "JSD", "linf": "L-infinity"}


def thresholds(options: ValidationOptions) -> Thresholds:
    return Thresholds(
        psi=options.psi_threshold,
        jsd=options.jsd_threshold,
        linf=options.linf_threshold,
        p_value=options.p_value,
    )


def judged_columns(
    columns: Mapping[str, reading.Column], kinds: Mapping[str, str], label: str
) -> list[str]:
    """The label and the columns the model uses; all of them when no kinds are given.

    An image is judged by what was measured of it: `models.images.SUMMARIES`.
    """
    images = {name for name, kind in kinds.items() if kind == "image"}
    measured = {column for name in images for column in summary_columns(name).values()}
    return [
        name
        for name in columns
        if name not in images
        and (
            name == label or not kinds or name in measured or kinds.get(name, "ignore") != "ignore"
        )
    ]


def find_splits(
    splits: Mapping[str, SplitStatistics],
    train: str,
    judged: list[str],
    label: str,
    options: ValidationOptions,
) -> list[Finding]:
    """Features and label that are distributed otherwise in train than in another split."""
    findings = []
    limits = thresholds(options)
    for name, split in splits.items():
        if name == train or not split.rows or not splits[train].rows:
            continue
        for column in judged:
            drift = _compare(column, splits[train], split, limits)
            if drift is None or not drift.drifted:
                continue
            what = "The label" if column == label else "Column"
            findings.append(
                Finding(
                    "SPLIT_MISMATCH",
                    column,
                    f"{what} `{column}` is distributed otherwise in {name} than in {train}: "
                    f"{_change(drift)} ({_size(drift)}).",
                    "With a split by time this is the world changing, and the honest test of the "
                    "model. Otherwise look at how rows get into the splits "
                    "(`data: {split: ...}` in flywheel.yaml).",
                    ({"split": name, **_case(drift)},),
                )
            )
    return findings


def find_drift(
    deployed: SplitStatistics,
    current: SplitStatistics,
    version: str,
    judged: list[str],
    options: ValidationOptions,
) -> tuple[list[Finding], list[FeatureDrift]]:
    """Compares what the model uses, and its label, with the deployed model's train split.

    Returns:
      What drifted, and every comparison made, the largest changes first.
    """
    findings, compared = [], []
    limits = thresholds(options)
    for column in judged:
        drift = _compare(column, deployed, current, limits)
        if drift is None:
            continue
        compared.append(drift)
        if not drift.drifted:
            continue
        code = f"DRIFT_{drift.kind.upper()}"
        findings.append(
            Finding(
                code,
                column,
                f"`{column}` is not what {version_words(version)} was trained on: "
                f"{_change(drift)} ({_size(drift)}).",
                _what_next(code, options),
                (_case(drift),),
            )
        )
    compared.sort(key=lambda drift: (-drift.drifted, -drift.psi))
    order = {drift.feature: place for place, drift in enumerate(compared)}
    findings.sort(key=lambda finding: order[finding.column])
    return findings, compared


def _compare(
    column: str, reference: SplitStatistics, current: SplitStatistics, limits: Thresholds
) -> FeatureDrift | None:
    """None where there is nothing to compare: that is told by the schema checks."""
    before, now = reference.columns.get(column), current.columns.get(column)
    if before is None or now is None or (reading.is_empty(before) and reading.is_empty(now)):
        return None
    return compare_statistics(column, before, now, limits)


def _what_next(code: str, options: ValidationOptions) -> str:
    if options.action(code) == "block":
        return (
            "If the data is wrong, correct it at its source. If the world changed, let a new model "
            f"learn it: `validation: {{policy: {{{code}: warn}}}}` in flywheel.yaml."
        )
    return (
        "If the world changed, this run learns it and nothing is to be done. If not, correct the "
        f"data at its source; `validation: {{policy: {{{code}: block}}}}` in flywheel.yaml stops "
        "such runs."
    )


def _change(drift: FeatureDrift) -> str:
    return drift.words.removeprefix(f"{drift.feature}: ")


def _size(drift: FeatureDrift) -> str:
    """`PSI 0.31 > 0.1; by chance up to 0.02`."""
    sizes = [
        f"{NAMES[name]} {getattr(drift, name):.3f} > {getattr(drift.thresholds, name):g}"
        for name in drift.exceeded
    ]
    return f"{', '.join(sizes)}; chance explains a PSI up to {drift.noise:.2g}"


def _case(drift: FeatureDrift) -> dict:
    return {
        "feature": drift.feature,
        "change": _change(drift),
        "psi": round(drift.psi, 4),
        "jsd": round(drift.jsd, 4),
        "linf": round(drift.linf, 4),
        "exceeded": ", ".join(drift.exceeded),
        "rows before": int(drift.rows_reference),
        "rows now": int(drift.rows_current),
    }
