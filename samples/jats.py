"""A study told as a full paper in JATS XML."""

from collections.abc import Iterable
from xml.sax.saxutils import escape

from samples.bank import Dice
from samples.studies import Study

DTD = "-//NLM//DTD JATS (Z39.96) Journal Publishing DTD v1.2 20190208//EN"
FORMULAE = (
    (r"RR = \frac{e_1 / n_1}{e_2 / n_2}", "The risk ratio was computed from events and people in both groups as"),
    (
        r"\log RR \pm 1.96 \sqrt{\frac{1}{e_1} - \frac{1}{n_1} + \frac{1}{e_2} - \frac{1}{n_2}}",
        "Confidence limits follow",
    ),
    (
        r"n = \frac{(z_{\alpha} + z_{\beta})^2 \, 2 p (1 - p)}{\delta^2}",
        "The number of people needed per group was found by",
    ),
    (
        r"h(t \mid x) = h_0(t) \exp(\beta^{\top} x)",
        "We wrote the hazard of a person with covariates x in the usual form",
    ),
    (r"w_i = \frac{z_i}{e_i} + \frac{1 - z_i}{1 - e_i}", "Each person was weighted by"),
)
MATHML = (
    "<mml:math><mml:mi>D</mml:mi><mml:mo>=</mml:mo><mml:msub><mml:mi>p</mml:mi><mml:mn>2</mml:mn></mml:msub>"
    "<mml:mo>-</mml:mo><mml:msub><mml:mi>p</mml:mi><mml:mn>1</mml:mn></mml:msub></mml:math>"
)
FIRST = ("Ada", "Bela", "Chidi", "Dunja", "Emre", "Farah", "Goran", "Hana", "Ines", "Jonas")
LAST = (
    "Quillfeather",
    "Ombrado",
    "Vantessen",
    "Marrowby",
    "Iwendi",
    "Kestrelow",
    "Tarnaud",
    "Lindquarry",
    "Sorvino-Pell",
)
WHERE = (
    "Hospitals, practices and homes in the study area were visited by a team of four.",
    "The region has about half a million inhabitants, two hospitals and a single railway line.",
    "Recruitment began in spring and was completed two winters later.",
    "Three towns and the villages around them make up the catchment of the study.",
    "Local health workers, paid by the study, made the first contact.",
    "All sites used the same forms, which were piloted on twenty volunteers.",
)
ETHICS = (
    "An independent committee approved the protocol, and everyone gave written consent.",
    "Consent was sought in the language of the home; those who declined lost nothing by it.",
    "The protocol was approved before the start, and two amendments concerned dates only.",
    "Approval came from the regional board, with a lay member as advocate of the participants.",
)


def paper_xml(study: Study, extra: dict[str, list[str]], topic: dict[str, list[str]], titles: list[str]) -> str:
    """`extra` holds the paper's own sentences, `topic` those on its condition, `titles` what it may cite."""
    dice = Dice(f"paper {study.title}")
    cited = dice.some([title for title in titles if title != study.title], 5)
    known = dice.some([sentence for key in "DCSE" for sentence in topic[key]], 4)
    advice = dice.some(topic["P"] + topic["N"], 2)
    told = study.told
    formula, said = FORMULAE[dice.number(0, len(FORMULAE) - 1)]
    figure, table = extra.get("F", ["Flow of participants"])[0], extra.get("T", ["Characteristics of participants"])[0]
    intro, methods, results, discussion = (extra.get(key, []) for key in "IMRD")
    body = [
        section("Introduction", [
            paragraph([*known[:2], *intro[:1]], "bibr", "r1 r2"),
            paragraph([*study.lines["B"], *intro[1:], *known[2:]], "bibr", "r3"),
        ]),
        section("Methods", [
            section("Setting and participants", [paragraph([*dice.some(list(WHERE), 2), told["design"]], "table", "t1"),
                                                 paragraph([*methods, dice.pick(list(ETHICS))])]),
            section("Outcome and analysis", [paragraph([told["outcome"], told["analysis"], f"{said}:"]),
                                             display(formula), difference()]),
        ]),
        section("Results", [
            paragraph([told["result"], *study.lines["X"]], "fig", "f1"),
            floating("fig", "f1", "Figure 1", figure),
            section("Further findings", [paragraph(results, "table", "t1"),
                                         floating("table-wrap", "t1", "Table 1", table, grid(study))]),
        ]),
        section("Discussion", [
            paragraph(discussion[:2], "bibr", "r4 r5"),
            paragraph([told["limits"], study.phrase("limits"), *discussion[2:]]),
            section("What this means for practice", [bullets([*study.lines["C"], *advice])]),
        ]),
    ]  # fmt: skip
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE article PUBLIC "{DTD}" "JATS-journalpublishing1.dtd">
<article xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:mml="http://www.w3.org/1998/Math/MathML"
  article-type="research-article" xml:lang="en">
