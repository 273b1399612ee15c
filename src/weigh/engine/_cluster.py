"""The way into a Ray cluster, within a time limit, and what comes out of it."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, TypeVar

from weigh.choice import Halted, UsageError

if TYPE_CHECKING:
    from ray import ObjectRef

LOCAL = "local"
_T = TypeVar("_T")
_SECONDS = 5.0
"""To wait for a cluster's first word."""
_SETTINGS = b"\x04"
"""The kind of the frame with which every HTTP/2 server opens, the cluster's head too."""


class Lost(Halted):
    """The process or the node that was asked is gone; the message says what Ray knows of it."""


def join(address: str) -> bool:
    """Connect this process to a cluster; False where it is connected already, and whoever did so will end that.

    Raises:
        UsageError: Ray is not installed, nothing answers at the address, or the cluster cannot be joined.
    """
    try:
        import ray
    except ImportError:
        raise UsageError("--engine ray needs Ray, which is not installed: pip install 'weigh[ray]'") from None
    if ray.is_initialized():
        return False
    if address != LOCAL:
        _answers(address)
    try:
        board = False if address == LOCAL else None
        ray.init(address=address, include_dashboard=board, log_to_driver=False, logging_level=logging.ERROR)
    except (Exception, SystemExit) as error:
        told = " ".join(str(error).split())
        raise UsageError(
            f"the Ray cluster at {address} cannot be joined: {told:.400}. Run weigh on a machine of the cluster (`ray "
            f"start --address={address}` makes it one), with the cluster's versions of Ray and Python"
        ) from None
    return True


def _answers(address: str) -> None:
    """Raises UsageError where no cluster is at the address: Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if "/" in address or not (host and colon and port.isdigit()):
        raise UsageError(
            f"'{address}' is no address of a Ray cluster: type --address HOST:PORT as `ray start --head` printed it, "
            f"or --address {LOCAL} to start Ray on this machine"
        )
    try:
        with socket.create_connection((host, int(port)), timeout=_SECONDS) as line:
            word = b"" if os.environ.get("RAY_USE_TLS") == "1" else line.recv(9)
    except (OSError, OverflowError) as error:
        raise _silent(address, str(error)) from None
    if word and word[3:4] != _SETTINGS:
        raise _silent(address, "what answers is another program")


def _silent(address: str, why: str) -> UsageError:
    return UsageError(
        f"no Ray cluster answers at {address} ({why}): see that it runs (`ray status --address {address}`), or start "
        "one with `ray start --head` and type the address that it prints"
    )


def got(ref: ObjectRef[_T]) -> _T:
    """What a worker answered.

    Raises:
        UsageError: it cannot work; `Halted` where the node is to blame.
        RuntimeError: the worker met an error that it did not expect.
        Lost: the worker, or its node, is gone.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(ref)
    except RayTaskError as error:
        if isinstance(error.cause, UsageError):
            raise error.cause from None
        raise RuntimeError(f"{type(error.cause).__name__}: {error.cause}") from None
    except RayError as error:
        raise Lost(" ".join(str(error).split())[:400]) from None
