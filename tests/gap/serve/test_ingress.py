"""The ingress before a played engine: keys, bounds, limits, errors, streams, and clients that go away."""

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from gap.advisory import ADVISORY
from gap.serve.engine import AwayError, RejectedError
from gap.serve.settings import Limits
from tests.gap.serve.played import BEARER, KEY, OTHER, PlayedEngine, desk, guarded, served

CHAT = "/v1/chat/completions"
ASK = {"model": "played", "messages": [{"role": "user", "content": "what helps ?"}]}
ADVISED = len(ADVISORY.split()) + 1


@pytest.fixture
def engine() -> PlayedEngine:
    return PlayedEngine()


@pytest.fixture
def client(engine: PlayedEngine) -> Iterator[httpx.Client]:
    with served(guarded(desk(engine))) as url, httpx.Client(base_url=url, headers=BEARER, timeout=30) as client:
        yield client


def events(response: httpx.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def error_of(response: httpx.Response) -> dict[str, Any]:
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return error


def test_every_route_but_health_needs_a_key(client: httpx.Client, engine: PlayedEngine) -> None:
    app = guarded(desk(engine))._app
    paths = [(route.path, method) for route in app.routes if isinstance(route, APIRoute) for method in route.methods]
    assert len(paths) >= 7
    bare = httpx.Client(base_url=client.base_url)
    for path, method in [*paths, ("/", "GET"), ("/nowhere", "GET"), (CHAT, "OPTIONS"), ("/docs", "GET")]:
        refused = bare.request(method, path.replace("{name:path}", "played"))
        if path == "/health":
            assert refused.status_code == 200
            continue
        assert refused.status_code == 401, path
        assert refused.headers["www-authenticate"].startswith('Basic realm="gap serve"')
        assert error_of(refused)["type"] == "authentication_error"
    assert client.get("/openapi.json").status_code == client.get("/docs").status_code == 404
    assert bare.get("/v1/models", auth=("any name", KEY)).status_code == 200
    assert bare.get("/v1/models", auth=(KEY, "")).status_code == 401
    assert engine.asked == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example.org"}, 403),
        ({"Host": "127.0.0.1.evil.example.org"}, 403),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Origin": "http://evil.example.org"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
    ],
)
def test_another_host_or_site_gets_nothing(client: httpx.Client, headers: dict[str, str], status: int) -> None:
    assert client.get("/v1/models", headers=headers).status_code == status


def test_a_server_for_others_has_any_name_and_wants_a_key(engine: PlayedEngine) -> None:
    with served(guarded(desk(engine), loopback=False)) as url:
        for origin, key, status in [(None, {}, 401), (None, BEARER, 200), ("http://evil.example.org", BEARER, 403)]:
            headers = {"Host": "models.example.org", **key} | ({"Origin": origin} if origin else {})
            assert httpx.get(f"{url}/v1/models", headers=headers).status_code == status