<front>
<journal-meta>
<journal-id journal-id-type="nlm-ta">{escape(study.journal)}</journal-id>
<journal-title-group><journal-title>{escape(study.journal)}</journal-title></journal-title-group>
</journal-meta>
<article-meta>
<article-id pub-id-type="pmid">{study.pmid}</article-id>
<article-id pub-id-type="pmc">{study.pmcid}</article-id>
<article-id pub-id-type="doi">{study.doi}</article-id>
<title-group><article-title>{escape(study.title)}</article-title></title-group>
<contrib-group>
{contributors(dice)}
</contrib-group>
<pub-date pub-type="epub">
<day>{dice.number(1, 28)}</day><month>{dice.number(1, 12)}</month><year>{study.year}</year>
</pub-date>
<permissions>
<copyright-statement>The authors of this project, {study.year}</copyright-statement>
<license license-type="open-access" xlink:href="https://creativecommons.org/licenses/by/4.0/">
<license-p>This article is distributed under the terms of the Creative Commons Attribution License 4.0.</license-p>
</license>
</permissions>
<abstract>
{"".join(f"<p>{escape(line)}</p>{chr(10)}" for line in study.abstract.splitlines())}</abstract>
</article-meta>
</front>
<body>
{"".join(body)}</body>
<back>
<ref-list>
<title>References</title>
{"".join(reference(f"r{place}", title, dice) for place, title in enumerate(cited, 1))}</ref-list>
</back>
</article>
"""


def section(title: str, blocks: Iterable[str]) -> str:
    return f"<sec>\n<title>{escape(title)}</title>\n{''.join(block + chr(10) for block in blocks if block)}</sec>\n"


def paragraph(sentences: list[str], kind: str = "", targets: str = "") -> str:
    """A paragraph whose first sentence, before its full stop, refers to the targets."""
    if not sentences:
        return ""
    text = escape(" ".join(sentences))
    stop = len(escape(sentences[0])) - 1
    marks = {"bibr": "[{}]", "fig": "(Figure {})", "table": "(Table {})"}
    if not kind:
        return f"<p>{text}</p>"
    links = ",".join(f'<xref ref-type="{kind}" rid="{target}">{target[1:]}</xref>' for target in targets.split())
    return f"<p>{text[:stop]} {marks[kind].format(links)}{text[stop:]}</p>"


def display(tex: str) -> str:
    return f'<disp-formula id="e1"><label>(1)</label><tex-math>{escape(tex)}</tex-math></disp-formula>'


def difference() -> str:
    return f"<p>The difference in risk was <inline-formula>{MATHML}</inline-formula>, as is customary.</p>"


def floating(element: str, name: str, label: str, caption: str, inner: str = "") -> str:
    content = inner or f'<graphic xlink:href="{name}.png"/>'
    shown = f"<label>{label}</label><caption><p>{escape(caption)}.</p></caption>"
    return f'<{element} id="{name}">{shown}{content}</{element}>'


def grid(study: Study) -> str:
    rows = (
        ("", "Group 1", "Group 2"),
        ("People", study.slots["n1"], study.slots["n2"]),
        ("Events", study.slots["e1"], study.slots["e2"]),
    )
    cells = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    return f"<table><tbody>{''.join(f'<tr>{row}</tr>' for row in cells)}</tbody></table>"


def bullets(items: list[str]) -> str:
    inner = "".join(f"<list-item><p>{escape(item)}</p></list-item>\n" for item in items)
    return f'<list list-type="bullet">\n{inner}</list>'


def person(last: str, first: str) -> str:
    return f"<name><surname>{last}</surname><given-names>{first}</given-names></name>"


def contributors(dice: Dice) -> str:
    names = zip(dice.some(list(LAST), 3), dice.some(list(FIRST), 3), strict=True)
    return "\n".join(f'<contrib contrib-type="author">{person(last, first)}</contrib>' for last, first in names)


def reference(name: str, title: str, dice: Dice) -> str:
    author = person(dice.pick(list(LAST)), dice.pick(list(FIRST))[0])
    return (
        f'<ref id="{name}"><element-citation publication-type="journal">'
        f'<person-group person-group-type="author">{author}</person-group>'
        f"<article-title>{escape(title)}</article-title><source>Annals of Invented Medicine</source>"
        f"<year>{dice.number(1998, 2021)}</year></element-citation></ref>\n"
    )
