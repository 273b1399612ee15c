"""A router in a process of its own: `python -m weigh.server.route FD SETTINGS`."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

from weigh.server.run import REFUSED, route
from weigh.server.settings import ServerSettings


def main() -> None:
    """Serve on the socket that was inherited, until told to stop or the keeper is gone."""
    from weigh.choice import UsageError

    settings = ServerSettings.model_validate_json(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells all; the keeper says when to go
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    try:
        route(settings, socket.socket(fileno=int(sys.argv[1])))
    except UsageError as error:
        print(f"weigh: {error}", file=sys.stderr)
        sys.exit(REFUSED)


def _end_with(keeper: int) -> None:
    """Stop in good order when the keeper was killed."""
    import time

    while os.getppid() == keeper:
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
