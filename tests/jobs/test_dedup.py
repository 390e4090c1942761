"""The Spark job decides as the reference does, however the documents are laid out."""

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from benchmarks.steps import stand_in
from dedup.cluster import Edge, Likeness
from dedup.cluster import components as reference_components
from dedup.minhash import jaccard
from dedup.settings import DedupSettings
from dedup.sign import COLUMNS, EARLIER, SIGNATURES, SIGNED, sets, sign
from dedup.titles import Titled, title_drops
from lake.dataset import Output
from lake.decision import DECISION, Drop, decision
from lake.document import DOCUMENT, new_document
from lake.step import Outcome, Step
from spark_jobs.components import components
from spark_jobs.dedup import DEDUP, STAGING, WRITTEN, _stage, dedup
from tests.dedup.reference import Duplicate, Entry, settle, settle_titles
from tests.jobs.outputs import content
from tests.jobs.outputs import rows as table

pytestmark = pytest.mark.engine

SETTINGS = DedupSettings(prefer=("papers", "abstracts"), bucket_limit=8, ngram=3)
WORDS = [f"w{number}" for number in range(3000)]


def corpus() -> pa.Table:
    """Documents with copies, shared ids, edits, chains of edits and a crowd around one boilerplate."""
    chance = random.Random(5)
    rows = []

    def add(text: list[str], source: str = "", **meta: str) -> None:
        native = str(len(rows))
        source = source or chance.choice(["papers", "abstracts", "web"])
        rows.append(new_document(source, native, " ".join(text), dict(meta), redistributable=chance.random() < 0.5))

    def paged(title: str | None, text: list[str], site: str) -> None:
        native, body = f"page {len(rows)}", " ".join(text)
        rows.append(new_document("guidelines", native, body, {"site": site}, title=title))

    for number in range(60):
        base = chance.sample(WORDS, chance.choice([2, 8, 40, 90]))
        add(base, pmid=str(number))
        kind = number % 6
        if kind == 0:
            add([word.upper() for word in base])
        elif kind == 1:
            add(chance.sample(WORDS, 30), pmid=f"PMID:{number}", pmcid=f"PMC{number}")
            add(chance.sample(WORDS, 12), "web", pmcid=f"{number}", doi=f"10.1000/{number}")
            add(chance.sample(WORDS, 20), doi=f"https://doi.org/10.1000/{number}")
        elif kind == 2:
            for _ in range(12):
                base = base[1:] + chance.sample(WORDS, 1)
                add(base)
        elif kind == 3:
            add([*base, "more"])
            add([*base, "more"], pmid=str(number))
    boilerplate = chance.sample(WORDS, 60)
    for _ in range(40):
        add(boilerplate + chance.sample(WORDS, chance.randrange(1, 5)))
    for site, title in (("nice", "Asthma"), ("nice", "ASTHMA."), ("who", "Asthma"), ("nice", "Asthma"), ("nice", None)):
        paged(title, chance.sample(WORDS, 30), site)
    for title in ("Gout overview", "Gout causes", "Gout diet", "Gout causes"):
        paged(title, chance.sample(WORDS, 30), "wikidoc")
    # A copy of a page that leaves by its title, and a near copy of the page that stays.
    words = chance.sample(WORDS, 40)
    paged("Rabies overview", [*words[:35], *chance.sample(WORDS, 40)], "wikidoc")
    paged("Rabies causes", words, "wikidoc")
    paged("Something else", words, "nice")
    paged("Rabies overview", [*words, "more"], "cdc")
    return pa.Table.from_pylist(rows, schema=DOCUMENT)


def lay_out(lake: Path, documents: pa.Table, seed: int, parts: int) -> Step[Any]:
    clean = stand_in("clean", lake, identity=seed)
    rows = documents.to_pylist()
    random.Random(seed).shuffle(rows)
    for source in sorted(set(documents["source"].to_pylist())):
        of_source = [row for row in rows if row["source"] == source]
        for part in range(parts):
            table = pa.Table.from_pylist(of_source[part::parts], schema=DOCUMENT)
            clean.output.write_part("documents", part, table, source)
    return clean


def run(clean: Step[Any], settings: DedupSettings) -> tuple[Step[DedupSettings], Outcome]:
    step = Step("dedup", DEDUP, settings, clean.lake, {"documents": clean})
    return step, dedup(step)


