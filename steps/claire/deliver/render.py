"""Self-contained pages: templates with the style inside. They make no request and need no script."""

from __future__ import annotations

import base64
import json
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

import claire
from claire.deliver import words
from claire.deliver.diagnosis import RESEARCH_USE


def render(template: str, context: dict[str, Any]) -> str:
    """Return a page."""
    return _environment().get_template(template).render(context)


def picture_source(picture: bytes) -> str:
    """Return a PNG as the source of an image within the page."""
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("claire.deliver"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "version": claire.__version__,
        "research_use": RESEARCH_USE,
        "style": Markup(_asset("style.css")),  # noqa: S704 (our own file)
        "glossary": json.loads(_asset("glossary.json")),
        "words": words,
    }
    return environment


def _asset(name: str) -> str:
    return resources.files("claire.deliver").joinpath(name).read_text(encoding="utf-8")
