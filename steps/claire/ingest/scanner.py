"""Free text of a header that may leave the site: vendor, model and kernel, by allow-lists.

Sites write names, operators and dates into these fields. So the text itself is never passed on: known names are written
in one spelling, anything else becomes "other" (vendor) or is left empty.
"""

from __future__ import annotations

import re
from itertools import pairwise

#: Makers of CT scanners by a word of their name; the last three are the makers of `claire phantom`.
_VENDORS = {
    **dict.fromkeys(("ge", "gemedical", "gehealthcare", "imatron"), "GE"),
    **dict.fromkeys(("siemens", "siemenshealthineers"), "Siemens"),
    **dict.fromkeys(("philips", "picker", "marconi", "elscint"), "Philips"),
    **dict.fromkeys(("toshiba", "canon"), "Canon"),
    **dict.fromkeys(("hitachi", "fujifilm"), "Fujifilm"),
    **dict.fromkeys(("uih", "unitedimaging"), "United Imaging"),
    "neusoft": "Neusoft", "samsung": "Samsung", "neurologica": "Samsung", "shimadzu": "Shimadzu",
    "minfound": "MinFound", "anke": "Anke", "sinovision": "SinoVision", "planmed": "Planmed",
    "aureliaimaging": "Aurelia Imaging", "northlight": "Northlight", "kestrel": "Kestrel",
}  # fmt: skip
#: Families of models; a number or short code that follows one is kept ("LightSpeed 16", "Aquilion ONE").
_MODELS = (
    *("Somatom Definition", "Somatom Force", "Somatom Drive", "Somatom Emotion", "Somatom Sensation", "Somatom Scope"),
    *("Somatom Perspective", "Somatom go", "Somatom X", "Somatom Volume", "Somatom", "Naeotom Alpha", "Emotion"),
    *("Sensation", "Perspective", "Volume Zoom", "Biograph", "Brilliance", "Ingenuity", "Incisive", "IQon", "iCT"),
    *("Mx8000", "Gemini", "LightSpeed", "BrightSpeed", "Discovery", "Optima", "Revolution", "HiSpeed", "Aquilion"),
    *("Activion", "Alexion", "Asteion", "Scenaria", "Supria", "Eclos", "uCT", "uMI", "NeuViz", "BodyTom"),
    *("ScintCare", "Vista", "Helix", "Orbit"),
)
_SUFFIX = re.compile(
    r"[ -]?(\d{1,3}|VCT|Ultra|Pro(?:16)?|Plus|RT|CT|AS\+?|Flash|Edge|ONE|PRIME|LB|CX|Xtream|Evo)(?!\w)", re.IGNORECASE
)
_KERNEL = re.compile(
    r"(?:[A-Z]{1,2}|[BHQSTU][a-z])\d{2}[a-z]{0,2}(?:[\\/ ]?\d)?"  # Siemens: B30f, Br40d, I31f 3
    r"|FC\d{2}(?:-H)?"  # Canon
    r"|(?:YA|YB|YC|YD|YE|[A-E])"  # Philips
    r"|(?:STANDARD|SOFT|LUNG|BONE(?:PLUS)?|DETAIL|CHEST|EDGE|SHARP|SMOOTH|ULTRA)\+?"
    r"|(?:B|C)_(?:SOFT|SHARP|VSOFT|VSHARP)(?:_[A-D])?"  # United Imaging
)


def known_vendor(text: str) -> str:
    """Return the maker in one spelling, "other" if it is unknown, "" if the text is empty."""
    if not text.strip():
        return ""
    tokens = re.sub(r"[^a-z]+", " ", text.lower()).split()
    pairs = [f"{first}{second}" for first, second in pairwise(tokens)]
    return next((_VENDORS[name] for name in [*pairs, *tokens] if name in _VENDORS), "other")


def known_model(text: str) -> str:
    """Return the known family of a model with its number or short code, "" for anything else."""
    for family in _MODELS:
        match = re.search(rf"(?<![A-Za-z]){re.escape(family)}(?![A-Za-z])", text, re.IGNORECASE)
        if match:
            suffix = _SUFFIX.match(text[match.end() :])
            return family + (f" {suffix[1]}" if suffix else "")
    return ""


def known_kernel(text: str) -> str:
    """Return a convolution kernel unchanged if the whole text is one, "" for anything else."""
    stripped = text.strip()
    return stripped if _KERNEL.fullmatch(stripped) else ""
