"""Papers and abstracts: JATS, S2ORC and MEDLINE, of the same invented studies."""

import re
from dataclasses import replace
from typing import Any

from samples import s2orc
from samples.bank import EXTRAS, TOPICS, passages
from samples.guidelines import lossy
from samples.jats import paper_xml
from samples.medline import Citation, citations
from samples.packing import gzipped, line, tarred
from samples.reasons import Reasons, loser
from samples.studies import Study

RETRACTED = "Retracted Publication"
ENTITY = '[\n<!ENTITY lab "an entity of its own">\n]'
LOOSE, PACKED = 7, 12
"""Of the papers told in full the first 7 are files, the next 5 are in an archive, the others are S2ORC's."""

PAPERS_WITH_ABSTRACT = 14
BY_S2 = slice(5, 20)
"""Of the studies without a paper, those whose abstract is Semantic Scholar's; the others have MEDLINE's."""

BASELINE, UPDATE = "abstracts/pubmed26n0001.xml.gz", "abstracts/pubmed26n0002.xml.gz"


class Studies:
    """All studies, by what is known of them."""

    def __init__(self, every: list[Study]) -> None:
        self.every = every
        self.full = [study for study in every if study.title in EXTRAS]
        self.bare = [study for study in every if study.title not in EXTRAS]
        self.by_s2 = self.bare[BY_S2]
        self.by_medline = [study for study in self.bare if study not in self.by_s2]

    def xml(self, study: Study) -> str:
        titles = [one.title for one in self.every]
        return paper_xml(study, EXTRAS.get(study.title, {}), TOPICS[study.topic][1], titles)


def make_papers(studies: Studies, reasons: Reasons) -> dict[str, bytes]:
    """Files by name; what must leave is added to `reasons`."""
    xml = [studies.xml(study) for study in studies.full[:PACKED]]
    files = {f"papers/paper-{number:02d}.xml": text.encode() for number, text in enumerate(xml[:LOOSE], 1)}
    members = {f"PMC/{study.pmcid}.xml": text.encode() for study, text in zip(studies.full, xml, strict=False)}
    kept = list(members.items())[LOOSE:]
    files["papers/oa_comm.tar.gz"] = gzipped(tarred({"PMC/readme.txt": b"Papers of the samples.\n", **dict(kept)}))
    bare = [studies.xml(study) for study in studies.bare[:3]]
    start, end = bare[1].index("<body>"), bare[1].index("</body>") + len("</body>")
    planted = {
        "malformed_xml": bare[0].replace("</abstract>", "", 1),
        "no_body": bare[1][:start] + bare[1][end:],
        "hostile_xml": re.sub(r"(<!DOCTYPE article)[^>]*>", rf"\1 {ENTITY}>", bare[2], count=1),
    }
    for reason, text in planted.items():
        name = f"papers/{reason.replace('_', '-')}.xml"
        files[name] = text.encode()
        reasons[name] = reason
    # MEDLINE's update retracts it, which upsampling looks at.
    reasons[str(s2orc.corpusid(studies.full[-1]))] = "filtered_out"
    return files | {"s2/s2orc/part-0.jsonl.gz": s2orc_part(studies, reasons)}


def s2orc_part(studies: Studies, reasons: Reasons) -> bytes:
    records = [s2orc.full_text(study, studies.xml(study)) for study in studies.full[PACKED:]]
    stranger, broken = studies.bare[3:5]
    records.append(s2orc.full_text(stranger, studies.xml(stranger), known=("DOI",)))
    reasons[str(s2orc.corpusid(stranger))] = "no_pubmed_id"
    record = s2orc.full_text(broken, studies.xml(broken))
    record["content"]["annotations"]["paragraph"] = '[{"start": "900", "end"'
    records.append(record)
    reasons[str(s2orc.corpusid(broken))] = "malformed_annotation"
    return gzipped(b"".join(map(line, records)))


def make_abstracts(studies: Studies, reasons: Reasons) -> dict[str, bytes]:
    """Files by name; what must leave is added to `reasons`."""
    full = studies.full[PAPERS_WITH_ABSTRACT:]
    reasons |= {str(s2orc.corpusid(study)): "id_duplicate" for study in full}
    unknown, *others = studies.by_s2
    known = [*others, *full]
    papers = [s2orc.paper(study) for study in known]
    papers += [s2orc.paper(study, ("DOI", "PubMed", "PubMedCentral")) for study in studies.full[PACKED : -len(full)]]
    papers += [s2orc.paper(study, ("DOI",)) for study in (studies.bare[3], unknown)]
    reasons[str(s2orc.corpusid(unknown))] = "no_pubmed_id"
    parts = {
        "s2/papers/part-0.jsonl.gz": papers,
        "s2/abstracts/part-0.jsonl.gz": map(s2orc.abstract, [*known, unknown]),
    }
    files = {name: gzipped(b"".join(map(line, records))) for name, records in parts.items()}
    return files | medline(studies, reasons)


def medline(studies: Studies, reasons: Reasons) -> dict[str, bytes]:
    """A baseline and an update: it revises a citation, retracts two, of which one is a paper's, and deletes one."""
    papers = studies.full[:PAPERS_WITH_ABSTRACT]
    found = [Citation.of(study) for study in [*studies.by_medline, *papers]]
    reasons |= {study.pmid: "id_duplicate" for study in papers}
    # The last of them is known by its DOI alone: its number in the registry is another one.
    found[-1] = replace(found[-1], pmid="99000900")
    reasons["99000900"] = reasons.pop(papers[-1].pmid)
    by_title = {one.title: one for one in found}

    def drop(pmid: str, reason: str, one: Citation, **changes: Any) -> None:
        found.insert(len(found) // 2, replace(one, pmid=pmid, doi=None, **changes))
        reasons[pmid] = reason

    kettle = by_title["Height of kettles and scalds in toddlers"]
    found.insert(len(found) // 2, replace(kettle, pmid="99000901", doi=None))
    reasons[loser("abstracts", "99000901", kettle.study.pmid)] = "exact_duplicate"
    choir = by_title["Singing as an adjunct to rehabilitation in chronic obstructive pulmonary disease"]
    drop("99000902", "near_duplicate", choir, abstract=lossy(choir.abstract, 60))
    (_, title, text) = next((*head, body) for head, body in passages("foreign.txt") if head[0] == "es")
    drop("99000903", "non_english", found[0], title=title, abstract=text, language="spa")
    drop("99000904", "no_abstract", found[0], title="Reply from the authors", abstract="")
    drop("99000905", "deleted_citation", found[0], title="Entered twice by a clerk", abstract=found[1].abstract)
    found.append(replace(found[0], pmid=None, title="A record without a number"))
    reasons[f"{BASELINE}:{len(found)}"] = "missing_field"
    *_, revised, retracted = (Citation.of(study) for study in studies.by_medline)
    changed = lossy(revised.abstract, 40)
    reasons |= {revised.study.pmid: "superseded", retracted.study.pmid: "superseded"}
    paper = replace(Citation.of(studies.full[-1]), abstract="")
    reasons[paper.study.pmid] = "no_abstract"
    update = [
        replace(revised, abstract=changed, version=2),
        replace(retracted, types=[*retracted.types, RETRACTED], retracted_in="99000950"),
        replace(paper, types=[*paper.types, RETRACTED], retracted_in="99000951"),
    ]
    return {BASELINE: citations(found), UPDATE: citations(update, deleted=["99000905"])}
