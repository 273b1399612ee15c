"""Certify that the model served is the model trained: compare stages of a pipeline, and name the hop that breaks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from weigh.cli._flags import json_flag

if TYPE_CHECKING:
    from weigh.parity import Chain

DIFFERS = 8

EPILOG = """
\b
Examples:
  weigh parity trained/ served/
  weigh parity trained/ model-q8.gguf --hop gguf
  weigh parity base/ merged/ half/ --hop merge:adapter=lora/ --hop cast:dtype=bfloat16
  weigh parity trained/ exported.onnx --hop export:tolerance=0.005

\b
Kinds of hops, each of which says what may change:
  copy      nothing
  cast      each weight is rounded once (dtype=bfloat16 or float16 or float32)
  merge     weights are base + scaled B A, worked out in float32 (adapter=FOLDER; dtype= if cast)
  prune     weights become 0, or layers go
  quantize  matrices are rounded as far as their bits say (bits=4, where the model does not say)
  export, runtime   outputs differ by float32 rounding, or as far as their bits say
  gguf      matrices are rounded as far as their GGUF type says
Every kind takes tolerance=X: the greatest mean difference in a token's log-probability (nats).

Exit status: 0 every hop keeps its rule; 8 one does not; 2 what was asked cannot work.
"""


@click.command("parity", short_help=__doc__, epilog=EPILOG)
@click.argument("stages", nargs=-1, required=True, metavar="BEFORE AFTER [AFTER...]")
@click.option("--hop", "hops", multiple=True, metavar="KIND[:X=Y]", help="What a hop was meant to do; one a hop.")
@click.option("--tolerance", type=click.FloatRange(0), help="Of every hop that states none, in nats a token.")
@click.option("--prompts", type=click.IntRange(1, 1000), default=16, show_default=True, help="Prompts to continue.")
@click.option("--tokens", type=click.IntRange(1, 256), default=12, show_default=True, help="Greedy tokens after each.")
@click.option("--text", type=click.Path(path_type=Path), help="A .txt to take the prompts from, instead of our own.")
@click.option("--rows", type=click.Path(path_type=Path), help="Inputs of a classifier (.npz); random if not given.")
@click.option("--architecture", default="", metavar="FILE:FUNCTION", help="What builds a net for a .safetensors file.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Which prompts, in which order.")
@click.option("--first", is_flag=True, help="Stop at the first hop that breaks its rule.")
@click.option("--to", type=click.Path(path_type=Path), help="Where to write the certificate; parity/ if not given.")
@json_flag
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    stages: tuple[str, ...],
    hops: tuple[str, ...],
    tolerance: float | None,
    prompts: int,
    tokens: int,
    text: Path | None,
    rows: Path | None,
    architecture: str,
    seed: int,
    first: bool,
    to: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Compare stages of one model, hop by hop: what each says of itself, its weights, and what it answers.

    The first stage is what was meant. The certificate is written as JSON; the text says which hop breaks its rule, and
    the first layer that differs.
    """
    from weigh.parity import Asked, certify_chain, hop

    asked = Asked(prompts, tokens, seed, text, rows, architecture, tolerance, first)

    def tell(doing: str) -> None:
        if not quiet:
            click.echo(f"comparing {doing} ...", err=True)

    chain = certify_chain(stages, [hop(one) for one in hops], asked, tell)
    written = _write(chain, to)
    if as_json:
        click.echo(written.read_text(encoding="utf-8"), nl=False)
    else:
        _show(chain, written)
    return 0 if chain.ok else DIFFERS


def _write(chain: Chain, to: Path | None) -> Path:
    from weigh.choice import content_digest
    from weigh.data.cache import replacing

    body = chain.model_dump_json(indent=1) + "\n"
    if to is None:
        digest = content_digest([chain.stages, body]).removeprefix("sha256:")[:12]
        to = Path("parity") / f"{digest}-{Path(chain.stages[-1]).stem}.json"
    to.parent.mkdir(parents=True, exist_ok=True)
    with replacing(to) as temporary:
        temporary.write_text(body, encoding="utf-8")
    return to


def _show(chain: Chain, written: Path) -> None:
    from rich.text import Text

    from weigh import show
    from weigh.parity import told

    console = show.console()
    console.print(Text(told.answer(chain), "bold green" if chain.ok else "bold red"), soft_wrap=not console.is_terminal)
    for title, lines in told.sections(chain):
        console.print(Text(f"\n{title}", "bold"))
        rows = [(Text(name, "red" if name == "DIFFERS" else "dim"), Text(text)) for name, text in lines]
        show.put(console, show.grid(rows))
    console.print(Text(f"\nThe certificate is {written} ({chain.seconds:.0f} s)."), soft_wrap=True)
