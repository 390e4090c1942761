"""What is saved of an evaluation. Scores are computed from this alone, here or anywhere (eval/score.py).

Needs Python and pyarrow, nothing else.
"""

import pyarrow as pa

QUOTED, SCORES, DIGESTS = "quoted.json", "scores.json", "digests.json"
"""Ids of the questions that documents quote, by benchmark; the scores; SHA-256 of the files that these follow from, by
path, written last."""

ASKED = "asked.json"
"""{model, versions, at_once, scores: [an entry for each score, in the order of the report]}, where `model` is a
fingerprint and `at_once` the size of a part in prompts. An entry has the score's name as `score`, benchmark, title,
hub, kind, protocol, mode, shots, seeds, chat, rotate, branches, temperature, max_tokens, extract (names of filters),
and as `fingerprints` those of task, protocol and questions. For a checkpoint there are also `training`, which names the
run, and the `tokens` that it had seen."""

_TOKENS = pa.list_(pa.int32())

ANSWERS = pa.schema(
    [
        # The question, and which round of asking this is.
        pa.field("score", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("cluster", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("rotation", pa.int32(), nullable=False),
        # As it was asked.
        pa.field("question", pa.string(), nullable=False),
        pa.field("options", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("gold", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("prompt_tokens", _TOKENS, nullable=False),
        pa.field("shots", pa.list_(pa.string()), nullable=False),
        pa.field("shots_cut", pa.int32(), nullable=False),
        pa.field("context_cut", pa.bool_(), nullable=False),
        # What came back: log-probabilities of each token of each continuation, and what the model wrote.
        pa.field(
            "continuations",
            pa.list_(
                pa.struct(
                    [
                        pa.field("label", pa.string()),
                        pa.field("text", pa.string()),
                        pa.field("tokens", _TOKENS),
                        pa.field("logprobs", pa.list_(pa.float64())),
                    ]
                )
            ),
            nullable=False,
        ),
        pa.field(
            "outputs",
            pa.list_(
                pa.struct([pa.field("text", pa.string()), pa.field("tokens", _TOKENS), pa.field("end", pa.string())])
            ),
            nullable=False,
        ),
        # Why there is no answer: the engine's error.
        pa.field("error", pa.string()),
        pa.field("dtype", pa.string(), nullable=False),
    ]
)
"""A question as it was asked, a row for each score, question, seed and rotation. `group` is its subject or category,
`cluster` what it shares with others (an abstract), or its own id. `continuations` are in the order of the options."""
