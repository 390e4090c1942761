"""A server with the page before played engines: `python -m tests.gap.serve.played_server PORT`.

A line on its input changes an engine: `up`, `down`, `fail`, `pause SECONDS` or `say TEXT`.
"""

import socket
import sys
import threading

import uvicorn

from gap.serve.api import create_app
from gap.serve.desk import Desk
from gap.serve.guard import Guard
from gap.serve.keys import Keys
from gap.serve.models import Model
from gap.serve.page import add_page
from gap.serve.settings import Limits
from tests.gap.serve.played import KEY, PlayedEngine


def main() -> None:
    engines = {"played": PlayedEngine("Rest and drink . " * 3, 0.02), "base": PlayedEngine("It is base .")}
    models = {"played": Model("played", 400, own_template=True), "base": Model("base", 300, own_template=False)}
    desk = Desk(models, engines, Limits(requests=200))
    app = create_app(desk)
    add_page(app, desk)
    threading.Thread(target=obey, args=(engines["played"],), daemon=True).start()
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    uvicorn.Server(Guard(app, Keys([KEY]), 256_000, loopback=True).config()).run([listener])


def obey(engine: PlayedEngine) -> None:
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word in ("up", "down"):
            engine.ready, engine.fault = word == "up", None
        elif word == "fail":
            engine.fault = ZeroDivisionError("broken")
        elif word == "pause":
            engine.pause = float(rest)
        elif word == "say":
            engine.text = rest


if __name__ == "__main__":
    main()
