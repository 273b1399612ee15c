"""A hook for Schemathesis: unknown headers are ignored (RFC 9110, 5.1), so that none is sent to be refused."""

from __future__ import annotations

import schemathesis


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    return "x-schemathesis-unknown-property" not in (case.headers or {})
