"""A hook for Schemathesis: which cases are sent.

Unknown headers are ignored (RFC 9110, 5.1), so that none is sent to be refused. No text is written within milliseconds.
"""

from __future__ import annotations

import schemathesis


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    headers = case.headers or {}
    deadline = str(headers.get("x-deadline-ms", ""))
    hurried = case.path.startswith("/v1/") and deadline.isdigit() and 0 < int(deadline) < 10_000
    return "x-schemathesis-unknown-property" not in headers and not hurried
