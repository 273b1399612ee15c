"""What a rollout promises: its guardrails, its goal, its stages and its error rate, fixed before the first request."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from weigh.choice import Frozen, Measure, UsageError
from weigh.constraint import Constraint
from weigh.plain import plain

KNOWN = ("error", "latency", "disagreement")
"""Metrics that the server itself knows of each request; all others are joined later, by request id."""
SHADOWED = ("error", "disagreement")
"""Those that copies of requests show, too."""
_QUANTILE = re.compile(r"^\s*p(?P<percent>\d{1,2}(?:\.\d+)?)\s*\(\s*(?P<metric>[a-z][a-z0-9_]*)\s*\)")
_RATIO = re.compile(r"baseline\s*$")
_BETTER = re.compile(r"^\s*(?P<metric>[a-z][a-z0-9_]*)\s*(?P<op>[<>])\s*baseline\s*$")


class Metric(Frozen):
    """What a value of a metric can be."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="as it stands in the log or in the feedback")
    low: float = Field(0.0, description="least value of one request")
    high: float = Field(1.0, description="greatest value of one request")
    unit: str = Field("", description="its unit, as it is shown")

    @model_validator(mode="after")
    def _range(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"{self.name} lies in [{self.low:g}, {self.high:g}], which is empty: give low below high")
        return self


_BUILT_IN = {
    "error": Metric(name="error"),
    "latency": Metric(name="latency", low=0.0, high=1e9, unit="ms"),
    "disagreement": Metric(name="disagreement"),
}


class Guardrail(Frozen):
    """A bound that a release must keep to: of a mean, or of a quantile of times.

    Typed as `error <= baseline + 0.005`, `p99(latency) <= 1.1x baseline`, `p99(latency) <= 80 ms`,
    `latency <= 1.2x baseline` (at every quantile), `disagreement <= 0.02` or `revenue >= baseline - 0.01`.
    """

    text: str = Field(description="as it is typed")
    by_window: bool = Field(
        False, description="its values resemble their neighbours in time: whole windows are compared (quantiles always)"
    )

    @property
    def quantile(self) -> float | None:
        """Which quantile is bounded; None for a mean.

        >>> Guardrail(text="p99.9(latency) <= 80 ms").quantile, Guardrail(text="error <= 0.01").quantile
        (0.999, None)
        """
        found = _QUANTILE.match(self.text)
        return round(float(found["percent"]) / 100, 9) if found else None

    @property
    def metric(self) -> str:
        """The metric that it bounds."""
        found = _QUANTILE.match(self.text)
        return found["metric"] if found else re.split(r"[<>=\s]", self.text.strip(), maxsplit=1)[0]

    @property
    def order(self) -> bool:
        """Whole distributions of times are compared: `latency <= 1.2x baseline` holds at every quantile."""
        return self.quantile is None and self.metric == "latency"

    @property
    def windowed(self) -> bool:
        """Whole windows of time are compared, not single requests."""
        return self.by_window or self.order or self.quantile is not None

    @property
    def shadowed(self) -> bool:
        """Shadow copies show the metric; not how long they take, since they give way to the users' requests."""
        return self.metric in SHADOWED

    def read(self, metric: Metric) -> Constraint:
        """The bound, checked against its metric.

        Raises:
            UsageError: it cannot be read, or says nothing.
        """
        q = self.quantile
        measure = Measure(
            name=metric.name, unit=metric.unit, better="lower",
            kind="quantile" if q is not None or self.order else "mean",
            meaning=metric.name, low=metric.low, high=metric.high, q=q or 0.5,
        )  # fmt: skip
        bare = _QUANTILE.sub(metric.name, self.text)
        if measure.kind == "mean" and _RATIO.search(bare):
            allow = "+ 0.005" if "<" in bare else "- 0.005"
            raise UsageError(
                f"the guardrail '{self.text}' compares means by ratio, which no bets bound; type "
                f"'{metric.name} {'<=' if '<' in bare else '>='} baseline {allow}'"
            )
        try:
            made = Constraint.parse(bare, (measure,))
        except UsageError as error:
            if "cannot be read; type" in str(error):
                raise UsageError(
                    f"the guardrail '{self.text}' cannot be read; type 'error <= baseline + 0.005', "
                    "'p99(latency) <= 1.1x baseline', 'p99(latency) <= 80 ms' or 'disagreement <= 0.02'"
                ) from None
            raise UsageError(str(error).replace(bare, self.text)) from None
        if measure.kind == "quantile" and made.op == ">=":
            raise UsageError(
                f"the guardrail '{self.text}' asks for slow answers; type '{self.text.replace('>=', '<=')}'"
            )
        if self.order and not made.relative:
            raise UsageError(
                f"the guardrail '{self.text}' bounds all times, of which some are always slow; "
                f"type '{self.text.replace('latency', 'p99(latency)', 1)}'"
            )
        self._allows(made)
        return made

    def _allows(self, made: Constraint) -> None:
        """Refuse what an equal release could never be certified to keep to."""
        better = made.bound if made.op == "<=" else -made.bound
        least = {"difference": 0.0, "ratio": 1.0}.get(made.relative)
        if least is not None and better <= least:
            allow = "baseline + 0.005" if made.op == "<=" else "baseline - 0.005"
            typed = f"{self.text.split()[0]} {made.op} {allow if least == 0 else '1.1x baseline'}"
            raise UsageError(
                f"the guardrail '{self.text}' allows no harm at all, which not even an equal release can be certified "
                f"to keep to; type '{typed}', or state an improvement as the goal"
            )


