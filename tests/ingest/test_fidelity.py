"""The audit of critical tokens: it finds what is lost and invented, and believes the ledger of the readers."""

import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.fidelity.audit import MOST_FINDINGS, Audit, audit
from ingest.fidelity.crude import markup_text, page_text
from ingest.fidelity.ledger import Ledger
from ingest.fidelity.sample import audit_figures, audit_table, sampled
from ingest.fidelity.tokens import critical_tokens, readable


def values(text: str) -> list[str]:
    return [token.value for token in critical_tokens(readable(text))]


def lost(source: str, clean: str, ledger: Ledger | None = None) -> list[str]:
    return [finding.value for finding in audit(source, clean, ledger or Ledger()).losses]


def invented(source: str, clean: str, ledger: Ledger | None = None) -> list[str]:
    return [finding.value for finding in audit(source, clean, ledger or Ledger()).inventions]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Give 250 µg or 250 μg/kg", ["250", "µg", "250", "µg/kg"]),
        ("10–20 mg, 10 - 20 mg", ["10", "-", "20", "mg", "10", "-", "20", "mg"]),
        ("HBeAg (-), HIV (−), Rh (+)", ["(-)", "(-)", "(+)"]),
        ("P < 0.05, ≥65 years, ±2", ["<", "0.05", "≥", "65", "years", "±", "2"]),
        ("10^6 cells, 10^−9, m2", ["10", "^6", "10", "^-9", "2"]),
        ("1 1/2 tablets, ½, 1⁄2", ["1", "1", "/", "2", "½", "1", "/", "2"]),
        ("do NOT give; Never stop", ["not", "never"]),
        ("contra-indicated without α-blockade", ["contra-indicated", "without", "α"]),
        ("at −80 °C, -5, CD4-", ["-", "80", "°", "-", "5", "4", "-"]),
        ("38.5 °C and 5 %", ["38.5", "°", "5", "%"]),
        ("A | 5 mg | 1,000 units", ["5", "mg", "1,000"]),
        ("- 5 mg\n# 3 Doses\n- first", ["5", "mg", "3"]),
        ("notable, northern, another", []),
    ],
)
def test_critical_tokens(text: str, tokens: list[str]) -> None:
    assert values(text) == tokens


@pytest.mark.parametrize(
    ("source", "clean", "missing", "added"),
    [
        ("Give 250 µg daily", "Give 250 g daily", ["µg"], ["g"]),
        ("Give 10–20 mg daily", "Give 1020 mg daily", ["10", "-", "20"], ["1020"]),
        ("HBeAg (-) mothers", "HBeAg mothers", ["(-)"], []),
        ("do not stop it", "do stop it", ["not"], []),
        ("10^6 cells", "106 cells", ["10", "^6"], ["106"]),
        ("10^6 cells", "10 6 cells", ["^6"], ["6"]),
        ("age ≥65 years", "age >65 years", ["≥"], [">"]),
        ("5 mg. Second dose: 5 mg", "5 mg. Second dose:", ["5", "mg"], []),
        ("5 mg here", "5 mg here and 5 mg there", [], ["5", "mg"]),
    ],
)
def test_the_audit_names_what_is_lost_and_invented(
    source: str, clean: str, missing: list[str], added: list[str]
) -> None:
    assert sorted(lost(source, clean)) == sorted(missing)
    assert sorted(invented(source, clean)) == sorted(added)


def test_a_block_that_moved_is_kept() -> None:
    blocks = [f"Table {n}: the dose of drug {n} is {n * 7}.5 mg" for n in range(40)]
    result = audit("\n".join(blocks), "\n\n".join(blocks[20:] + blocks[:20]), Ledger())
    assert (result.lost, result.invented, result.kept) == (0, 0, result.tokens)


def test_the_ledger_explains_what_is_gone_and_what_is_added() -> None:
    ledger = Ledger()
    ledger.leave_out("references", "[12] Smith 2004;5:3")
    ledger.write("list_label", "2.")
    result = audit("Give 5 mg [12] Smith 2004;5:3", "2. Give 5 mg", ledger)
    assert (result.lost, result.invented) == (0, 0)
    assert result.left_out == Counter(references=4)
    assert result.written == Counter(list_label=1)


def test_an_entry_of_the_ledger_explains_a_token_once() -> None:
    ledger = Ledger()
    ledger.leave_out("references", "5 mg")
    assert lost("5 mg now, 5 mg later, 5 mg at last", "now, later, at last", ledger) == ["5", "mg"] * 2


def test_a_unit_beside_a_number_that_a_rule_wrote_may_have_moved() -> None:
    ledger = Ledger()
    for _ in range(2):
        ledger.write("list_label", "1.")
    source, clean = "11 ± 0.5 mmol/L 20 ± 0.5 mmol/L 13.5 mg", "11 ± 0.5 mmol/L 1. 20 ± 0.5 mmol/L 1. 13.5 mg"
    result = audit(source, clean, ledger)
    assert (result.lost, result.invented, result.written) == (0, 0, Counter(list_label=2))


