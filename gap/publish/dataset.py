"""The repository of a run's documents: Parquet, card, licences, Croissant."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import DatasetCardData
from markupsafe import Markup

from eval.summary import Licences, Run, licences
from eval.text import one_line, printable
from gap import cards
from gap.publish.corpus import Amount, Builder, Corpus
from gap.publish.croissant import croissant
from gap.publish.files import File
from gap.publish.history import State, Version, content_of
from gap.publish.licences import licence_file, text_of
from gap.publish.release import Release, made, page
from gap.publish.rows import FIELDS, MEANINGS, PUBLISHED, Gate, Stays
from gap.publish.settings import PublishSettings
from gap.run import warn
from lake.dataset import Output
from lake.error import UserError
from lake.step import Kind, Step, Steps, of_kind
from mixing.split import SPLITS

KIND = "dataset"
MOST_LICENCES = 50
"""Licences in the card's table. LICENSE.md has all."""


def dataset_release(steps: Steps, name: str, settings: PublishSettings, folder: str) -> Release:
    """Write what may leave into a folder below `folder`, and describe it.

    Raises:
        UserError: the mixture is not made, its files are broken, or the override names another repository.
    """
    (mix,) = of_kind(steps, Kind.MIXTURE)
    if not mix.done:
        raise UserError("the mixture has not been made yet; gap run CONFIG mix")
    repository, override = settings.repository(name), settings.override
    if override is not None and override.repository != repository:
        raise UserError(
            f"publish.override.repository: it is {override.repository}, but the documents go to {repository}; "
            "an override holds for the one repository that it names"
        )
    run = Run(name, tuple(step.manifest() for step in made(steps, mix.name).values()))
    corpus = corpus_of(mix, Gate(frozenset(settings.withheld), override), folder)
    withheld = sum(count for (_, _, reason), count in corpus.staying.items() if reason is Stays.WITHHELD)
    if unknown := len(set(settings.withheld)) - withheld:
        warn([f"publish.withheld: {unknown} of its ids are of no document in the mixture; is one misspelt?"])
    return described(run, corpus, repository, settings)


def corpus_of(mix: Step[Any], gate: Gate, folder: str) -> Corpus:
    """The files below `folder`, in one of their own for each mixture and gate."""
    rule = "" if gate.override is None else "-overridden"
    to = Output(f"{folder}/dataset-{mix.fingerprint}{rule}{_withheld(gate)}")
    to.local()
    sources = tuple(row["source"] for row in mix.manifest().figures["mixture"][:-1])
    return Builder(mix.input("documents").output, mix.output, to, gate, sources).build()


def _withheld(gate: Gate) -> str:
    return f"-{content_of([File.of(id_, b'') for id_ in gate.withheld])[:8]}" if gate.withheld else ""


def described(run: Run, corpus: Corpus, repository: str, settings: PublishSettings) -> Release:
    """The release of a corpus."""
    files = [part.file for part in corpus.parts]
    total = corpus.amount()
    state = State(
        content_of(files),
        {step.step: step.fingerprint for step in run.manifests},
        {"rows": total.rows, "tokens": total.tokens, "bytes": sum(file.size for file in files)},
        {source: corpus.amount(source).rows for source in corpus.sources},
    )
    description = Description(run, corpus, repository, settings)
    staying = [
        (str(reason), source, one_line(licence), f"{count:,}")
        for (source, licence, reason), count in sorted(corpus.staying.items())
    ]
    return Release(repository, KIND, state, files, description.files, settings.override, staying)


@dataclass(frozen=True)
class Split:
    """The files of a source and split."""

    source: str
    split: str
    amount: Amount
    files: int
    bytes: int
    arrow_bytes: int


