"""The chat page in a real browser, before played engines."""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from gap.advisory import ADVISORY
from tests.gap.serve.played import KEY

ROOT = Path(__file__).resolve().parents[3]
CHROMIUM = "/usr/bin/chromium"
SLOW = 60_000
SIZES = {"phone": (360, 640), "wide": (1280, 800), "huge": (2560, 1300)}

pytestmark = pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason=f"needs {CHROMIUM}")
expect.set_options(timeout=SLOW)


class Server:
    """A process with the page. `tell` changes its engine."""

    def __init__(self, url: str, orders: TextIO) -> None:
        self.url, self._orders = url, orders

    def tell(self, order: str) -> None:
        self._orders.write(f"{order}\n")
        self._orders.flush()

    def metrics(self) -> str:
        return httpx.get(f"{self.url}/metrics", headers={"Authorization": f"Bearer {KEY}"}, timeout=30).text


@pytest.fixture(scope="module")
def process() -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.gap.serve.played_server", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, text=True) as running:
        assert running.stdin is not None
        server = Server(f"http://127.0.0.1:{port}", running.stdin)
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                assert httpx.get(f"{server.url}/health").status_code == 200
                break
            except httpx.TransportError:
                time.sleep(0.2)
        yield server
        running.terminate()


@pytest.fixture
def server(process: Server) -> Server:
    process.tell("up")
    process.tell("pause 0.01")
    process.tell("say Rest and drink .")
    return process


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@contextmanager
def opened(chromium: Browser, server: Server, size: str = "wide", scheme: Any = "light") -> Iterator[Page]:
    """The page in a browser of its own, which asked for the key. Nothing may be wrong with it."""
    width, height = SIZES[size]
    context = chromium.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        http_credentials={"username": "anyone", "password": KEY},
    )
    page, faults, asked = context.new_page(), [], []
    page.set_default_timeout(SLOW)
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.url)
    page.get_by_label("Question").wait_for()
    yield page
    assert faults == []
    assert {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:"))} == {
        urlsplit(server.url).netloc
    }
    context.close()


@pytest.fixture
def page(chromium: Browser, server: Server) -> Iterator[Page]:
    with opened(chromium, server) as page:
        yield page


def ask(page: Page, question: str) -> None:
    page.get_by_label("Question").fill(question)
    page.get_by_label("Question").press("Enter")


def said(page: Page) -> list[str]:
    return [text.strip() for text in page.locator(".gap-said .gap-text").all_inner_texts()]


def answered(page: Page, number: int) -> None:
    """Wait until so many messages are there and nothing is written."""
    expect(page.locator(".gap-said")).to_have_count(number)
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_without_the_key_there_is_no_page(chromium: Browser, server: Server) -> None:
    page = httpx.get(server.url, auth=("anyone", KEY), timeout=60).text
    statics = set(re.findall(r'(?:src|href)="(/[^"]+)"', page))
    assert any("/_nicegui/" in path for path in statics)
    for path in ("/", "/_nicegui_ws/socket.io/?EIO=4&transport=polling", *statics):
        assert httpx.get(server.url + path, timeout=60).status_code == 401, path
    context = chromium.new_context(http_credentials={"username": "anyone", "password": "wrong" * 5})
    response = context.new_page().goto(server.url)
    assert response is not None
    assert response.status == 401
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_is_asked_by_keyboard_at_any_width_and_colour(
    chromium: Browser, server: Server, size: str, scheme: str
) -> None:
    with opened(chromium, server, size, scheme) as page:
        expect(page.get_by_label("Question")).to_be_focused()
        ask(page, "What helps?")
        answered(page, 2)
        assert said(page) == ["What helps?", "Rest and drink ."]
        expect(page.get_by_role("note").get_by_text(ADVISORY)).to_be_in_viewport(ratio=1)
        strip = page.get_by_role("note").bounding_box()
        assert strip is not None
        assert strip["width"] == SIZES[size][0]
        if size == "phone":
            page.get_by_role("button", name="Talks and settings").click()
            expect(page.locator(".gap-side").get_by_text(ADVISORY)).to_be_in_viewport(ratio=1)
            expect(page.get_by_role("button", name="Delete this talk")).to_be_in_viewport(ratio=1)
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        assert dark == (scheme == "dark")


def test_two_turns_are_sent_and_a_reload_shows_them(page: Page, server: Server) -> None:
    ask(page, "First?")
    answered(page, 2)
    page.get_by_label("Question").fill("Second")
    page.get_by_label("Question").press("Shift+Enter")
    page.keyboard.type("line?")
    page.get_by_role("button", name="Ask").click()
    answered(page, 4)
    assert said(page)[2] == "Second\nline?"
    page.reload()
    answered(page, 4)
    assert said(page)[0] == "First?"


def test_stop_ends_the_answer_and_try_again_begins_it_anew(page: Page, server: Server) -> None:
    server.tell("pause 0.1")
    server.tell("say " + "word " * 280)
    ask(page, "Tell me all.")
    expect(page.locator(".gap-said.assistant .gap-text")).to_contain_text("word word")
    page.get_by_role("button", name="Stop").click()
    answered(page, 2)
    assert 'gap_engine_requests{model="played",state="running"} 0.0' in server.metrics()
    assert page.locator(".gap-note").inner_text() == "Stopped."
    server.tell("say Rest .")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".gap-said.assistant .gap-text")).to_have_text("Rest . ", use_inner_text=True)
    answered(page, 2)
    server.tell("say " + "word " * 280)
    ask(page, "Again.")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    page.keyboard.press("Escape")
    answered(page, 4)