class Goal(Frozen):
    """What a release should better (`conversion > baseline`), or not worsen (`conversion >= baseline - 0.01`)."""

    text: str = Field(description="as it is typed")

    @property
    def metric(self) -> str:
        """The metric that should move."""
        return re.split(r"[<>=\s]", self.text.strip(), maxsplit=1)[0]

    def read(self, metric: Metric) -> Constraint:
        """The bound: `canary - baseline` must be certified beyond it (0 where the goal is to be better).

        Raises:
            UsageError: it cannot be read, or compares with nothing.
        """
        if found := _BETTER.match(self.text):
            op: Literal["<=", ">="] = ">=" if found["op"] == ">" else "<="
            return Constraint(measure=metric.name, op=op, bound=0.0, relative="difference")
        made = Guardrail(text=self.text).read(metric)
        if made.relative != "difference":
            raise UsageError(f"the goal '{self.text}' is not set against the baseline; type '{metric.name} > baseline'")
        return made


class RolloutPlan(Frozen):
    """What is promised of a release, and how it may come to all users.

    At each stage the canary gets a share of the traffic, and so does a fresh instance of the champion, the *baseline*,
    that is started with it; the rest meets the champion. The chance that a release which keeps to its guardrails is
    rolled back is at most alpha / 2, and so is the chance that one is shipped that breaks a guardrail or does not reach
    the goal: with no difference at all, a false verdict comes at most alpha of the time, however often one looks.

    >>> plan = RolloutPlan(guardrails=["error <= baseline + 0.005", "p99(latency) <= 1.1x baseline"])
    >>> RolloutPlan.model_validate_json(plan.model_dump_json()) == plan
    True
    """

    guardrails: tuple[Guardrail, ...] = Field(description="what a release must keep to")
    goal: Goal | None = Field(None, description="what it should better; without one it is shipped when it does no harm")
    metrics: tuple[Metric, ...] = Field(
        (), description="range and unit of each metric but error, latency, disagreement"
    )
    alpha: float = Field(0.05, gt=0, lt=0.5, description="chance of a false verdict")
    stages: tuple[float, ...] = Field(
        (0.01, 0.05, 0.25, 0.5, 1.0), description="shares of the traffic, the last is all"
    )
    shadow: bool = Field(False, description="begin with copies that no user sees")
    horizon: int = Field(20_000, ge=100, description="planned requests of each arm for the goal")
    looks: int = Field(28, ge=1, le=200, description="planned looks at the goal up to the horizon")
    reserve: float = Field(0.1, gt=0, lt=1, description="share of the goal's error rate for looks beyond the horizon")
    window: float = Field(60.0, gt=0, description="seconds of a window, for metrics that resemble their neighbours")
    memory: float = Field(
        2400.0,
        ge=0,
        description="seconds that a metric by window may remember, until its windows show how long it does",
    )
    least: int = Field(100, ge=1, description="requests of each arm at each stage before anything may pass")
    present: float = Field(
        0.9, ge=0, le=1, description="share of the requests that must show error, latency and disagreement"
    )
    ratio_alpha: float = Field(0.001, gt=0, lt=0.5, description="chance of a false alarm about the sample ratio")

    @field_validator("guardrails", mode="before")
    @classmethod
    def _typed(cls, given: Any) -> Any:
        if isinstance(given, str):
            given = (given,)
        return tuple({"text": one} if isinstance(one, str) else one for one in given)

    @field_validator("goal", mode="before")
    @classmethod
    def _goal(cls, given: Any) -> Any:
        return {"text": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.guardrails:
            raise ValueError(
                "a rollout without a guardrail ships unseen: state one, such as 'error <= baseline + 0.005'"
            )
        texts = [one.text for one in self.guardrails]
        if len(set(texts)) < len(texts):
            raise ValueError(f"a guardrail is stated twice among {', '.join(texts)}: state each once")
        if [one.name for one in self.metrics if one.name in KNOWN]:
            raise ValueError(f"{', '.join(KNOWN)} are known already: state ranges of other metrics only")
        for one in self.guardrails:
            one.read(self.metric(one.metric))
        if self.goal:
            self.goal.read(self.metric(self.goal.metric))
        self._ramp()
        return self

    def _ramp(self) -> None:
        shares = self.stages
        if (
            not shares
            or min(shares) <= 0
            or list(shares) != sorted(set(shares))
            or shares[-1] != 1.0
            or len(shares) < 2
        ):
            raise ValueError(
                f"the stages {list(shares)} do not rise to all of the traffic: type 0.01, 0.05, 0.25, 0.5, 1"
            )
        if shares[-2] > 0.5:
            raise ValueError(
                f"at a share of {shares[-2]:g} no equal baseline is left to compare with: below 1 the most is 0.5"
            )

    @classmethod
    def parse(cls, **fields: Any) -> Self:
        """The same, refused in plain words.

        Raises:
            UsageError: it cannot work; the text says why and what to type instead.
        """
        try:
            return cls(**fields)
        except ValidationError as error:
            raise UsageError(f"the rollout plan cannot work: {plain(error)}") from None

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """From YAML (or JSON) as `to_yaml` writes it.

        Raises:
            UsageError: it is no plan.
        """
        import yaml

        try:
            given = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"the plan is no YAML: {error}") from None
        if not isinstance(given, dict):
            raise UsageError("the plan holds no fields; begin with 'guardrails:' and one line for each")
        return cls.parse(**{str(name): value for name, value in given.items()})

    def to_yaml(self) -> str:
        """As a person would write it: what differs from the defaults."""
        import yaml

        fields = self.model_dump(mode="json", exclude_defaults=True)
        fields["guardrails"] = [one.text if not one.by_window else one.model_dump() for one in self.guardrails]
        if self.goal:
            fields["goal"] = self.goal.text
        return str(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True))

    @property
    def shares(self) -> tuple[float, ...]:
        """The canary's share at each stage where it is compared; 0 for shadow copies. After them comes all traffic."""
        return ((0.0,) if self.shadow else ()) + self.stages[:-1]

    def metric(self, name: str) -> Metric:
        """The metric of that name.

        Raises:
            UsageError: its range is not stated.
        """
        by_name = {**_BUILT_IN, **{one.name: one for one in self.metrics}}
        if name not in by_name:
            raise UsageError(
                f"nothing is known of the metric '{name}' (known: {', '.join(by_name)}): state its range: "
                f"--metric {name}:0,1, or metrics=[Metric(name='{name}', low=0, high=1)]"
            )
        return by_name[name]
