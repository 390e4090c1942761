"""The plots of a report, and what each shows of the manifests."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup

from eval import numbers
from eval.charts import GONE, Axes, Bar, Histogram, Interval, Line, Segment, bars, colour, histogram, intervals, lines
from eval.composition import Lengths, Upsampled
from eval.ledger import Ledger
from eval.statistics import wilson
from eval.summary import Figures, Run, named
from lake.step import Manifest

EACH_SIZE = 4
"""Clusters of up to this many documents have a bar for each size. Larger ones share a bar for every doubling."""

DIAGONAL = 7
"""The colour of a line that is no measurement."""


def funnel(steps: Sequence[Manifest], sources: Sequence[str]) -> Markup:
    """Documents left after each step, by source, and those that it dropped."""
    first = steps[0]
    rows = [Bar(f"raw {first.unit}", f"{first.total.entered:,}", _segments(first, sources, entered=True))]
    for step in steps:
        total = step.total
        dropped = total.entered - total.kept
        value = f"{total.kept:,} (−{dropped:,})" if dropped else f"{total.kept:,}"
        rows.append(Bar(step.step, value, [*_segments(step, sources, entered=False), Segment(dropped, GONE)]))
    return bars(f"Documents left after each step: {_list(f'{row.label} {row.value}' for row in rows)}", rows)


def _segments(step: Manifest, sources: Sequence[str], entered: bool) -> list[Segment]:
    return [
        Segment(account.entered if entered else account.kept, colour(sources.index(source)))
        for source, account in step.accounts.items()
    ]


def _list(items: Iterable[str]) -> str:
    return ", ".join(items) or "none"


def reasons(name: str, ledger: Ledger, sources: Sequence[str]) -> Markup:
    """What one or several steps dropped by reason, the commonest first, and by source."""
    dropped = sorted(ledger.dropped.items(), key=lambda row: (-row[1][0], row[0]))
    styles = [colour(sources.index(source)) for source in ledger.columns]
    rows = [
        Bar(reason, f"{total:,}", [Segment(count, style) for count, style in zip(counts, styles, strict=True)])
        for reason, (total, *counts) in dropped
    ]
    return bars(f"Dropped {name}: {_list(f'{row.label} {row.value}' for row in rows)}", rows)


def shares(rows: Sequence[Figures], sources: Sequence[str]) -> Markup:
    """Each source's share of the training tokens; a full track is all of them."""
    drawn = [
        Bar(
            row["source"],
            f"{numbers.percent(row['share'])} of tokens, {row['epochs']:.2f} epochs",
            [Segment(row["share"], colour(sources.index(row["source"])))],
        )
        for row in rows
    ]
    listed = _list(f"{row['source']} {numbers.percent(row['share'])}" for row in rows)
    return bars(f"Share of the training tokens: {listed}", drawn, scale=1)


def copies(source: Upsampled, sources: Sequence[str]) -> Markup:
    """An upsampled source's train documents by their number of copies."""
    rows = {_copies(times): count for times, count in source.copies.items()}
    style = colour(sources.index(source.source))
    drawn = [
        Bar(name, f"{count:,} ({numbers.percent(count / source.documents)})", [Segment(count, style)])
        for name, count in rows.items()
    ]
    listed = _list(f"{name} {count:,}" for name, count in rows.items())
    return bars(f"Train documents of {source.source} by their number of copies: {listed}", drawn)


def _copies(times: int) -> str:
    return "filtered out" if not times else "1 copy" if times == 1 else f"{times:,} copies"


def length_plots(lengths: Mapping[str, Sequence[Lengths]], sources: Sequence[str]) -> dict[str, Markup]:
    """By source, the shares of its documents and of its tokens by length of document, all on one scale."""
    shares = {source: _by_length(rows) for source, rows in lengths.items()}
    bounds = {least for by_length in shares.values() for least in by_length}
    buckets = [1 << power for power in range(min(bounds).bit_length() - 1, max(bounds).bit_length())] if bounds else []
    top = max((share for by_length in shares.values() for pair in by_length.values() for share in pair), default=0)
    axes = Axes("tokens per document", "% of the source", (top * 100,))
    edges = [f"{least:,}" for least in (*buckets, *(2 * least for least in buckets[-1:]))]
    plots = {}
    for source, by_length in shares.items():
        documents, tokens = ([by_length.get(least, (0.0, 0.0))[which] * 100 for least in buckets] for which in (0, 1))
        columns = Histogram(edges, documents, tokens, colour(sources.index(source)))
        plots[source] = histogram(_describe_lengths(source, by_length), columns, axes)
    return plots


def _by_length(rows: Sequence[Lengths]) -> dict[int, tuple[float, float]]:
    """Shares of documents and of tokens by length, both splits together."""
    documents: Counter[int] = Counter()
    tokens: Counter[int] = Counter()
    for row in rows:
        documents[row.least] += row.documents
        tokens[row.least] += row.tokens
    return {
        least: (documents[least] / documents.total(), tokens[least] / tokens.total()) for least in sorted(documents)
    }


