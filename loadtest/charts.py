"""Line charts as inline SVG, for pages that open without a network and without scripts."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 14, 40
COLOURS = ("#1b6ca8", "#c2571a", "#3a7d44", "#7b4ba0", "#8a6d1d", "#555555")
"""Dark enough on white, and apart from each other for most colour-blind eyes."""

TICKS = 5

Values = Sequence[float | None]


def ticks(highest: float, wanted: int = TICKS) -> list[float]:
    """Round values from 0 to at least ``highest``: about ``wanted`` steps of 1, 2 or 5 tens."""
    if not highest > 0 or not math.isfinite(highest):
        return [0.0, 1.0]
    rough = highest / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough * (1 - 1e-9))
    return [n * step for n in range(math.ceil(highest / step - 1e-9) + 1)]


def line_chart(
    title: str,
    places: Sequence[float],
    series: Mapping[str, Values],
    *,
    across: str,
    upward: str,
) -> str:
    """A heading and an ``<svg>`` of ``series`` over ``places``, which ascend.

    A None breaks its line. ``across`` and ``upward`` name the axes with their units; both begin
    at 0.
    """
    shown = [v for values in series.values() for v in values if v is not None and math.isfinite(v)]
    rows = ticks(max(shown, default=0.0))
    columns = ticks(max(places, default=0.0))

    def x(place: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * place / columns[-1]

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / rows[-1]

    parts = [
        f"<h3>{escape(title)}</h3>\n"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 18}" role="img" aria-label="{escape(title)}" '
        'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="11">'
    ]
    for row in rows:
        parts.append(_line(LEFT, y(row), WIDTH - RIGHT, y(row), "#dddddd"))
        parts.append(_text(LEFT - 6, y(row) + 4, f"{row:g}", "end"))
    for column in columns:
        parts.append(_line(x(column), HEIGHT - BOTTOM, x(column), HEIGHT - BOTTOM + 4, "#888888"))
        parts.append(_text(x(column), HEIGHT - BOTTOM + 16, f"{column:g}", "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, across, "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f'transform="rotate(-90 14 {middle:.1f})"'
    parts.append(_text(14, middle, upward, "middle", turned))
    for number, (name, values) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = [
            None if value is None or not math.isfinite(value) else (x(place), y(value))
            for place, value in zip(places, values, strict=True)
        ]
        parts += _polylines(points, colour)
        at = LEFT + number * (WIDTH - LEFT - RIGHT) / max(1, len(series))
        parts.append(_line(at, HEIGHT + 8, at + 16, HEIGHT + 8, colour, width=3))
        parts.append(_text(at + 21, HEIGHT + 12, name, "start"))
    return "".join([*parts, "</svg>"])


def _polylines(points: Sequence[tuple[float, float] | None], colour: str) -> list[str]:
    """One line for each run of points, and a dot for each point, so that lone ones are seen."""
    found, run = [], list[tuple[float, float]]()
    for point in [*points, None]:
        if point is not None:
            run.append(point)
            found.append(f'<circle cx="{point[0]:.1f}" cy="{point[1]:.1f}" r="2" fill="{colour}"/>')
            continue
        if len(run) > 1:
            path = " ".join(f"{across:.1f},{up:.1f}" for across, up in run)
            found.append(
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
            )
        run = []
    return found


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, width: float = 1) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"/>'
    )


def _text(x: float, y: float, text: str, anchor: str, extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{escape(text)}</text>'
