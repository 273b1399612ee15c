"""Calls to a server's administration, as the command line and the keeper make them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from weigh.choice import UsageError

SECONDS = 120.0
"""A new model is loaded before the call that brings it returns."""

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""No proxy gets to see the token."""


class Unreachable(UsageError):
    """Nothing answers at the address."""


class Admin:
    """A server's administration.

    Args:
        url: of the server.
        token: that its calls bear.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url, self._token = url.rstrip("/"), token

    def get(self, path: str, seconds: float = SECONDS) -> Any:
        """What the server says."""
        return self._call("GET", path, None, seconds)

    def send(self, method: str, path: str, value: Any = None) -> Any:
        """Tell the server something.

        Raises:
            UsageError: it refuses, with its reason.
            Unreachable: nothing answers.
        """
        return self._call(method, path, value)

    def _call(self, method: str, path: str, value: Any, seconds: float = SECONDS) -> Any:
        data = None if value is None else json.dumps(value).encode()
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with DIRECT.open(request, timeout=seconds) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise UsageError(_reason(error)) from None
        except OSError as error:
            raise Unreachable(f"no server answers at {self.url} ({error}); `weigh serve MODEL` starts one") from None


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, LookupError, TypeError):
        return f"the server answers {error.code} {error.reason}"


def running(root: Path) -> dict[str, Path]:
    """Servers whose folders lie under `root`: name -> folder."""
    return {path.parent.name: path.parent for path in sorted(root.glob("*/server.json"))}


def admin_of(name: str, root: Path) -> Admin:
    """The administration of a server on this machine.

    Args:
        name: of the model that it serves; empty where only one runs.

    Raises:
        UsageError: there is none, or more than one.
    """
    found = running(root)
    if not name and len(found) == 1:
        name = next(iter(found))
    if name not in found:
        known = f"these run: {', '.join(found)}" if found else "none runs here"
        what = f"no server of '{name}' has its folder in {root}" if name else "say which server with --on NAME"
        raise UsageError(f"{what}; {known}. `weigh serve MODEL --name {name or 'NAME'}` starts one")
    told = json.loads((found[name] / "server.json").read_text())
    return Admin(told["url"], (found[name] / "token").read_text().strip())
