"""Semantic Scholar's datasets API: releases, and their parts, fetched in parallel, resumed and checked.

    data/s2/2023-08-01/papers/….gz    paths: [s2/2023-08-01/papers/*.gz]

The API gives signed links that expire, and then gives fresh ones. The key is read from S2_API_KEY and sent to the API
alone. Neither the key nor a link, which carries a signature, is ever shown.
"""

import gzip
import hashlib
import json
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import httpx
from pydantic import Field, field_validator

from ingest.web.politeness import backoff, retry_after
from lake.config import Settings
from lake.error import UserError
from lake.files import replace
from lake.lines import GZIP_FAULTS
from lake.progress import progress
from lake.values import Retries, Seconds, Text, Wait, Workers

KEY = "S2_API_KEY"
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}\.gz")
RELEASE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
MD5 = re.compile(r'"([0-9a-f]{32})"')
RANGE = re.compile(r"bytes ([0-9]+)-[0-9]+/([0-9]+)")
LOCAL = {"127.0.0.1", "localhost", "::1"}
CHUNK = 2**20
EXPIRED = {400, 401, 403, 404, 410}
MOST_SECONDS = 120.0
CHANCE = random.Random()

MANIFEST = "manifest.json"
UNDER_WAY = (".part", ".part.json")
"""Suffixes of the files that lie in a dataset's folder until all of it is there."""


class S2Settings(Settings):
    """What is fetched, and how often a failure is retried.

    Attributes:
        api: Root of the API.
        release: A date such as 2023-08-01, or latest.
        datasets: Names of datasets.
        connections: Parts fetched at the same time.
        retries: After this many failures in a row without a new byte, it gives up.
        backoff_seconds: The wait before the first retry. It doubles with each retry.
        timeout_seconds: How long it waits for the next byte.
    """

    api: Text = "https://api.semanticscholar.org/datasets/v1"
    release: str = Field(default="latest", pattern=f"^(latest|{RELEASE.pattern})$")
    datasets: tuple[Literal["papers", "s2orc", "abstracts"], ...] = ("papers", "s2orc", "abstracts")
    connections: Annotated[Workers, Field(le=32)] = 4
    retries: Annotated[Retries, Field(ge=1)] = 8
    backoff_seconds: Wait = 2
    timeout_seconds: Seconds = 60

    @field_validator("api")
    @classmethod
    def _keeps_secrets(cls, api: str) -> str:
        parts = urlsplit(api)
        if parts.scheme != "https" and parts.hostname not in LOCAL:
            raise ValueError("the API key must not be sent unencrypted; use an address with https://")
        return api.rstrip("/")


def unfinished(folder: Path) -> list[Path]:
    """The files that a fetch which did not finish left in a dataset's folder."""
    return sorted(path for end in UNDER_WAY for path in folder.glob(f"*{end}"))


def fetch(settings: S2Settings, folder: Path, report: Callable[[str], None]) -> dict[str, Any]:
    """Fetch the datasets' parts to `folder`/RELEASE/DATASET. Parts that are there and whole are not fetched again.

    `report` is called for each dataset that is whole. Until then its folder has files that `unfinished` finds.

    Returns:
        The release, and for each dataset the names and bytes of its parts, as in the dataset's manifest.json.

    Raises:
        UserError: the API refuses the key, or a part still fails after all retries.
    """
    # httpx logs whole links.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with closing(Api(settings)) as api:
        release = api.release()
        datasets = {}
        for dataset in settings.datasets:
            parts = _dataset(api, release, dataset, folder / release / dataset, settings)
            datasets[dataset] = parts
            report(f"{dataset} {release}: {len(parts)} parts, {sum(part['bytes'] for part in parts):,} bytes")
    return {"release": release, "datasets": datasets}


