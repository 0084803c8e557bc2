"""Set up a data site: namespace, claims, pods, rights and limits, once, by kubectl. Nothing is ever deleted."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from claire.commands.site.file import Pods, Site
from claire.commands.site.reach import Unreachable, kubectl
from claire.core.command.errors import ClaireError, UsageError
from claire.core.command.shipped import shipped

#: The kustomize base, the parts that are added to it where they are asked for, and the claims of each.
BASE = "deployments/kubernetes/site/kustomization.yaml"
PRIVATE = "deployments/kubernetes/private/kustomization.yaml"
GPU = "deployments/kubernetes/gpu/kustomization.yaml"
DATA_PODS, GPU_PODS = "claire-data", "claire-learn"
DATA_CLAIM, PRIVATE_CLAIM, STORE_CLAIM = "claire-data", "claire-private", "claire-store"


def apply(site: Site, base: Path | None, private: bool) -> None:
    """Set up the namespaces that a site's file names, and print what was made and what was there.

    Raises UsageError for a site without pods or with others than the base has, ClaireError if a volume is missing or
    kubectl fails.
    """
    if not site.pods:
        raise UsageError(
            f"{site.path.name} has no pods: there is nothing to set up", "Only kubernetes deployments need it."
        )
    by_namespace: dict[tuple[str, str, str], list[Pods]] = {}
    for pods in site.pods:
        by_namespace.setdefault(pods.place, []).append(pods)
    for group in by_namespace.values():
        _apply_namespace(group, base, private)
    print(f"when the pods are ready: claire site check {site.path}")


def _apply_namespace(group: Sequence[Pods], base: Path | None, private: bool) -> None:
    pods, names = group[0], {each.name for each in group}
    if base is None and not names <= {DATA_PODS, GPU_PODS}:
        raise UsageError(
            f"the site's pods are called {', '.join(sorted(names))}: expected {DATA_PODS} or {GPU_PODS}",
            "Correct `service` of the bindings, or give --base with a kustomize folder of your own.",
        )
    items = _objects(pods)
    # What was set up once stays: without it the pods would lose the volume at /private.
    claims = _kind(items or [], "PersistentVolumeClaim")
    private = private or any(each["metadata"]["name"] == PRIVATE_CLAIM for each in claims)
    components = [shipped(PRIVATE).parent] if private else []
    components += [shipped(GPU).parent] if GPU_PODS in names else []
    if items is not None and base is None:
        needed = {DATA_CLAIM: True, PRIVATE_CLAIM: private, STORE_CLAIM: GPU_PODS in names}
        _require_volumes(items, pods.namespace, [claim for claim, wanted in needed.items() if wanted])
    with tempfile.TemporaryDirectory() as folder:
        overlay = write_overlay(Path(folder), pods.namespace, base or shipped(BASE).parent, components)
        try:
            print(kubectl(pods, ["apply", "--kustomize", str(overlay)], timeout=120), end="")
        except Unreachable as error:
            raise ClaireError(
                f"kubectl apply failed: {error.problem}",
                "What was applied before it stays. Setting up a namespace needs the rights of its administrator.",
            ) from error


def write_overlay(folder: Path, namespace: str, base: Path, components: Sequence[Path]) -> Path:
    """Write a kustomization of the base in another namespace, with components; return its folder."""
    folder = folder.resolve()
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": [os.path.relpath(base.resolve(), folder)],
        "components": [os.path.relpath(component.resolve(), folder) for component in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return folder


def _objects(pods: Pods) -> list[Mapping[str, Any]] | None:
    """Return the claims of a namespace and the volumes of its cluster; None if this user may not list them."""
    try:
        items: list[Mapping[str, Any]] = json.loads(kubectl(pods, ["get", "pvc,pv,storageclass", "--output=json"]))[
            "items"
        ]
    except Unreachable as error:
        if "forbidden" not in error.words.lower():
            raise
        print("not checked: whether the volumes are there (this user may not list them)")
        return None
    return items


def _require_volumes(items: Sequence[Mapping[str, Any]], namespace: str, claims: Sequence[str]) -> None:
    """Raise ClaireError where a claim has no volume yet: its pods would wait for ever."""
    bound = {each["metadata"]["name"] for each in _kind(items, "PersistentVolumeClaim") if _phase(each) == "Bound"}
    classes = {each["metadata"]["name"] for each in _kind(items, "StorageClass")}
    for claim in claims:
        volumes = [each for each in _kind(items, "PersistentVolume") if each["spec"].get("storageClassName") == claim]
        free = [each for each in volumes if _is_for(each, namespace, claim)]
        if claim not in bound and claim not in classes and not free:
            raise ClaireError(_missing(claim, namespace, volumes), _volume_example(claim, namespace))


def _kind(items: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    return [each for each in items if each["kind"] == kind]


def _phase(each: Mapping[str, Any]) -> str:
    return str(each["status"].get("phase", ""))


def _is_for(volume: Mapping[str, Any], namespace: str, claim: str) -> bool:
    reference = volume["spec"].get("claimRef") or {"namespace": namespace, "name": claim}
    return _phase(volume) in ("Available", "Bound", "") and (reference["namespace"], reference["name"]) == (
        namespace,
        claim,
    )


def _missing(claim: str, namespace: str, volumes: Sequence[Mapping[str, Any]]) -> str:
    others = [f"{each['metadata']['name']} is {_phase(each)}" for each in volumes]
    found = f" (of its storage class, {', '.join(others)})" if others else ""
    return f"there is no volume for the claim {claim} of namespace {namespace}{found}: expected a PersistentVolume"


def _volume_example(claim: str, namespace: str) -> str:
    mode = "ReadOnlyMany" if claim == DATA_CLAIM else "ReadWriteMany"
    return f"""Ask the cluster's administrators for one, or apply it, with the storage that you have:
apiVersion: v1
kind: PersistentVolume
metadata: {{name: {claim}-{namespace}}}
spec: {{capacity: {{storage: 1Ti}}, accessModes: [{mode}], storageClassName: {claim},
persistentVolumeReclaimPolicy: Retain, claimRef: {{namespace: {namespace}, name: {claim}}},
nfs: {{server: …, path: …}}}}"""
