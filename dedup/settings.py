"""The settings of deduplication."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dedup.bands import Bands, choose
from lake.config import Settings
from lake.paths import Folder
from lake.values import Count, SomeShare, SourceName


class DedupSettings(Settings):
    """Which documents are duplicates, and which of them stays.

    Attributes:
        threshold: Least Jaccard of the word n-grams of near-duplicates.
        recall: Share of the pairs exactly at the threshold that must become candidates. Bands and rows follow from it.
        ngram: Words in a shingle.
        slots: Greatest length of a signature. More slots give fewer false candidates, which cost time but no mistakes.
        scheme: How signatures are drawn: `one_permutation` (dedup.minhash; Li, Owen and Zhang 2012), or `datasketch`
            (dedup.permutations; Broder 1997), bit for bit the default of datasketch 2.0, in about five times the time.
        policy: `star`: a removed near-duplicate is itself within the threshold of its survivor. `transitive`: only one
            document of each connected component stays, so chains of copies that drift apart are removed, too.
        prefer: Sources in the order in which their documents survive. All other sources follow as equals.
        titles: Sources in which documents of one site and title are duplicates. These leave before texts are compared.
        keep_signatures: Whether to keep the signatures, so that later corpora can be compared with this one. They are
            about as large as the text.
        earlier: Folders of the finished dedup steps of earlier corpora that kept their signatures, oldest first: where
            two have the same id, the later document counts. Documents of earlier corpora stay, and their duplicates in
            this corpus go. Titles are not compared across corpora.
        bucket_limit: Greatest number of documents in a bucket that are compared pair by pair. Larger buckets are
            compared along a linear number of edges, and each document with those that stay so far (dedup.leaders).
    """

    threshold: Annotated[SomeShare, Field(ge=0.01)] = 0.8
    recall: float = Field(default=0.999, gt=0, lt=1)
    ngram: Annotated[Count, Field(le=64)] = 5
    slots: Annotated[Count, Field(le=4096)] = 128
    scheme: Literal["one_permutation", "datasketch"] = "one_permutation"
    policy: Literal["star", "transitive"] = "star"
    prefer: tuple[SourceName, ...] = Field(default=(), max_length=250)
    titles: tuple[SourceName, ...] = ("guidelines",)
    keep_signatures: bool = False
    earlier: tuple[Folder, ...] = ()
    bucket_limit: Annotated[Count, Field(ge=2, le=2**16)] = 64

    @property
    def bands(self) -> Bands:
        return choose(self.threshold, self.recall, self.slots)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _ = self.bands
        if len(set(self.prefer)) != len(self.prefer):
            raise ValueError("prefer names a source twice")
        return self
