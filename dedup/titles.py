"""Duplicates by title within a site: pages of the same title, and WikiDoc's sub-pages beside an overview."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple

from dedup.cluster import Likeness

OVERVIEW = " overview"
SITES_WITH_OVERVIEWS = frozenset({"wikidoc"})
"""Sites where a page `X overview` stands for all pages of `X`."""

CHAPTER = re.compile(
    r"(?:historical|classification|pathophysiology|pathogenesis|pathology|causes?|etiology|epidemiology|risk|screening"
    r"|natural|prognosis|complications|diagnosis|diagnostic|differential|differentiating|history|symptoms|signs|physical"
    r"|laboratory|lab|electrocardiogram|e[ck]g|x-?ray|chest|ct|mri|ultrasound|echocardiography|imaging|other|biopsy"
    r"|treatment|medical|pharmacotherapy|therapy|surg(?:ery|ical)|radiation|primary|secondary|tertiary|prevention"
    r"|cost-effectiveness|future|case|study|management|resident|clinical|definition|genetics|patient|follow-up"
    r"|percutaneous|transplantation|rehabilitation|vaccination)"
)
"""The word after the subject in the title of a sub-page: `Asthma risk factors` is one, `Asthma in children` is not."""

NO_NAME = re.compile(
    r"(?:(?:untitled|document|home|index|contents|introduction|overview|summary|abstract|guidelines?|report|page|pdf"
    r"|recommendations?|article|publication|main|[0-9]+)(?: |$))*"
)
"""Titles that name no document, so that two pages with such a title are not the same."""

FILE = re.compile(r"microsoft word|\.(?:pdf|docx?|indd|qxd|pub)$")
SPLIT = re.compile(r"[^\w'+./-]+")


class Titled(NamedTuple):
    """A document, with its rank (dedup.cluster) as `order`: the least is preferred."""

    id: str
    title: str | None
    url: str | None = None
    order: int = 0


class TitleDrop(NamedTuple):
    """A dropped document and its survivor, which is never dropped itself."""

    id: str
    survivor: str
    kind: Likeness


def title_drops(rows: Iterable[Titled], overviews: bool = False) -> Iterator[TitleDrop]:
    """The documents of a site that are dropped, sorted by id whatever the order of the rows.

    Of the documents of a title, compared without case, marks and blanks, that with the least (order, id) stays. With
    `overviews`, a page `X overview` also replaces `X` and those of its sub-pages that CHAPTER knows. Where subjects are
    nested, the longest decides. Titles that name nothing (`Untitled`, `report.pdf`) do not count.
    """
    best: dict[str, Titled] = {}
    titled: list[tuple[Titled, str]] = []
    for row in rows:
        if plain := plain_title(row.title):
            titled.append((row, plain))
            best[plain] = min(best.get(plain, row), row, key=attrgetter("order", "id"))
    subjects = {plain.removesuffix(OVERVIEW): plain for plain in best if plain.endswith(OVERVIEW)} if overviews else {}
    for row, plain in sorted(titled):
        overview = _overview(plain, subjects)
        survivor = best[overview or plain]
        if row.id != survivor.id:
            yield TitleDrop(row.id, survivor.id, Likeness.OVERVIEW if overview else Likeness.TITLE)


def plain_title(title: str | None) -> str:
    """The form in which titles are compared, empty where a title names no document."""
    folded = unicodedata.normalize("NFKC", title or "").casefold().strip()
    plain = " ".join(word for word in (part.strip("'+./-_") for part in SPLIT.split(folded)) if word)
    return "" if NO_NAME.fullmatch(plain) or FILE.search(folded) else plain


def _overview(title: str, subjects: dict[str, str]) -> str | None:
    """The title of the overview that stands for a page, if there is any."""
    if not subjects or title.endswith(OVERVIEW):
        return None
    words = title.split()
    for length in range(len(words), 0, -1):
        subject = " ".join(words[:length])
        if subject in subjects and (length == len(words) or CHAPTER.fullmatch(words[length])):
            return subjects[subject]
    if words[0] == "differentiating" and "from" in words:
        return subjects.get(" ".join(words[1 : words.index("from")]))
    return None