class Api:
    """The calls of the API that a fetch needs."""

    def __init__(self, settings: S2Settings) -> None:
        key = os.environ.get(KEY)
        self._settings = settings
        timeout = httpx.Timeout(settings.timeout_seconds)
        self._client = httpx.Client(headers={"x-api-key": key} if key else {}, timeout=timeout)

    def close(self) -> None:
        self._client.close()

    def release(self) -> str:
        """The date of the release. Raises UserError where there is no such release."""
        release = self._get(f"release/{self._settings.release}").get("release_id")
        if not isinstance(release, str) or not RELEASE.fullmatch(release):
            raise UserError(f"{self._settings.api}: no release_id of the form 2023-08-01 in its answer; check api=")
        return release

    def links(self, release: str, dataset: str) -> dict[str, str]:
        """Fresh links by the names of the parts. Raises UserError where a link's name cannot be a file's."""
        files = self._get(f"release/{release}/dataset/{dataset}").get("files")
        if not isinstance(files, list) or not files:
            raise UserError(f"{dataset} {release}: the API lists no files; choose another release=")
        links = {}
        for link in files:
            name = PurePosixPath(urlsplit(str(link)).path).name
            if not NAME.fullmatch(name) or name in links:
                raise UserError(f"{dataset} {release}: {name!r:.80} is a bad or a repeated file name; report it")
            links[name] = str(link)
        return links

    def _get(self, path: str) -> dict[str, Any]:
        settings = self._settings
        for attempt in range(settings.retries + 1):
            after = None
            try:
                answer = self._client.get(f"{settings.api}/{path}")
                if answer.status_code in (401, 403):
                    raise UserError(f"{settings.api} refuses access to {path}; set {KEY} to a valid key")
                if answer.status_code == 404:
                    raise UserError(f"{settings.api} has no {path}; choose another release= or dataset")
                if answer.is_success and isinstance(content := answer.json(), dict):
                    return content
                fault, after = f"status {answer.status_code}", answer.headers.get("retry-after")
            except (httpx.HTTPError, ValueError) as error:
                fault = type(error).__name__
            if attempt < settings.retries:
                _wait(attempt, settings, after)
        raise UserError(f"{settings.api}/{path}: {fault} after {settings.retries} retries; try again later")


def _wait(attempt: int, settings: S2Settings, after: str | None = None) -> None:
    wait = backoff(attempt, settings.backoff_seconds, MOST_SECONDS, CHANCE)
    time.sleep(min(max(wait, retry_after(after) or 0.0), MOST_SECONDS))


