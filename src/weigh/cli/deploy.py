"""Write what a platform takes: manifests, archives, SavedModels, pipelines; checked, and applied if asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weigh.cli._flags import existing, json_flag, ledger_flag, print_json, taken

if TYPE_CHECKING:
    from weigh.deploy.subject import Subject

PLATFORMS = ("kubernetes", "kserve", "rayservice", "torchserve", "tfserving", "tfx")
EPILOG = """
\b
Examples:
  weigh deploy flights.onnx --platform kubernetes --image registry.example.org/flights --to out/
  weigh deploy last --platform kserve --image registry.example.org/flights --to out/ --apply
  weigh deploy flights.onnx --challenger better.onnx --share 5 --gateway public --to out/
  weigh deploy flights.onnx --platform tfserving --rows flights.npz --to out/
  weigh deploy flights.csv --platform tfx --label late --require "accuracy >= 0.8" --to out/
  weigh deploy --prepare torchserve

\b
Kinds of KServe, KubeRay and the Gateway API are held to the definitions of your cluster:
  kubectl get crd -o yaml inferenceservices.serving.kserve.io > crds/inferenceservices.yaml
"""


@click.command("deploy", short_help=__doc__, epilog=EPILOG)
@click.argument("model", metavar="MODEL|DECISION|TABLE", default="")
@click.option("--platform", type=click.Choice(PLATFORMS), help="What is written; as decided, if a decision chose it.")
@click.option("--to", type=click.Path(path_type=Path), help="The folder to write, which appears whole.")
@click.option("--name", default="", help="What clients call the model; the file's name if not given.")
@click.option("--image", default="", metavar="REPOSITORY", help="Where the image is pushed; its tag is the version.")
@click.option("--challenger", default="", metavar="MODEL", help="Another model, beside it.")
@click.option("--share", type=click.IntRange(0, 100), default=0, help="Percent of the requests that it gets.")
@click.option("--rows", type=click.Path(path_type=Path), help="Inputs like those that it will meet (.npz, .csv).")
@click.option("--architecture", default="", metavar="FILE:FUNCTION", help="What builds a net for a .safetensors file.")
@click.option("--namespace", default="default", show_default=True, help="Of the cluster.")
@click.option("--replicas", type=click.IntRange(1), default=2, show_default=True, help="The fewest of them.")
@click.option("--most-replicas", type=click.IntRange(1), default=6, show_default=True, help="The most of them.")
@click.option("--cpu", default="500m", show_default=True, help="Processors that a pod asks for.")
@click.option("--memory", default="", help="Memory of a pod, such as 512Mi; as measured, if a decision measured it.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of one run.")
@click.option("--gateway", default="", help="The Gateway that routes to it; no HTTPRoute without one.")
@click.option("--host", default="", help="Host name of the route.")
@click.option("--crds", type=click.Path(path_type=Path), help="Folder of CustomResourceDefinitions, or $WEIGH_CRDS.")
@click.option("--apply", "applies", is_flag=True, help="Give the manifests to the cluster of kubectl's context.")
@click.option("--label", default="y", show_default=True, help="tfx: the column of right answers.")
@click.option("--require", default="accuracy >= 0.9", show_default=True, help="tfx: the floor of the blessing.")
@click.option("--run", "runs", is_flag=True, help="tfx: run the pipeline, and hold its blessing against our verdict.")
@click.option("--prepare", default="", metavar="NAME", help="Make an environment: ray, torchserve, tensorflow, tfx.")
@ledger_flag
@json_flag
def command(
    model: str, prepare: str, platform: str | None, to: Path | None, ledger: str, as_json: bool, **more: Any
) -> int:
    """Write what a platform takes to serve a model, or the one that a decision chose (its ID, or `last`).

    Manifests are held to the schemas of their kinds before they are written; a field or value that a cluster would drop
    or refuse is an error here. The image that they name is built from what lies beside them.
    """
    if prepare:
        return _prepare(prepare)
    from weigh.choice import UsageError

    if not model or to is None:
        raise UsageError(
            "name a model or a decision, and a folder: weigh deploy MODEL --platform kubernetes --to FOLDER"
        )
    if platform == "tfx":
        return _tfx(Path(model), to, more)
    if more["applies"]:
        from weigh.deploy.kubectl import context

        more["context"] = context()
    return _write(model, platform, to, ledger, as_json, more)


def _prepare(name: str) -> int:
    from weigh.serve.platform._environment import RECIPES, installed, make

    if name in RECIPES and not installed(name):
        click.echo(f"making the environment '{name}' (about {RECIPES[name].gigabytes:g} GB) ...", err=True)
    click.echo(str(make(name)))
    return 0


def _tfx(table: Path, to: Path, more: dict[str, Any]) -> int:
    from weigh.deploy import tfx
    from weigh.deploy.bundle import replaced

    with replaced(to) as folder:
        tfx.write(table, more["label"], more["require"], folder)
    click.echo(f"{to / 'pipeline.py'}: a TFX pipeline that blesses a model of {more['require']}")
    if not more["runs"]:
        click.echo(f"run it: weigh deploy {table} --platform tfx ... --run, or `python pipeline.py` under TFX 1.16.0")
        return 0
    click.echo(str(tfx.run(to, more["require"])))
    return 0


def _write(model: str, platform: str | None, to: Path, ledger: str, as_json: bool, more: dict[str, Any]) -> int:
    import tempfile

    from weigh.choice import UsageError
    from weigh.deploy.bundle import OF_OPTIONS, Asked, write
    from weigh.deploy.subject import of_path
    from weigh.deploy.validate import crds_folder

    with tempfile.TemporaryDirectory(prefix="weigh-deploy-") as scratch:
        found = _subject(model, ledger, Path(scratch), more)
        platform = platform or OF_OPTIONS.get(found.platform, "kubernetes" if not found.platform else "")
        if not platform:
            raise UsageError(f"{found.platform} was chosen, which `weigh serve` starts; name another with --platform")
        other = of_path(Path(more["challenger"]), more["rows"]) if more["challenger"] else None
        made = write(Asked(platform, found, other, _plan(found, more), crds_folder(more["crds"])), to)
    told = ""
    if "context" in more:
        from weigh.deploy.kubectl import apply

        told = apply(list(made.files), more["context"])
    if as_json:
        print_json({"platform": platform, "folder": str(to), "files": [str(file) for file in made.files],
                    "unchecked": list(made.unchecked), "next": list(made.next), "applied": told})  # fmt: skip
        return 0
    click.echo(f"{to}: {len(made.files)} files for {platform}")
    if made.unchecked:
        click.echo(f"not held to a schema, for want of --crds: {', '.join(dict.fromkeys(made.unchecked))}")
    click.echo(told.rstrip() if told else "then:\n" + "\n".join(f"  {line}" for line in made.next))
    return 0


def _subject(model: str, ledger: str, scratch: Path, more: dict[str, Any]) -> Subject:
    from weigh.deploy.subject import of_decision, of_path
    from weigh.model.registry import is_uri

    if Path(model).exists() or is_uri(Path(model)) or Path(model).suffix in (".onnx", ".pt2", ".safetensors"):
        return of_path(Path(model), more["rows"], more["architecture"])
    with existing(ledger) as book:
        lock, made = taken(book, model)
        record = book.record(made.lock)
    return of_decision(lock, made, record, scratch, more["rows"])


def _plan(found: Subject, more: dict[str, Any]) -> dict[str, Any]:
    from weigh.deploy.plan import label

    fields = {
        key: more[key] for key in ("image", "share", "namespace", "replicas", "cpu", "threads", "gateway", "host")
    }
    memory = more["memory"] or (f"{max(64, int(1.5 * found.memory))}Mi" if found.memory else "")
    name = more["name"] or label(found.source.path.stem)
    most = max(more["most_replicas"], more["replicas"])
    return (
        fields
        | {"name": name, "most_replicas": most, "annotations": dict(found.annotations)}
        | ({"memory": memory} if memory else {})
    )
