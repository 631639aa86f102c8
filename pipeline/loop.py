"""The loop on one machine, in one terminal: serve, replay, drift, retrain, serve.

Trips of the Chicago taxi data are replayed in the order of their times. The oldest train the
first version; the following ones are asked of the predict function, and their tips told to it as
labels, while they also arrive as data for the next training. Nothing in between is of this
module: drift is found by check_drift, told and answered by on_alert, the run is `flywheel run`,
and the new version is taken up by the predict function itself.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv
import yaml

from cloud_functions.events import RunFinished
from cloud_functions.ledger import Ledger
from cloud_functions.local import Stack
from cloud_functions.predict.client import Client
from models.errors import ConfigError, FlywheelError
from models.registry import Registry
from models.spec import ModelSpec, NumericFeature
from pipeline.demos import DEMOS
from pipeline.workspace import Workspace

DATA = "demo:chicago-taxi"
_TIME = DEMOS[DATA]["time"]
_FIRST = 6000
_BATCH = 50
_FILE_ROWS = 1000
_AFTER = 1000
_RUN_SECONDS = 1800.0
Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Summary:
    """How the loop went.

    Attributes:
      first, last: The version that served at the beginning, and at the end.
      replayed: Trips asked before the alert's run was started, and in all.
      until: Moment of the last replayed trip at that time.
      alerts: Titles.
      run: How the run ended that the alert started; None when none was.
      by_version: Answers by version, as the client got them.
      seconds: By part.
    """

    first: str
    last: str
    replayed: tuple[int, int]
    until: str
    alerts: tuple[str, ...]
    run: dict[str, Any] | None
    by_version: dict[str, int]
    seconds: dict[str, float]

    @property
    def closed(self) -> bool:
        """Whether a version that the loop made itself is what serves now."""
        return self.run is not None and self.last != self.first

    def lines(self) -> list[str]:
        """The same for people."""
        told = "; ".join(self.alerts[:3]) or "none"
        verdict = "no run was asked for" if self.run is None else self.run["state"]
        if self.run and self.run["reasons"]:
            verdict += f" ({self.run['reasons'][0]})"
        answers = ", ".join(f"{rows:,} by {name}" for name, rows in self.by_version.items())
        took = ", ".join(f"{name} {value:g} s" for name, value in self.seconds.items())
        return [
            f"{'replayed':<10} {self.replayed[0]:,} trips until the run began (to {self.until}), "
            f"{self.replayed[1]:,} in all",
            f"{'answered':<10} {answers}",
            f"{'alerts':<10} {told}",
            f"{'retrain':<10} {verdict}",
            f"{'serving':<10} {self.first} → {self.last}",
            f"{'took':<10} {took}",
        ]


def prepare(folder: pathlib.Path) -> pathlib.Path:
    """Writes the config of the demo, and the first trips, into an empty folder.

    Returns:
      The config file.

    Raises:
      ConfigError: NOT_EMPTY, and what `flywheel init` raises.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            "NOT_EMPTY",
            f"`{folder}` is not an empty folder.",
            next="Name another folder with `--folder`, or delete it.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "flywheel.yaml"
    _flywheel(["init", DATA, "--output", str(config)], quiet=True)
    settings = yaml.safe_load(config.read_text("utf-8"))
    settings |= {
        "data": {**settings["data"], "path": "trips"},
        "serving": {"log_seconds": 1.0, "reload_seconds": 0.5},
        "monitoring": {"window": {"by": "count", "rows": 1000}},
        "alerts": {
            "channels": [{"type": "file", "path": str(folder / "alerts.jsonl")}],
            "retrain": {"kinds": ["drift", "prediction", "performance"]},
        },
        "automation": {"check_seconds": 3.0},
    }
    config.write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), "utf-8")
    return config


def trips() -> pa.Table:
    """Every trip as text, oldest first."""
    from custom_components.example_gen.files import find_files

    [file] = find_files(DATA)
    read = pyarrow.csv.read_csv(file.path)
    order = read.column(_TIME).combine_chunks()
    types = dict.fromkeys(read.schema.names, pa.string())
    convert = pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=False)
    table = pyarrow.csv.read_csv(file.path, convert_options=convert)
    return table.take(pa.compute.sort_indices(order))