def reference(
    documents: pa.Table, settings: DedupSettings
) -> tuple[dict[str, Duplicate], dict[str, str], dict[frozenset[str], float]]:
    """The rule over the Jaccard of all pairs."""
    batches = documents.select(COLUMNS).combine_chunks().to_batches()
    signed = pa.Table.from_batches(sign(batches, settings), SIGNED).sort_by(
        [("order", "ascending"), ("id", "ascending")]
    )
    ids, shingles = signed["id"].to_pylist(), signed["shingles"].combine_chunks()
    left, right = zip(*itertools.combinations(range(len(ids)), 2), strict=True)
    scores = jaccard(*sets(shingles.take(pa.array(left))), *sets(shingles.take(pa.array(right)))).tolist()
    pairs: list[Edge] = [(ids[a], ids[b], score) for a, b, score in zip(left, right, scores, strict=True)]
    entries = {row["id"]: Entry(row["order"], row["content"], tuple(row["keys"])) for row in signed.to_pylist()}
    pages: dict[str, list[Titled]] = {}
    order = {row["id"]: row["order"] for row in signed.to_pylist()}
    for row in documents.to_pylist():
        if row["source"] == "guidelines":
            pages.setdefault(row["meta"]["site"], []).append(Titled(row["id"], row["title"], None, order[row["id"]]))
    titled = {
        drop.id: (drop.survivor, drop.kind)
        for site, of_site in pages.items()
        for drop in title_drops(of_site, overviews=site == "wikidoc")
    }
    others = {id_: entry for id_, entry in entries.items() if id_ not in titled}
    near = [pair for pair in pairs if pair[2] >= settings.threshold and others.keys() >= set(pair[:2])]
    dropped, clusters = settle_titles(*settle(others, near, settings.policy == "transitive"), titled)
    return dropped, clusters, {frozenset(pair[:2]): pair[2] for pair in pairs}


@pytest.mark.parametrize("policy", ["star", "transitive"])
def test_decisions_are_the_references(tmp_path: Path, spark: SparkSession, policy: str) -> None:
    documents = corpus()
    settings = SETTINGS.model_copy(update={"policy": policy})
    step, outcome = run(lay_out(tmp_path, documents, 1, 3), settings)
    dropped, clusters, scores = reference(documents, settings)

    decisions = table(step, "decisions")
    assert sorted((row["id"], row["source"]) for row in decisions) == sorted(
        (row["id"], row["source"]) for row in documents.to_pylist()
    )
    assert {(row["id"], row["cluster"]) for row in table(step, "clusters")} == set(clusters.items())
    drops = {row["id"]: row for row in decisions if not row["keep"]}
    assert drops == {
        id_: decision(
            "dedup",
            id_,
            drops[id_]["source"],
            Drop(
                duplicate.kind.reason,
                duplicate.kind.evidence,
                scores[frozenset((id_, duplicate.survivor))],
                duplicate.kind,
                survivor=duplicate.survivor,
            ),
        )
        for id_, duplicate in dropped.items()
    }
    assert all(row[name] is None for row in decisions if row["keep"] for name in DECISION.names[4:])
    assert step.output.scan("decisions").schema.names == DECISION.names
    assert {duplicate.kind for duplicate in dropped.values()} == set(Likeness)
    near = [id_ for id_, duplicate in dropped.items() if duplicate.kind is Likeness.NEAR]
    of_text = [id_ for id_, duplicate in dropped.items() if duplicate.kind in {Likeness.NEAR, Likeness.EXACT}]
    assert policy == "transitive" or all(drops[id_]["score"] >= settings.threshold for id_ in of_text)

    assert sum(account.entered for account in outcome.accounts.values()) == documents.num_rows
    assert sum(sum(account.dropped.values()) for account in outcome.accounts.values()) == len(dropped)
    assert all(account.lost == 0 for account in outcome.accounts.values())
    figures = outcome.figures
    assert settings.bucket_limit < figures["crowded_buckets"]["largest"] <= 40
    assert figures["candidates"] >= figures["verified"] > 0
    other_policy = settings.model_copy(update={"policy": "star" if policy == "transitive" else "transitive"})
    near_under_other = [
        id_ for id_, duplicate in reference(documents, other_policy)[0].items() if duplicate.kind is Likeness.NEAR
    ]
    assert figures["only_transitive_removes"] == abs(len(near) - len(near_under_other)) > 0
    assert sum(int(size) * count for size, count in figures["clusters_by_size"].items()) == documents.num_rows
    assert not step.output.exists(".staging")


def test_any_layout_gives_the_same_bytes(tmp_path: Path, spark: SparkSession) -> None:
    documents = corpus()
    step, outcome = run(lay_out(tmp_path, documents, 1, 3), SETTINGS)
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "5")
    spark.conf.set("spark.sql.adaptive.enabled", "false")
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "7")
    try:
        other_step, other_outcome = run(lay_out(tmp_path, documents, 2, 1), SETTINGS)
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
        spark.conf.unset("spark.sql.adaptive.enabled")
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    assert content(step) == content(other_step)
    assert (outcome.accounts, outcome.figures) == (other_outcome.accounts, other_outcome.figures)


