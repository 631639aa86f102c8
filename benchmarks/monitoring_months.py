"""What month of 2013, and what quarter of 2013 to 2016, is no longer what was learnt from.

Flights: gradient-boosted trees learn "arrives more than 15 minutes late" from January to March,
less every third day. Those days are the reference of realised performance. Taxi: the first
year is the reference, each later quarter a window.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks import monitoring_data as data
from models.spec import ModelSpec
from monitoring import drift, estimate, summaries
from monitoring.decisions import performance, statistics
from monitoring.decisions.blocks import Blocks, column_of
from monitoring.decisions.decide import decide
from monitoring.decisions.learn import learn
from monitoring.decisions.options import ThresholdOptions
from monitoring.decisions.thresholds import Thresholds
from monitoring.measure import PREDICTION, Measure
from monitoring.options import EstimateOptions

#: Months in which the model is worse than on held-out days of January to March, by metric.
FALLEN = {"auc": {4, 9, 10}, "log_loss": {4, 6, 7, 12}}


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, scores))


def auc_spread_of_days(scores: np.ndarray, labels: np.ndarray, days: np.ndarray) -> float:
    """Standard error of an AUC whose days, not rows, are independent.

    Obuchowski, Nonparametric Analysis of Clustered ROC Curve Data, 1997: DeLong's components,
    summed day by day.
    """
    from scipy.stats import rankdata

    good, ranks = labels == 1, rankdata(scores)
    above, below = int(good.sum()), int((~good).sum())
    value = (ranks[good].sum() - above * (above + 1) / 2) / (above * below)
    part = np.empty(len(labels))
    part[good] = ((ranks[good] - rankdata(scores[good])) / below - value) / above
    part[~good] = (1 - (ranks[~good] - rankdata(scores[~good])) / above - value) / below
    sums = np.bincount(np.unique(days, return_inverse=True)[1], weights=part)
    return float(np.sqrt(len(sums) / (len(sums) - 1) * np.sum(sums**2)))


def log_loss(scores: np.ndarray, labels: np.ndarray) -> float:
    p = np.clip(scores, 1e-7, 1 - 1e-7)
    return float(-np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p)))


def flights() -> dict:
    """Month by month: realised, estimated, and whether it is alarmed."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    table, days = data.flights()
    kept = table.arr_delay.notna().to_numpy()
    table, days = table[kept], days[kept]
    label = (table.arr_delay > 15).to_numpy().astype(int)
    inputs = table[["sched_dep_time", "sched_arr_time", "distance", *data.WEATHER]].copy()
    for name in ("carrier", "origin", "dest", "hour", "weekday"):
        inputs[name] = table[name].astype("category").cat.codes
    x, month = inputs.to_numpy(float), table.month.to_numpy()
    day = pd.DatetimeIndex(days).dayofyear.to_numpy()
    winter = month <= 3
    held_out = winter & (day % 3 == 0)
    train = winter & ~held_out
    model = HistGradientBoostingClassifier(max_leaf_nodes=15, learning_rate=0.05, random_state=0)
    score = model.fit(x[train], label[train]).predict_proba(x)[:, 1]

    options = ThresholdOptions()
    metrics = {"auc": auc, "log_loss": log_loss}
    limits = performance.learn_performance(
        label[held_out],
        score[held_out],
        lambda truth, scores: {name: metric(scores, truth) for name, metric in metrics.items()},
        options,
        times=days[held_out],
        window_blocks=30,
    )
    thresholds = Thresholds(limits, options.false_alarms, "blocks", 30)
    spec = ModelSpec("binary", "late", ("0", "1"), (), ())
    # Half of the held-out days calibrate, the other half shows how well that works: its backtest.
    first = held_out & (day % 2 == 0)
    calibrator = estimate.calibrate(spec, label[first], score[first][:, None], "held-out days")
    rows = []
    low, high = (f(x[train], axis=0) for f in (np.nanmin, np.nanmax))
    newest = held_out & ~first
    for number in range(4, 13):
        window = month == number
        # What a look at the end of this month knows: last month's labels, and its inputs.
        beyond = ((x[window] < low) | (x[window] > high)).mean(axis=0).max()
        known = label[newest], score[newest][:, None]
        reasons = estimate.doubts(calibrator, known, spec, float(beyond))
        newest = window
        measures = [
            Measure(
                PREDICTION, name, metric(score[window], label[window]), int(window.sum()), 0,
                window_id=f"2013-{number:02d}", family="performance", against="training",
            )
            for name, metric in metrics.items()
        ]  # fmt: skip
        found = decide(measures, thresholds, options=options)
        told = {f.statistic for f in found} | {s for f in found for s in f.also}
        expected = estimated(spec, score[window], calibrator)
        rows.append(
            {
                "month": number,
                **{m.statistic: m.value for m in measures},
                **{f"cbpe_{name}": value for name, value in expected.items()},
                "auc_spread_of_days": auc_spread_of_days(score[window], label[window], day[window]),
                "cbpe_unreliable": "; ".join(reasons),
                "late": float(label[window].mean()),
                "alarmed": sorted(told),
                "fell": sorted(name for name, months in FALLEN.items() if number in months),
            }
        )
    backtest = held_out & ~first
    return {
        "holdout": {
            name: metric(score[held_out], label[held_out]) for name, metric in metrics.items()
        },
        "auc_spread_of_days": auc_spread_of_days(score[held_out], label[held_out], day[held_out]),
        "limits": {key[1]: item.critical for key, item in limits.items()},
        "backtest": {
            "realised": {n: f(score[backtest], label[backtest]) for n, f in metrics.items()},
            "cbpe": estimated(spec, score[backtest], calibrator),
        },
        "months": rows,
    }


