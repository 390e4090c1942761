"""Which documents quote evaluation questions."""

from functools import partial
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from dedup.decontaminate import COLUMNS, HIT, DecontaminateSettings, find, searched
from eval.questions import EvaluateSettings, load_questions, question_table
from lake.decision import EVIDENCE_CHARS, Reason
from lake.step import Account, Body, Cost, Kind, Outcome, Step, account
from spark_jobs.session import read_table, session, write_table

ROWS_PER_PART = 1_000_000
EVIDENCE = 'benchmark=%s question=%s rule=%s span="%s"'


def decontaminate(step: Step[DecontaminateSettings], asked: EvaluateSettings, data: str) -> Outcome:
    """Write `decisions` for every document that dedup kept, and `hits` for every such document and question it quotes.

    All questions of the benchmarks in `asked` are searched for, whatever their limits. They are thousands of rows, and
    go to every task. `hits` has the columns of dedup.decontaminate.HIT. A drop's evidence is `benchmark=… question=…
    rule=run|share span="…"` of the question most covered; its score is the share of that question's n-grams in the
    document.
    """
    settings, output, spark = step.settings, step.output, session()
    questions = question_table(load_questions(asked, data))
    kept = read_table(spark, step.input("kept").output, "decisions").filter("keep").select("id", "source")
    documents = read_table(spark, step.input("documents").output, "documents", list(COLUMNS))
    search = partial(find, questions=questions, settings=settings)
    # Hits are few: matching them with the kept documents, rather than the texts, moves no text between machines.
    found = documents.mapInArrow(search, from_arrow_schema(HIT)).join(kept.select("id"), "id", "left_semi")
    write_table(found.select(HIT.names), output, "hits", 1, key=("id", "benchmark", "question"))

    hits = read_table(spark, output, "hits")
    entered = {row["source"]: row["count"] for row in kept.groupBy("source").count().collect()}
    parts = 1 + sum(entered.values()) // ROWS_PER_PART
    write_table(_decisions(kept, hits, step.name), output, "decisions", parts)
    decided = read_table(spark, output, "decisions").groupBy("source", "keep", "reason").count().collect()
    verdicts = account(row.asDict() for row in decided)
    accounts = {
        source: Account.of(verdicts[source].kept, verdicts[source].dropped, count) for source, count in entered.items()
    }
    return Outcome(accounts=accounts, figures={"benchmarks": _figures(hits, questions, settings)})


def check(step: Step[DecontaminateSettings], asked: EvaluateSettings, data: str) -> None:
    """Raises UserError where a benchmark's file is missing or broken."""
    load_questions(asked, data)


# `python -m benchmarks.stages --data DATA`: 34,900 documents of 3.8 KB a second.
DECONTAMINATE = Body[DecontaminateSettings](
    decontaminate, Kind.DECONTAMINATION, "spark", 3, Cost(start=4, megabytes=130, row_bytes=18), check
)


def _decisions(kept: DataFrame, hits: DataFrame, step: str) -> DataFrame:
    first = Window.partitionBy("id").orderBy(F.desc("share"), "rule", "benchmark", "question")
    worst = hits.withColumn("place", F.row_number().over(first)).filter("place = 1").drop("source")
    quoted = F.format_string(EVIDENCE, "benchmark", "question", "rule", "span")
    hit = F.col("rule").isNotNull()
    return kept.join(worst, "id", "left").select(
        "id",
        "source",
        F.lit(step).alias("step"),
        (~hit).alias("keep"),
        F.when(hit, Reason.CONTAMINATED.value).alias("reason"),
        F.when(hit, F.substring(quoted, 1, EVIDENCE_CHARS)).alias("evidence"),
        F.col("share").alias("score"),
    )


def _figures(hits: DataFrame, questions: pa.Table, settings: DecontaminateSettings) -> dict[str, dict[str, Any]]:
    """By benchmark: questions, how many were searched for, how many were hit at all and by documents of each source."""
    quoted = hits.groupBy("benchmark").agg(F.countDistinct("question").alias("count")).collect()
    by_source = hits.groupBy("benchmark", "source").agg(F.countDistinct("question").alias("count")).collect()
    asked = questions["benchmark"].value_counts().to_pylist()
    long_enough = searched(questions, settings)["benchmark"].to_pylist()
    return {
        benchmark: {
            "questions": count,
            "searched": long_enough.count(benchmark),
            "hit": next((row["count"] for row in quoted if row["benchmark"] == benchmark), 0),
            "hit_by_source": {
                row["source"]: row["count"]
                for row in sorted(by_source, key=lambda row: row["source"])
                if row["benchmark"] == benchmark
            },
        }
        for benchmark, count in sorted((one["values"], one["counts"]) for one in asked)
    }
