"""Manifests against the schemas that the cluster will hold them to, before they go there.

Core kinds are held to Kubernetes' own OpenAPI schemas (the package `kubernetes-validate`), strictly: an unknown field
is an error. Kinds of KServe, KubeRay and the Gateway API are held to the openAPIV3Schema of their
CustomResourceDefinitions, whose files the user has: a folder of them is named by `--crds` or in `$WEIGH_CRDS`. An API
server drops fields that such a schema does not name, in silence; here they are errors as well.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from weigh.choice import UsageError

CRDS = "WEIGH_CRDS"
CORE = {"", "apps", "autoscaling", "policy", "batch"}
KEEP = "x-kubernetes-preserve-unknown-fields"


def crds_folder(told: Path | None = None) -> Path | None:
    """The folder of CRD files: the one that was told, or that of the environment; None where there is neither."""
    named = os.environ.get(CRDS)
    return told or (Path(named) if named else None)


def validated(manifests: Sequence[Mapping[str, Any]], crds: Path | None, version: str = "1.37") -> list[str]:
    """Hold manifests to their schemas.

    Args:
        crds: the folder of CRD files; None: kinds beyond the core are not checked.
        version: of Kubernetes.

    Returns: the kinds that were not checked, since there is no schema for them.

    Raises:
        UsageError: a manifest does not fit, or the package or a file is missing.
    """
    unchecked = []
    for one in manifests:
        if lacking := [name for name in ("apiVersion", "kind", "metadata") if name not in one]:
            raise UsageError(f"a manifest has no {' and no '.join(lacking)}; it has {', '.join(one)}")
        group = str(one["apiVersion"]).rpartition("/")[0]
        if group in CORE:
            errors = list(_core(one, version))
        else:
            errors = [*_core({"apiVersion": "v1", "kind": "ConfigMap", "metadata": one["metadata"]}, version)]
            schema = _schema(crds, group, str(one["apiVersion"]), str(one["kind"])) if crds else None
            if schema is None:
                unchecked.append(f"{one['kind']} ({one['apiVersion']})")
            else:
                errors += _custom(one, schema)
        if errors:
            raise UsageError(
                f"{one['kind']} {one['metadata'].get('name')} is not what a cluster takes: {'; '.join(errors)}"
            )
    return unchecked


def _core(one: Mapping[str, Any], version: str) -> Iterator[str]:
    try:
        import kubernetes_validate as kubernetes
    except ImportError:
        raise UsageError(
            "manifests are checked with kubernetes-validate, which is not installed: pip install 'weigh[kubernetes]'"
        ) from None
    try:
        kubernetes.validate(dict(one), version, strict=True)
    except kubernetes.ValidationError as error:
        yield _told([str(part) for part in error.path], error.message)
    except kubernetes.SchemaNotFoundError as error:
        yield error.message


def _custom(one: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    import jsonschema

    for error in jsonschema.Draft7Validator(schema).iter_errors(dict(one)):
        yield _told([str(part) for part in error.absolute_path], error.message)


def _told(path: Sequence[str], message: str) -> str:
    return f"{'.'.join(path) or 'the top'}: {message[:300]}"


@functools.cache
def _schema(crds: Path, group: str, version: str, kind: str) -> Mapping[str, Any] | None:
    """The schema of a kind, closed; None where no file in the folder defines the kind."""
    if not crds.is_dir():
        raise UsageError(
            f"--crds {crds}: there is no such folder; name one that holds CustomResourceDefinitions (.yaml)"
        )
    for file in sorted(crds.glob("*.y*ml")):
        head = file.read_bytes()
        if kind.encode() not in head or group.encode() not in head:
            continue
        for definition in _definitions(file):
            spec = definition["spec"]
            if spec["group"] != group or spec["names"]["kind"] != kind:
                continue
            for served in spec["versions"]:
                if f"{group}/{served['name']}" == version:
                    return closed(served["schema"]["openAPIV3Schema"])
    return None


def _definitions(file: Path) -> Iterator[dict[str, Any]]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for found in yaml.load_all(file.read_bytes(), loader):
        if isinstance(found, dict) and found.get("kind") == "CustomResourceDefinition":
            yield found


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A structural schema in which a field that it does not name is an error, and null is taken where it says so.

    >>> closed({"type": "object", "properties": {"a": {"type": "string"}}})["additionalProperties"]
    False
    """
    made: dict[str, Any] = {}
    for name, inner in schema.items():
        if name == "properties":
            made[name] = {key: closed(one) for key, one in inner.items()}
        elif name in ("items", "additionalProperties", "not") and isinstance(inner, Mapping):
            made[name] = closed(inner)
        else:
            made[name] = inner
    opens = schema.get(KEEP) or "additionalProperties" in schema or "properties" not in schema
    if schema.get("type") == "object" and not opens:
        made["additionalProperties"] = False
    if schema.get("nullable") and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    return made