def test_a_browser_is_kept_at_home(client: httpx.Client) -> None:
    for path in ("/v1/models", "/health", "/nowhere"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; ")
        assert "http" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


def test_models_say_how_they_are_asked_and_that_they_are_no_doctors(client: httpx.Client) -> None:
    (card,) = client.get("/v1/models").json()["data"]
    assert card["id"] == "played"
    assert card["description"].startswith(ADVISORY)
    assert (card["max_model_len"], card["chat_template"]) == (400, "own")
    assert client.get("/v1/models/played").json() == card
    assert error_of(client.get("/v1/models/other"))["code"] == "model_not_found"


def test_a_chat_is_answered_as_openai_does(client: httpx.Client, engine: PlayedEngine) -> None:
    answer = client.post(CHAT, json=ASK).json()
    assert answer["choices"][0]["message"]["content"] == engine.text
    assert answer["usage"] == {"prompt_tokens": ADVISED + 4, "completion_tokens": 4}
    assert answer["gap"] == {"dropped_messages": 0, "dropped_tokens": 0}
    (asked,) = engine.asked
    assert asked["messages"] == [{"role": "system", "content": ADVISORY}, *ASK["messages"]]
    assert asked["max_tokens"] == 400 - ADVISED - 4


def test_the_advisory_stands_before_the_clients_own_system_prompt(client: httpx.Client, engine: PlayedEngine) -> None:
    parts = [{"type": "text", "text": "be"}, {"type": "text", "text": "short"}]
    messages = [{"role": "developer", "content": parts}, *ASK["messages"]]
    assert client.post(CHAT, json={**ASK, "messages": messages}).status_code == 200
    assert engine.asked[0]["messages"][0] == {"role": "system", "content": f"{ADVISORY}\n\nbe\nshort"}
    assert len(engine.asked[0]["messages"]) == 2


@pytest.mark.parametrize(("advised", "takes"), [(False, True), (True, False), (False, False)])
def test_the_system_prompt_is_where_the_model_takes_it(engine: PlayedEngine, advised: bool, takes: bool) -> None:
    messages = [{"role": "system", "content": "be short"}, *ASK["messages"], {"role": "assistant", "content": "so"}]
    with served(guarded(desk(engine, advised=advised, takes_system=takes))) as url:
        asked = {**ASK, "messages": [*messages, *ASK["messages"]]}
        assert httpx.post(f"{url}{CHAT}", json=asked, headers=BEARER).status_code == 200
    got = engine.asked[0]["messages"]
    system = f"{ADVISORY}\n\nbe short" if advised else "be short"
    first = [{"role": "system", "content": system}, *ASK["messages"]]
    folded = [{"role": "user", "content": f"{system}\n\nwhat helps ?"}]
    assert got == [*(first if takes else folded), messages[2], *ASK["messages"]]


def test_a_stream_begins_with_what_was_cut_and_ends_with_done(client: httpx.Client) -> None:
    response = client.post(CHAT, json={**ASK, "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert (response.headers["x-gap-dropped-messages"], response.headers["x-gap-dropped-tokens"]) == ("0", "0")
    first, *rest = events(response)
    assert first["gap"] == {"dropped_messages": 0, "dropped_tokens": 0}
    assert not any("gap" in event for event in rest)
    text = "".join(event["choices"][0]["delta"]["content"] for event in [first, *rest])
    assert text == "Take a rest . "
    assert response.text.endswith("data: [DONE]\n\n")
    usage = events(client.post(CHAT, json={**ASK, "stream": True, "stream_options": {"include_usage": True}}))[-1]
    assert usage["usage"]["completion_tokens"] == 4


def test_a_completion_gets_no_advisory(client: httpx.Client, engine: PlayedEngine) -> None:
    asked = {"model": "played", "prompt": "Fever is", "max_tokens": 2, "stop": ["\n"], "temperature": 0}
    assert client.post("/v1/completions", json=asked).json()["choices"][0]["text"] == engine.text
    assert engine.asked == [{"stream": False, **asked}]
    streamed = events(client.post("/v1/completions", json=asked | {"stream": True}))
    assert "".join(event["choices"][0]["text"] for event in streamed) == "Take a "


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"model": "other"}, "model_not_found", "model"),
        ({"messages": []}, "invalid_request", "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "invalid_request", "messages.0.role"),
        ({"messages": [{"role": "system", "content": "x"}]}, "invalid_request", None),
        ({"temperature": 3}, "invalid_request", "temperature"),
        ({"tools": []}, "invalid_request", "tools"),
        ({"chat_template": "{{ x }}"}, "invalid_request", "chat_template"),
        ({"max_tokens": 0}, "invalid_request", "max_tokens"),
        ({"max_tokens": 400}, "too_many_tokens", "max_tokens"),
        ({"max_completion_tokens": 1025}, "too_many_tokens", "max_tokens"),
        ({"n": 5}, "too_many_answers", "n"),
        ({"messages": [{"role": "user", "content": "long " * 400}]}, "context_length_exceeded", "messages"),
    ],
)
def test_a_wrong_request_is_refused_in_openais_form(
    client: httpx.Client, engine: PlayedEngine, change: dict[str, Any], code: str, param: str | None
) -> None:
    response = client.post(CHAT, json={**ASK, **change})
    assert response.status_code == (404 if code == "model_not_found" else 400)
    error = error_of(response)
    assert (error["code"], error["param"]) == (code, param)
    assert engine.asked == [], "a question that does not fit is refused, never cut"


