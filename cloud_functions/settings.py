"""What a function knows: the parts of the config that it needs, as one JSON file.

`flywheel functions build NAME` writes `settings.json` beside `main.py`; `flywheel functions
serve` and `up` write one for this machine. Secrets are not in it: options name the environment
variable or the file that holds them.
"""

from __future__ import annotations

import functools
import os
import pathlib

import pydantic
from pydantic import Field

from cloud_functions.options import AutomationOptions, ServingOptions
from models.errors import ConfigError
from models.options import Options
from monitoring.alerts.options import AlertOptions
from monitoring.options import MonitoringOptions

FILE = "settings.json"
ENVIRONMENT = "FLYWHEEL_SETTINGS"
#: Environment variables that say where things are on the machine of the function.
PLACES = {
    "FLYWHEEL_DEPLOYED": "deployed",
    "FLYWHEEL_LOG": "log",
    "FLYWHEEL_STORE": "store",
    "FLYWHEEL_LEDGER": "ledger",
    "FLYWHEEL_INBOX": "inbox",
}


class Settings(Options):
    """Everything a function depends on."""

    name: str = Field(description="The model's name: the config's `name`.")
    deployed: str = Field(description="Folder of deployed versions, local or mounted.")
    log: str = Field(description="Folder of the prediction log, local or mounted.")
    store: str | None = Field(None, description="SQLAlchemy URL of the store of windows.")
    config: str | None = Field(None, description="The config file; for runs on this machine.")
    serving: ServingOptions = Field(default_factory=ServingOptions)
    automation: AutomationOptions = Field(default_factory=AutomationOptions)
    monitoring: MonitoringOptions = Field(default_factory=MonitoringOptions)
    alerts: AlertOptions = Field(default_factory=AlertOptions)

    def at(self, places: dict[str, str]) -> Settings:
        """The same with other places: keys as in `PLACES`' values."""
        own = {key: value for key, value in places.items() if key in ("deployed", "log", "store")}
        moved = {key: value for key, value in places.items() if key in ("ledger", "inbox")}
        return self.model_copy(
            update={**own, "automation": self.automation.model_copy(update=moved)}
        )


def load() -> Settings:
    """The settings of this process; read again when the file changed.

    Raises:
      ConfigError: NO_SETTINGS, WRONG_VALUE.
    """
    path = pathlib.Path(os.environ.get(ENVIRONMENT) or FILE)
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        raise ConfigError(
            "NO_SETTINGS",
            f"There is no `{path}`, which says where the model and the log are.",
            next="`flywheel functions build` writes it beside main.py; another place goes into "
            f"the environment variable {ENVIRONMENT}.",
        ) from None
    return _read(path, changed)


@functools.lru_cache(1)
def _read(path: pathlib.Path, changed: int) -> Settings:
    try:
        settings = Settings.model_validate_json(path.read_bytes())
    except pydantic.ValidationError as error:
        problems = "; ".join(
            f"`{'.'.join(map(str, p['loc']))}`: {p['msg']}" for p in error.errors(include_url=False)
        )
        raise ConfigError(
            "WRONG_VALUE",
            f"`{path}` cannot be used: {problems}.",
            next="Write it again with `flywheel functions build`.",
        ) from None
    places = {key: os.environ[name] for name, key in PLACES.items() if os.environ.get(name)}
    return settings.at(places)
