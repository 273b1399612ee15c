"""The OpenAPI document of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weigh.server.app import App


def document(app: App) -> dict[str, Any]:
    """OpenAPI 3.1, with the model's own tensors."""
    from importlib.metadata import version

    return {
        "openapi": "3.1.0",
        "info": {"title": f"weigh: {app.settings.name}", "version": version("weigh")},
        "paths": _paths(app),
        "components": {
            "schemas": _schemas(app),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths(app: App) -> dict[str, Any]:
    return {}


def _schemas(app: App) -> dict[str, Any]:
    return {}