def run(folder: pathlib.Path, say: Say, most: int | None = None) -> Summary:
    """The whole loop.

    Args:
      folder: Empty, or not there yet.
      say: Told every milestone.
      most: Most trips to replay while nothing happens. Default: all there are.
    """
    from pipeline.cli.functions import settings_of

    seconds: dict[str, float] = {}
    start = time.monotonic()
    config = prepare(folder)
    table = trips()
    data = folder / "trips"
    data.mkdir()
    _write(table.slice(0, _FIRST), data / "00000.csv")
    say(f"{_FIRST:,} trips, {_when(table, 0)} to {_when(table, _FIRST - 1)}, train the first one")
    result = _flywheel(["run", "--config", str(config)])
    seconds["first run"] = time.monotonic() - start
    if result.get("state") != "pushed":
        reasons = "; ".join(r["message"] for r in result.get("reasons", []))
        raise FlywheelError(
            "NOT_PUSHED", f"The first run ended as {result.get('state')}: {reasons}"
        )
    settings = settings_of(config)
    with Stack(settings, folder / "functions").running() as stack:
        serving = stack.functions["predict"]
        with Client(serving.url, settings.name) as client:
            first = client.ready() or ""
            say(f"version {first} serves at {serving.url}")
            player = _Player(client, Registry(settings.deployed), table, data, _FIRST)
            waited = time.monotonic()
            started = _until_drift(stack.ledger, player, say, most)
            seconds["until the alert"] = time.monotonic() - waited
            before, until = player.replayed, player.moment
            ended = None
            if started is not None:
                waited = time.monotonic()
                ended = _until_ended(
                    stack.ledger, pathlib.Path(settings.config or ""), started, say
                )
                seconds["retrain"] = time.monotonic() - waited
            if ended is not None and ended.version:
                _until_serving(client, ended.version, say)
                for _ in player.play(_AFTER):
                    pass
                say(f"{_AFTER:,} more trips were answered by version {client.ready()}")
            last = client.ready() or ""
    alerts = folder / "alerts.jsonl"
    told = (
        [json.loads(line) for line in alerts.read_text("utf-8").splitlines()]
        if (alerts.exists())
        else []
    )
    seconds["all"] = time.monotonic() - start
    return Summary(
        first,
        last,
        (before, player.replayed),
        until,
        tuple(message["title"] for message in told),
        ended.model_dump(mode="json") if ended else None,
        player.by_version,
        {name: round(value, 1) for name, value in seconds.items()},
    )


class _Player:
    """Asks the predict function, tells labels, and leaves the trips as data.

    Args:
      client: Of the predict function.
      registry: Has the contract of the serving version.
      table: All trips, as text.
      data: Folder of the training data.
      place: The first trip to replay.
    """

    def __init__(
        self,
        client: Client,
        registry: Registry,
        table: pa.Table,
        data: pathlib.Path,
        place: int,
    ):
        self._client, self._table, self._data = client, table, data
        self._spec = ModelSpec.load(registry.folder(registry.resolve()))
        self._first = self.place = place
        self._written = place
        self.by_version: dict[str, int] = {}

    @property
    def replayed(self) -> int:
        return self.place - self._first

    @property
    def moment(self) -> str:
        """Day of the last replayed trip."""
        return _when(self._table, self.place - 1)

    def play(self, most: int) -> Iterator[int]:
        """Replays so many trips, a batch at a time."""
        end = min(self.place + most, self._table.num_rows)
        while self.place < end:
            rows = self._table.slice(self.place, min(_BATCH, end - self.place)).to_pylist()
            answer = self._client.predict([_features(self._spec, row) for row in rows])
            count = self.by_version.get(answer.version, 0)
            self.by_version[answer.version] = count + len(rows)
            truth = [str(int(_number(r["tips"]) > 0.2 * _number(r["fare"]))) for r in rows]
            self._client.label(dict(zip(answer.request_ids, truth, strict=True)))
            self.place += len(rows)
            if self.place - self._written >= _FILE_ROWS:
                part = self._table.slice(self._written, self.place - self._written)
                _write(part, self._data / f"{self._written:05d}.csv")
                self._written = self.place
            yield len(rows)