def test_a_closed_page_frees_the_engine(chromium: Browser, server: Server) -> None:
    server.tell("pause 0.1")
    server.tell("say " + "word " * 280)
    with opened(chromium, server) as page:
        ask(page, "Tell me all.")
        expect(page.locator(".gap-said.assistant .gap-text")).to_contain_text("word word")
    until = time.monotonic() + 10
    while 'state="running"} 0.0' not in server.metrics() and time.monotonic() < until:
        time.sleep(0.1)
    assert 'gap_engine_requests{model="played",state="running"} 0.0' in server.metrics()


def test_a_long_talk_says_what_was_left_out(page: Page) -> None:
    for number in range(1, 4):
        ask(page, "why " * 90 + f"{number}?")
        answered(page, 2 * number)
    assert "oldest messages were left out" in page.locator(".gap-note").last.inner_text()
    ask(page, "why " * 500)
    answered(page, 8)
    assert "No answer: messages: " in page.locator(".gap-note").last.inner_text()


def test_an_engine_that_is_away_is_told_and_comes_back(page: Page, server: Server) -> None:
    server.tell("down")
    expect(page.get_by_role("alert").filter(has_text="The engine of played is away")).to_be_visible()
    ask(page, "Are you there?")
    answered(page, 2)
    assert "No answer: the engine of played is away" in page.locator(".gap-note").inner_text()
    server.tell("up")
    expect(page.locator(".gap-away")).to_be_hidden()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".gap-said.assistant .gap-text")).to_contain_text("Rest and drink")
    answered(page, 2)


def test_talks_are_kept_opened_and_deleted(page: Page) -> None:
    ask(page, "First talk?")
    answered(page, 2)
    page.get_by_role("button", name="New talk").last.click()
    expect(page.locator(".gap-said")).to_have_count(0)
    ask(page, "Second talk?")
    answered(page, 2)
    talks = page.get_by_role("navigation", name="Talks").get_by_role("button")
    assert talks.all_inner_texts() == ["Second talk?", "First talk?"]
    talks.last.click()
    expect(page.locator(".gap-said.user .gap-text")).to_have_text("First talk?")
    page.get_by_role("button", name="Delete this talk").click()
    expect(talks).to_have_text(["Second talk?"])
    page.reload()
    answered(page, 2)
    expect(talks).to_have_text(["Second talk?"])


def test_a_fault_of_the_server_is_told_and_the_page_lives(page: Page, server: Server) -> None:
    server.tell("fail")
    ask(page, "Are you well?")
    answered(page, 2)
    assert page.locator(".gap-note").inner_text() == "No answer: the server failed."
    server.tell("up")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".gap-said.assistant .gap-text")).to_contain_text("Rest and drink")


def test_what_is_left_while_the_model_writes_is_as_it_was(page: Page, server: Server) -> None:
    ask(page, "First talk?")
    answered(page, 2)
    server.tell("pause 0.1")
    server.tell("say " + "word " * 280)
    talks, writing = page.get_by_role("navigation", name="Talks").get_by_role("button"), page.get_by_label("Stop")

    def begin(question: str) -> None:
        page.get_by_role("button", name="New talk").first.click()
        ask(page, question)
        expect(page.locator(".gap-said.assistant .gap-text")).to_contain_text("word word")

    begin("Deleted talk?")
    page.get_by_role("button", name="Delete this talk").click()
    expect(talks).to_have_text(["First talk?"])
    begin("Stopped talk?")
    talks.get_by_text("Stopped talk?").click()
    answered(page, 2)
    assert page.locator(".gap-note").inner_text() == "Stopped."
    ask(page, "And then?")
    expect(writing).to_be_visible()
    page.reload()
    answered(page, 3)
    assert said(page)[2] == "And then?", "a question is kept before its answer is there"
    expect(talks).to_have_text(["Stopped talk?", "First talk?"])


def test_a_talk_is_exported_as_json_and_as_markdown(page: Page, tmp_path: Path) -> None:
    ask(page, "What helps?")
    answered(page, 2)
    for name in ("JSON", "Markdown"):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Export as {name}").click()
        download.value.save_as(tmp_path / name)
    exported = json.loads((tmp_path / "JSON").read_text(encoding="utf-8"))
    assert exported["advisory"] == ADVISORY
    assert [said["content"].strip() for said in exported["said"]] == ["What helps?", "Rest and drink ."]
    paragraphs = (tmp_path / "Markdown").read_text(encoding="utf-8").split("\n\n")
    assert paragraphs[:4] == ["# What helps?", f"> {ADVISORY}", "## Question", "What helps?"]
    assert paragraphs[4] == "## Answer of played"


def test_a_model_and_a_temperature_are_chosen_by_keyboard(page: Page) -> None:
    expect(page.get_by_role("slider", name="Temperature")).to_be_visible()
    page.locator(".q-slider__track-container").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_text("Temperature 0.6")).to_be_visible()
    page.get_by_role("combobox", name="Model").focus()
    page.keyboard.press("ArrowDown")
    page.get_by_role("option", name="base").click()
    expect(page.get_by_text("a base model, asked as question and answer")).to_be_visible()
    ask(page, "What is it?")
    answered(page, 2)
    assert said(page)[1] == "It is base ."
    assert page.locator(".gap-who").last.inner_text() == "base"


def test_what_a_model_writes_stays_text(page: Page, server: Server) -> None:
    server.tell('say <img src="https://evil.example.org/x.png" onerror="alert(1)"> <script>alert(2)</script> **x**')
    ask(page, "<b>bold</b>")
    answered(page, 2)
    assert page.locator(".gap-said img, .gap-said script, .gap-said b").count() == 0
    assert said(page)[1].startswith('<img src="https://evil.example.org/x.png"')
