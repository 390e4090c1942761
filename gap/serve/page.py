"""The chat page, of NiceGUI's components, which come from this server and no other host.

What it asks goes over the same desk as the API, in the name of the same key. Talks are kept in the browser; the server
forgets them with the page.
"""

import asyncio
import json
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from nicegui import app as nicegui_app
from nicegui import background_tasks, ui

from gap.advisory import ADVISORY
from gap.serve.desk import Desk
from gap.serve.refusal import RefusalError
from gap.serve.requests import ChatRequest
from gap.serve.talks import Said, Talk

STYLE = Path(__file__).with_name("page.css")
PLACE = "gap-talk-"
"""The beginning of a talk's name in the browser's storage; its id follows."""

NEWEST = "gap-talks"
"""Where the browser keeps the ids of all talks, the newest first."""

SHOW_EVERY = 0.1
"""Seconds between two looks at what the model has written."""

STOPPED = "Stopped."


def add_page(app: FastAPI, desk: Desk) -> None:
    """Put the page at / of the app. A process can do so once."""

    @ui.page("/", title="gap serve", response_timeout=30)
    async def show(request: Request) -> None:
        await Chat(desk, request.state.key).show()

    # With polling first, a browser sends the key with every request, and changes to a socket where it can.
    nicegui_app.config.socket_io_js_transports = ["polling", "websocket"]
    # It looks through all objects of the process for its server, and torch has some that warn.
    warnings.filterwarnings("ignore", category=FutureWarning, module="nicegui")
    ui.run_with(app, title="gap serve", dark=None, language="en-US", tailwind=False, show_welcome_message=False)


