"""Plots as inline SVG. Their colours come from the page's style sheet, so they suit a dark and a light page.

A screen reader meets every plot as one picture and reads its description; a table beside it has the figures. Text from
data is escaped. Equal input gives equal text.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

COLOURS = 8
"""The style sheet has the colours c0 to c7. A ninth series repeats the first; a line then has another dash."""

GONE = "gone"
LABEL_CHARS = 44
ROW, BAR_TOP, BAR_HEIGHT = 44, 19, 14
POINTS = 400
"""A line of more points is thinned to about this many."""


def colour(position: int) -> str:
    """The class of a series by its position."""
    return f"c{position % COLOURS}"


def shortened(text: str) -> str:
    """One line of at most LABEL_CHARS characters."""
    text = " ".join(text.split())
    return text if len(text) <= LABEL_CHARS else f"{text[: LABEL_CHARS - 1]}…"


BARS = Markup('<svg role="img" aria-label="{}" class="bars" width="100%" height="{}">{}</svg>')
PLOT = Markup('<svg role="img" aria-label="{}" class="plot" viewBox="0 0 {} {}">{}</svg>')
WORDS = Markup('<text x="{}" y="{}" class="{}" text-anchor="{}">{}</text>')


def _joined(pieces: Sequence[Markup]) -> Markup:
    return Markup("").join(pieces)


@dataclass(frozen=True)
class Segment:
    """A stretch of a bar; `style` is a colour class or GONE."""

    amount: float
    style: str


@dataclass(frozen=True)
class Bar:
    """A row with its label on the left, its value on the right and the bar below them."""

    label: str
    value: str
    segments: Sequence[Segment]


def bars(description: str, rows: Sequence[Bar], scale: float | None = None) -> Markup:
    """Horizontal stacked bars as wide as the page; text keeps its size.

    `scale` is the amount that fills the width; by default that is the longest bar.
    """
    full = scale or max((sum(part.amount for part in row.segments) for row in rows), default=0) or 1
    body = [piece for position, row in enumerate(rows) for piece in _bar(row, position * ROW, full)]
    return BARS.format(description, len(rows) * ROW, _joined(body))


def _bar(row: Bar, top: int, full: float) -> list[Markup]:
    pieces = [
        WORDS.format("0", top + 12, "label", "start", shortened(row.label)),
        WORDS.format("100%", top + 12, "value", "end", row.value),
        _rect(0, 100, top + BAR_TOP, "track"),
    ]
    start = 0.0
    for part in row.segments:
        if part.amount > 0:
            width = part.amount / full * 100
            pieces.append(_rect(start, width, top + BAR_TOP, part.style))
            start += width
    return pieces


def _rect(start: float, width: float, top: int, style: str) -> Markup:
    rect = Markup('<rect x="{:.2f}%" y="{}" width="{:.2f}%" height="{}" class="{}"/>')
    return rect.format(start, top, width, BAR_HEIGHT, style)


@dataclass(frozen=True)
class Interval:
    """A row with a value, its interval and values to compare it with. Numbers are shares of 1 or None."""

    label: str
    value: str
    at: float | None
    low: float
    high: float
    chance: float | None
    majority: float | None


def intervals(description: str, rows: Sequence[Interval]) -> Markup:
    """Rows from 0 to 100 % with a point and its interval, a stroke for chance and a diamond for majority."""
    height = len(rows) * ROW
    body = []
    line = Markup('<line x1="{0}%" x2="{0}%" y1="0" y2="{1}" class="grid"/>')
    for tick, anchor in ((0, "start"), (25, "middle"), (50, "middle"), (75, "middle"), (100, "end")):
        body += [line.format(tick, height), WORDS.format(f"{tick}%", height + 14, "tick", anchor, f"{tick} %")]
    for position, row in enumerate(rows):
        body += _interval(row, position * ROW)
    return BARS.format(description, height + 20, _joined(body))


def _interval(row: Interval, top: int) -> list[Markup]:
    pieces = [
        WORDS.format("0", top + 13, "label halo", "start", shortened(row.label)),
        WORDS.format("100%", top + 13, "value halo", "end", row.value),
    ]
    middle = top + 28
    if row.at is None:
        return pieces
    for share, shape, style in ((row.chance, "M0-9V9", "chance"), (row.majority, "M0-6L6 0L0 6L-6 0Z", "majority")):
        if share is not None:
            mark = Markup('<svg x="{:.2f}%" y="{}" overflow="visible"><path d="{}" class="{}"/></svg>')
            pieces.append(mark.format(share * 100, middle, shape, style))
    line = Markup('<line x1="{0:.2f}%" x2="{1:.2f}%" y1="{2}" y2="{2}" class="interval"/>')
    point = Markup('<circle cx="{:.2f}%" cy="{}" r="5" class="point"/>')
    pieces.append(line.format(row.low * 100, row.high * 100, middle))
    pieces.append(point.format(row.at * 100, middle))
    return pieces


@dataclass(frozen=True)
class Line:
    """A series of points (x, y); `position` gives its colour and dash. A band has (x, low, high), all finite."""

    points: Sequence[tuple[float, float]]
    position: int
    dots: bool = False
    band: Sequence[tuple[float, float, float]] = ()


WIDTH, HEIGHT = 400, 230
LEFT, RIGHT, TOP, BOTTOM = 42, 388, 26, 194
HALF_CHAR = 3


@dataclass(frozen=True)
class Axes:
    """Titles of the axes, values of y that must be in view, and values of x to mark with a word."""

    x: str
    y: str
    include: Sequence[float] = ()
    marks: Sequence[tuple[float, str]] = ()
    marks_below: bool = False


def lines(description: str, series: Sequence[Line], axes: Axes) -> Markup:
    """Lines on linear axes, without the points that are not finite. Lines of very many points are thinned."""
    drawn = [(line, _thin([point for point in line.points if all(map(math.isfinite, point))])) for line in series]
    points = [point for _, kept in drawn for point in kept]
    if not points:
        return PLOT.format(description, WIDTH, 40, _text(LEFT, 24, "tick", "no data"))
    x_ticks = ticks(min(x for x, _ in points), max(x for x, _ in points))
    bands = [y for line in series for _, low, high in line.band for y in (low, high)]
    heights = [*(y for _, y in points), *bands, *axes.include]
    y_ticks = ticks(min(heights), max(heights))
    scale = _Scale(x_ticks[0], x_ticks[-1], y_ticks[0], y_ticks[-1])
    body = [*_grid([(value, _tick(value)) for value in x_ticks], y_ticks, scale), *_titles(axes)]
    for at, word in axes.marks:
        x = scale.x(at)
        body.append(Markup('<path d="M{:.1f} {}V{}" class="mark"/>').format(x, TOP, BOTTOM))
        anchor, shift = ("end", -4) if x > (LEFT + RIGHT) / 2 else ("start", 4)
        body.append(_text(x + shift, BOTTOM - 6 if axes.marks_below else TOP + 9, "tick halo", word, anchor))
    for line, kept in drawn:
        body += [*_band(line, scale), *_line(line, kept, scale)]
    return PLOT.format(description, WIDTH, HEIGHT, _joined(body))


def _thin(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """About POINTS of the points, evenly spaced, with the last."""
    if len(points) <= POINTS:
        return points
    stride = math.ceil(len(points) / POINTS)
    return [*points[:-1:stride], points[-1]]


@dataclass(frozen=True)
class _Scale:
    """Turns values into places in the plot."""

    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return LEFT + (value - self.left) / (self.right - self.left) * (RIGHT - LEFT)

    def y(self, value: float) -> float:
        return BOTTOM - (value - self.low) / (self.high - self.low) * (BOTTOM - TOP)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round values, two or more, that enclose `low` and `high`."""
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    rough = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [position * step for position in range(first, last + 1)]


