"""What a function knows: the parts of the config that it needs, as one JSON file.

`flywheel functions build NAME` writes `settings.json` beside `main.py`; `flywheel functions
serve` and `up` write one for this machine. Secrets are not in it: options name the environment
variable or the file that holds them.
"""

from __future__ import annotations

import pydantic
from pydantic import Field

from cloud_functions import settings_file
from cloud_functions.options import AutomationOptions, ServingOptions
from models.strict import Options
from monitoring.alerts.options import AlertOptions
from monitoring.options import MonitoringOptions


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
        """The same with other places: keys as in `settings_file.PLACES`."""
        own = {key: value for key, value in places.items() if key in ("deployed", "log", "store")}
        moved = {key: value for key, value in places.items() if key in ("ledger", "inbox")}
        return self.model_copy(
            update={**own, "automation": self.automation.model_copy(update=moved)}
        )


def load() -> Settings:
    """The settings of this process, places of the environment included.

    Raises:
      ConfigError: NO_SETTINGS, WRONG_VALUE.
    """
    return settings_file.load(_parse).at(settings_file.places())


def _parse(content: bytes) -> Settings:
    try:
        return Settings.model_validate_json(content)
    except pydantic.ValidationError as error:
        problems = error.errors(include_url=False)
        said = (f"`{'.'.join(map(str, p['loc']))}`: {p['msg']}" for p in problems)
        raise ValueError("; ".join(said)) from None
