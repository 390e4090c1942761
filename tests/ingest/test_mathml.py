"""MathML read as one would write it on a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from ingest.text.mathml import math_text


def shown(inner: str) -> str:
    return math_text(etree.fromstring(f'<m:math xmlns:m="http://www.w3.org/1998/Math/MathML">{inner}</m:math>'))


def m(text: str) -> str:
    """Elements with a prefix, from a notation without."""
    return text.replace("</", "</m:").replace("<m:/", "</").replace("<", "<m:").replace("<m:/m:", "</m:")


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        # signs and names
        ("<mi>a</mi><mo>=</mo><mi>b</mi><mo>+</mo><mn>1</mn>", "a = b + 1"),
        ("<mi>f</mi><mo>(</mo><mi>x</mi><mo>,</mo><mi>y</mi><mo>)</mo>", "f(x,y)"),
        ("<mi>a</mi>\n  <mo> = </mo>\n <mi> b </mi>", "a = b"),
        ("<mi>log</mi><mi>x</mi>", "log x"),
        ("<mn>2</mn><mi>cos</mi><mo>&#x2061;</mo><mo>(</mo><mi>x</mi><mo>)</mo>", "2 cos(x)"),
        ("<mi>f</mi><mo>&#x2061;</mo><mo>(</mo><mi>x</mi><mo>)</mo>", "f(x)"),
        ("<mi>sin</mi><mo>&#x2061;</mo><mi>x</mi>", "sin x"),
        ("<mn>2</mn><mo>&#x2062;</mo><mi>x</mi>", "2x"),
        ("<mo>-</mo><mn>1</mn><mo>-</mo><mn>2</mn>", "-1 - 2"),
        ("<mi>a</mi><mo>=</mo><mo>−</mo><mi>b</mi>", "a = −b"),
        ("<mi>a</mi><mtext>if</mtext><mi>b</mi>", "a if b"),
        ("<mi>a</mi><mspace/><mi>b</mi>", "a b"),
        # fractions and roots
        ("<mfrac><mi>a</mi><mi>b</mi></mfrac>", "a/b"),
        ("<mfrac><mrow><mi>a</mi><mo>+</mo><mn>1</mn></mrow><mrow><mn>2</mn><mi>π</mi></mrow></mfrac>", "(a + 1)/(2π)"),
        ("<mfrac><mn>0.5</mn><mi>dt</mi></mfrac>", "0.5/dt"),
        ("<mfrac><mi>a</mi><mfenced separators=''><mi>b</mi><mo>+</mo><mi>c</mi></mfenced></mfrac>", "a/(b + c)"),
        (
            "<mfrac><mi>a</mi><mrow><mo>(</mo><mi>b</mi><mo>)</mo><mo>(</mo><mi>c</mi><mo>)</mo></mrow></mfrac>",
            "a/((b)(c))",
        ),
        ("<mo>(</mo><mfrac><mn>1</mn><mn>2</mn></mfrac><mo>)</mo>", "(1/2)"),
        ("<msqrt><mi>a</mi><mo>+</mo><mi>b</mi></msqrt>", "sqrt(a + b)"),
        ("<mroot><mi>a</mi><mn>3</mn></mroot>", "root_3(a)"),
        # scripts
        ("<msub><mi>x</mi><mi>i</mi></msub>", "x_i"),
        ("<msup><mn>10</mn><mrow><mo>-</mo><mn>6</mn></mrow></msup>", "10^(-6)"),
        ("<msubsup><mi>x</mi><mrow><mi>i</mi><mo>,</mo><mi>j</mi></mrow><mn>2</mn></msubsup>", "x_(i,j)^2"),
        ("<msup><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mn>2</mn></msup>", "(a + b)^2"),
        ("<msup><mrow><mo>(</mo><mi>a</mi><mo>+</mo><mi>b</mi><mo>)</mo></mrow><mn>2</mn></msup>", "(a + b)^2"),
        ("<msup><mfrac><mi>a</mi><mi>b</mi></mfrac><mn>2</mn></msup>", "(a/b)^2"),
        ("<msup><mi>sin</mi><mn>2</mn></msup><mi>x</mi>", "sin^2x"),
        ("<msup><mtext>m s </mtext><mn>2</mn></msup>", "(m s)^2"),
        ("<msup><mi>f</mi><mfenced><mi>n</mi></mfenced></msup>", "f^((n))"),
        ("<msubsup><mi>x</mi><mn>1</mn><mrow/></msubsup>", "x_1"),
        ("<msubsup><mi>x</mi><mn>1</mn><mtext>&#x200b;</mtext></msubsup>", "x_1"),
        ("<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover>", "∑_(i = 1)^n"),
        ("<munder><mi>max</mi><mi>x</mi></munder>", "max_x"),
        ("<mmultiscripts><mi>C</mi><mprescripts/><mn>6</mn><mn>14</mn></mmultiscripts>", "_6^14 C"),
        ("<mmultiscripts><mi>R</mi><mi>i</mi><none/><none/><mi>j</mi></mmultiscripts>", "R_i^j"),
        # accents
        ("<mi>x</mi><mo>−</mo><mover><mi>x</mi><mo>¯</mo></mover>", "x − bar(x)"),
        ("<mover accent='true'><mi>p</mi><mo>^</mo></mover>", "hat(p)"),
        ("<mover><mi>v</mi><mo>→</mo></mover>", "vec(v)"),
        ("<mover><mo>=</mo><mtext>def</mtext></mover>", "=^def"),
        # groups
        ("<mfenced><mi>a</mi><mi>b</mi></mfenced>", "(a,b)"),
        ("<mfenced open='[' close='}' separators=';'><mi>a</mi><mi>b</mi></mfenced>", "[a;b}"),
        ("<mfenced open='' close='' separators=''><mi>a</mi><mi>b</mi></mfenced>", "ab"),
        (
            "<mo>{</mo><mtable><mtr><mtd><mn>0</mn></mtd><mtd><mtext>if</mtext></mtd></mtr><mtr><mtd><mn>1</mn></mtd>"
            "</mtr></mtable>",
            "{0 if; 1",
        ),
        ("<semantics><mi>a</mi><annotation>hidden</annotation></semantics>", "a"),
        ("<semantics><annotation>hidden</annotation></semantics>", ""),
        ("<mphantom><mi>hidden</mi></mphantom><mi>a</mi>", "a"),
        ("<mstyle><mpadded><mi>a</mi></mpadded></mstyle>", "a"),
        ("<mrow>loose <mi>a</mi> words</mrow>", "loose a words"),
        # what is cut short still gives its letters
        ("<mfrac><mi>a</mi></mfrac><msub><mi>b</mi></msub><mroot><mi>c</mi></mroot><mi/>", "abc"),
        ("", ""),
    ],
)
def test_a_formula_on_one_line(markup: str, text: str) -> None:
    assert shown(m(markup)) == text
    assert math_text(etree.fromstring(f"<math>{markup}</math>")) == text


@pytest.mark.parametrize(
    "around",
    [
        "<msup><mi>x</mi>{}</msup>",
        "<msubsup><mi>x</mi><mi>y</mi>{}</msubsup>",
        "<mover><mi>x</mi>{}</mover>",
        "<mfrac>{}<mi>x</mi></mfrac>",
        "<mroot><mi>x</mi>{}</mroot>",
        "<mmultiscripts><mi>x</mi>{}<none/></mmultiscripts>",
        "<msqrt>{}</msqrt>",
    ],
)
def test_a_deep_formula_takes_no_longer_than_its_text(around: str) -> None:
    """Rendering a part twice a level would take hours here."""
    markup = "<mi>a</mi>"
    for _ in range(60):
        markup = around.format(markup)
    assert shown(m(markup)).count("a") == 1


NAMES = [
    *("mi", "mn", "mo", "mtext", "mspace", "mrow", "mfrac", "msqrt", "mroot", "msub", "msup", "msubsup", "mover"),
    *("munderover", "mmultiscripts", "mprescripts", "none", "mfenced", "mtable", "mtr", "mtd"),
    *("semantics", "annotation", "mphantom", "unknown"),
]
LEAVES = st.tuples(st.sampled_from(NAMES), st.text(st.characters(codec="utf-8", categories=["L", "N", "S", "P"])))
TREES = st.recursive(
    LEAVES.map(lambda leaf: (leaf[0], leaf[1], [])),
    lambda inner: st.tuples(st.sampled_from(NAMES), st.just(""), st.lists(inner, max_size=4)),
)


def element(tree: tuple[str, str, list]) -> etree._Element:
    name, text, inner = tree
    node = etree.Element(name)
    node.text = text
    node.extend(map(element, inner))
    return node


@given(TREES)
def test_any_tree_gives_one_line(tree: tuple[str, str, list]) -> None:
    math = etree.Element("math")
    math.append(element(tree))
    text = math_text(math)
    assert text == " ".join(text.split())
    assert not set(text) & set("\u200b\u2061\u2062\u2063\u2064")