def test_a_corpus_without_duplicates(tmp_path: Path, spark: SparkSession) -> None:
    documents = pa.Table.from_pylist([new_document("web", "1", "alone"), new_document("web", "2", "")], schema=DOCUMENT)
    step, outcome = run(lay_out(tmp_path, documents, 1, 1), DedupSettings())
    assert all(row["keep"] and row["score"] is None for row in table(step, "decisions"))
    assert all(row["id"] == row["cluster"] for row in table(step, "clusters"))
    assert outcome.figures["candidates"] == 0


def test_components_of_every_graph(spark: SparkSession) -> None:
    chance = random.Random(3)
    links = []
    for graph in range(300):
        nodes = [f"{graph}-{chance.random()}" for _ in range(chance.randrange(2, 9))]
        links += [(chance.choice(nodes), chance.choice(nodes)) for _ in range(chance.randrange(1, 10))]
    path = [f"path-{chance.random()}" for _ in range(3000)]
    links += itertools.pairwise(path)
    links += [(path[0], f"leaf-{number}") for number in range(500)]
    expected = reference_components((a, b) for a, b in links if a != b)
    for at_once in (0, len(links)):
        clusters = components(spark.createDataFrame(links, "a string, b string"), at_once).collect()
        assert len(clusters) == len(expected)
        assert {row["id"]: row["cluster"] for row in clusters} == expected


def test_a_new_corpus_is_compared_with_the_signatures_of_an_earlier_one(tmp_path: Path, spark: SparkSession) -> None:
    """The decisions are those of both corpora at once, the earlier preferred. Its text has been deleted by then."""
    documents = corpus().to_pylist()
    chance = random.Random(2)
    chance.shuffle(documents)
    old, new = documents[:80], documents[80:]
    keeping = SETTINGS.model_copy(update={"keep_signatures": True, "titles": ()})
    first = lay_out(tmp_path / "old", pa.Table.from_pylist(old, schema=DOCUMENT), 1, 2)
    earlier, _ = run(first, keeping)
    first.output.delete("documents")
    stayed = {row["id"] for row in table(earlier, "decisions") if row["keep"]}
    same, changed = [row for row in old if row["id"] in stayed][:2]
    changed = changed | {"text": changed["text"] + " and a later word"}
    settings = keeping.model_copy(update={"keep_signatures": False, "earlier": (earlier.output.root,)})
    rows = pa.Table.from_pylist([*new, same, changed], schema=DOCUMENT)
    step, outcome = run(lay_out(tmp_path / "new", rows, 1, 3), settings)

    both = pa.Table.from_pylist([row for row in old if row["id"] in stayed] + new, schema=DOCUMENT)
    batches = both.select(COLUMNS).combine_chunks().to_batches()
    signed = pa.Table.from_batches(sign(batches, settings), SIGNED).to_pylist()
    entries = {
        row["id"]: Entry(row["order"] - EARLIER * (row["id"] in stayed), row["content"], tuple(row["keys"]))
        for row in signed
    }
    signed.sort(key=lambda row: (entries[row["id"]].order, row["id"]))
    near = [
        (left["id"], right["id"], score)
        for left, right in itertools.combinations(signed, 2)
        if (score := similarity(left["shingles"], right["shingles"])) >= settings.threshold
    ]
    # Two earlier documents both stay, even where a new one has the ids of both.
    settled = settle(entries, near, transitive=False)[0]
    dropped = {id_: drop for id_, drop in settled.items() if id_ not in stayed}
    drops = {row["id"]: (row["survivor"], row["rule"]) for row in table(step, "decisions") if not row["keep"]}
    same_ids = {same["id"]: (same["id"], "exact"), changed["id"]: (changed["id"], "id")}
    assert drops == same_ids | {id_: (drop.survivor, drop.kind) for id_, drop in dropped.items()}
    for_earlier = len(same_ids) + sum(drop.survivor in stayed for drop in dropped.values())
    under = [{id_ for id_ in settle(entries, near, policy)[0] if id_ not in stayed} for policy in (False, True)]
    assert outcome.figures["only_transitive_removes"] == len(under[1] - under[0])
    assert len(same_ids) < for_earlier < len(drops)
    assert outcome.figures["earlier"] == {"documents": len(stayed), "removed_for": for_earlier}
    assert not step.output.parts(SIGNATURES)


def similarity(left: bytes, right: bytes) -> float:
    a, b = (set(np.frombuffer(side, dtype=np.uint64).tolist()) for side in (left, right))
    return len(a & b) / len(a | b)


def test_a_stage_that_was_written_whole_is_not_made_again(tmp_path: Path, spark: SparkSession) -> None:
    output = Output(str(tmp_path))

    def staged(number: int) -> list[Any]:
        return [row["n"] for row in _stage(spark.createDataFrame([(number,)], "n int"), output, "numbers").collect()]

    assert staged(1) == [1]
    assert staged(2) == [1]
    # A run that is killed while it writes leaves no mark.
    (tmp_path / STAGING / "numbers" / WRITTEN).unlink()
    assert staged(3) == [3]
