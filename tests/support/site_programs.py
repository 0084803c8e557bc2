"""Programs that stand in for a site: ssh, SLURM and kubectl, as scripts on the PATH that say what a test tells them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from claire import __version__

SSH = """#!/bin/bash
[ -z "$SSH_SAYS" ] || { printf '%s\\n' "$SSH_SAYS" >&2; exit 255; }
exec bash -s
"""
SINFO = "#!/bin/sh\ncat $SITE_PROGRAMS/nodes\n"
#: With a file `state` a job waits in that state; without it a job has ended at once.
SQUEUE = """#!/bin/bash
[ ! -e $SITE_PROGRAMS/no-controller ] || { echo "Unable to contact slurm controller" >&2; exit 1; }
[ ! -e $SITE_PROGRAMS/state ] || cat $SITE_PROGRAMS/state
"""
SBATCH = """#!/bin/bash
for word in "$@"; do
    case $word in --output=*) output=${word#--output=} ;; esac
    [ "$word" != --test-only ] || { cat $SITE_PROGRAMS/refused >&2 2>/dev/null && exit 1; exit 0; }
done
echo "$@" >$SITE_PROGRAMS/submitted
[ -e $SITE_PROGRAMS/state ] || bash -s >"$output" 2>&1
echo 7
"""
KUBECTL = f"""#!{sys.executable}
import json, os, subprocess, sys
from pathlib import Path
words, told = sys.argv[1:], json.loads(Path(os.environ["SITE_PROGRAMS"], "kubectl.json").read_text())
for word, text in told.get("fails", {{}}).items():
    if word in words:
        sys.exit(text)
if "version" in words:
    print(json.dumps({{"serverVersion": told["version"]}}))
elif "create" in words:
    print("\\n".join(told["rights"]))
elif "exec" in words:
    sys.exit(subprocess.run(["sh", "-s"], input=sys.stdin.read(), text=True).returncode)
elif "apply" in words:
    Path(os.environ["SITE_PROGRAMS"], "applied").write_text(Path(words[-1], "kustomization.yaml").read_text())
    print("namespace/claire created")
elif "get" in words:
    print(json.dumps({{"items": told["objects"]}}))
"""
NODES = "gpu|up|1-00:00:00|32|512000|gpu:v100:4(S:0-1)|idle\ncpu|up|infinite|48|128000|(null)|mixed\n"


class Programs:
    """The stand-ins in a folder; what they say is changed by its methods."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._monkeypatch = folder, monkeypatch
        folder.mkdir()
        monkeypatch.setenv("SITE_PROGRAMS", str(folder))
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        for name, text in {"ssh": SSH, "sinfo": SINFO, "squeue": SQUEUE, "sbatch": SBATCH, "kubectl": KUBECTL}.items():
            self.program(name, text)
        self.program("scancel", "#!/bin/sh\n")
        self.version(__version__)
        self.say("nodes", NODES)
        self.kubectl()

    def program(self, name: str, text: str) -> None:
        """Put a program on the PATH."""
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    def version(self, text: str) -> None:
        """Let `claire --version` at the site say a version."""
        self.program("claire", f"#!/bin/sh\necho {text}\n")

    def say(self, name: str, text: str) -> None:
        """Write what a program prints, or the file that changes what it does."""
        (self.folder / name).write_text(text)

    def ssh_says(self, text: str) -> None:
        """Let ssh fail with these words."""
        self._monkeypatch.setenv("SSH_SAYS", text)

    def kubectl(self, **told: Any) -> None:
        """Tell kubectl what it knows: version, rights, objects, and with which words a subcommand fails."""
        version = {"major": "1", "minor": "34+", "gitVersion": "v1.34.4"}
        known = {"version": version, "rights": ["true"] * 6, "objects": site_objects(), **told}
        (self.folder / "kubectl.json").write_text(json.dumps(known))


def pod(
    name: str = "claire-data-1", container: str = "claire-data", ready: bool = True, app: str = "claire-data"
) -> Any:
    """Return a pod as the API describes it."""
    condition = {"type": "Ready", "status": str(ready), "message": "" if ready else "0/3 nodes are available"}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": app}},
        "spec": {"containers": [{"name": "claire-data"}]},
        "status": {"phase": "Running" if ready else "Pending", "conditions": [condition]},
    }


def claim(name: str = "claire-data", phase: str = "Bound") -> Any:
    """Return a claim as the API describes it."""
    return {"kind": "PersistentVolumeClaim", "metadata": {"name": name}, "status": {"phase": phase}}


def deployment(replicas: int = 1, work: Any = None, container: str = "claire-data") -> Any:
    """Return the Deployment of a data site as the API describes it, with a claim that can be written at /private."""
    mounts: list[Any] = [
        {"name": "data", "mountPath": "/data", "readOnly": True},
        {"name": "work", "mountPath": "/work"},
    ]
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": "claire-data", "readOnly": True}},
        {"name": "private", "persistentVolumeClaim": {"claimName": "claire-data"}},
        {"name": "work", "emptyDir": {"sizeLimit": "9Gi"} if work is None else work},
    ]
    mounts.append({"name": "private", "mountPath": "/private"})
    described = {"name": container, "image": "claire-data:1", "volumeMounts": mounts}
    return {
        "kind": "Deployment",
        "metadata": {"name": "claire-data"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "claire-data"}},
            "template": {"spec": {"containers": [described], "volumes": volumes}},
        },
    }


def site_objects() -> list[Any]:
    """Return the objects of a site in good order."""
    return [deployment(), pod(), claim()]
