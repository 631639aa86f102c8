"""Many clients on one predict function while the deployed version changes."""

from __future__ import annotations

import collections
import http.client
import json
import threading
import time
from typing import Any

import numpy as np

from benchmarks.serving_process import Server
from models.registry import Registry
from monitoring import prediction_log

CLIENTS = 16
_LOAD = "load-"


def under_load(
    server: Server, registry: Registry, log: str, body: bytes, seconds: float
) -> dict[str, Any]:
    """Clients ask without pause, the pointer moves halfway, and the log is read afterwards.

    Args:
      server: Runs; is stopped.
      registry: Where its versions are; has two.
      log: Of its predictions.
      body: Of a request of one row.
      seconds: Of load.
    """
    answers: list[tuple[str, str, float]] = []  # request id, version, seconds
    failed: list[str] = []
    end = time.monotonic() + seconds

    def ask(client: int) -> None:
        connection, mine = server.connection(), []
        while time.monotonic() < end:
            name = f"{_LOAD}{client}-{len(mine)}"
            start = time.perf_counter()
            try:
                status, content = server.ask(connection, body, name)
            except (OSError, http.client.HTTPException) as error:
                failed.append(repr(error))
                connection.close()
                continue
            taken = time.perf_counter() - start
            if status != 200:
                failed.append(content.decode())
                continue
            found = json.loads(content)
            mine.append((found["request_ids"][0], found["model_version"], taken))
        answers.extend(mine)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 2)
    first = registry.current()
    registry.rollback(next(v.name for v in registry.versions() if v.name != first))
    for thread in threads:
        thread.join()
    server.stop()
    acknowledged = {(name, version) for name, version, _ in answers}
    logged = _logged(log)
    taken = np.asarray([one for *_, one in answers]) * 1e3
    p50, p99, most = np.percentile(taken, [50, 99, 100])
    return {
        "clients": CLIENTS,
        "seconds": seconds,
        "acknowledged": len(answers),
        "failed": len(failed),
        "failures": failed[:5],
        "requests_per_s": round(len(answers) / seconds, 1),
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
        "max_ms": round(float(most), 1),
        "by_version": dict(collections.Counter(version for _, version, _ in answers)),
        "acknowledged_not_logged": len(acknowledged - set(logged)),
        "logged_not_acknowledged": len(set(logged) - acknowledged),
        "logged_twice": sum(count > 1 for count in logged.values()),
    }


def _logged(log: str) -> collections.Counter[tuple[str, str]]:
    """Request ids of the load, with the version that the log says answered them."""
    found: collections.Counter[tuple[str, str]] = collections.Counter()
    for table in prediction_log.read(log, columns=["request_id", "version"]):
        ids, versions = (table.column(name).to_pylist() for name in ("request_id", "version"))
        pairs = zip(ids, versions, strict=True)
        found.update(pair for pair in pairs if pair[0].startswith(_LOAD))
    return found
