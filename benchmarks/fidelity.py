"""Which critical tokens of raw documents are in the clean text, left out by a rule, lost or invented.

    python -m benchmarks.fidelity INPUT... [--json]

An INPUT is a config, of which every document is read; a folder, of which every file below it is; or a file: a page
(`.html`), a PDF, a paper or MEDLINE's citations (`.xml`, `.nxml`, also in gzip), a crawl (`.warc`, `.warc.gz`) or JSON
Lines (`.jsonl`, also packed). Numbers with their units and signs, ranges, comparisons, powers, Greek letters and words
of negation are critical (ingest.fidelity.tokens). Other files are passed over.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from gap.command import load_config, table, user_errors
from gap.config import Config
from ingest.clean import CleanSettings, clean_document
from ingest.fidelity.audit import Audit, audit
from ingest.fidelity.crude import page_text, pdf_characters
from ingest.fidelity.ledger import Ledger
from ingest.fidelity.sample import audit_figures, audit_table
from ingest.inputs import ReadSettings, records, units
from ingest.pages.extract import extract
from ingest.pages.page import Page
from ingest.pages.pdf import pdf_text
from ingest.records import Original
from lake.error import UserError

SITE: Final = "cdc"
"""The bundled site whose rules read a crawl here: it has no content selector."""

FORMATS: Final[dict[str, dict[str, Any]]] = {
    "jats": {"format": "jats", "source": "papers"},
    "medline": {"format": "medline", "source": "abstracts"},
    "warc": {"format": "warc", "source": "guidelines", "site": SITE},
    "jsonl": {"format": "jsonl", "source": "guidelines"},
}
ENDINGS: Final = {".html": "page", ".htm": "page", ".pdf": "pdf", ".warc": "warc", ".jsonl": "jsonl"}
PACKED: Final = (".gz", ".zst")

Audits = dict[str, list[tuple[str, Audit]]]


def kind(path: Path) -> str | None:
    """The format of a file by its name and, of XML, its beginning; None for another file."""
    suffix = path.with_suffix("").suffix if path.suffix in PACKED else path.suffix
    if suffix not in (".xml", ".nxml"):
        return ENDINGS.get(suffix)
    return "medline" if path.suffix != ".gz" and b"<PubmedArticle" in path.read_bytes()[:4_096] else "jats"


def audit_page(path: Path, clean: CleanSettings) -> Audit | None:
    """The audit of a page or a PDF; None where it gives no text."""
    data, ledger = path.read_bytes(), Ledger()
    is_pdf = kind(path) == "pdf"
    page = pdf_text(data, ledger=ledger) if is_pdf else extract(data, ledger=ledger)
    if not isinstance(page, Page):
        return None
    source = pdf_characters(data) if is_pdf else page_text(data, None, ledger)
    return audit(source, clean_document(page.text, None, "guidelines", clean, ledger).text, ledger)


def audit_records(read: ReadSettings, data: str, clean: CleanSettings) -> Iterator[tuple[str, str, Audit]]:
    """Source, id and audit of every document that gives an original."""
    for unit in units(read, data):
        original: Original | None = None
        for record in records(unit, read, data, originals=True):
            if isinstance(record, Original):
                original = record
            elif isinstance(record, dict) and original is not None:
                ledger = Ledger()
                source = original.read(ledger)
                text = clean_document(record["text"], record["title"], record["source"], clean, ledger).text
                yield record["source"], record["url"] or record["id"], audit(source, text, ledger)
                original = None


def measure(inputs: tuple[str, ...]) -> Audits:
    """The audits of all documents by input.

    Raises:
        UserError: an input is missing, or a config is wrong.
    """
    audits: Audits = {}
    for name in inputs:
        path = Path(name)
        if path.suffix == ".yaml":
            config = load_config(name, ())
            for source, identity, result in audit_records(config.read, config.data, config.clean):
                audits.setdefault(f"{path.name}: {source}", []).append((identity, result))
        elif path.exists():
            audits[name] = list(_files(path))
        else:
            raise UserError(f"{name}: no such config, file or folder")
    return audits


def _files(path: Path) -> Iterator[tuple[str, Audit]]:
    clean = Config.model_fields["clean"].get_default(call_default_factory=True)
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        form = kind(file) if file.is_file() else None
        if form in ("page", "pdf"):
            result = audit_page(file, clean)
            if result is not None:
                yield file.name, result
        elif form is not None:
            settings = FORMATS[form] | {"paths": [file.name]}
            read = ReadSettings.model_validate({"inputs": [settings]})
            yield from (found[1:] for found in audit_records(read, str(file.parent), clean))


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--json", "as_json", is_flag=True, help="Print all figures with examples as JSON.")
@user_errors
def main(inputs: tuple[str, ...], as_json: bool) -> None:
    """Audit the critical tokens of documents, from the raw file to the clean text."""
    figures = {name: audit_figures(audit_table(audits)) for name, audits in measure(inputs).items()}
    if as_json:
        click.echo(json.dumps(figures, indent=2, ensure_ascii=False))
        return
    head = ["input", "documents", "tokens", "kept", "left out", "written", "lost", "per 10,000", "invented"]
    rows = [
        [
            name,
            *(f"{figure[key]:,}" for key in ("documents", "tokens", "kept")),
            *(f"{sum(figure[key].values()):,}" for key in ("left_out", "written")),
            f"{figure['lost']:,}",
            f"{figure['per_10_000']:.2f}",
            f"{figure['invented']:,}",
        ]
        for name, figure in figures.items()
    ]
    click.echo(table(head, rows, set(range(1, len(head)))))
    for name, figure in figures.items():
        for rule, count in figure["left_out"].items():
            click.echo(f"{name}: {count:,} left out by {rule}")
        for what, examples in figure["examples"].items():
            for example in examples:
                click.echo(f"{name}: {what}: {example}")


if __name__ == "__main__":
    main()
