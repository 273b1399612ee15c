"""Replacing: all users meet the new version at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weigh.serve.rollout import Outcome, Release

if TYPE_CHECKING:
    from weigh.serve.rollout._traffic import Traffic


class Replace(Release):
    """All users meet the new version at once; nothing is compared.

    Good where a release cannot do harm, or was proven elsewhere. Bad else: each bad release meets everybody, and
    without a baseline beside it nobody can tell a regression from a bad day.

    Source: the strategy Recreate, kubernetes.io/docs/concepts/workloads/controllers/deployment.
    """

    def release(self, traffic: Traffic) -> Outcome:
        return "ship"
