"""Files that the pipeline ships beside its steps: the workflow, grids and job files, how to cite it."""

from __future__ import annotations

from pathlib import Path

import claire
from claire.core.command.errors import ClaireError

_PACKAGE = Path(claire.__file__).parent
#: In a wheel they are data of the package (setup.py puts them there); in a checkout they lie beside `steps/`.
_HOMES = (_PACKAGE / "share", _PACKAGE.parents[1])


def shipped(name: str) -> Path:
    """Return the absolute path of a shipped file: `cwl/main.cwl`, `configs/grids/sample.yml`, `CITATION.cff`.

    Raises ClaireError if this installation does not have it.
    """
    for home in _HOMES:
        if (home / name).is_file():
            return home / name
    raise ClaireError(
        f"{name} is not part of this installation of claire {claire.__version__}",
        "Install the wheel of a release, or a checkout by `pip install --editable .`.",
    )