@dataclass(frozen=True)
class Description:
    """The files that describe the data."""

    run: Run
    corpus: Corpus
    repository: str
    settings: PublishSettings

    @property
    def owner(self) -> str:
        return self.repository.partition("/")[0]

    @property
    def address(self) -> str:
        return page(f"datasets/{self.repository}")

    @property
    def discussions(self) -> str:
        return f"{self.address}/discussions"

    @property
    def held(self) -> Licences:
        """What the run holds of the sources that are published."""
        held, sources = licences(self.run), self.corpus.sources
        return Licences(
            {source: count for source, count in held.by_source.items() if source in sources},
            {source: count for source, count in held.redistributable.items() if source in sources},
            {source: count for source, count in held.documents.items() if source in sources},
        )

    @property
    def only(self) -> str | None:
        """The licence of all rows, where they have one and the repository has no others."""
        names = list(self.corpus.licences)
        return names[0] if len(names) == 1 and self.settings.override is None else None

    @property
    def splits(self) -> list[Split]:
        rows = []
        for source in self.corpus.sources:
            for split in SPLITS:
                parts = [part for part in self.corpus.parts if (part.source, part.split) == (source, split)]
                if parts:
                    sizes = sum(part.file.size for part in parts), sum(part.arrow_bytes for part in parts)
                    rows.append(Split(source, split, self.corpus.amount(source, split), len(parts), *sizes))
        return rows

    def files(self, versions: Sequence[Version]) -> list[File]:
        return [
            File.of("README.md", self.card(versions)),
            File.of("LICENSE.md", licence_file(self.run.name, self.corpus.licences)),
            File.of("croissant.json", self.croissant(versions)),
        ]

    def card(self, versions: Sequence[Version]) -> str:
        held = self.held
        licence = cards.licence_named(self.only)
        head = DatasetCardData(
            pretty_name=one_line(self.run.name),
            language=cards.languages(self.run, held),
            task_categories=["text-generation"],
            size_categories=[cards.size_category(self.corpus.amount().rows)],
            **licence,
            **({"license_link": "LICENSE.md"} if licence["license"] == "other" else {}),
            tags=["medical", "pretraining"],
            configs=self.configs(),
            dataset_info=self.dataset_info(),
        )
        by_licence = self.corpus.by_licence
        facts = {
            "repository": self.repository,
            "place": Markup(self.repository),  # noqa: S704 - a pattern has checked it
            "owner": self.owner,
            "address": self.address,
            "discussions": Markup(self.discussions),  # noqa: S704 - of a name that a pattern has checked
            "total": self.corpus.amount(),
            "licences": dict(list(by_licence.items())[:MOST_LICENCES]),
            "further": max(0, len(by_licence) - MOST_LICENCES),
            "only": self.only,
            "licence": licence,
            "splits": self.splits,
            "sources": self.corpus.sources,
            "fields": FIELDS,
            "staying": dict(sorted(self.corpus.staying.items())),
            "left": sum(self.corpus.staying.values()),
            "meanings": {reason: text for reason, text in MEANINGS.items() if reason in self._reasons()},
            "fetched": self.corpus.dates("fetched"),
            "dated": self.corpus.dates("published"),
            "contact": self.settings.contact,
            "override": self.settings.override,
            "citation": self._citation(),
            "entry": Markup("@misc{%s,") % (re.sub("[^a-z0-9]+", "", self.run.name.lower()) or "run"),
            "braces": braces,
            "versions": versions,
            "version": versions[-1],
            "steps": self.run.steps,
        }
        return cards.card("publish/dataset_card.jinja", head, cards.facts(self.run, held) | facts)

    def _reasons(self) -> Counter[Any]:
        return Counter(reason for _, _, reason in self.corpus.staying)

    def _citation(self) -> Markup | None:
        """The publisher's BibTeX, which cannot end the block of code that it stands in."""
        given = self.settings.citation
        return None if given is None else Markup(printable(given.replace("```", "").strip()))  # noqa: S704 - in a block of code

    def configs(self) -> list[dict[str, Any]]:
        """Which files `datasets` loads: by default those of all sources, and by its name those of one."""
        whole = {"config_name": "default", "default": True, "data_files": _patterns("*", self._splits_of(None))}
        return [whole] + [
            {"config_name": source, "data_files": _patterns(source, self._splits_of(source))}
            for source in self.corpus.sources
            if source != "default"
        ]

    def dataset_info(self) -> list[dict[str, Any]]:
        """Columns, rows and bytes, computed from the files."""
        return [
            self._info(config["config_name"], None if config.get("default") else config["config_name"])
            for config in self.configs()
        ]

    def _splits_of(self, source: str | None) -> list[str]:
        return [split for split in SPLITS if self.corpus.amount(source, split).rows]

    def _info(self, name: str, source: str | None) -> dict[str, Any]:
        rows = [row for row in self.splits if source in (None, row.source)]
        return {
            "config_name": name,
            "features": [{"name": field.name, "dtype": str(field.type)} for field in PUBLISHED],
            "splits": [
                {
                    "name": split,
                    "num_bytes": sum(row.arrow_bytes for row in rows if row.split == split),
                    "num_examples": sum(row.amount.rows for row in rows if row.split == split),
                }
                for split in self._splits_of(source)
            ],
            "download_size": sum(row.bytes for row in rows),
            "dataset_size": sum(row.arrow_bytes for row in rows),
        }

    def croissant(self, versions: Sequence[Version]) -> str:
        run, corpus = self.run, self.corpus
        about = {
            "name": one_line(run.name),
            "description": f"{corpus.amount().rows:,} medical documents in clean text, each with source, licence and "
            "address: the part of a pretraining mixture that may be passed on.",
            "licences": [text_of(licence) or one_line(licence) for licence in corpus.licences],
            "languages": cards.languages(run, self.held),
            "creator": self.owner,
            "creator_url": page(self.owner),
            "citation": f"{one_line(run.name)}, version {versions[-1].version}. {self.address}",
            "rai": self.responsible(),
        }
        return croissant(about, corpus, versions, self.address)

    def responsible(self) -> dict[str, str | list[str]]:
        """What RAI asks about a data set, as the manifests tell it."""
        run, staying = self.run, sum(self.corpus.staying.values())
        masked = any(run.of(Kind.CLEANER).config["mask"].get(source) for source in self.corpus.sources)
        steps = [
            f"{step.step}: {step.total.kept:,} of {step.total.entered:,} kept; dropped "
            + (", ".join(f"{reason} {count:,}" for reason, count in step.total.dropped.items()) or "none")
            for step in run.funnel
        ]
        crawled = any(
            entry["format"] == "warc" and entry["source"] in self.corpus.sources
            for entry in run.of(Kind.READER).config["inputs"]
        )
        spans = self.corpus.dates("fetched").values()
        return {
            "dataCollection": "gap-replay read the documents from files and pages of "
            + ", ".join(self.corpus.sources)
            + ". Every row has the licence that its source states, and its address where it is known.",
            "dataCollectionType": ["Web Scraping"] * crawled + ["Secondary Data analysis"],
            # Start and end, as the vocabulary spells and wants it. mlcroissant 1.1 looks for `dataCollectionTimeFrame`.
            "dataCollectionTimeframe": [min(first for first, _ in spans), max(last for _, last in spans)]
            if spans
            else [],
            "dataCollectionMissingData": f"{staying:,} further documents of the mixture stay behind, because they may "
            "not be passed on, their licence is not known, or their removal was asked for."
            if staying
            else "No document of the mixture stays behind.",
            "dataCollectionRawData": "The raw files are not published.",
            "dataPreprocessingProtocol": steps,
            "dataBiases": [
                "English texts say little about patients elsewhere, studies little about groups that they leave out.",
                "Rows were selected for training a model and by their licence. They are no sample of the literature.",
            ],
            "dataLimitations": [
                "Filters are automatic: some good documents were dropped and some bad ones were kept.",
                "Medical knowledge ages. Texts may have been withdrawn or replaced since they were read.",
                "Decontamination finds verbatim quotations of the benchmarks that the card names, no paraphrases.",
            ],
            "dataUseCases": ["Training language models", "Research on medical text"],
            "dataSocialImpact": "Models trained on these texts may give wrong or outdated medical statements. They are "
            "no medical devices.",
            "personalSensitiveInformation": [
                "Texts may name authors and contain case reports of patients.",
                "What looks like an e-mail address, a telephone number or a record's number was masked where the "
                "configuration asks for it."
                if masked
                else "No step searched for or removed personal information.",
            ],
            "dataReleaseMaintenancePlan": f"Removals are asked for at {self.settings.contact or self.discussions}. "
            "Each leads to a version without the document. The card has a changelog.",
        }


def braces(text: str) -> Markup:
    """A value of BibTeX, within a block of code."""
    return Markup("{%s}") % Markup(re.sub(r"[{}`<>\\]", "", one_line(text)))  # noqa: S704 - braces and ticks are gone


def _patterns(source: str, splits: Sequence[str]) -> list[dict[str, str]]:
    return [{"split": split, "path": f"data/{source}/{split}-*.parquet"} for split in splits]
