"""Which documents quote evaluation questions."""

from collections import Counter
from functools import partial
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from dedup.decontaminate import COLUMNS, EVIDENCE, HIT, DecontaminateSettings, find, searched
from eval.questions import load_questions, question_table
from eval.settings import EvaluateSettings
from lake.decision import DECISION, EVIDENCE_CHARS, Reason
from lake.step import Body, Cost, Kind, Outcome, Step, account
from spark_jobs.session import read_table, session, write_table

ROWS_PER_PART = 1_000_000


def decontaminate(step: Step[DecontaminateSettings], asked: EvaluateSettings, data: str) -> Outcome:
    """Write `decisions` for every document that dedup kept, and `hits` for every such document and question it quotes.

    All questions of the benchmarks in `asked` are searched for, whatever their limits: thousands of rows, which go to
    every task. `hits` has the columns of dedup.decontaminate.HIT. Of several questions, a drop names the one that
    is covered most: its rule is `run` or `share`, its evidence the quoted span, its score the share of the question's
    n-grams in the document.
    """
    settings, output, spark = step.settings, step.output, session()
    questions = question_table(load_questions(asked, data))
    kept = read_table(spark, step.input("kept").output, "decisions").filter("keep").select("id", "source")
    documents = read_table(spark, step.input("documents").output, "documents", list(COLUMNS))
    search = partial(find, questions=questions, settings=settings)
    # Hits are few. Joining them, not the texts, with the kept documents moves no text between machines.
    hits = documents.mapInArrow(search, from_arrow_schema(HIT)).join(kept.select("id"), "id", "left_semi")
    write_table(hits.select(HIT.names), output, "hits", 1, key=("id", "benchmark", "question"))

    hits = read_table(spark, output, "hits")
    entered = {row["source"]: row["count"] for row in kept.groupBy("source").count().collect()}
    parts = 1 + sum(entered.values()) // ROWS_PER_PART
    write_table(_decisions(kept, hits, step.name), output, "decisions", parts)
    decided = read_table(spark, output, "decisions").groupBy("source", "keep", "reason").count().collect()
    accounts = account((row.asDict() for row in decided), entered)
    return Outcome(accounts=accounts, figures={"benchmarks": _figures(hits, questions, settings)})


def check(step: Step[DecontaminateSettings], asked: EvaluateSettings, data: str) -> None:
    """Raises UserError where a benchmark's file is missing, broken or of another form than its task describes."""
    load_questions(asked, data)


# `python -m benchmarks.stages --data DATA`: 34,900 documents of 3.8 KB a second.
DECONTAMINATE = Body[DecontaminateSettings](
    decontaminate, Kind.DECONTAMINATION, "spark", 4, Cost(start=4, megabytes=130, row_bytes=18), check
)


def _decisions(kept: DataFrame, hits: DataFrame, step: str) -> DataFrame:
    first = Window.partitionBy("id").orderBy(F.desc("share"), "rule", "benchmark", "question")
    worst = hits.withColumn("place", F.row_number().over(first)).filter("place = 1").drop("source")
    quoted = F.format_string(EVIDENCE, "question", "benchmark", "span")
    hit = F.col("rule").isNotNull()
    columns = {
        "step": F.lit(step),
        "keep": ~hit,
        "reason": F.when(hit, Reason.CONTAMINATED.value),
        "evidence": F.when(hit, F.substring(quoted, 1, EVIDENCE_CHARS)),
        "score": F.col("share"),
        "native": F.lit(None).cast("string"),
        "survivor": F.lit(None).cast("string"),
    }
    return kept.join(worst, "id", "left").withColumns(columns).select(*DECISION.names)


def _figures(hits: DataFrame, questions: pa.Table, settings: DecontaminateSettings) -> dict[str, dict[str, Any]]:
    """By benchmark, the numbers of questions: all, those searched for, those quoted at all and by each source."""
    count = F.countDistinct("question").alias("count")
    quoted = {row["benchmark"]: row["count"] for row in hits.groupBy("benchmark").agg(count).collect()}
    by_source = hits.groupBy("benchmark", "source").agg(count).orderBy("source").collect()
    long_enough = searched(questions, settings)["benchmark"].to_pylist()
    return {
        benchmark: {
            "questions": number,
            "searched": long_enough.count(benchmark),
            "hit": quoted.get(benchmark, 0),
            "hit_by_source": {row["source"]: row["count"] for row in by_source if row["benchmark"] == benchmark},
        }
        for benchmark, number in sorted(Counter(questions["benchmark"].to_pylist()).items())
    }
