"""What predict needs of the settings: to know no more of them is to start sooner."""

from __future__ import annotations

import pydantic

from cloud_functions import settings_file
from cloud_functions.options import ServingOptions


class PredictSettings(pydantic.BaseModel):
    """`cloud_functions.settings.Settings` without what other functions do.

    Attributes:
      name: Of the model.
      deployed: Folder of deployed versions.
      log: Folder of the prediction log.
      serving: How it serves.
    """

    model_config = pydantic.ConfigDict(extra="ignore", frozen=True)

    name: str
    deployed: str
    log: str
    serving: ServingOptions = ServingOptions()


def load() -> PredictSettings:
    """The settings of this process, places of the environment included.

    Raises:
      ConfigError: NO_SETTINGS, WRONG_VALUE.
    """
    found = settings_file.places()
    moved = {key: found[key] for key in ("deployed", "log") if key in found}
    return settings_file.load(PredictSettings).model_copy(update=moved)
