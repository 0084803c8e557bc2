"""The repository as a Workflow RO-Crate: what WorkflowHub reads when the repository is registered there.

Written from CITATION.cff and cwl/main.cwl by docs/generate.py. Profile: https://w3id.org/workflowhub/workflow-ro-crate/1.0
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

MAIN = "cwl/main.cwl"
PICTURE = "docs/pictures/workflow.svg"
CRATE = "https://w3id.org/ro/crate/1.1"
PROFILE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
CWL = "https://w3id.org/workflowhub/workflow-ro-crate#cwl"


def workflow_crate(root: Path) -> str:
    """Return the text of `ro-crate-metadata.json` at the top of the repository."""
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    workflow = yaml.safe_load((root / MAIN).read_text(encoding="utf-8"))
    licence = f"https://spdx.org/licenses/{citation['license']}"
    authors = [
        {"@id": f"#author-{i}", "@type": "Organization", **author} for i, author in enumerate(citation["authors"])
    ]
    about = {"creator": [_ref(author["@id"]) for author in authors], "license": _ref(licence)}
    graph: list[dict[str, Any]] = [
        {
            "@id": "ro-crate-metadata.json",
            "@type": "CreativeWork",
            "about": _ref("./"),
            "conformsTo": [_ref(CRATE), _ref(PROFILE)],
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": citation["title"],
            "description": citation["abstract"].strip(),
            "mainEntity": _ref(MAIN),
            "hasPart": [_ref(name) for name in (MAIN, PICTURE, "README.md", "CITATION.cff", "LICENSE")],
            **about,
        },
        {
            "@id": MAIN,
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            "name": workflow["label"],
            "description": workflow["doc"].strip(),
            "version": str(citation["version"]),
            "programmingLanguage": _ref(CWL),
            "image": _ref(PICTURE),
            **about,
        },
        {"@id": PICTURE, "@type": ["File", "ImageObject"], "name": "The workflow", "encodingFormat": "image/svg+xml"},
        *({"@id": name, "@type": "File"} for name in ("README.md", "CITATION.cff", "LICENSE")),
        {
            "@id": CWL,
            "@type": "ComputerLanguage",
            "name": "Common Workflow Language",
            "alternateName": "CWL",
            "version": workflow["cwlVersion"],
            "identifier": _ref(f"https://w3id.org/cwl/{workflow['cwlVersion']}/"),
            "url": _ref("https://www.commonwl.org/"),
        },
        {"@id": licence, "@type": "CreativeWork", "name": citation["license"]},
        *authors,
    ]
    return json.dumps({"@context": f"{CRATE}/context", "@graph": graph}, indent=1, ensure_ascii=False) + "\n"


def _ref(identifier: str) -> dict[str, str]:
    return {"@id": identifier}
