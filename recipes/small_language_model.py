"""A small language model, from float to what is served: compressed, pruned in vain, decoded, certified, handed on.

``make demo-language`` runs it. It writes ``out/small_language_model/journey.html``, the chosen model with its card and
its parity certificate, records and a ledger; run again, it continues.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weigh import Decision, Ledger, decide
from weigh.apply import apply
from weigh.choice import Table
from weigh.data import manual, smollm2
from weigh.model.huggingface import computed_in
from weigh.parity import Asked, Chain, certify_chain, hop, told
from weigh.progress import Watch
from weigh.report import Step, journey_page, write_page

OUT, SEED = Path("out/small_language_model"), 135
MOST_LOST = 0.02
"""Nats of log-likelihood a token."""


def main() -> None:
    """The journey, from top to bottom."""
    OUT.mkdir(parents=True, exist_ok=True)
    model, text = smollm2.path(), manual.text()
    print(f"SmolLM2 has {smollm2.PARAMETERS:,} parameters; the text that judges it is Python's own manual.")
    judged = {
        "model": model, "data": text, "window": 48, "windows": 1, "clip": 0.1, "calibration_rows": 40,
        "prompt_tokens": 12, "new_tokens": 4, "rounds": 240,
    }  # fmt: skip
    limits = [f"drop <= {MOST_LOST}", "p95 <= 1.0 * baseline"]

    numbers = step(
        f"1. Which numbers, at most {MOST_LOST} nats lost, and 95 % of tokens no slower than as they are?",
        "compress/quantize",
        judged,
        options=["int8_weights", "int4_weights"],
        objective="size",
        require=limits,
    )
    pruned = step(
        "2. Can half of its weights, or three of its thirty blocks, be left out?",
        "compress/prune",
        judged,
        options=["wanda", "depth"],
        objective="latency",
        require=limits[:1],
    )

    served = OUT / "served"
    with Ledger(OUT / "ledger.db") as ledger:
        lock, record, exhibits = (get(numbers.lock) for get in (ledger.lock, ledger.record, ledger.exhibits))
        written = apply(lock, numbers, served, record=record, overwrite=True, exhibits=exhibits)
    print(f"\n3. Is it the model that it was? The chosen one is {written.model}, its card {written.card}.", flush=True)
    kind = {"none": "copy", "bfloat16": "cast"}.get(str(numbers.chosen), "quantize")
    chain = certify_chain([model, served], [hop(kind)], Asked(prompts=16, new_tokens=8, seed=SEED, text=text))
    served.with_name("parity.json").write_text(chain.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print(told.answer(chain), flush=True)

    writing = step(
        "4. How should it write its next tokens?",
        "serve/decoding",
        {"model": served, "prompt_tokens": 12, "new_tokens": 8, "rounds": 40, "dtype": computed_in(served)},
        options=["dynamic_cache", "static_cache:compiled=true"],
        objective="tokens_per_second",
    )

    story = [
        Step("Which numbers", "Size, where little is lost and no token takes longer.", numbers.lock),
        Step("What can be left out", "Half of the weights (Wanda), or three of thirty blocks.", pruned.lock),
        Step(
            "Whether it is still the same model",
            "Float against chosen.",
            answer=told.answer(chain),
            exhibits=[parity(chain)],
        ),
        Step("How it writes", "One request at a time, greedily.", writing.lock),
    ]
    with Ledger(OUT / "ledger.db") as ledger:
        page = write_page(journey_page(ledger, "A small language model", story), OUT / "journey.html")
    print(f"\nThe journey, on one page: {page}\nThe model and its card: {served}\nThe records: {OUT / 'decisions'}")


def step(heading: str, choice: str, task: dict[str, Any], **asked: Any) -> Decision:
    """One decision, with its progress on the terminal."""
    print(f"\n{heading}", flush=True)
    with Watch() as watch:
        made = decide(
            choice, task, seed=SEED, ledger=OUT / "ledger.db", records=OUT / "decisions", watch=watch, **asked
        )
    print(made, flush=True)
    return made


def parity(chain: Chain) -> Table:
    """What the certificate compared, for the page."""
    of = chain.certificates[0].behaviour
    assert of is not None
    rows = (
        ("prompts with the same greedy tokens", f"{of.identical} of {of.prompts}"),
        ("most likely token agrees", f"{of.agreement:.1%} [{of.agreement_low:.1%}, {of.agreement_high:.1%}]"),
        ("log-probability of a token, mean difference", f"{of.gap_mean:.3f} nats"),
        ("KL divergence, mean", f"{of.kl_mean:.4f} nats a token"),
    )
    return Table(title="Parity", columns=("what", "float against chosen"), rows=rows, note=chain.certificates[0].rule)


if __name__ == "__main__":
    main()
