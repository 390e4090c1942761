"""Limits by key and as a whole, and the seconds to wait."""

from contextlib import ExitStack

import pytest

from gap.serve.limiter import Limiter
from gap.serve.refusal import RefusalError
from gap.serve.settings import Limits


def refused(limiter: Limiter, key: str) -> RefusalError:
    with pytest.raises(RefusalError) as error, limiter.admit(key):
        pass
    return error.value


def test_a_key_has_so_many_requests_in_any_minute() -> None:
    now = [0.0]
    limiter = Limiter(Limits(requests=3), lambda: now[0])
    for now[0] in (0.0, 10.0, 20.0):
        with limiter.admit("a"):
            pass
    now[0] = 30.5
    error = refused(limiter, "a")
    assert (error.status, error.retry_after, error.code) == (429, 30, "rate_limit_exceeded")
    assert error.headers == {"Retry-After": "30"}
    with limiter.admit("b"):
        pass
    now[0] = 60.0
    with limiter.admit("a"):
        pass
    assert refused(limiter, "a").retry_after == 10


def test_places_are_free_again_after_any_end() -> None:
    limiter = Limiter(Limits(by_key=2, at_once=3))
    with ExitStack() as first:
        for key in ("a", "a", "b"):
            first.enter_context(limiter.admit(key))
        assert "of one key" in refused(limiter, "a").message
        assert "3 requests at once" in refused(limiter, "b").message
    with pytest.raises(ZeroDivisionError), limiter.admit("a"):
        raise ZeroDivisionError
    assert limiter.running == 0
    with limiter.admit("a"), limiter.admit("a"):
        assert limiter.running == 2