def _dataset(api: Api, release: str, dataset: str, folder: Path, settings: S2Settings) -> list[dict[str, Any]]:
    folder.mkdir(parents=True, exist_ok=True)
    links = Links(lambda: api.links(release, dataset))
    # Between two parts, only this file says that more parts are to come.
    (folder / f"{MANIFEST}{UNDER_WAY[0]}").touch()
    stop = threading.Event()
    with (
        httpx.Client(timeout=httpx.Timeout(settings.timeout_seconds), follow_redirects=True) as client,
        ThreadPoolExecutor(settings.connections) as pool,
        progress(f"fetch {dataset}", len(links.names), "parts") as bar,
    ):

        def fetch_part(name: str) -> None:
            Part(folder / name, client, links, settings, stop).fetch()
            bar.update()

        try:
            list(pool.map(fetch_part, links.names))
        except BaseException:  # whatever went wrong, the other parts must stop
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    parts = [{"name": name, "bytes": (folder / name).stat().st_size} for name in links.names]
    manifest = {"release": release, "dataset": dataset, "parts": parts}
    replace(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n")
    for path in unfinished(folder):
        path.unlink()
    return parts


class Links:
    """The links of a dataset. All parts whose links expired share one call for fresh ones."""

    def __init__(self, ask: Callable[[], dict[str, str]]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._links = ask()
        self.names: Sequence[str] = sorted(self._links)

    def of(self, name: str) -> str:
        return self._links[name]

    def refresh(self, name: str, stale: str) -> None:
        """Ask for fresh links, unless another part has done so since this one got the link `stale`."""
        with self._lock:
            if self._links[name] == stale:
                fresh = self._ask()
                if name not in fresh:
                    raise UserError(f"{name}: the API no longer lists this part; fetch the newest release again")
                self._links = self._links | fresh


@dataclass
class Part:
    """One part: PATH once it is whole and checked, PATH.part and PATH.part.json before."""

    path: Path
    client: httpx.Client
    links: Links
    settings: S2Settings
    stop: threading.Event
    whole: dict[str, Any] = field(default_factory=dict)
    """The `bytes` and the `etag` of the whole file, as far as the server sent them."""

    def fetch(self) -> None:
        """Raises UserError where the part cannot be fetched or written."""
        attempt = 0
        while not self.path.exists():
            before = self._got()
            try:
                self._go_on()
                if self.whole.get("bytes") in (None, self._got()):
                    self._check()
                    self._partial.replace(self.path)
                    self._about.unlink(missing_ok=True)
                    return
                fault, after = "it ended early", None
            except _AnswerError as error:
                fault, after = str(error), error.after
            except httpx.HTTPError as error:
                fault, after = type(error).__name__, None
            except OSError as error:
                raise UserError(
                    f"{self._partial}: {error.strerror or error}; make room or choose another data="
                ) from None
            if self.stop.is_set():
                raise CancelledError(self.path.name)
            attempt = 0 if self._got() > before else attempt + 1
            if attempt > self.settings.retries:
                raise UserError(f"{self.path.name}: {fault}, {attempt} times in a row; run the command again to go on")
            _wait(max(attempt - 1, 0), self.settings, after)

    @property
    def _partial(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def _about(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part.json")

    def _got(self) -> int:
        return self._partial.stat().st_size if self._partial.exists() else 0

    def _go_on(self) -> None:
        """Fetch what is missing. A server that cannot send a range, or whose file has changed, sends the whole file."""
        self.whole = self._known()
        start = self._got() if self.whole else 0
        if start and start == self.whole["bytes"]:
            return
        headers = {"accept-encoding": "identity"}
        if start:
            headers |= {"range": f"bytes={start}-", "if-range": self.whole["etag"]}
        link = self.links.of(self.path.name)
        with self.client.stream("GET", link, headers=headers) as answer:
            if answer.status_code in EXPIRED:
                self.links.refresh(self.path.name, link)
                raise _AnswerError(f"status {answer.status_code}")
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                self._forget()
            if answer.status_code not in (200, 206):
                raise _AnswerError(f"status {answer.status_code}", answer.headers.get("retry-after"))
            if answer.status_code == 206:
                sent = RANGE.fullmatch(answer.headers.get("content-range", ""))
                if sent is None or (int(sent[1]), int(sent[2])) != (start, self.whole["bytes"]):
                    self._forget()
                    raise _AnswerError("a range that was not requested")
            else:
                self._remember(answer)
            self._append(answer, "ab" if answer.status_code == 206 else "wb")

    def _append(self, answer: httpx.Response, mode: str) -> None:
        with self._partial.open(mode) as out:
            # Written as they come: a larger chunk would be lost with the connection.
            for data in answer.iter_raw():
                out.write(data)
                if self.stop.is_set():
                    raise CancelledError(self.path.name)
        if self.whole.get("bytes") is not None and self._got() > self.whole["bytes"]:
            self._forget()
            raise _AnswerError("more bytes than announced")

    def _known(self) -> dict[str, Any]:
        """The size and tag that an earlier run stored; without them nothing can be appended."""
        try:
            stored = json.loads(self._about.read_bytes())
            size, etag = int(stored["bytes"]), str(stored["etag"])
        except (OSError, ValueError, TypeError, KeyError):
            return {}
        return {"bytes": size, "etag": etag} if self._got() <= size else {}

    def _remember(self, answer: httpx.Response) -> None:
        size, etag = answer.headers.get("content-length"), answer.headers.get("etag", "")
        self.whole = {"bytes": int(size) if size and size.isdigit() else None, "etag": etag}
        self._forget()
        # A weak tag does not promise the same bytes, so nothing could be appended.
        if self.whole["bytes"] is not None and etag.startswith('"'):
            replace(self._about, json.dumps(self.whole).encode())

    def _forget(self) -> None:
        self._partial.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)

    def _check(self) -> None:
        """Check the MD5, where the server's tag is one, and the gzip's own checksums; a part that fails is deleted."""
        md5, fault = MD5.fullmatch(self.whole.get("etag") or ""), "" if self._got() else "an empty gzip"
        try:
            with gzip.open(self._partial) as stream:
                while stream.read(CHUNK):
                    pass
        except GZIP_FAULTS as error:
            fault = f"a broken gzip ({error})"
        with self._partial.open("rb") as packed:
            if md5 and md5[1] != hashlib.file_digest(packed, partial(hashlib.md5, usedforsecurity=False)).hexdigest():
                fault = fault or "a wrong MD5"
        if fault:
            self._forget()
            raise _AnswerError(fault)


class _AnswerError(Exception):
    """A server's answer is not what was requested; `after` is its Retry-After."""

    def __init__(self, fault: str, after: str | None = None) -> None:
        super().__init__(fault)
        self.after = after