def test_what_is_no_json_is_refused(client: httpx.Client) -> None:
    assert error_of(client.post(CHAT, content=b"{"))["code"] == "invalid_request"
    assert error_of(client.post("/v1/nowhere", content=b"{}"))["code"] == "not_served"
    assert error_of(client.get(CHAT))["code"] == "not_served"


def test_a_long_talk_is_cut_and_says_so(client: httpx.Client, engine: PlayedEngine) -> None:
    turn = [{"role": "user", "content": "why " * 20}, {"role": "assistant", "content": "so " * 20}]
    asked = {**ASK, "messages": [{"role": "system", "content": "be short"}, *turn * 10, *ASK["messages"]]}
    response = client.post(CHAT, json=asked | {"max_tokens": 100})
    dropped = int(response.headers["x-gap-dropped-messages"])
    assert dropped % 2 == 0
    assert response.json()["gap"] == {"dropped_messages": dropped, "dropped_tokens": dropped * 21}
    sent = engine.asked[0]["messages"]
    assert len(sent) == 22 - dropped
    assert sent[0]["content"] == f"{ADVISORY}\n\nbe short"
    assert sent[-1] == ASK["messages"][0]
    room = 400 - 100 - (ADVISED + 2) - 4
    assert 0 <= room - (20 - dropped) * 21 < 42, "no turn is dropped in vain"
    first = events(client.post(CHAT, json=asked | {"stream": True, "max_tokens": 100}))[0]
    assert first["gap"]["dropped_messages"] == dropped


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_request_is_refused(engine: PlayedEngine, chunked: bool) -> None:
    body = json.dumps({**ASK, "messages": [{"role": "user", "content": "x" * 3000}]}).encode()

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 500):
            yield body[start : start + 500]

    with served(guarded(desk(engine, limits=Limits(body_kb=2)))) as url:
        content = pieces() if chunked else body
        response = httpx.post(f"{url}{CHAT}", content=content, headers=BEARER)
        assert (response.status_code, error_of(response)["code"]) == (413, "request_too_large")
        assert httpx.post(f"{url}{CHAT}", json=ASK, headers=BEARER).status_code == 200
    assert len(engine.asked) == 1


def test_limits_hold_by_key_and_as_a_whole(engine: PlayedEngine) -> None:
    engine.pause = 3
    app = guarded(desk(engine, limits=Limits(by_key=2, at_once=3, requests=8)))
    with served(app) as url, httpx.Client(base_url=url, timeout=30) as client:

        def ask(key: str) -> httpx.Response:
            return client.post(CHAT, json=ASK, headers={"Authorization": f"Bearer {key}"})

        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(ask, [KEY] * 6 + [OTHER] * 6))
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(200) == 3
        assert set(statuses) == {200, 429}
        assert engine.most == 3
        assert {answer.headers["retry-after"] for answer in answers if answer.status_code == 429} == {"1"}
        engine.pause = 0
        last = [ask(KEY).status_code for _ in range(9)][-1]
        assert last == 429


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_frees_the_engine(engine: PlayedEngine, stream: bool) -> None:
    engine.text, engine.pause = "word " * 300, 0.05 if stream else 60
    with served(guarded(desk(engine))) as url, httpx.Client(base_url=url, headers=BEARER) as client:
        if stream:
            with client.stream("POST", CHAT, json={**ASK, "stream": True}) as response:
                assert list(islice(response.iter_lines(), 6))
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post(CHAT, json=ASK, timeout=0.6)
        assert engine.most == 1
        assert_free(engine)
        metrics = client.get("/metrics").text
    assert 'gap_requests_total{model="played",status="499"} 1.0' in metrics
    assert 'gap_engine_requests{model="played",state="running"} 0.0' in metrics
    assert 'gap_running_requests{model="played"} 0.0' in metrics


