"""Serve a model, or the model that a decision chose: Open Inference Protocol, or OpenAI's API."""

from __future__ import annotations

from pathlib import Path

import click

from weigh.cli._flags import ledger_flag

EPILOG = """
\b
Examples:
  weigh serve flights.onnx
  weigh serve last --name flights --port 9000
  weigh serve models:/flights@champion

\b
Then, from another terminal:
  curl http://127.0.0.1:8080/v2/models/flights
  weigh rollout start better.onnx --on flights
"""


@click.command("serve", short_help=__doc__, epilog=EPILOG)
@click.argument("model", metavar="MODEL|DECISION")
@click.option("--name", default="", help="What clients call the model; the file's name if not given.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 for a free one.")
@click.option("--architecture", default="", metavar="FILE:FUNCTION", help="What builds a net for a .safetensors file.")
@click.option("--batching", default="", metavar="OPTION", help="An option of serve/batching; single if not given.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of one run.")
@click.option("--deadline", type=click.FloatRange(0.001), default=30.0, show_default=True, help="Seconds; then 504.")
@click.option("--queue", type=click.IntRange(1), default=256, show_default=True, help="Requests that wait; then 429.")
@click.option("--state", type=click.Path(path_type=Path), help="Folder of logs; .weigh/serve/NAME if not given.")
@click.option("--log-inputs", is_flag=True, help="Keep what goes into the model in the log as well.")
@click.option("--log-most", default="10GB", show_default=True, help="Of log; then the oldest files go.")
@click.option("--traces", default="", metavar="URL", help="OTLP/HTTP endpoint for traces.")
@click.option("--private", is_flag=True, help="Predictions need the token too, not only admin calls.")
@click.option(
    "--platform", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="What serves."
)
@click.option("--address", default="local", show_default=True, help="ray: HOST:PORT of the cluster; local starts one.")
@click.option("--replicas", type=click.IntRange(1), default=1, show_default=True, help="ray: replicas; the fewest.")
@click.option("--most-replicas", type=click.IntRange(0), default=0, help="ray: that load may call for.")
@click.option("--anew", is_flag=True, help="Begin with MODEL, whatever champion the state folder has.")
@ledger_flag
def command(
    model: str, name: str, host: str, port: int, architecture: str, batching: str, threads: int, deadline: float,
    queue: int, state: Path | None, log_inputs: bool, log_most: str, traces: str, private: bool, platform: str,
    address: str, replicas: int, most_replicas: int, anew: bool, ledger: str,
) -> int:  # fmt: skip
    """Serve a model until it is stopped: a file, a folder, an MLflow URI, or the decision ID (or `last`) that chose it.

    Predictions are logged before they are sent. Admin calls bear the token in the file `token` of the state folder.
    """
    from weigh.cli._served import asked, name_of, need_batching, need_same, size_of
    from weigh.server.run import Keeper
    from weigh.server.settings import ServerSettings

    wanted = asked(model, ledger)
    name = name or name_of(model if wanted.decision == "" else wanted.choice)
    folder = (state or Path(".weigh/serve") / name).absolute()
    path = wanted.path(folder)
    architecture, batching = architecture or wanted.architecture, batching or wanted.batching or "single"
    settings = ServerSettings(
        model=path, architecture=architecture, name=name, state=folder, host=host, port=port, threads=threads,
        batching=batching, queue=queue, deadline=deadline, log_inputs=log_inputs, log_most=size_of(log_most),
        traces=traces, private=private,
    )  # fmt: skip
    need_batching(batching)
    need_same(settings, anew)

    def tell(line: str) -> None:
        click.echo(line, err=True)

    if platform == "local":
        return Keeper(settings, tell).run()
    from weigh.deploy.ray_app import Arguments
    from weigh.deploy.ray_keeper import RayKeeper
    from weigh.server.router import wanted_of

    told = Arguments(
        model=wanted_of(settings).path, architecture=architecture, name=name, state=settings.state, threads=threads,
        batching=batching, replicas=replicas, most_replicas=most_replicas,
    )  # fmt: skip
    return RayKeeper(settings, told, address, tell).run()