class Chat:
    """One open page: the talks of its browser, of which one is shown."""

    def __init__(self, desk: Desk, key: str) -> None:
        self._desk, self._key = desk, key
        self._talk = Talk()
        self._titles: dict[str, str] = {}
        self._model = next(iter(desk.models))
        self._temperature = 0.7
        self._task: asyncio.Task[None] | None = None

    async def show(self) -> None:
        """Build the page, and fill it with what the browser kept."""
        ui.add_css(STYLE.read_text(encoding="utf-8"))
        ui.colors(primary="#1a56a8")
        with ui.left_drawer(value=False, bottom_corner=True).props(
            "show-if-above bordered width=280 breakpoint=900"
        ) as drawer:
            self._build_side()
        with ui.header().classes("gap-head"):
            with ui.element("div").classes("gap-bar"):
                ui.button(icon="menu", on_click=drawer.toggle).props('flat round dense aria-label="Talks and settings"')
                self._title = ui.label().classes("gap-title").props('role="heading" aria-level="1"')
                ui.button(icon="add", on_click=self._begin).props('flat round dense aria-label="New talk"')
            with ui.element("div").classes("gap-advice").props('role="note" aria-label="Medical safety advisory"'):
                ui.label(ADVISORY)
            self._away = ui.label().classes("gap-away").props('role="alert"')
        self._log = ui.element("main").classes("gap-talk").props('role="log" aria-live="polite" aria-label="Talk"')
        with ui.footer().classes("gap-foot"), ui.element("div").classes("gap-ask"):
            # What is written before the page is connected would be lost.
            self._question = ui.textarea(placeholder="Ask a question").props(
                'outlined dense autogrow rows=1 aria-label="Question" readonly'
            )
            # Enter asks, Shift and Enter begin a new line, Escape stops.
            self._question.on("keydown.enter.exact.prevent", self._ask)
            self._send = ui.button(icon="send", on_click=self._ask, color=None).classes("gap-send")
            self._send.props('round unelevated aria-label="Ask"')
            self._stop = ui.button(icon="stop", on_click=self._cancel)
            self._stop.props('round unelevated color=negative aria-label="Stop"')
        ui.keyboard(on_key=self._on_key, ignore=[])
        self._client = ui.context.client
        self._client.on_disconnect(self._cancel)
        ui.timer(2.0, self._look)
        self._look()
        self._show_talk()
        await self._client.connected()
        await self._load_talks()
        self._question.props(remove="readonly").run_method("focus")

    def _build_side(self) -> None:
        with ui.element("div").classes("gap-side"):
            # On a phone the drawer lies over the one at the top.
            ui.label(ADVISORY).classes("gap-advice gap-narrow")
            choose = ui.select(list(self._desk.models), value=self._model, label="Model", on_change=self._choose)
            choose.props('outlined dense options-dense aria-label="Model"')
            self._about = ui.label().classes("gap-label")
            self._warmth = ui.label().classes("gap-label")
            slider = ui.slider(min=0, max=2, step=0.1, value=self._temperature, on_change=self._warm)
            slider.props('aria-label="Temperature"')
            ui.separator()
            ui.button("New talk", icon="add", on_click=self._begin).props("flat no-caps")
            self._list = ui.element("nav").classes("gap-list").props('aria-label="Talks"')
            ui.separator()
            ui.button("Export as JSON", icon="download", on_click=lambda: self._export("json")).props("flat no-caps")
            ui.button("Export as Markdown", icon="download", on_click=lambda: self._export("md")).props("flat no-caps")
            ui.button("Delete this talk", icon="delete", on_click=self._delete).props("flat no-caps")

    def _choose(self, event: Any) -> None:
        self._model = event.value
        self._look()

    def _warm(self, event: Any) -> None:
        self._temperature = event.value
        self._look()

    def _look(self) -> None:
        """Show how things stand: the engine, and what can be done now."""
        model = self._desk.models[self._model]
        kind = "its own chat template" if model.own_template else "a base model, asked as question and answer"
        self._about.set_text(f"{model.context:,} tokens; {kind}")
        self._warmth.set_text(f"Temperature {self._temperature:.1f}")
        up = self._desk.engines[self._model].ready
        self._away.set_text("" if up else f"The engine of {self._model} is away. It is being replaced.")
        self._away.set_visibility(not up)
        busy = self._task is not None
        self._send.set_visibility(not busy)
        self._stop.set_visibility(busy)

    def _show_talk(self) -> None:
        self._title.set_text(self._talk.title)
        self._log.clear()
        with self._log:
            if not self._talk.said:
                ui.label("Nothing is kept on the server: talks stay in this browser.").classes("gap-empty")
            for said in self._talk.said:
                self._show_said(said)
            if self._talk.said and self._task is None:
                with ui.row():
                    ui.button("Try again", icon="refresh", on_click=self._again).props("flat dense no-caps")
        self._list.clear()
        with self._list:
            for name, title in self._titles.items():
                here = " here" if name == self._talk.id else ""
                button = ui.button(title, on_click=lambda name=name: self._open(name)).props("flat dense no-caps")
                button.classes(f"talk{here}")
        self._look()

    def _show_said(self, said: Said) -> Any:
        with ui.element("article").classes(f"gap-said {said.role}"):
            ui.label("You" if said.role == "user" else said.model).classes("gap-who")
            text = ui.label(said.content).classes("gap-text")
            if said.note:
                ui.label(said.note).classes("gap-note")
        return text

    async def _ask(self) -> None:
        question = (self._question.value or "").strip()
        if not question or self._task is not None:
            return
        if self._talk.full:
            ui.notify("This talk is too long to go on. Begin a new one.", type="warning")
            return
        self._question.set_value("")
        self._talk.ask(question)
        self._keep(self._talk)
        self._start()

    def _again(self) -> None:
        if self._task is None:
            self._talk.take_back_answer()
            self._start()

    def _start(self) -> None:
        self._task = background_tasks.create(self._answered(), name="gap answer")

    def _cancel(self) -> None:
        """End the answer; the engine is free at once."""
        if self._task is not None:
            self._task.cancel()

    async def _ended(self) -> None:
        """End the answer, and wait until what there is of it is kept."""
        if task := self._task:
            task.cancel()
            await asyncio.wait({task})

    async def _answered(self) -> None:
        """Ask what the talk ends with, show the answer as it comes, and keep it."""
        talk, said = self._talk, Said(role="assistant", content="", model=self._model)
        asked = {"model": self._model, "temperature": self._temperature, "stream": True, "messages": talk.messages}
        with self._client:
            self._show_talk()
            with self._log:
                shown = self._show_said(said)
            self._to_end()
            try:
                await self._read(asked, said, shown)
            except asyncio.CancelledError:
                said.note = STOPPED
            except RefusalError as refusal:
                said.note = f"No answer: {refusal.message}."
            except Exception:  # a fault of ours is shown, and raised
                said.note = "No answer: the server failed."
                raise
            finally:
                self._task = None
                talk.said.append(said)
                self._keep(talk)
                self._show_talk()
                self._to_end()

    async def _read(self, asked: dict[str, Any], said: Said, shown: Any) -> None:
        clock = asyncio.get_running_loop().time
        last = 0.0
        async with self._desk.ask(self._key, ChatRequest.model_validate(asked)) as answer:
            if dropped := answer.fitted.dropped_messages:
                said.note = f"The talk is longer than the model can read: its {dropped} oldest messages were left out."
            async for event in answer.events:
                for choice in event["choices"]:
                    said.content += choice["delta"].get("content") or ""
                if clock() - last > SHOW_EVERY:
                    last = clock()
                    shown.set_text(said.content)
                    self._to_end()
        if not said.content:
            said.note = said.note or "The model said nothing."

    def _to_end(self) -> None:
        self._client.run_javascript("window.scrollTo(0, document.body.scrollHeight)")

    def _on_key(self, event: Any) -> None:
        if event.action.keydown and event.key == "Escape":
            self._cancel()

    async def _begin(self) -> None:
        await self._ended()
        self._talk = Talk()
        self._show_talk()
        self._question.run_method("focus")

    async def _load_talks(self) -> None:
        """The titles of all talks, and the newest of them."""
        code = (
            f"return JSON.parse(localStorage.getItem('{NEWEST}') || '[]')"
            f".map(id => [id, (JSON.parse(localStorage.getItem('{PLACE}' + id) || '{{}}')).title])"
        )
        with suppress(TimeoutError):
            kept = await self._client.run_javascript(code, timeout=10)
            self._titles = {str(name): str(title) for name, title in kept or [] if title}
            if self._titles:
                await self._open(next(iter(self._titles)))

    async def _open(self, name: str) -> None:
        await self._ended()
        kept = await self._client.run_javascript(f"return localStorage.getItem({json.dumps(PLACE + name)})", timeout=10)
        if talk := Talk.kept(kept):
            self._talk = talk
            self._show_talk()

    def _keep(self, talk: Talk) -> None:
        self._titles = {talk.id: talk.title, **{name: t for name, t in self._titles.items() if name != talk.id}}
        self._store(f"localStorage.setItem({json.dumps(PLACE + talk.id)}, {json.dumps(talk.text)})")

    async def _delete(self) -> None:
        await self._ended()
        self._titles.pop(self._talk.id, None)
        self._store(f"localStorage.removeItem({json.dumps(PLACE + self._talk.id)})")
        await self._begin()

    def _store(self, code: str) -> None:
        names = json.dumps(json.dumps(list(self._titles)))
        self._client.run_javascript(f"{code}; localStorage.setItem('{NEWEST}', {names})")

    def _export(self, kind: str) -> None:
        if not self._talk.said:
            ui.notify("There is nothing to export yet.")
            return
        text = self._talk.as_json if kind == "json" else self._talk.as_markdown
        ui.download.content(text, f"talk-{self._talk.id}.{kind}")
