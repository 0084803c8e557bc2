"""Charts as inline SVG: no script, no font, no request; they print well and fit a phone screen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

#: Okabe and Ito's colours, safe for colour-blind readers; curves also differ in dashes.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7a6a00", "#56b4e9")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "12 4")
WIDTH, HEIGHT = 440, 360
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 46

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A curve with its name; `band` holds (x, lower, upper), `marks` draws its points."""

    name: str
    points: Sequence[Point]
    band: Sequence[tuple[float, float, float]] = ()
    marks: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Axes:
    """Names and limits of both axes; `guide` is a dashed line from one data point to another."""

    x: str
    y: str
    x_limits: Point = (0.0, 1.0)
    y_limits: Point = (0.0, 1.0)
    guide: tuple[Point, Point] | None = None


@dataclass(frozen=True)
class Interval:
    """A figure with its limits in a forest plot; `lower` and `upper` may be None."""

    name: str
    value: float
    lower: float | None = None
    upper: float | None = None
    note: str = ""


@dataclass
class _Canvas:
    axes: Axes
    parts: list[Markup] = field(default_factory=list)

    def x(self, value: float) -> float:
        low, high = self.axes.x_limits
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / ((high - low) or 1)

    def y(self, value: float) -> float:
        low, high = self.axes.y_limits
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / ((high - low) or 1)

    def path(self, points: Iterable[Point]) -> str:
        return "M" + "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in points)

    def add(self, template: str, **values: object) -> None:
        self.parts.append(Markup(template).format(**values))  # noqa: S704 (templates are constants, values are escaped)


def line_chart(axes: Axes, lines: Sequence[Line], alt: str) -> Markup:
    """Return a chart of curves with their bands and a legend; `alt` is its text alternative."""
    canvas = _Canvas(axes)
    _draw_axes(canvas)
    for index, line in enumerate(lines):
        if line.band:
            outline = [(x, upper) for x, _, upper in line.band] + [(x, lower) for x, lower, _ in reversed(line.band)]
            canvas.add('<path d="{d}Z" fill="{c}" opacity=".14"/>', d=canvas.path(outline), c=_colour(index))
    for index, line in enumerate(lines):
        _draw_line(canvas, line, index)
    return _svg(canvas.parts, WIDTH, HEIGHT, alt) + _legend(lines)


def forest(rows: Sequence[Interval], alt: str, reference: float | None = None, unit: str = "") -> Markup:
    """Return a forest plot: one line per row, its figure as a dot on its interval; `reference` is a vertical line."""
    ends = [end for row in rows for end in (row.value, row.lower, row.upper) if end is not None]
    ends += [reference] if reference is not None else []
    low, high = min(ends), max(ends)
    margin = (high - low or 0.1) * 0.06
    low, high = low - margin, high + margin
    left, right, step, width = 230, 118, 24, 660
    height = step * len(rows) + 34

    def x(value: float) -> float:
        return left + (width - left - right) * (value - low) / (high - low)

    parts: list[Markup] = []

    def add(template: str, **values: object) -> None:
        parts.append(Markup(template).format(**values))  # noqa: S704

    for tick in ticks(low, high, 5):
        add('<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{y}"/>', x=x(tick), y=height - 26)
        add(
            '<text class="tick" x="{x:.1f}" y="{y}" text-anchor="middle">{t}</text>',
            x=x(tick),
            y=height - 11,
            t=_tick(tick),
        )
    if reference is not None:
        add('<line class="guide" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{y}"/>', x=x(reference), y=height - 26)
    for index, row in enumerate(rows):
        y = 18 + index * step
        add('<text x="0" y="{y}">{name}</text>', y=y + 4, name=_short(row.name, 34))
        if row.lower is not None and row.upper is not None:
            add(
                '<line class="whisker" x1="{a:.1f}" x2="{b:.1f}" y1="{y}" y2="{y}"/>',
                a=x(row.lower),
                b=x(row.upper),
                y=y,
            )
        add('<circle class="dot" cx="{x:.1f}" cy="{y}" r="4.5"/>', x=x(row.value), y=y)
        add('<text class="tick" x="{x}" y="{y}" text-anchor="end">{note}</text>', x=width, y=y + 4, note=row.note)
    if unit:
        add('<text class="name" x="0" y="{y}">{unit}</text>', y=height - 11, unit=unit)
    return _svg(parts, width, height, alt, "chart forest")


def whisker(
    value: float, lower: float | None, upper: float | None, limits: Point, reference: float | None = None
) -> Markup:
    """Return a figure on its interval as a picture for a cell; hidden from screen readers, which read the numbers."""

    def x(at: float) -> float:
        low, high = limits
        return 4 + 112 * min(1.0, max(0.0, (at - low) / ((high - low) or 1)))

    ends = (x(value), x(value)) if lower is None or upper is None else (x(lower), x(upper))
    mark = '<line class="guide" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="14"/>' if reference is not None else ""
    template = (
        '<svg class="spark" viewBox="0 0 120 14" aria-hidden="true"><line class="grid" x1="4" x2="116" y1="7" y2="7"/>'
        '{mark}<line class="whisker" x1="{a:.1f}" x2="{b:.1f}" y1="7" y2="7"/>'
        '<circle class="dot" cx="{x:.1f}" cy="7" r="4"/></svg>'
    )
    drawn = Markup(mark).format(x=x(reference or 0.0))  # noqa: S704
    return Markup(template).format(a=ends[0], b=ends[1], x=x(value), mark=drawn)  # noqa: S704