def estimated(spec: ModelSpec, scores: np.ndarray, calibrator) -> dict[str, float]:
    """CBPE's metrics."""
    found = estimate.estimate(spec, scores[:, None], calibrator, EstimateOptions())
    return {
        m.statistic.removeprefix("estimated_"): m.value
        for m in found
        if m.statistic.removeprefix("estimated_") in ("auc", "log_loss")
    }


def taxi() -> list[dict]:
    """Quarter by quarter against the first year: what is found, the largest change first."""
    table, kinds, times, _ = data.load("taxi")
    moments = pd.DatetimeIndex(times)
    first = np.asarray(moments.year == 2013)
    arrays = {n: table[n].to_numpy() for n in kinds if n not in ("trip_start_month",)}
    used = {n: k for n, k in kinds.items() if n in arrays}
    base = {n: a[first] for n, a in arrays.items()}
    columns = tuple(column_of(n, a, used[n]) for n, a in base.items())
    reference = Blocks.of(base, used, times[first], columns=columns)
    options = ThresholdOptions()
    thresholds = learn(reference, options, window_blocks=90)
    rows = []
    for quarter in sorted(set(moments[~first].to_period("Q"))):
        inside = np.asarray(moments.to_period("Q") == quarter)
        now = {n: a[inside] for n, a in arrays.items()}
        window = Blocks.of(now, used, columns=columns)
        findings = decide(
            statistics.measure_all(reference.summed(), window, str(quarter)),
            thresholds,
            options=options,
        )
        payment = drift.compare(
            "payment_type",
            summaries.count_values(base["payment_type"]),
            summaries.count_values(now["payment_type"]),
        )
        rows.append(
            {
                "quarter": str(quarter),
                "rows": int(inside.sum()),
                "found": [f.feature for f in sorted(findings, key=lambda f: -f.value / f.limit)],
                "payment_type": payment.words,
            }
        )
    return rows


def run() -> dict:
    found = {"flights": flights(), "taxi": taxi()}
    year = found["flights"]
    print(f"\nflights, held-out days of January to March: {year['holdout']}")
    print(f"a fall of more than this is alarmed: {year['limits']}; backtest {year['backtest']}\n")
    print("| month | AUC | ± | CBPE | log loss | CBPE | CBPE unreliable | late | alarmed | fell |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in year["months"]:
        print(
            f"| {row['month']} | {row['auc']:.3f} | {row['auc_spread_of_days']:.3f} | "
            f"{row.get('cbpe_auc', float('nan')):.3f} | {row['log_loss']:.3f} | "
            f"{row.get('cbpe_log_loss', float('nan')):.3f} | {row['cbpe_unreliable'] or '–'} | "
            f"{row['late']:.1%} | {', '.join(row['alarmed']) or '–'} | "
            f"{', '.join(row['fell']) or '–'} |"
        )
    print("\n| taxi, quarter | rows | found | payment_type |\n|---|---|---|---|")
    for row in found["taxi"]:
        print(
            f"| {row['quarter']} | {row['rows']:,} | {', '.join(row['found']) or '–'} | "
            f"{row['payment_type']} |"
        )
    return found
