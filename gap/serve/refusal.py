"""What a client is told when it gets no answer, in the form of OpenAI's API."""

from typing import Any

KINDS = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class RefusalError(Exception):
    """A request that is not answered: status, message, a code for programs, and perhaps when to try again."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        param: str | None = None,
        retry_after: int | None = None,
        kind: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.retry_after = retry_after
        self.kind = kind or KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")

    @property
    def body(self) -> dict[str, Any]:
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


def away(model: str) -> RefusalError:
    """A model whose engine has died or is not up yet."""
    return RefusalError(503, f"the engine of {model} is away; it is being replaced", "engine_away", retry_after=10)
