"""Whether a model answers in the router's process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weigh.server.router import INLINE_BELOW

if TYPE_CHECKING:
    from weigh.server.model import Model
    from weigh.server.routing import Served
    from weigh.server.settings import ServerSettings


def placed(settings: ServerSettings, served: Served) -> Model | None:
    """The model, loaded here, where it is so fast that handing requests over would take longer; None: elsewhere.

    Raises:
        UsageError: the model cannot be served.
    """
    from weigh.model.measures import kind_at
    from weigh.server.model import open_model

    if settings.placement == "process" or settings.batching != "single" or kind_at(Path(served.path)) == "language":
        return None
    model = open_model(served.path, served.architecture, settings.threads)
    if settings.placement == "inline" or model.warm() < INLINE_BELOW:
        return model
    return None
