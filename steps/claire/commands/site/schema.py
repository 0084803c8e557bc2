"""StreamFlow's own check of its file, by the Python that StreamFlow is installed in."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from claire.core.command.errors import ClaireError, UsageError

#: Run by the engine's Python: the environment of the steps has no StreamFlow.
_VALIDATE = """
import json, sys
from jsonschema.exceptions import best_match
from jsonschema.validators import validator_for
from ruamel.yaml import YAML
from streamflow.config.schema import SfSchema
schema = SfSchema()
document = YAML(typ="safe").load(open(sys.argv[1]))
version = document.get("version")
config = schema.get_config(version if version in schema.configs else "v1.0").contents
faults = []
for error in validator_for(config)(config, registry=schema.registry).iter_errors(document):
    error = best_match([error])
    faults.append([".".join(map(str, error.absolute_path)), error.message])
print(json.dumps(faults))
"""


def schema_faults(path: Path) -> list[str]:
    """Return what StreamFlow's JSON schema finds wrong in a file.

    Raises UsageError if StreamFlow is not on the PATH, ClaireError if its check cannot be run.
    """
    command = [engine_python(), "-c", _VALIDATE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603 (our own)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ClaireError(f"StreamFlow's check of {path.name} failed: {last}", "Install requirements/engine.txt again.")
    return [f"{path.name}, {where or 'at the top'}: {message}" for where, message in json.loads(done.stdout)]


def engine_python() -> str:
    """Return the Python that runs `streamflow`. Raises UsageError if that is not on the PATH."""
    program = shutil.which("streamflow")
    if program is None:
        raise UsageError(
            "streamflow is not on the PATH: the site's file cannot be checked",
            "Run `make setup` and add .venv/engine/bin to PATH, or install requirements/engine.txt.",
        )
    with Path(program).open("rb") as file:
        first = file.readline().decode(errors="replace").strip()
    interpreter = first.removeprefix("#!").split(" ")[0]
    beside = Path(program).resolve().with_name("python")
    return interpreter if first.startswith("#!/") and Path(interpreter).exists() else str(beside)
