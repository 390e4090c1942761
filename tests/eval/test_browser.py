"""The page of questions: harmless, bounded, true to the answers, and filtered by its script."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import lxml.html
import pytest
from playwright.sync_api import sync_playwright

from eval import browser
from eval.browser import Quoting
from eval.score import Evaluation, read
from tests.eval.paged import EVIL
from tests.eval.saved import chosen, entry, rated, row, save, written

LETTERS, CLOZE = entry(title="Quiz"), entry("cloze", title="Quiz")
NUMBERS = entry("answer", "number", "sums", extract=["committed"])
QUOTING = {
    ("quiz", "2"): [
        Quoting("papers a1", "https://a.example.org/1?x=2"),
        Quoting("web b2", None),
        Quoting("web b3", "javascript:alert(1)"),
    ]
}
CHROMIUM = "/usr/bin/chromium"
HOSTILE = "</script><script>alert(1)</script><!-- & \u2028 \u202e"


def evaluation(folder: Path, label: str = "B", **more: Any) -> Evaluation:
    """Two questions in letters, one of them in cloze, and three sums. `label` is the answer to the first."""
    rows = [
        chosen(LETTERS, "1", "A", label, **more),
        chosen(LETTERS, "2", "A", "A"),
        rated(CLOZE, "1", "A", [-1.5, -2.0, -3.0, float("-inf")]),
        written(NUMBERS, "1", "42", "The answer is 42."),
        written(NUMBERS, "2", "42", "I cannot say."),
        row(NUMBERS, "3", "42", error="the engine died"),
    ]
    return read(save(folder, [LETTERS, CLOZE, NUMBERS], rows), browser.COLUMNS)


def data_of(page: str) -> dict[str, Any]:
    (script,) = lxml.html.document_fromstring(page).xpath("//script[@type='application/json']")
    return json.loads(script.text)


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Evaluation]:
    return {"base": evaluation(tmp_path / "base"), "tuned": evaluation(tmp_path / "tuned", "A")}


def test_the_page_has_every_answer_of_every_model(models: dict[str, Evaluation]) -> None:
    found = data_of(browser.render("demo", models, QUOTING))
    assert found["models"] == ["base", "tuned"]
    assert [(row["score"].split()[0], row["id"]) for row in found["rows"]] == [
        ("quiz", "1"),
        ("quiz", "2"),
        ("quiz", "1"),
        *[("sums", n) for n in "123"],
    ]
    first, second, cloze, *sums = found["rows"]
    assert [answer["state"] for answer in first["answers"]] == ["wrong", "right"]
    assert (first["quoting"], second["quoting"]) == (
        [],
        [["papers a1", "https://a.example.org/1?x=2"], ["web b2", None], ["web b3", None]],
    )
    assert first["options"][0] == ["A", "aspirin"]
    assert [len(answer["rated"]) for answer in first["answers"]] == [4, 4]
    assert cloze["answers"][0]["rated"] == ["-1.50", "-2.00", "-3.00", "–"]
    assert [row["answers"][0]["state"] for row in sums] == ["right", "not read", "error"]
    assert sums[0]["answers"][0]["outputs"] == ["The answer is 42."]
    assert sums[2]["answers"][0]["why"] == "the engine died"
    assert browser.render("demo", models, QUOTING) == browser.render("demo", models, QUOTING)


def test_a_question_that_a_model_was_not_asked_has_no_answer_of_it(tmp_path: Path) -> None:
    less = save(tmp_path / "less", [LETTERS], [chosen(LETTERS, "2", "A", "A", prompt="<|user|>2")])
    models = {"base": evaluation(tmp_path / "base"), "less": read(less, browser.COLUMNS)}
    first, second, *_ = data_of(browser.render("demo", models, QUOTING))["rows"]
    assert first["answers"][1] is None
    assert second["answers"][1]["prompt"] == "<|user|>2"
    assert second["answers"][0]["prompt"] is None


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    hostile = {key: f"{HOSTILE} {key}" for key in ("question", "prompt", "group")}
    page = browser.render(EVIL, {HOSTILE: evaluation(tmp_path / "base", **hostile)}, {})
    tree = lxml.html.document_fromstring(page)
    data, script = tree.xpath("//script")
    assert (data.get("type"), script.get("type")) == ("application/json", None)
    assert script.text == browser.SCRIPT.read_text(encoding="utf-8")
    assert "\u202e" not in page
    first = data_of(page)["rows"][0]
    assert first["question"].startswith("</script><script>alert(1)</script>")
    assert "\u202e" not in first["question"]


def test_the_page_asks_no_other_host_and_runs_no_other_script(models: dict[str, Evaluation]) -> None:
    page = lxml.html.document_fromstring(browser.render("demo", models, QUOTING))
    assert not page.xpath("//link | //img | //iframe | //object | //embed | //@src | //@srcset | //@action")
    assert not page.xpath("//@*[starts-with(name(), 'on')]")
    assert not [link for link in page.xpath("//@href") if not link.startswith("#")]
    (policy,) = page.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    assert policy.startswith("default-src 'none'; ")
    assert "script-src 'sha256-" in policy
    script = browser.SCRIPT.read_text(encoding="utf-8")
    assert not [
        word for word in ("innerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(") if word in script
    ]
    assert page.xpath("//label[.//select or .//input]")
    assert not page.xpath("//select[not(ancestor::label)] | //input[not(ancestor::label)]")


def test_a_large_evaluation_is_cut_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = "Shots. " * 2_000 + "Question: which?"
    rows = [chosen(asked, str(n), "A", "A", prompt=long) for asked in (LETTERS, CLOZE) for n in range(40)]
    models = {"base": read(save(tmp_path / "base", [LETTERS, CLOZE], rows), browser.COLUMNS)}
    monkeypatch.setattr(browser, "MOST", 50_000)
    page = browser.render("demo", models, QUOTING)
    rows = data_of(page)["rows"]
    assert 10 < len(rows) < 30
    assert len(page) < 90_000
    assert f"{len(rows)} of 80 questions" in page
    assert all(len(row["prompt"]) < 1_700 and row["prompt"].endswith("Question: which?") for row in rows)
    assert "characters are left out here" in rows[0]["prompt"]
    ids = [{row["id"] for row in rows if row["score"] == asked["score"]} for asked in (LETTERS, CLOZE)]
    assert len(ids[0] ^ ids[1]) <= 1, "both scores have the same questions"


def test_a_run_without_an_evaluation_has_an_empty_page() -> None:
    assert data_of(browser.render("demo", {}, {})) == {"models": [], "rows": []}


DOM = Path(__file__).with_name("dom.js")


def states(base: str, tuned: str) -> list[str]:
    return [f"base: {base}", f"tuned: {tuned}"]


CHANGED, RIGHT, UNREAD, ERROR = (
    states(*pair) for pair in (("wrong", "right"), ("right", "right"), ("not read", "not read"), ("error", "error"))
)


NODE = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")


def run_script(page: str, **more: Any) -> dict[str, Any]:
    """What the page's script shows."""
    given = json.dumps({"data": data_of(page), **more})
    done = subprocess.run(["node", DOM, browser.SCRIPT], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@NODE
@pytest.mark.parametrize(
    ("chosen_filter", "expected"),
    [
        ({}, [CHANGED, RIGHT, RIGHT, RIGHT, UNREAD, ERROR]),
        ({"score": LETTERS["score"]}, [CHANGED, RIGHT]),
        ({"result": "changed"}, [CHANGED]),
        ({"result": "gained"}, [CHANGED]),
        ({"result": "lost"}, []),
        ({"result": "wrong", "model": "0"}, [CHANGED]),
        ({"result": "wrong", "model": "1"}, []),
        ({"result": "not read"}, [UNREAD]),
        ({"result": "quoted"}, [RIGHT]),
        ({"text": "ENGINE died"}, [ERROR]),
    ],
)
def test_the_script_filters(
    models: dict[str, Evaluation], chosen_filter: dict[str, str], expected: list[list[str]]
) -> None:
    shown = run_script(browser.render("demo", models, QUOTING), filter=chosen_filter)
    assert [question["states"] for question in shown["rows"]] == expected
    count = len(expected)
    assert shown["told"] == (f"1 to {count} of {count} questions" if expected else "No question fits.")
    assert all("Prompt Question: " in question["body"] for question in shown["rows"])


@NODE
def test_the_script_turns_pages_and_begins_with_the_score_of_the_link(tmp_path: Path) -> None:
    rows = [chosen(asked, str(n), "A", "A") for asked in (LETTERS, CLOZE) for n in range(60)]
    page = browser.render("demo", {"base": read(save(tmp_path, [LETTERS, CLOZE], rows), browser.COLUMNS)}, {})
    told = [run_script(page, clicks=clicks)["told"] for clicks in ([], ["on"], ["on", "on"], ["on", "back"])]
    assert told == [f"{places} of 120 questions" for places in ("1 to 50", "51 to 100", "101 to 120", "1 to 50")]
    link = run_script(page, hash="#quiz%20strict%20cloze%200-shot", clicks=["on"])
    assert (link["told"], link["rows"][0]["states"]) == ("51 to 60 of 60 questions", ["right"])


@pytest.mark.skipif(shutil.which(CHROMIUM) is None, reason=f"{CHROMIUM} is not installed")
def test_a_browser_lets_the_script_run_and_links_the_quoting_documents(
    models: dict[str, Evaluation], tmp_path: Path
) -> None:
    path = tmp_path / "questions.html"
    path.write_text(browser.render(EVIL, models, QUOTING), encoding="utf-8")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM)
        page = chromium.new_page()
        faults: list[str] = []
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(path.as_uri())
        assert page.locator("#rows > details").count() == 6
        page.select_option("select[name=result]", "quoted")
        page.locator("#rows summary").click()
        assert page.locator("#rows a").get_attribute("href") == "https://a.example.org/1?x=2"
        assert "web b2, web b3" in page.locator("#rows").inner_text()
        page.fill("input[name=text]", "nowhere")
        assert page.locator("#told").inner_text() == "No question fits."
        chromium.close()
    assert faults == []
