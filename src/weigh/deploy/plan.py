"""What is to be deployed, and the names that Kubernetes takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from weigh.choice import Frozen

LABEL = 63
"""Characters of a DNS label (RFC 1123), which names of services and values of labels must be."""
SUFFIXES = 12
"""Characters that names of parts add, such as ``-challenger``."""


def label(text: str, most: int = LABEL - SUFFIXES) -> str:
    """A name that Kubernetes takes: lower-case letters, digits and dashes, beginning with a letter.

    >>> label("Späte_Flüge v2"), label("7up"), label("--"), len(label("a" * 300))
    ('sp-te-fl-ge-v2', 'm-7up', 'model', 51)
    """
    made = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if not made:
        return "model"
    made = made if made[0].isalpha() else f"m-{made}"
    return made[:most].rstrip("-")


def value(text: str) -> str:
    """A value of a label: letters, digits, dashes, dots and underscores, at most 63.

    >>> value("sha256:12/34"), value("onnx_runtime:threads=2")
    ('sha256-12-34', 'onnx_runtime-threads-2')
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:LABEL].strip("-_.")


class Arm(Frozen):
    """A model that answers.

    Attributes:
        image: that holds it and the server.
    """

    image: str = Field(min_length=1, description="that holds the model and the server")
    version: str = Field(min_length=1, description="of the model: the start of its digest")
    file: str = Field("model.onnx", min_length=1, description="the model's file, or folder, below /models in the image")


class Plan(Frozen):
    """What is to be deployed, and how much of it."""

    name: str = Field(min_length=1, description="what clients call the model")
    namespace: str = Field("default", pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    champion: Arm
    challenger: Arm | None = None
    share: int = Field(0, ge=0, le=100, description="percent of the requests that the challenger gets")
    replicas: int = Field(2, ge=1, description="the fewest pods of an arm")
    most_replicas: int = Field(6, ge=1, description="the most pods of an arm")
    cpu: str = Field("500m", pattern=r"^[0-9]+(\.[0-9]+)?m?$", description="processors that a pod asks for")
    memory: str = Field("256Mi", pattern=r"^[0-9]+(Ki|Mi|Gi)$", description="memory that a pod asks for, and its limit")
    utilisation: int = Field(60, ge=1, le=100, description="percent of the asked processors that call for another pod")
    threads: int = Field(1, ge=1, description="threads of one run of the model")
    batching: str = Field("single", description="an option of serve/batching")
    drain: int = Field(30, ge=1, description="seconds that requests have to end when a pod stops")
    gateway: str = Field("", description="the Gateway that routes to it; no HTTPRoute without one")
    host: str = Field("", description="host name of the route; any when empty")
    annotations: Mapping[str, str] = Field({}, description="on everything: where the decision stands")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.most_replicas < self.replicas:
            raise ValueError(f"most_replicas={self.most_replicas} are fewer than replicas={self.replicas}")
        if self.share and self.challenger is None:
            raise ValueError(f"share={self.share} is a challenger's, and there is none: name one")
        return self

    @property
    def label(self) -> str:
        """The name of what is made."""
        return label(self.name)

    def arms(self) -> dict[str, Arm]:
        """By role."""
        return {"champion": self.champion} | ({"challenger": self.challenger} if self.challenger else {})

    def labels(self, role: str = "", arm: Arm | None = None) -> dict[str, str]:
        """On everything; with a role, what selects its pods, and with an arm its version too."""
        made = {"app.kubernetes.io/name": self.label, "app.kubernetes.io/managed-by": "weigh"}
        if role:
            made["weigh/arm"] = role
        return made | ({"app.kubernetes.io/version": value(arm.version)} if arm else {})

    def meta(self, name: str, role: str = "", arm: Arm | None = None) -> dict[str, Any]:
        """The metadata of one thing that is made."""
        made: dict[str, Any] = {"name": name, "namespace": self.namespace, "labels": self.labels(role, arm)}
        return made | ({"annotations": dict(self.annotations)} if self.annotations else {})
