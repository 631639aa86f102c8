"""The two stacks on the same data and seed, side by side: quality, bytes and seconds.

    python -m benchmarks.stacks [--data demo:chicago-taxi] [--rounds 3] [--other COMMAND]

COMMAND is a Python that has the other stack (default: $FLYWHEEL_OTHER_PYTHON), for
example `sh scripts/debian13.sh --here python` (with a path from anywhere). Rounds
alternate between the stacks, and every run is a first run in a new folder. Prints a
Markdown table; absolute times prove nothing on a shared machine, so times are ratios
within a round. Writes benchmarks/results/stacks.json.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
_NAME = "from models import stack; print(stack.current().name)"
_VERSIONS = "import json; from models import stack; print(json.dumps(stack.decisive_versions()))"


def last_line(python: list[str], folder: pathlib.Path, *arguments: str) -> str:
    """What a command of that Python says last."""
    done = subprocess.run(
        [*python, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 4):
        raise SystemExit(f"{shlex.join(python)} {shlex.join(arguments)}:\n{done.stderr[-2000:]}")
    return done.stdout.strip().splitlines()[-1]


def first_run(python: list[str], data: str, folder: pathlib.Path) -> dict:
    """The result of `flywheel run` in an empty folder."""
    folder.mkdir()
    last_line(python, folder, "-m", "pipeline", "init", data)
    return json.loads(last_line(python, folder, "-m", "pipeline", "run", "--json"))


def shipped(result: dict) -> dict:
    """The variant that ships."""
    return next(v for v in result["variants"] if v["state"] == "shipped")


def table(modern: list[dict], legacy: list[dict]) -> list[tuple[str, str, str, str]]:
    """Rows of `figure, modern, legacy, modern against legacy`."""
    new, old = modern[0], legacy[0]
    rows = [("state", new["state"], old["state"], "")]
    for model in ("shipped", "student", "teacher"):
        for metric, value in old["metrics"][model].items():
            if metric in ("auc", "pr_auc", "accuracy", "log_loss", "rmse", "r2"):
                now = new["metrics"][model][metric]
                rows.append(
                    (
                        f"{model}: {metric} on test",
                        f"{now:.4f}",
                        f"{value:.4f}",
                        f"{now - value:+.4f}",
                    )
                )
    rows.append(("shipped: recipe", shipped(new)["recipe"], shipped(old)["recipe"], ""))
    before = {v["name"]: v for v in old["variants"]}
    for variant in new["variants"]:
        now, then = variant["bytes"], before.get(variant["name"], {}).get("bytes")
        if now and then:
            rows.append(
                (f"{variant['name']}: bytes", f"{now:,}", f"{then:,}", f"× {now / then:.3f}")
            )
    for name in ("total", *old["seconds"]["components"]):
        ratios = [seconds(n, name) / seconds(o, name) for n, o in zip(modern, legacy, strict=True)]
        if seconds(old, name) > 0.3:
            spread = f"× {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            rows.append((f"{'whole run' if name == 'total' else name}: time", "", "", spread))
    return rows


def seconds(result: dict, name: str) -> float:
    found = result["seconds"]
    return found["total"] if name == "total" else found["components"][name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="demo:chicago-taxi")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--other", default=os.environ.get("FLYWHEEL_OTHER_PYTHON"))
    arguments = parser.parse_args()
    if not arguments.other:
        parser.error("name the other stack's Python: --other COMMAND")
    pythons = [[sys.executable], shlex.split(arguments.other)]
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        names = [last_line(python, work, "-c", _NAME) for python in pythons]
        if set(names) != {"modern", "legacy"}:
            parser.error(f"these are {' and '.join(names)}, not one of each stack")
        versions = {
            n: json.loads(last_line(p, work, "-c", _VERSIONS))
            for n, p in zip(names, pythons, strict=True)
        }
        runs: dict[str, list[dict]] = {name: [] for name in names}
        for number in range(arguments.rounds):
            for name, python in zip(names, pythons, strict=True):
                runs[name].append(first_run(python, arguments.data, work / f"{name}_{number}"))
                print(
                    f"round {number + 1}, {name}: {runs[name][-1]['seconds']['total']:.1f} s",
                    flush=True,
                )
    rows = table(runs["modern"], runs["legacy"])
    print("\n| figure | modern | legacy | modern against legacy |\n|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    target = ROOT / "benchmarks" / "results" / "stacks.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"versions": versions, "table": rows, "runs": runs}, indent=1))
    print(f"\nwritten to {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