def _grid(marks: Sequence[tuple[float, str]], y_ticks: Sequence[float], scale: _Scale) -> list[Markup]:
    body = []
    for value in y_ticks:
        y = scale.y(value)
        body.append(Markup('<path d="M{} {:.1f}H{}" class="grid"/>').format(LEFT, y, RIGHT))
        body.append(_text(LEFT - 6, y + 3.5, "tick", _tick(value), "end"))
    body.append(Markup('<path d="M{} {}H{}" class="axis"/>').format(LEFT, BOTTOM, RIGHT))
    for value, word in marks:
        # A long word at the right end must not stick out.
        x = min(scale.x(value), WIDTH - len(word) * HALF_CHAR)
        body.append(_text(x, BOTTOM + 15, "tick", word, "middle"))
    return body


def _titles(axes: Axes) -> list[Markup]:
    return [
        _text((LEFT + RIGHT) / 2, HEIGHT - 8, "title", axes.x, "middle"),
        _text(0, 9, "title", axes.y),
    ]


def _tick(value: float) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1e6:g}M" if abs(value) >= 1e6 else f"{value / 1e3:g}K"
    return f"{value:.6g}"


def _text(x: float, y: float, style: str, words: str, anchor: str = "start") -> Markup:
    return WORDS.format(f"{x:.1f}", f"{y:.1f}", style, anchor, words)


