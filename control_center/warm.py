"""What first requests would wait for, done before they come.

With a thousand runs the first look at a list reads a thousand small files, the first chart
imports what computes it, and the first of every page compiles its template. All of that is kept,
so one look at everything after the start makes the first answers as quick as the later ones.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from control_center import features, overview, pages, run_page, watching
from control_center.center import Center

_log = logging.getLogger(__name__)


def begin(center: Center) -> threading.Thread:
    """Looks at everything once, in a thread that holds nobody up."""
    thread = threading.Thread(target=look, args=(center,), name="warm", daemon=True)
    thread.start()
    return thread


def look(center: Center) -> None:
    """Home first, since that is what opens; what cannot be read its own page will tell of."""
    for step in (_home, _runs, _run, _monitoring, _templates):
        _try(step, center)


def _try(step: Callable[[Center], object], center: Center) -> None:
    try:
        step(center)
    except Exception:  # of whatever lies in the folder; nobody has asked for it yet
        _log.debug("%s was not looked at", step.__name__, exc_info=True)


def _home(center: Center) -> None:
    pages.environment().get_template("home.html")
    overview.overview(center)


def _runs(center: Center) -> None:
    center.runs.rows()


def _run(center: Center) -> None:
    """The newest that ended: its page, and one feature of its data closely."""
    newest = next((row for row in center.runs.rows() if row.state != "running"), None)
    if newest is None:
        return
    center.runs.attempts(newest.id)
    run_page.overview(center, newest)
    features.page(center, newest.id, None, None, None)


def _monitoring(center: Center) -> None:
    watching.page(center, None, None)


def _templates(_: Center) -> None:
    environment = pages.environment()
    for name in environment.list_templates(extensions=["html"]):
        environment.get_template(name)
