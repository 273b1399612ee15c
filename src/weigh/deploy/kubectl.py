"""Giving manifests to a cluster, where the user has one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from weigh.choice import UsageError


def context() -> str:
    """The context of kubectl.

    Raises:
        UsageError: there is no kubectl, or it knows no cluster.
    """
    found = shutil.which("kubectl")
    if found is None:
        raise UsageError(
            "--apply gives manifests to a cluster with kubectl, which is not on the path: install it, or leave --apply "
            "out and give the files to whatever deploys for you"
        )
    done = subprocess.run([found, "config", "current-context"], capture_output=True, text=True)
    if done.returncode or not done.stdout.strip():
        raise UsageError(
            "--apply gives manifests to the cluster of kubectl's context, and there is none: type `kubectl config "
            "use-context NAME` (or set KUBECONFIG), or leave --apply out"
        )
    return done.stdout.strip()


def apply(files: list[Path], of: str) -> str:
    """Apply files in their order to a context; what kubectl says.

    Raises:
        UsageError: the cluster refuses.
    """
    told = []
    for file in files:
        words = ["kubectl", "--context", of, "apply", "--server-side", "--field-manager=weigh", "-f", str(file)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            said = " ".join(done.stderr.split())[-400:]
            raise UsageError(f"the cluster of the context {of} does not take {file}: {said}")
        told.append(done.stdout)
    return "".join(told)
