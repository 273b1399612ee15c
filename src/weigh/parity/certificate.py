"""What a certificate says: facts, weights and behaviour of two stages of one model, and what differs that must not."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import Field

from weigh.choice import Frozen
from weigh.parity.hops import Hop, Tolerance

Topic: TypeAlias = Literal[
    "tokenizer",
    "template",
    "special",
    "rope",
    "tied",
    "architecture",
    "weights",
    "behaviour",
    "activations",
    "unreadable",
]


AnswerKind: TypeAlias = Literal["token", "label", "nearest text"]


class Finding(Frozen):
    """Something that differs although the hop may not change it."""

    topic: Topic
    what: str = Field(description="what differs, with both values")
    where: str = Field("", description="the fact, tensor or layer")
    layer: int | None = Field(None, description="the layer's number, from 0, where it lies in one")
    do: str = Field("", description="what to do about it")


class Token(Frozen):
    """A token (label, nearest text) that a model prefers, with the log-probability that both models give it, nats."""

    id: int
    text: str = ""
    before: float
    after: float


class Divergence(Frozen):
    """The first place where greedy decoding parts, or the first row with another label."""

    prompt: int = Field(description="number of the prompt (or row), from 0")
    text: str = Field("", description="the prompt")
    position: int = Field(description="tokens after the prompt that were still the same")
    before: Token
    after: Token


class Behaviour(Frozen):
    """What both models answer to the same tokens, or to the same rows."""

    unit: Literal["token", "row"]
    answer: AnswerKind = Field("token", description="what is compared on a unit; of an encoder the nearest other text")
    prompts: int = Field(description="prompts that were continued greedily; of a classifier, rows")
    identical: int = Field(description="of them, those with the same greedy tokens (label, nearest text)")
    greedy_tokens: int = Field(description="greedy tokens that could be compared")
    units: int = Field(description="tokens (rows) on which log-probabilities were compared")
    agreement: float = Field(description="share of them with the same most likely token (label, nearest text)")
    agreement_low: float = Field(description="lower end of its 95 % Wilson interval")
    agreement_high: float = Field(description="upper end of it")
    gap_mean: float = Field(description="mean |difference in log-probability of the next token|, nats")
    gap_p99: float
    gap_max: float
    kl_mean: float = Field(description="mean KL(before || after) a token, nats")
    kl_max: float
    divergence: Divergence | None = None


class Weights(Frozen):
    """How many tensors were compared, and how far apart they are."""

    tensors: int
    identical: int = Field(description="equal bit by bit, once both are read as float32")
    within: int = Field(description="not identical, but as the hop's rule allows")
    outside: int
    worst: float = Field(description="greatest relative error of a tensor: norm of the difference / norm")
    worst_tensor: str = ""
    unseen: int = Field(0, description="tensors of the stage before with no counterpart that can be read")


class Layers(Frozen):
    """Each layer alone: fed with what the stage before gave it, how far its output is from that stage's."""

    tolerance: float
    errors: tuple[float, ...] = Field(description="relative error of a layer's contribution, median over tokens")
    first: int | None = Field(None, description="the first layer beyond the tolerance")


class Certificate(Frozen):
    """What is the same, and what is not, on one hop."""

    schema_version: Literal[1] = 1
    before: str
    after: str
    hop: Hop
    rule: str = Field(description="what this kind of hop may change")
    tolerance: Tolerance
    facts: dict[str, tuple[Any, Any]] = Field(
        description="fact -> its value before and after, hashed if it is long; null: not visible there"
    )
    weights: Weights | None = None
    behaviour: Behaviour | None = None
    layers: Layers | None = None
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = Field((), description="what could not be compared, and why")
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing differs beyond what the hop may change."""
        return not self.findings

    @property
    def layer(self) -> int | None:
        """The first layer that differs beyond the tolerance, where one is known."""
        told = [one.layer for one in self.findings] + ([self.layers.first] if self.layers else [])
        return min((layer for layer in told if layer is not None), default=None)


class Chain(Frozen):
    """The certificates of a row of stages, and the hop that is to blame."""

    schema_version: Literal[1] = 1
    stages: tuple[str, ...]
    certificates: tuple[Certificate, ...]
    blamed: int | None = Field(None, description="number of the first hop that breaks, from 1")
    layer: int | None = Field(None, description="the first layer that differs there")
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether every hop keeps its rule."""
        return self.blamed is None
