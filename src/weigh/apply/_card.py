"""The model card: what the model is, why it was chosen, what was rejected, and what it rests on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.apply._chosen import Chosen
from weigh.model import forms
from weigh.model.artefact import digest
from weigh.model.packed import METHOD
from weigh.model.write import MARK

if TYPE_CHECKING:
    from weigh.parity import Certificate

CARRIED = ("license", "license_name", "license_link", "language", "base_model")
"""What is taken over from the card of the model that this one was made of."""
TASKS = {"logits": "text-generation", "embedding": "feature-extraction", "scores": "text-classification"}


def model_card(chosen: Chosen, now: Path, to: Path, certificate: Certificate | None = None) -> str:
    """A Hugging Face model card: Markdown under a YAML front matter that the hub reads.

    Args:
        now: the file or folder as it lies now.
        to: where that file or folder will lie, by which the card names it.
        certificate: where it is another form of what was measured.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from weigh import show
    from weigh.commands import folded
    from weigh.record import cell, code, command, words

    lock, made = chosen.lock, chosen.made
    environment = Environment(loader=PackageLoader("weigh"), undefined=StrictUndefined, autoescape=False)
    environment.filters |= {"words": words, "code": code, "cell": cell}
    one = made.standing(chosen.name)
    measured = {lock.measure(name): value for name, value in one.measured.items()}
    snippet, packages = forms.loading(now, to, chosen.result.kind, chosen.result.architecture)
    card = environment.get_template("model_card.md.j2").render(
        lock=lock,
        made=made,
        record=chosen.record,
        command=folded(command(lock), 100),
        artefact=chosen.artefact,
        sha256=digest(now) if now.is_file() else "",
        path=to,
        task=lock.task,
        title=f"{Path(chosen.task.model).stem}, {chosen.name}",
        front=front_matter(chosen, now),
        snippet=snippet,
        packages=packages,
        others=[other for other in show.ordered(lock, made) if other is not one],
        checks=[show.check(lock, check) for check in one.checks],
        against={name: show.versus(lock.measure(name), value) for name, value in one.versus_baseline.items()},
        levels={show.head(measure): show.level(measure, value) for measure, value in measured.items()},
        certificate=certificate,
        parity=list(_parity(certificate)) if certificate else [],
    )
    return card.rstrip("\n") + "\n"


def _parity(certificate: Certificate) -> Iterator[str]:
    """What was compared, a sentence each."""
    if of := certificate.behaviour:
        ends = f"[{of.agreement_low:.1%}, {of.agreement_high:.1%}]"
        if of.unit == "token":
            yield f"{of.identical} of {of.prompts} prompts are continued with the same greedy tokens"
            yield f"The most likely token agrees on {of.agreement:.1%} {ends} of {of.units:,} tokens"
        else:
            yield f"The answer agrees on {of.agreement:.1%} {ends} of {of.units:,} rows"
        yield (
            f"Log-probabilities differ by {of.gap_mean:.2g} nats a {of.unit} on average, by {of.gap_max:.2g} at most"
            + ("" if certificate.tolerance.gap is None else f"; {certificate.tolerance.gap:g} on average is allowed")
        )
    if weights := certificate.weights:
        rest = f", {weights.within} are rounded as allowed" if weights.within else ""
        yield f"{weights.identical} of the {weights.tensors} tensors that were found are the same bit by bit{rest}"
    for note in certificate.notes:
        yield f"Not compared: {note}"


def front_matter(chosen: Chosen, now: Path) -> str:
    """The card's metadata as YAML, by the names that the Hugging Face hub knows."""
    import yaml

    libraries = {".onnx": "onnx", ".gguf": "gguf", ".pt2": "pytorch", ".safetensors": "pytorch"}
    of_folder = "weigh" if forms.quantized_by(now) == METHOD else "transformers"
    library = libraries.get(now.suffix, of_folder)
    told: dict[str, Any] = {"library_name": library}
    task = TASKS.get(chosen.result.outputs[0].name if chosen.result.outputs else "")
    if task and chosen.result.format in ("huggingface", "gguf"):
        told["pipeline_tag"] = task
    told |= {key: value for key, value in _theirs(chosen.task.model).items() if key in CARRIED}
    tags = f'tags: ["{MARK}", "{chosen.lock.choice}", "{_plain(chosen.name)}"]\n'
    return yaml.safe_dump(told, sort_keys=False, allow_unicode=True) + tags


def _plain(spec: str) -> str:
    """An option as a tag: letters, digits and what the hub takes between them."""
    return re.sub(r"[^A-Za-z0-9_.=,:-]+", "-", spec)


def _theirs(model: Path) -> dict[str, Any]:
    """The metadata of the original's card; empty where it has none that can be read."""
    import yaml

    from weigh.model.registry import located

    card = located(model) / "README.md"
    if not card.is_file():
        return {}
    found = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    try:
        told = yaml.safe_load(found[1]) if found else {}
    except yaml.YAMLError:
        return {}
    return told if isinstance(told, dict) else {}
