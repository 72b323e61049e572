"""One plot for each group of figures, as SVG that is the same for the same figures.

Dots on a logarithmic scale, for workloads of one group lie decades apart; a line through each goes from the lowest to
the highest round. Inside the guide's page the colors of text are the theme's; on its own the file asks what its reader
prefers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.figures import APACHE, ODRADEK, Entry
from benchmarks.runner import LIMIT
from benchmarks.stats import Spread, spread
from benchmarks.workloads.base import CONNECTIONS, FAILOVER, LATENCY, STALLS, STARTING, TAILING

SIDES = {ODRADEK: "Odradek", APACHE: "Apache Kafka", LIMIT: "the limit"}
"""From top to bottom in each row."""
WIDTH, LABEL_WIDTH, GAP, MARGIN = 980, 280, 44, 18
LANE, ROW_GAP, HEAD, FOOT = 14, 10, 46, 26
MIB = 1 << 20
STYLE = """\
.bench-plot { --plot-fg: #30343a; font: 11px system-ui, sans-serif; max-width: 100%; height: auto; }
@media (prefers-color-scheme: dark) { .bench-plot { --plot-fg: #d5d8de; } }
.bench-plot text { fill: var(--md-default-fg-color, var(--plot-fg)); }
.bench-plot .grid { stroke: var(--md-default-fg-color, var(--plot-fg)); opacity: 0.16; }
.bench-plot .row { fill: var(--md-default-fg-color, var(--plot-fg)); opacity: 0.045; }
.bench-plot .tick { font-size: 10px; opacity: 0.75; }
.bench-plot .value { font-size: 10px; }
.bench-plot .head { font-weight: 600; }
.bench-plot .odradek { fill: #16a394; stroke: #16a394; }
.bench-plot .apache { fill: #e8711c; stroke: #e8711c; }
.bench-plot .limit { fill: #8b93a1; stroke: #8b93a1; }
.bench-plot line.odradek, .bench-plot line.apache, .bench-plot line.limit { stroke-width: 2; opacity: 0.55; }"""


@dataclass(frozen=True)
class Panel:
    """One figure of all workloads of a group; ``divisor`` makes its unit of what is measured."""

    heading: str
    figure: str
    divisor: float = 1.0


RATE = Panel("records/s (more is better)", "records_per_s")
CPU = Panel("broker CPU, s per million records (less is better)", "broker_cpu_s_per_million_records")
PANELS = {
    LATENCY: (Panel("p50, ms (less is better)", "p50_ms"), Panel("p99, ms (less is better)", "p99_ms")),
    TAILING: (Panel("p99, ms from send to reading (less is better)", "p99_ms"), CPU),
    CONNECTIONS: (RATE, Panel("peak memory, MiB (less is better)", "peak_bytes", MIB)),
    STARTING: (
        Panel("s to the first answer (less is better)", "duration_s"),
        Panel("resident before any client, MiB (less is better)", "resident_bytes", MIB),
    ),
    STALLS: (
        Panel("p99 beside it, ms (less is better)", "p99_ms"),
        Panel("p99 beside it by the quiet one (1 is best)", "p99_by_quiet"),
    ),
    FAILOVER: (
        Panel("s without an acknowledged write (less is better)", "duration_s"),
        Panel("s to be in sync again (less is better)", "restored_s"),
    ),
}
"""Of groups that are not shown by throughput and CPU time."""


def plot(group: str, title: str, entries: Sequence[Entry]) -> str:
    """The whole file; it has no blank lines, so that it can stand inside Markdown."""
    panels = PANELS.get(group, (RATE, CPU))
    width = (WIDTH - LABEL_WIDTH - GAP * len(panels) - MARGIN) / len(panels)
    heights = [LANE * len(SIDES) + ROW_GAP for _ in entries]
    height = HEAD + sum(heights) + FOOT
    parts = [
        f'<svg class="bench-plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{STYLE}\n</style>",
        *_legend([side for side in SIDES if any(entry.runs.get(side) for entry in entries)]),
    ]
    top = float(HEAD)
    for number, (entry, row) in enumerate(zip(entries, heights, strict=True)):
        if number % 2 == 0:
            parts.append(f'<rect class="row" x="0" y="{_n(top)}" width="{WIDTH}" height="{row}"/>')
        parts += _label(entry.title, top + row / 2)
        top += row
    for number, panel in enumerate(panels):
        left = LABEL_WIDTH + GAP + number * (width + GAP)
        parts += _panel(panel, entries, left, width, heights)
    return "\n".join([*parts, "</svg>"]) + "\n"


@dataclass(frozen=True)
class Scale:
    """A logarithmic axis of whole or half decades."""

    low: float
    high: float
    left: float
    width: float

    def x(self, value: float) -> float:
        share = (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return self.left + share * self.width

    def ticks(self) -> list[float]:
        """Decades, and between few of them also 2 and 5."""
        decades = math.log10(self.high / self.low)
        steps = (1.0,) if decades > 3 else (1.0, 2.0, 5.0) if decades <= 1.5 else (1.0, 3.0)
        first = math.floor(math.log10(self.low))
        found = [float(f"{step}e{power}") for power in range(first, first + math.ceil(decades) + 2) for step in steps]
        return [tick for tick in found if self.low * 0.999 <= tick <= self.high * 1.001]


def scale_of(values: Sequence[float], left: float, width: float) -> Scale:
    """From the next step below the lowest to the next above the highest, and room for what is written beside dots.

    Raises ValueError without values.
    """
    low, high = _step_below(min(values)), _step_above(max(values) * 1.05)
    return Scale(low, max(high, low * 10), left, width)


def short(value: float) -> str:
    """Three digits, with k and M for thousands and millions."""
    for bound, unit in ((1e6, " M"), (1e3, " k")):
        if value >= bound * 0.9995:
            return _digits(value / bound) + unit
    return _digits(value)


def _round(tick: float) -> str:
    for bound, unit in ((1e6, " M"), (1e3, " k")):
        if tick >= bound * 0.9995:
            return f"{tick / bound:g}{unit}"
    return f"{tick:g}"


def _digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    if value >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _step_below(value: float) -> float:
    decade = 10.0 ** math.floor(math.log10(value))
    return max(step * decade for step in (1.0, 2.0, 5.0) if step * decade <= value * 1.000001)


def _step_above(value: float) -> float:
    decade = 10.0 ** math.floor(math.log10(value))
    return min(step * decade for step in (1.0, 2.0, 5.0, 10.0) if step * decade >= value)


def _panel(panel: Panel, entries: Sequence[Entry], left: float, width: float, heights: Sequence[float]) -> list[str]:
    rows = [{side: _spread(entry, side, panel) for side in SIDES} for entry in entries]
    known = [
        end for row in rows for each in row.values() if each is not None for end in (each.low, each.high) if end > 0
    ]
    parts = [f'<text class="head" x="{_n(left)}" y="34">{escape(panel.heading)}</text>']
    if not known:
        return parts
    scale = scale_of(known, left, width)
    bottom = HEAD + sum(heights)
    for tick in scale.ticks():
        x = _n(scale.x(tick))
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{HEAD}" y2="{_n(bottom)}"/>')
        parts.append(f'<text class="tick" x="{x}" y="{_n(bottom + 15)}" text-anchor="middle">{_round(tick)}</text>')
    top = float(HEAD)
    for row, height in zip(rows, heights, strict=True):
        for lane, (side, each) in enumerate(row.items()):
            if each is not None and each.low > 0:
                parts += _dot(side, each, scale, top + ROW_GAP / 2 + LANE * (lane + 0.5))
        top += height
    return parts


def _spread(entry: Entry, side: str, panel: Panel) -> Spread | None:
    values = entry.values(side, panel.figure)
    return spread([None if value is None else value / panel.divisor for value in values])


def _dot(side: str, each: Spread, scale: Scale, y: float) -> list[str]:
    low, middle, high = (scale.x(value) for value in (each.low, each.median, each.high))
    is_right = middle > scale.left + scale.width * 0.82
    anchor, x = ("end", low - 8) if is_right else ("start", high + 8)
    return [
        f'<line class="{side}" x1="{_n(low)}" x2="{_n(high)}" y1="{_n(y)}" y2="{_n(y)}"/>',
        _mark(side, middle, y),
        f'<text class="value" x="{_n(x)}" y="{_n(y + 3.5)}" text-anchor="{anchor}">{short(each.median)}</text>',
    ]


def _mark(side: str, x: float, y: float) -> str:
    """Shapes differ as well as colors do."""
    if side == ODRADEK:
        return f'<circle class="{side}" cx="{_n(x)}" cy="{_n(y)}" r="4"/>'
    if side == APACHE:
        return f'<rect class="{side}" x="{_n(x - 3.5)}" y="{_n(y - 3.5)}" width="7" height="7"/>'
    return (
        f'<path class="{side}" d="M{_n(x)} {_n(y - 5)}L{_n(x + 5)} {_n(y)}L{_n(x)} {_n(y + 5)}L{_n(x - 5)} {_n(y)}Z"/>'
    )


def _legend(sides: Sequence[str]) -> list[str]:
    parts = []
    x = 12.0
    for side in sides:
        name = SIDES[side]
        parts.append(_mark(side, x, 14))
        parts.append(f'<text x="{_n(x + 10)}" y="18">{escape(name)}</text>')
        x += 24 + 7.2 * len(name)
    return parts


def _label(title: str, middle: float) -> list[str]:
    lines = _wrapped(title, 48)
    first = middle + 4 - 7 * (len(lines) - 1)
    return [f'<text x="12" y="{_n(first + 14 * number)}">{escape(line)}</text>' for number, line in enumerate(lines)]


def _wrapped(text: str, columns: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > columns:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _n(value: float) -> str:
    """A coordinate: one digit behind the point is less than anybody sees."""
    return f"{value:.1f}".removesuffix(".0")