def _until_drift(ledger: Ledger, player: _Player, say: Say, most: int | None) -> str | None:
    """Replays until an alert has started a run.

    Returns:
      The job; None when the trips ran out first.
    """
    seen: set[str] = set()
    for _ in player.play(most or sys.maxsize):
        if player.replayed % 500 == 0:
            say(f"{player.replayed:,} trips replayed, {player.moment}")
        started = _look(ledger, seen, say)
        if started:
            time.sleep(2.0)  # check_drift says what it found once all is published
            _look(ledger, seen, say)
            return started
        time.sleep(0.15)  # at full speed, the clock would look at all trips at once
    end = time.monotonic() + 30.0
    while time.monotonic() < end:
        started = _look(ledger, seen, say)
        if started:
            return started
        time.sleep(0.5)
    return None


def _look(ledger: Ledger, seen: set[str], say: Say) -> str | None:
    started = None
    for key, claim in ledger.entries("event/"):
        if key in seen or claim["state"] != "done":
            continue
        seen.add(key)
        result = claim["result"]
        for window in result.get("windows", ()):
            findings = window["findings"]
            said = f"{len(findings)} findings: {findings[0]}" if findings else "as the reference"
            say(f"window {window['window']}: {said}")
        for alert in result.get("alerts", ()):
            say(f"alert: {alert['title']}")
        asked = result.get("retrain")
        if asked:
            say(f"on_alert asks for a run: {asked['state']} {asked.get('message', asked['job'])}")
            started = asked["job"] if asked["state"] == "started" else started
    return started


def _until_ended(ledger: Ledger, folder: pathlib.Path, job: str, say: Say) -> RunFinished | None:
    """Follows the run that a function started."""
    root = Workspace(folder / ".flywheel")
    earlier = set(root.run_ids()[1:])
    done: set[tuple[str, str]] = set()
    end = time.monotonic() + _RUN_SECONDS
    while time.monotonic() < end:
        for key, record in ledger.entries("run/"):
            if key.endswith(f"/{job}"):
                ended = RunFinished.model_validate({k: v for k, v in record.items() if k != "at"})
                took = f" in {ended.seconds:.0f} s" if ended.seconds else ""
                say(f"the run ended: {ended.state}{took}; {ended.version or 'nothing was pushed'}")
                return ended
        for run_id in root.run_ids()[:1]:
            if run_id in earlier:
                continue
            for event in _events(root.run(run_id).events):
                name = event.get("name")
                finished = event.get("state") in ("complete", "cached")
                if event.get("event") == "component" and finished and (name, run_id) not in done:
                    done.add((name, run_id))
                    say(f"  {name} {event['state']}")
        time.sleep(0.5)
    return None


def _until_serving(client: Client, version: str, say: Say) -> None:
    end = time.monotonic() + 60.0
    while client.ready() != version:
        if time.monotonic() > end:
            raise FlywheelError(
                "NOT_TAKEN_UP", f"Version {version} was pushed, and does not serve after 60 s."
            )
        time.sleep(0.2)
    say(f"version {version} serves now")


def _events(path: pathlib.Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("}")]


def _features(spec: ModelSpec, row: dict[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for feature in spec.features:
        text = row[feature.name]
        numeric = isinstance(feature, NumericFeature)
        values[feature.name] = None if text == "" else float(text) if numeric else text
    return values


def _number(text: str) -> float:
    return float(text) if text else 0.0


def _when(table: pa.Table, place: int) -> str:
    seconds = int(table.column(_TIME)[place].as_py())
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%d")


def _write(table: pa.Table, path: pathlib.Path) -> None:
    temporary = path.with_name(f".{path.name}")
    with open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, table.schema.names)
        writer.writeheader()
        writer.writerows(table.to_pylist())
    temporary.replace(path)


def _flywheel(arguments: Sequence[str], *, quiet: bool = False) -> dict[str, Any]:
    """A command of ours, shown as it goes."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
        text=True,
        check=False,
    )
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise FlywheelError(
            "NO_RESULT", f"`flywheel {' '.join(arguments)}` ended with {done.returncode}."
        ) from None