def assert_free(engine: PlayedEngine) -> None:
    until = time.monotonic() + 5
    while engine.running and time.monotonic() < until:
        time.sleep(0.01)
    assert engine.running == 0


def test_an_answer_has_its_time(engine: PlayedEngine) -> None:
    engine.pause = 30
    with served(guarded(desk(engine, limits=Limits(seconds=0.3)))) as url:
        response = httpx.post(f"{url}{CHAT}", json=ASK, headers=BEARER)
    assert (response.status_code, error_of(response)["code"]) == (504, "timeout")
    assert engine.running == 0


def test_an_engine_that_is_away_is_told_at_once(client: httpx.Client, engine: PlayedEngine) -> None:
    assert client.get("/ready").json() == {"ready": True, "models": {"played": "up"}}
    engine.fault = AwayError()
    for _ in range(2):
        response = client.post(CHAT, json=ASK)
        assert (response.status_code, response.headers["retry-after"]) == (503, "10")
        assert error_of(response)["code"] == "engine_away"
        engine.ready = False
    assert client.get("/ready").status_code == 503
    assert client.get("/health").status_code == 200
    assert 'gap_engine_up{model="played"} 0.0' in client.get("/metrics").text


def test_an_engine_that_dies_on_the_way_ends_its_stream(client: httpx.Client, engine: PlayedEngine) -> None:
    engine.fault, engine.fault_at = AwayError(), 2
    *said, last = events(client.post(CHAT, json={**ASK, "stream": True}))
    assert len(said) == 2
    assert last["error"]["code"] == "engine_away"


def test_what_the_engine_refuses_is_refused(client: httpx.Client, engine: PlayedEngine) -> None:
    engine.fault = RejectedError(400, "not so")
    response = client.post(CHAT, json=ASK)
    assert (response.status_code, error_of(response)["message"]) == (400, "not so")


def test_metrics_count_requests_tokens_and_times(client: httpx.Client, engine: PlayedEngine) -> None:
    client.post(CHAT, json=ASK)
    client.post(CHAT, json={**ASK, "stream": True})
    client.post(CHAT, json={**ASK, "max_tokens": 999})
    text = client.get("/metrics").text
    for line in (
        'gap_requests_total{model="played",status="200"} 2.0',
        'gap_requests_total{model="played",status="400"} 1.0',
        'gap_tokens_total{kind="answer",model="played"} 8.0',
        'gap_first_token_seconds_count{model="played"} 2.0',
        'gap_request_seconds_count{model="played"} 3.0',
        'gap_engine_up{model="played"} 1.0',
    ):
        assert line in text


def test_no_key_is_in_any_log(engine: PlayedEngine, capfd: pytest.CaptureFixture[str]) -> None:
    engine.fault = ZeroDivisionError("broken")
    with served(guarded(desk(engine)), "debug") as url:
        broken = httpx.post(f"{url}{CHAT}", json=ASK, headers=BEARER, timeout=30)
        assert (broken.status_code, error_of(broken)["type"]) == (500, "server_error")
        wrong = {"Authorization": f"Bearer {OTHER}x"}
        assert httpx.get(f"{url}/v1/models", headers=wrong, timeout=30).status_code == 401
    logged = "".join(capfd.readouterr())
    assert "ZeroDivisionError: broken" in logged
    assert KEY not in logged
    assert OTHER not in logged


def test_a_slow_client_gets_all_of_its_stream(engine: PlayedEngine) -> None:
    engine.text = "word " * 200

    async def lines(url: str) -> list[str]:
        asked = {"json": {**ASK, "stream": True}, "headers": BEARER}
        async with httpx.AsyncClient() as client, client.stream("POST", f"{url}{CHAT}", **asked) as response:
            read = []
            async for line in response.aiter_lines():
                await asyncio.sleep(0.001)
                read.append(line)
            return [line for line in read if line]

    with served(guarded(desk(engine))) as url:
        assert len(asyncio.run(lines(url))) == 202
