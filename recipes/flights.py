"""A year of flights out of New York: a model is compressed, watched, retrained and challenged.

``make demo`` runs it. It writes ``out/flights/journey.html``, records and a ledger; run again, it continues.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from flights_model import Served, encoded, export, fit, judged

from weigh import Decision, Ledger, Task, catalog, decide
from weigh.cause.experiment import analyse
from weigh.compress.quantize import QuantizeTask
from weigh.data import flights, snapshot
from weigh.model.write import convert
from weigh.monitor.drift import drift_by_month
from weigh.progress import Watch
from weigh.report import Step, journey_page, write_page

OUT, SEED = Path("out/flights"), 2013
COST_OF_RETRAINING, COST_OF_AN_ERROR = 100.0, 1.0


def main() -> None:
    """The journey, from top to bottom."""
    year = flights.load()
    flights.CONTRACT.check(year).raise_for_violations()
    known = year.filter(pl.col("late").is_not_null())
    print(f"{year.height:,} flights meet their contract; {known.height:,} of them have an arrival delay.")
    month = pl.col("month")

    champion = fit(known.filter(month <= 2), SEED)
    spring = known.filter(month.is_between(3, 4))
    onnx = export(champion, OUT / "champion.onnx")
    net = QuantizeTask(model=onnx, data=keep(encoded(champion, spring)), label="late")
    quantized = step(
        "1. Can the model be smaller, within 2 ms at p95 and half a point of accuracy?",
        "compress/quantize",
        net,
        objective="size",
        require=["p95 <= 2 ms", "accuracy >= baseline - 0.5 %"],
    )
    smaller = catalog.find(catalog.choice("compress/quantize"), quantized.chosen or "none")
    serving = Served(champion, convert(net, smaller, OUT / "served.onnx", overwrite=True))

    inputs = [name for name in flights.FEATURES if name not in ("hour", "minute", "wind_gust")]
    test = step(
        "2. Which test should watch its inputs for drift?",
        "monitor/drift",
        {"history": keep(known.filter(month <= 2)), "columns": inputs, "time": "time", "window": 1000, "size": 0.3},
    )
    watcher = catalog.find(catalog.choice("monitor/drift"), test.chosen or "mean_shift")
    drift = drift_by_month(watcher, flights.path(), inputs, "time", until="2013-03-01", seed=SEED)

    cadence = step(
        f"3. How often to retrain it, at {COST_OF_RETRAINING:g} a retraining and {COST_OF_AN_ERROR:g} an error?",
        "retrain/cadence",
        {
            "history": keep(known), "key": "flight_id", "time": "time", "label": "late", "label_time": "label_time",
            "features": flights.FEATURES, "train_days": 59, "loss": "brier", "params": {"solver": "newton-cholesky"},
            "retraining_cost": COST_OF_RETRAINING, "error_cost": COST_OF_AN_ERROR,
        },
    )  # fmt: skip

    challenger = fit(known.filter(month.is_between(7, 8)), SEED)
    autumn = judged(known.filter(month >= 9), serving, challenger, SEED)
    analysis = step(
        "4. By which analysis should champion and challenger be compared, read every day?",
        "cause/experiment",
        {
            "history": keep(autumn.filter(month <= 10)), "metric": "champion", "covariate": "expected", "time": "time",
            "effect": -0.01, "days": 14, "looks": "daily",
        },
    )  # fmt: skip
    live = autumn.filter(month >= 11).with_columns(
        loss=pl.when(pl.col("arm") == "champion").then("champion").otherwise("challenger")
    )
    reader = catalog.find(catalog.choice("cause/experiment"), analysis.chosen or "welch")
    finding = analyse(
        live, metric="loss", arm="arm", control="champion", by=reader, covariate="expected", time="time",
        looks="daily", planned=live.height,
    )  # fmt: skip
    better = "challenger" if finding.found == "lower" else "champion"
    verdict = f"The {better} serves: on the flights of November and December, {finding}."
    print(f"\n5. Keep the champion, or ship the challenger? {verdict}")

    with Ledger(OUT / "ledger.db") as ledger:
        policies, _, _, _, weeks, *_ = ledger.exhibits(cadence.lock)
        story = [
            Step("The model's size", "A net trained on January and February serves from March on.", quantized.lock),
            Step("What watches it", f"The chosen test, `{watcher.spec}`, then read every input.", test.lock, [drift]),
            Step("When it is retrained", "Replayed day by day, labels as they came.", cadence.lock, [weeks, policies]),
            Step("How a challenger is judged", "Brier score a flight, September and October.", analysis.lock),
            Step("Champion against challenger", "Judged every day by the analysis that was chosen.", answer=verdict),
        ]
        page = write_page(journey_page(ledger, "A year of flights out of New York", story), OUT / "journey.html")
    print(f"\nThe journey, on one page: {page}\nThe records: {OUT / 'decisions'}")


def step(heading: str, choice: str, task: Task | dict[str, Any], **asked: Any) -> Decision:
    """One decision, with its progress on the terminal."""
    print(f"\n{heading}", flush=True)
    kept = {"ledger": OUT / "ledger.db", "records": OUT / "decisions"}
    with Watch() as watch:
        made = decide(choice, task, seed=SEED, watch=watch, **kept, **asked)
    print(made, flush=True)
    return made


def keep(rows: pl.DataFrame) -> Path:
    """Some rows as a file, named by their content."""
    return snapshot(rows, OUT / "data")


if __name__ == "__main__":
    main()