def _describe_lengths(source: str, by_length: Mapping[int, tuple[float, float]]) -> str:
    rows = (
        f"{least:,} to {2 * least - 1:,} tokens {numbers.percent(documents)} and {numbers.percent(tokens)}"
        for least, (documents, tokens) in by_length.items()
    )
    return f"Lengths of {source}, with the shares of its documents and of its tokens: {'; '.join(rows)}"


def s_curve(figures: Figures, threshold: float) -> Markup:
    """The chance that a pair is compared, by its Jaccard."""
    points = [(0.0, 0.0), *((float(jaccard), chance) for jaccard, chance in figures["curve"].items())]
    axes = Axes("Jaccard of the pair", "chance to be compared", (0, 1), [(threshold, f"threshold {threshold:g}")], True)
    description = f"A pair's chance to be compared, which rises from 0 to 1 around a Jaccard of {threshold:g}"
    return lines(description, [Line(sorted(points), 0)], axes)


def clusters(figures: Figures) -> Markup:
    """Clusters of two documents and more, by size."""
    rows: Counter[str] = Counter()
    for size, count in sorted((int(size), count) for size, count in figures["clusters_by_size"].items()):
        if size > 1:
            rows[_size(size)] += count
    drawn = [Bar(f"{size} documents", f"{count:,}", [Segment(count, "c0")]) for size, count in rows.items()]
    return bars(
        f"Clusters of duplicates by size: {_list(f'{count:,} of {size}' for size, count in rows.items())}", drawn
    )


def _size(size: int) -> str:
    if size <= EACH_SIZE:
        return str(size)
    top = 2 ** math.ceil(math.log2(size))
    return f"{top // 2 + 1:,} to {top:,}"


def scores(rows: Sequence[Figures]) -> Markup:
    """Each score with its interval, beside chance and majority."""
    return _scores("Scores", [(named(row), row) for row in rows])


def _scores(what: str, rows: Sequence[tuple[str, Figures]]) -> Markup:
    drawn = [
        Interval(
            name,
            numbers.percent(row["value"]) if row["value"] is not None else "no question answered",
            row["value"],
            row["low"],
            row["high"],
            row.get("chance"),
            row.get("majority"),
        )
        for name, row in rows
    ]
    listed = _list(f"{name} {numbers.percent(row['value'])}" for name, row in rows)
    return intervals(f"{what} with 95 % intervals: {listed}", drawn)


def comparison(run: Run, score: str) -> Markup:
    """One score of all models that have it."""
    rows = [(model.name, row) for model in run.compared for row in model.scores if row["score"] == score]
    return _scores(run.benchmarks[score], rows)


def groups(row: Figures) -> Markup:
    """A score by group of questions, and of all together."""
    parts = [(part["group"], {**part, "value": part[row["metric"]]}) for part in row["groups"]]
    return _scores(f"{named(row)} by group", [("all together", row), *parts])


def calibration(row: Figures) -> Markup:
    """How often an answer is right, by its probability, with a 95 % band. On the diagonal a model can be believed."""
    bins = row["calibration"]["bins"]
    points = [(found["confidence"], found["accuracy"]) for found in bins]
    bounds = [wilson(found["accuracy"] * found["answers"], found["answers"]) for found in bins]
    band = [(x, *pair) for (x, _), pair in zip(points, bounds, strict=True)]
    listed = _list(f"{numbers.percent(x)} believed and {numbers.percent(y)} right" for x, y in points)
    return lines(
        f"Calibration of {named(row)}: {listed}",
        [Line([(0.0, 0.0), (1.0, 1.0)], DIAGONAL), Line(points, 0, dots=True, band=band)] if points else [],
        Axes("probability of the answer", "share that is right", (0, 1)),
    )


PUBLISHED = "The average over five benchmarks, asked in another way. It is shown for its size and never tested:"


def side_by_side(shown: Figures) -> Markup:
    """A table of eval.comparison: its scores by benchmark and model."""
    return _scores(
        "Scores",
        [
            (f"{column['title']}: {row['model']}", cell)
            for column in shown["columns"]
            for row in shown["rows"]
            if (cell := row["scores"].get(column["score"]))
        ],
    )


def curve(found: Figures) -> Markup:
    """A curve of eval.comparison: a score over a training run, with its 95 % intervals as a band."""
    points = [point for point in found["points"] if point["value"] is not None]
    line = Line(
        [(point["tokens"], point["value"]) for point in points],
        0,
        dots=True,
        band=[(point["tokens"], point["low"], point["high"]) for point in points],
    )
    ends = f", from {numbers.percent(points[0]['value'])} to {numbers.percent(points[-1]['value'])}" if points else ""
    return lines(f"{found['score']} over {found['training']}{ends}", [line], Axes("tokens", found["metric"]))


def noise(found: Figures) -> str:
    """Where a score's noise comes from, in words."""
    shots = f"{found['shots'] * 100:.1f} by other shots" if found["shots"] is not None else "shots not varied"
    return (
        f"Noise in points: {found['questions'] * 100:.1f} by other questions, {shots}, "
        f"{found['checkpoints'] * 100:.1f} between neighbouring checkpoints."
    )