def test_findings_show_both_places() -> None:
    (finding,) = audit("Take one, then give 250 µg of it.", "Take one, then give 250 of it.", Ledger()).losses
    assert finding.excerpt == "Take one, then give 250 »µg« of it."
    assert finding.other.endswith("250 of it.")


words = st.lists(st.sampled_from(["5", "10", "mg", "not", "≥", "dose", "of", "β", "1/2", "(-)", "12.5"]), max_size=60)


@given(words)
def test_a_text_keeps_all_of_itself(text: list[str]) -> None:
    result = audit(" ".join(text), "\n\n".join(text), Ledger())
    assert (result.lost, result.invented) == (0, 0)


@given(words, st.data())
def test_a_token_that_is_cut_out_is_lost_and_no_other(text: list[str], data: st.DataObject) -> None:
    text = ["start", *text, "5.55", "end"]
    place = data.draw(st.integers(1, len(text)))
    source = [*text[:place], "77.7", *text[place:]]
    assert lost(" x ".join(source), " x ".join(text)) == ["77.7"]
    assert invented(" x ".join(text), " x ".join(source)) == ["77.7"]


def test_hostile_texts_take_linear_time() -> None:
    def seconds(size: int) -> float:
        started = time.process_time()
        audit("5 " * size, "5 6 " * size, Ledger())
        audit("7 not " * size, "", Ledger())
        return time.process_time() - started

    seconds(1_000)
    assert seconds(40_000) < 40 * max(seconds(4_000), 0.05)


def test_findings_are_bounded_and_counted() -> None:
    result = audit("5 " * 1_000, "", Ledger())
    assert (result.lost, len(result.losses)) == (1_000, MOST_FINDINGS)
    figures = audit_figures(audit_table([("0" * 32, result)]))
    assert (figures["documents"], figures["tokens"], figures["lost"], figures["per_10_000"]) == (
        1,
        1_000,
        1_000,
        10_000,
    )


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<table><td>10</td><td>20</td></table>", ["10", "20"]),
        ("1<b>0</b>0 mg", ["100", "mg"]),
        ("10<sup>6</sup>", ["10", "^6"]),
        ("MSP-1<sub>42</sub>, H<sub>2</sub>O", ["-", "1", "42", "2"]),
        ("1<sup>1</sup>/<sub>2</sub>", ["1", "1", "/", "2"]),
        ('<a title="5 > 4" href=x>6</a>', ["6"]),
        ("<!-- 5 --><script>var x = 7</script><style>9</style>8", ["8"]),
        ("p < 5 and &lt;6 &micro;g &#150; &#8211;", ["<", "5", "<", "6", "µg"]),
        ("<m:mfrac><m:mn>1</m:mn><m:mn>2</m:mn></m:mfrac>", ["1", "2"]),
        ("<script>7", []),
        ("10<sup>9</sup>/L, <sup>3</sup>/<sub>4</sub>", ["10", "^9", "3", "/", "4"]),
        ('<img width="5"">6 <! --- 7 --></!-->8<![endif]-->', ["6", "8"]),
        ('<script src="a"/>7</script>8', ["8"]),
    ],
)
def test_crude_text_of_a_page(markup: str, text: list[str]) -> None:
    assert values(page_text(f"<body><p>{markup}".encode(), None, Ledger())) == text


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>10<sup>6</sup></p><p>1<bold>0</bold>0</p>", ["10", "^6", "100"]),
        ("<![CDATA[a < 5 & 6]]>", ["<", "5", "6"]),
        ("<m:mfrac><m:mn>1</m:mn><m:mn>2</m:mn></m:mfrac>", ["1", "2"]),
        ("<title>5</title><!-- 6 --><a title='7 > 6'>8</a>", ["5", "8"]),
        ("P &lt; 0.05 &#181;", ["<", "0.05", "µ"]),
    ],
)
def test_crude_text_of_xml(markup: str, text: list[str]) -> None:
    assert values(markup_text(markup)) == text


def test_the_text_of_an_image_may_be_kept_or_left_out() -> None:
    ledger = Ledger()
    source = page_text(b'Age <img alt="&ge;"> 65, <img alt="Figure 3">', None, ledger)
    result = audit(source, "Age ≥ 65,", ledger)
    assert (result.lost, result.invented, result.left_out) == (0, 0, Counter(image=1))


def test_the_first_document_and_a_share_of_the_others_are_audited() -> None:
    chosen = sampled(0.25)
    assert chosen("f" * 32)
    assert not chosen("f" * 32)
    assert chosen("3" + "f" * 31)
    assert not chosen("4" + "0" * 31)
    assert not sampled(0)("0" * 32)


def test_figures_add_up() -> None:
    audits = [
        ("a" * 32, Audit(10, 7, Counter(references=2), Counter(), 1, 0, (), ())),
        ("b" * 32, audit("5", "5", Ledger())),
    ]
    figures = audit_figures(audit_table(audits))
    assert figures["tokens"] == figures["kept"] + sum(figures["left_out"].values()) + figures["lost"] == 11