def lung_map(counts: Mapping[tuple[str, str], int], alt: str) -> Markup:
    """Return the six zones of the lungs shaded by their counts; the patient's right is on the left, as on a CT."""
    highest = max(counts.values(), default=0) or 1
    parts: list[Markup] = []
    for column, side in enumerate(("right", "left")):
        x = 46 + 62 * column
        parts.append(Markup('<text class="tick" x="{}" y="12" text-anchor="middle">{}</text>').format(x + 28, side))
        for row, zone in enumerate(("upper", "middle", "lower")):
            count, y = counts.get((side, zone), 0), 18 + 36 * row
            parts.append(
                Markup(
                    '<rect x="{x}" y="{y}" width="56" height="33" rx="4" class="zone"/>'
                    '<rect x="{x}" y="{y}" width="56" height="33" rx="4" fill="{c}" opacity="{o:.2f}"/>'
                    '<text x="{tx}" y="{ty}" text-anchor="middle">{n}</text>'
                ).format(x=x, y=y, c=COLOURS[1], o=0.55 * count / highest, tx=x + 28, ty=y + 21, n=count or "·")
            )
    for row, zone in enumerate(("upper", "middle", "lower")):
        parts.append(Markup('<text class="tick" x="40" y="{}" text-anchor="end">{}</text>').format(39 + 36 * row, zone))
    counts_text = "; ".join(f"{side} {zone}: {count}" for (side, zone), count in sorted(counts.items()))
    return _svg(parts, 168, 130, f"{alt}. {counts_text}.", "chart lungs")


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers from `low` to `high`, about `count` of them."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    rough_step = span / count
    power = 10 ** math.floor(math.log10(rough_step))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough_step * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _draw_axes(canvas: _Canvas) -> None:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for tick in ticks(*canvas.axes.x_limits):
        x = canvas.x(tick)
        canvas.add('<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{a}" y2="{b}"/>', x=x, a=TOP, b=bottom)
        canvas.add(
            '<text class="tick" x="{x:.1f}" y="{y}" text-anchor="middle">{t}</text>', x=x, y=bottom + 16, t=_tick(tick)
        )
    for tick in ticks(*canvas.axes.y_limits):
        y = canvas.y(tick)
        canvas.add('<line class="grid" x1="{a}" x2="{b}" y1="{y:.1f}" y2="{y:.1f}"/>', y=y, a=LEFT, b=right)
        canvas.add(
            '<text class="tick" x="{x}" y="{y:.1f}" text-anchor="end">{t}</text>', x=LEFT - 6, y=y + 4, t=_tick(tick)
        )
    canvas.add(
        '<text class="name" x="{x}" y="{y}" text-anchor="middle">{t}</text>',
        x=(LEFT + right) / 2,
        y=HEIGHT - 8,
        t=canvas.axes.x,
    )
    canvas.add(
        '<text class="name" transform="translate(13 {y}) rotate(-90)" text-anchor="middle">{t}</text>',
        y=(TOP + bottom) / 2,
        t=canvas.axes.y,
    )
    if canvas.axes.guide:
        canvas.add('<path class="guide" d="{d}"/>', d=canvas.path(canvas.axes.guide))


def _draw_line(canvas: _Canvas, line: Line, index: int) -> None:
    template = '<path d="{d}" fill="none" stroke="{c}" stroke-width="{w}" stroke-dasharray="{dash}" opacity="{o}"/>'
    if len(line.points) > 1:
        canvas.add(
            template,
            d=canvas.path(line.points),
            c=_colour(index),
            dash=DASHES[index % len(DASHES)],
            w=1.2 if line.faint else 2.2,
            o=0.6 if line.faint else 1,
        )
    if line.marks or len(line.points) == 1:
        for x, y in line.points:
            canvas.add(
                '<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#fff" stroke="{c}" stroke-width="2"/>',
                x=canvas.x(x),
                y=canvas.y(y),
                c=_colour(index),
            )


def _legend(lines: Sequence[Line]) -> Markup:
    swatch = (
        '<li><svg viewBox="0 0 30 8" aria-hidden="true"><path d="M0 4H30" stroke="{c}" stroke-width="2.5" '
        'stroke-dasharray="{dash}"/></svg> {name}</li>'
    )
    rows = [
        Markup(swatch).format(c=_colour(index), dash=DASHES[index % len(DASHES)], name=line.name)  # noqa: S704
        for index, line in enumerate(lines)
    ]
    return Markup('<ul class="legend">') + Markup("").join(rows) + Markup("</ul>")


def _svg(parts: Sequence[Markup], width: int, height: int, alt: str, kind: str = "chart") -> Markup:
    head = Markup('<svg class="{kind}" role="img" viewBox="0 0 {w} {h}" aria-label="{alt}">').format(
        kind=kind, w=width, h=height, alt=alt
    )
    return head + Markup("").join(parts) + Markup("</svg>")


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _tick(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
