"""The data site: the API, the namespace, the pods, their volumes, and what this user may do there."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping

from claire import __version__
from claire.commands.check.job import Job
from claire.commands.check.needs import gib
from claire.commands.site.file import Pods, Site
from claire.commands.site.pod_paths import Paths, paths_in
from claire.commands.site.pod_state import State
from claire.commands.site.probes import check_clock, free_bytes
from claire.commands.site.reach import Answer, Unreachable, ask, kubectl, meaning
from claire.core.command.findings import Findings

#: StreamFlow speaks version 5 of the stream protocol, which API servers before 1.30 refuse when files are sent.
OLDEST = (1, 30)
#: What kubectl prints where the API is not reached or refuses, what it means, and what to do.
_CAUSES = (
    (
        r"error loading config file|invalid configuration|no such file|context .* does not exist|localhost:8080",
        "kubectl has no usable kubeconfig{which}",
        "Name the file in KUBECONFIG or as `kubeconfig` of the deployment, its context as `kubeContext`.",
    ),
    (
        r"(?i)unauthorized|must be logged in|provide credentials|asked for the client to provide",
        "the Kubernetes API does not know this user: the credentials{which} are wrong or have expired",
        "Log in again, or ask the cluster's administrators for a new kubeconfig.",
    ),
    (
        r"x509|certificate",
        "the certificate of the Kubernetes API is not the one of the kubeconfig{which}",
        "Ask the cluster's administrators for a new kubeconfig.",
    ),
    (
        r"refused|no such host|timeout|timed out|no route|deadline exceeded|no answer within|unable to connect|EOF",
        "the Kubernetes API is not reached{which}",
        "Check the address in the kubeconfig, the network, and whether a VPN or a proxy is between.",
    ),
)
#: What StreamFlow (the first three) and `claire run` with pods of its own (the others) need to do.
_RIGHTS = (
    ("get", "pods", ""), ("list", "pods", ""), ("create", "pods", "exec"),
    ("list", "deployments", ""), ("create", "deployments", ""), ("delete", "deployments", ""),
)  # fmt: skip
_STREAMFLOW = 3


def check_pods(site: Site, pods: Pods, job: Job | None, findings: Findings) -> None:
    """Add what is wrong at a data site: API, namespace, rights, Deployment, claims, image, paths of the job."""
    if not _check_api(pods, findings):
        return
    try:
        objects = json.loads(kubectl(pods, ["get", "deployments,pods,pvc", "--output=json", "--request-timeout=15s"]))
    except Unreachable as error:
        _add_forbidden(pods, error, findings)
        return
    _check_rights(pods, findings)
    state, paths = State.read(pods, objects["items"]), paths_in(site, pods, job)
    if not objects["items"] and not _has_namespace(pods):
        findings.fault(
            f"there is no namespace {pods.namespace}", "Set the site up: claire site apply, or correct `namespace`."
        )
        return
    _check_deployment(pods, state, findings)
    _check_claims(state, findings)
    if state.container:
        _check_work(site, pods, state, findings)
        paths.check_volumes(state, findings)
    if state.ready:
        _look_inside(pods, state, paths, findings)


def _check_api(pods: Pods, findings: Findings) -> bool:
    try:
        version = json.loads(kubectl(pods, ["version", "--output=json", "--request-timeout=15s"], timeout=30))
    except Unreachable as error:
        which = f" ({pods.kubeconfig or pods.context})" if pods.kubeconfig or pods.context else ""
        told = meaning(_CAUSES, error.words, {"which": which})
        findings.fault(*told or (error.problem, "Try `kubectl version` by hand."))
        return False
    server = version["serverVersion"]
    found = tuple(int(re.sub(r"\D", "", server[part]) or 0) for part in ("major", "minor"))
    if found < OLDEST:
        findings.fault(
            f"the Kubernetes API has version {server['gitVersion']}: expected 1.30 or newer, which takes uploads",
            "Ask for a newer cluster; no setting helps.",
        )
    return found >= OLDEST


def _has_namespace(pods: Pods) -> bool:
    try:
        kubectl(pods, ["get", "namespace", pods.namespace, "--output=name"])
    except Unreachable as error:
        return "NotFound" not in error.words
    return True


def _add_forbidden(pods: Pods, error: Unreachable, findings: Findings) -> None:
    findings.fault(
        f"namespace {pods.namespace} cannot be looked into: {error.problem}",
        "Ask its administrators for the Role claire-driver (deployments/kubernetes/site/rights.yaml).",
    )


def _check_rights(pods: Pods, findings: Findings) -> None:
    """Add faults of what StreamFlow may not do, a warning of what `claire run` may not do."""
    reviews = [
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {
                "resourceAttributes": {
                    "namespace": pods.namespace,
                    "verb": verb,
                    "resource": resource,
                    "subresource": part,
                    "group": "apps" if resource == "deployments" else "",
                }
            },
        }
        for verb, resource, part in _RIGHTS
    ]
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": reviews})
    try:
        text = kubectl(pods, ["create", "--filename=-", '--output=jsonpath={.status.allowed}{"\\n"}'], given)
    except Unreachable as error:
        findings.warn(f"not checked what this user may do in {pods.namespace}: {error.problem}")
        return
    names = [f"{verb} {resource}{'/' if part else ''}{part}" for verb, resource, part in _RIGHTS]
    missing = [name for name, line in zip(names, text.splitlines(), strict=False) if line != "true"]
    needed = [name for name in missing if name in names[:_STREAMFLOW]]
    remedy = "Ask for the Role claire-driver (deployments/kubernetes/site/rights.yaml)."
    if needed:
        findings.fault(f"this user may not {', '.join(needed)} in namespace {pods.namespace}", remedy)
    if others := [name for name in missing if name not in needed]:
        findings.warn(
            f"this user may not {', '.join(others)} in namespace {pods.namespace}: `claire run` can have no "
            "pods of its own",
            remedy,
        )


def _check_deployment(pods: Pods, state: State, findings: Findings) -> None:
    if state.deployment is None:
        findings.fault(
            f"namespace {pods.namespace} has no Deployment {pods.name}", "Set the site up: claire site apply."
        )
    elif state.container is None:
        findings.fault(
            f"Deployment {pods.name} has no container {pods.name}: StreamFlow finds pods by it",
            "Name its container as the Deployment, as deployments/kubernetes/site/pods.yaml does.",
        )
    else:
        wanted = state.deployment["spec"].get("replicas", 1)
        if not wanted:
            findings.fault(
                f"Deployment {pods.name} is scaled to 0 pods: nothing runs the steps",
                f"kubectl -n {pods.namespace} scale deployment {pods.name} --replicas 2",
            )
        elif not state.ready:
            why = "; ".join(state.waiting) or "none was made yet (a ResourceQuota may be exhausted)"
            findings.fault(
                f"Deployment {pods.name}: 0 of {wanted} pods are ready: {why}",
                f"kubectl -n {pods.namespace} describe pods",
            )
        elif len(state.ready) < wanted or state.waiting:
            findings.warn(
                f"Deployment {pods.name}: {len(state.ready)} of {wanted} pods are ready; another one is not: "
                f"{'; '.join(state.waiting) or 'not made yet'}",
                f"kubectl -n {pods.namespace} describe pods",
            )
        else:
            findings.note(f"{len(state.ready)} pods are ready in namespace {pods.namespace}")
    if state.strangers:
        findings.fault(
            f"{len(state.strangers)} pods of something else have a container {pods.name}: StreamFlow would run "
            "steps in them",
            "Use a namespace or a container name of its own.",
            state.strangers,
        )


def _check_claims(state: State, findings: Findings) -> None:
    for volume in state.volumes.values():
        name = volume.get("persistentVolumeClaim", {}).get("claimName")
        if name is None:
            continue
        if name not in state.claims:
            findings.fault(f"there is no claim {name}: the pods cannot start", "Set the site up: claire site apply.")
        elif state.claims[name] != "Bound":
            findings.fault(
                f"claim {name} is {state.claims[name]}: expected Bound",
                "The site provides its volume: a PersistentVolume of the claim's storage class (docs/deployment.md).",
            )


def _check_work(site: Site, pods: Pods, state: State, findings: Findings) -> None:
    """Add a fault if jobs have no writable folder, a warning if nothing was requested for it."""
    for binding in site.bindings:
        target = binding["target"]
        if target["deployment"] != pods.deployment:
            continue
        place = target.get("workdir") or site.document["deployments"][pods.deployment].get("workdir") or "/tmp"  # noqa: S108
        mount = state.mount(place)
        volume = state.volumes.get(mount["name"], {}) if mount else {}
        if mount is None or mount.get("readOnly"):
            findings.fault(
                f"the pods have no writable volume at {place}, the workdir of {binding['step']}",
                "Mount an emptyDir there, as deployments/kubernetes/site/pods.yaml does.",
            )
        elif "emptyDir" in volume:
            requests = (state.container or {}).get("resources", {}).get("requests", {})
            if "ephemeral-storage" not in requests and "sizeLimit" not in (volume["emptyDir"] or {}):
                findings.warn(
                    f"nothing is requested for {place} of the pods: a full node evicts them in the middle of a run",
                    "Request ephemeral-storage for the scans, 110 to 250 GB for 1000, and set a sizeLimit.",
                )


def _look_inside(pods: Pods, state: State, paths: Paths, findings: Findings) -> None:
    """Add what a ready pod tells: version, paths, free disk, clock."""
    arguments = ["exec", "--stdin", state.ready[0], f"--container={pods.name}", "--", "sh", "-s"]
    begun = time.time()
    try:
        answers = ask(dict(_questions(paths)), lambda script: kubectl(pods, arguments, script, timeout=60))
    except Unreachable as error:
        findings.fault(
            f"no command can be run in pod {state.ready[0]}: {error.problem}", "kubectl exec must work there."
        )
        return
    check_clock(answers["now"].text, begun, "in the pods", findings)
    version = ([*answers["version"].text.splitlines(), "nothing"])[0]
    if version != __version__:
        image = state.container["image"] if state.container else ""
        findings.fault(
            f"the pods' image {image} has claire {version}: expected {__version__}, as here",
            "Load the image of this version and restart: kubectl rollout restart, or install that version here.",
        )
    paths.judge(answers, findings)
    _judge_disk(answers, findings)


def _questions(paths: Paths) -> Iterator[tuple[str, str]]:
    yield "version", "claire --version"
    yield "now", "date +%s"
    yield "free", "df -Pk /work | tail -n 1"
    yield from paths.questions()


def _judge_disk(answers: Mapping[str, Answer], findings: Findings) -> None:
    """Tell the free disk of the pods; warn if it is less than the source takes: scans are its bytes uncompressed."""
    free = free_bytes(answers["free"].text)
    size = answers["bytes"].text if "bytes" in answers else ""
    if free is None:
        return
    if size.isdigit() and free < 2 * int(size):
        findings.warn(
            f"{gib(free)} are free in /work of the pods, and a run may need {gib(2 * int(size))}: once to twice the "
            "source",
            "Free some disk of the node, or name a larger volume in pods.yaml.",
        )
    else:
        known = f"; the source takes {gib(int(size))}, a run once to twice that" if size.isdigit() else ""
        findings.note(f"{gib(free)} are free in /work of the pods{known}")