def _line(line: Line, points: Sequence[tuple[float, float]], scale: _Scale) -> list[Markup]:
    if not points:
        return []
    places = [(scale.x(x), scale.y(y)) for x, y in points]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    style = f"line {colour(line.position)} d{line.position % 3}"
    drawn = [Markup('<path d="M{}" class="{}"/>').format(path, style)]
    if line.dots or len(places) == 1:
        dot = Markup('<circle cx="{:.1f}" cy="{:.1f}" r="2.5" class="{}"/>')
        drawn += [dot.format(x, y, colour(line.position)) for x, y in places]
    return drawn


def _band(line: Line, scale: _Scale) -> list[Markup]:
    there = [(x, high) for x, _, high in line.band]
    back = [(x, low) for x, low, _ in reversed(line.band)]
    path = "L".join(f"{scale.x(x):.1f} {scale.y(y):.1f}" for x, y in (*there, *back))
    return [Markup('<path d="M{}Z" class="band {}"/>').format(path, colour(line.position))] if path else []


@dataclass(frozen=True)
class Histogram:
    """Two series of heights by bucket, one filled in the colour class `style` and one outlined.

    `edges` names the ends of the buckets, so it has one entry more.
    """

    edges: Sequence[str]
    filled: Sequence[float]
    outlined: Sequence[float]
    style: str


def histogram(description: str, columns: Histogram, axes: Axes) -> Markup:
    """Columns from 0. As many edges have their name as there is room for."""
    y_ticks = ticks(0, max((*columns.filled, *columns.outlined, *axes.include)))
    scale = _Scale(0, len(columns.filled), y_ticks[0], y_ticks[-1])
    width = scale.x(1) - scale.x(0)
    stride = math.ceil((max(map(len, columns.edges)) + 1) * 2 * HALF_CHAR / width)
    body = [*_grid(list(enumerate(columns.edges))[::stride], y_ticks, scale), *_titles(axes)]
    rect = Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="{}"/>')
    body += [
        rect.format(scale.x(place), scale.y(height), width, BOTTOM - scale.y(height), columns.style)
        for place, height in enumerate(columns.filled)
        if height
    ]
    steps = "".join(f"V{scale.y(height):.1f}H{scale.x(place + 1):.1f}" for place, height in enumerate(columns.outlined))
    body.append(Markup('<path d="M{} {}{}V{}" class="outline"/>').format(LEFT, BOTTOM, steps, BOTTOM))
    return PLOT.format(description, WIDTH, HEIGHT, _joined(body))
