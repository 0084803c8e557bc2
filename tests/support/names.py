"""Names as people spell them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st


@st.composite
def spellings(draw: st.DrawFn, names: Sequence[str]) -> str:
    """Draw one of `names` in any case, with blanks, dashes or underscores between its letters."""
    letters = [letter.upper() if draw(st.booleans()) else letter for letter in draw(st.sampled_from(names))]
    gaps = draw(st.lists(st.sampled_from(["", "", "", " ", "-", "_"]), min_size=len(letters), max_size=len(letters)))
    return "".join(gap + letter for gap, letter in zip(["", *gaps[1:]], letters, strict=True))
