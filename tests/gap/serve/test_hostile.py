"""What an attacker or a careless client sends: each gets a refusal, none a 500, and no log gets a trace or a key."""

import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from gap.serve import guard
from tests.gap.serve.played import BEARER, KEY, PlayedEngine, desk, guarded, served

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
SAY = '"messages": [{"role": "user", "content": "what helps ?"}]'
HOST, AUTHORIZED = b"Host: 127.0.0.1\r\n", f"Authorization: Bearer {KEY}\r\n".encode()
WEBSOCKET = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@pytest.fixture
def engine() -> PlayedEngine:
    return PlayedEngine()


@pytest.fixture
def url(engine: PlayedEngine, caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    with served(guarded(desk(engine)), "warning") as url:
        yield url
    records = [record for when in ("setup", "call", "teardown") for record in caplog.get_records(when)]
    assert [record for record in records if record.exc_info or KEY in record.getMessage()] == []


def sent(url: str, request: bytes, end: bool = False) -> bytes:
    """What the server answers to these bytes until it closes the connection. `end` closes our side of it before."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), 60) as connection:
        answer = b""
        try:
            connection.sendall(request)
            if end:
                connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionError:  # it was cut off
            pass
    return answer


@pytest.mark.parametrize(
    "key",
    [
        *(f'"temperature": {value}' for value in ("NaN", "Infinity", "-Infinity", "1e999", '"0.5"', "true", "[]")),
        *(f'"max_tokens": {value}' for value in ("1e3", "-1", "9" * 4000, "9" * 5000, '"7"', "true")),
        *(f'"top_k": {value}' for value in ("9" * 30, "1.5", "-2")),
        *(f'"{name}": NaN' for name in ("top_p", "min_p", "repetition_penalty", "presence_penalty")),
        f'"n": {"9" * 4000}',
        f'"seed": {"9" * 30}',
        f'"metadata": {"[" * 30_000}{"]" * 30_000}',
        f'"messages": {json.dumps([0] * 80_000)}',
        '"messages": [{"role": "user", "content": null}]',
        '"messages": [{"role": "user", "content": "\\ud800"}]',
        '"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1"}}]}]',
        '"stream": "yes"',
        '"stop": ["a", "b", "c", "d", "e"]',
        '"logit_bias": {"1": NaN}',
        '"top_logprobs": 3',
        f'"{"k" * 100_000}": 1',
        *(f'"model": {json.dumps(name)}' for name in ("", "../../etc/passwd", "a/b", "x" * 100_000, "\0\r\nX: y")),
    ],
    ids=lambda key: key[:40],
)
def test_a_wrong_value_is_refused(url: str, engine: PlayedEngine, key: str) -> None:
    body = f'{{"model": "played", {SAY}, {key}}}'.encode()
    refused = httpx.post(url + CHAT, content=body, headers=BEARER, timeout=60)
    assert refused.status_code == (404 if key.startswith('"model"') else 400)
    assert refused.json()["error"].keys() == {"message", "type", "param", "code"}
    assert engine.asked == []


@pytest.mark.parametrize("prompt", ["[]", '""', "[-1]", "[true]", "[1.0]", "[[1], [2]]", '["a", "b"]', "null", "{}"])
def test_a_wrong_prompt_is_refused(url: str, prompt: str) -> None:
    body = f'{{"model": "played", "prompt": {prompt}}}'.encode()
    assert httpx.post(url + COMPLETIONS, content=body, headers=BEARER, timeout=60).status_code == 400


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"1", b"\xff\xfe", b'{"model": "\xff"}', b"[" * 200_000, b"\x1f\x8b\x08"]
)
def test_what_is_no_request_is_refused(url: str, body: bytes) -> None:
    assert httpx.post(url + CHAT, content=body, headers=BEARER, timeout=60).status_code == 400


@pytest.mark.parametrize("path", ["..%2f..%2fetc%2fpasswd", "%ff", "%00", "a/b", "x" * 60_000])
def test_a_model_that_is_no_name_is_not_found(url: str, path: str) -> None:
    assert httpx.get(f"{url}/v1/models/{path}", headers=BEARER, timeout=60).status_code == 404


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /health HTTP/1.1\r\nHost: [::1\r\n", 403),
        (b"GET /health HTTP/1.1\r\nHost: [x]\r\n", 403),
        (b"GET /health HTTP/1.1\r\nHost: \xff\xe2\x84\x80\r\n", 403),
        (b"GET /health HTTP/1.0\r\n", 403),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"Origin: http://[\r\n", 403),
        (b"GET /metrics HTTP/1.1\r\n" + HOST + b"Authorization: Basic \xe9\r\n", 401),
        (b"GET /metrics HTTP/1.1\r\n" + HOST + b"Authorization: Bearer \xe9\xff\r\n", 401),
        (b"GET /metrics HTTP/1.1\r\n" + HOST + b"Authorization: Bearer x\r\n" + AUTHORIZED, 401),
        (f"GET /metrics?key={KEY} HTTP/1.1\r\n".encode() + HOST, 401),
        (b"GET /metrics HTTP/1.1\r\n" + HOST + WEBSOCKET, 403),
        (b"GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n" + HOST + WEBSOCKET, 403),
        (b"POST /v1/completions HTTP/1.1\r\n" + HOST + AUTHORIZED + b"Content-Length: 99999999999999999999\r\n", 413),
        (b"POST /v1/completions HTTP/1.1\r\n" + HOST + AUTHORIZED + b"Content-Length: -5\r\n", 400),
        (b"POST /v1/completions HTTP/1.1\r\n" + HOST + AUTHORIZED + b"Transfer-Encoding: chunked\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    ],
)
def test_a_hostile_head_is_refused(url: str, head: bytes, status: int) -> None:
    assert sent(url, head + b"\r\nZZ\r\n", end=True).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_head_without_end_is_cut_off(url: str) -> None:
    assert b" 200 " not in sent(url, b"GET /health HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 500_000 + b"\r\n\r\n")


def test_a_key_is_of_its_own_request_only(url: str) -> None:
    asked = b"GET /v1/models HTTP/1.1\r\n" + HOST
    answers = sent(url, asked + AUTHORIZED + b"\r\n" + asked + b"Connection: close\r\n\r\n")
    assert answers.count(b"HTTP/1.1 200 ") == answers.count(b"HTTP/1.1 401 ") == 1


@pytest.mark.parametrize("length", [2, 500])
def test_a_false_length_gets_no_answer_of_the_engine(url: str, engine: PlayedEngine, length: int) -> None:
    body = f'{{"model": "played", {SAY}}}'.encode()
    head = f"POST {CHAT} HTTP/1.1\r\nContent-Length: {length}\r\n".encode() + HOST + AUTHORIZED
    assert b" 200 " not in sent(url, head + b"\r\n" + body, end=True)
    assert engine.asked == []


def test_a_body_that_never_ends_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.2)
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), 60) as connection:
        connection.sendall(f"POST {CHAT} HTTP/1.1\r\nContent-Length: 500\r\n".encode() + HOST + AUTHORIZED + b"\r\n{")
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
