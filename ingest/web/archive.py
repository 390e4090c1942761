"""The folder of a crawled site: WARC files that grow record by record, and the log of fetches. A kill loses nothing."""

import asyncio
import fcntl
import hashlib
import io
import json
from datetime import UTC, datetime
from http.client import responses
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from ingest.web.answer import Answer, Miss
from ingest.web.fetchlog import Fetch, FetchLog, Kind, superseded_file
from ingest.web.payload import Payload, PayloadError, read_payload
from ingest.web.warc import ASKED, DOCUMENT, KIND, OTHER, Record, read_records
from lake.error import UserError
from lake.files import replace

SUFFIX = ".warc.gz"
HOP = ("content-length", "transfer-encoding", "connection", "keep-alive", "set-cookie")
"""Headers that do not hold for a body that is stored unpacked and in one piece, and those that are private."""

REVISIT = "http://netpreserve.org/warc/1.1/revisit"

HEADROOM = 4 * 2**20
"""Bytes that a record may have besides its body."""


def packed_record(folder: Path, fetch: Fetch) -> bytes:
    """The record of a page as it is in its WARC file."""
    name, offset, end = fetch.place
    with (folder / name).open("rb") as stream:
        stream.seek(offset)
        return stream.read(end - offset)


class Volume:
    """A WARC file, open for appending. Only its holder writes to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream = path.open("ab")

    @property
    def size(self) -> int:
        return self._stream.tell()

    def append(self, data: bytes) -> tuple[int, int]:
        """Append a whole record that is packed by itself; returns its offset and length."""
        offset = self.size
        self._stream.write(data)
        self._stream.flush()
        return offset, len(data)

    def close(self) -> None:
        self._stream.close()


class Archive:
    """The folder of a site. Opening it recovers what a killed crawl left: only whole records stay.

    Raises:
        UserError: another crawl has the folder open.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self._max_bytes = max_bytes + HEADROOM
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise UserError(f"{folder}: another crawl is at work here; wait for it or stop it") from None
        self.log = FetchLog(folder / "fetches.jsonl")
        self._recover()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    # Recovery --------------------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        files = sorted(self.folder.glob(f"*{SUFFIX}"))
        self.log.mend({path.name: path.stat().st_size for path in files})
        ends = self.log.ends()
        for path in files:
            end = ends.get(path.name, 0)
            if path.stat().st_size > end:
                self._recover_tail(path, end)

    def _recover_tail(self, path: Path, end: int) -> None:
        """Log the whole records after the last logged one, and cut off what is torn."""
        with path.open("r+b") as stream:
            for record in read_records(stream, self._max_bytes, end):
                if not isinstance(record, Record) or record.end is None:
                    break
                payload = _payload(record, self._max_bytes)
                if payload is not None:
                    self.log.add(_recovered(path.name, record, record.end, payload))
                end = record.end
            stream.truncate(end)

    # Writing ---------------------------------------------------------------------------------------------------------

    def volume(self, prefix: str, room: int) -> Volume:
        """The newest file that begins with `prefix`, or a new one if that has `room` bytes or more."""
        names = sorted(self.folder.glob(f"{prefix}-[0-9]*{SUFFIX}"))
        if names and names[-1].stat().st_size < room:
            return Volume(names[-1])
        number = int(names[-1].name.removesuffix(SUFFIX).rpartition("-")[2]) + 1 if names else 0
        return Volume(self.folder / f"{prefix}-{number:05d}{SUFFIX}")

    async def store(self, volume: Volume, answer: Answer, url: str, kind: Kind, document: str | None = None) -> Fetch:
        """Write a page that was requested as `url` to a volume, then to the log."""
        warc_headers: dict[str, str] = {KIND: kind}
        if document is not None:
            warc_headers[DOCUMENT] = document
        if answer.url != url:
            warc_headers[ASKED] = url
        offset, length = volume.append(await asyncio.to_thread(_pack, answer, warc_headers))
        fetch = Fetch(
            url=url,
            kind=kind,
            document=document,
            kept=True,
            at=answer.at,
            final_url=answer.url if answer.url != url else None,
            status=answer.status,
            etag=answer.header("ETag"),
            last_modified=answer.header("Last-Modified"),
            sha256=hashlib.sha256(answer.body).hexdigest(),
            warc=volume.path.name,
            offset=offset,
            length=length,
        )
        self.log.add(fetch)
        return fetch

    async def store_other(self, volume: Volume, answer: Answer) -> dict[str, str | int]:
        """Write a response that is not a page, if a host answered; returns its place, as fields of Fetch."""
        if answer.status is None:
            return {}
        offset, length = volume.append(await asyncio.to_thread(_pack, answer, {KIND: OTHER}))
        return {"warc": volume.path.name, "offset": offset, "length": length}

    async def store_miss(
        self, volume: Volume, answer: Answer, url: str, kind: Kind, document: str | None = None
    ) -> None:
        """Write the response for a URL that gave no page, then the reason to the log."""
        place = await self.store_other(volume, answer)
        self.log.add(Fetch.of_miss(answer, url, kind, document).model_copy(update=place))

    async def store_before(self, volume: Volume, answer: Answer) -> None:
        """Write everything that was received on the way to an answer. robots.txt gets a line in the log as well."""
        for response in answer.before:
            await self.store_other(volume, response)
        robots = answer.robots
        if robots is None:
            return
        if robots.miss is None and robots.status == 200:
            await self.store(volume, robots, robots.url, "robots")
        else:
            miss = robots.as_miss(robots.miss or Miss.NOT_FOUND, robots.evidence or f"status {robots.status}")
            await self.store_miss(volume, miss, robots.url, "robots")

    async def store_revisit(self, volume: Volume, answer: Answer, old: Fetch) -> None:
        """Write a reference to an old page that is unchanged, as its host says (status 304) or its bytes show."""
        page = self._record(old).headers
        reference = {
            KIND: OTHER,
            "WARC-Profile": f"{REVISIT}/{'server-not-modified' if answer.unchanged else 'identical-payload-digest'}",
            "WARC-Refers-To": page.get("warc-record-id"),
            "WARC-Refers-To-Target-URI": page["warc-target-uri"],
            "WARC-Refers-To-Date": page["warc-date"],
            "WARC-Payload-Digest": page.get("warc-payload-digest"),
        }
        warc_headers = {name: value for name, value in reference.items() if value is not None}
        volume.append(await asyncio.to_thread(_pack, answer, warc_headers, "revisit"))

    def move(self, volume: Volume, fetch: Fetch) -> Fetch:
        """Write the record of a page again, so that the pages of its document are together."""
        offset, length = volume.append(packed_record(self.folder, fetch))
        moved = fetch.model_copy(update={"warc": volume.path.name, "offset": offset, "length": length})
        self.log.add(moved)
        return moved

    def read(self, fetch: Fetch) -> Payload:
        """A page that was kept.

        Raises:
            UserError: its record is damaged.
        """
        return read_payload(self._record(fetch).block, self._max_bytes)

    def _record(self, fetch: Fetch) -> Record:
        record = next(read_records(io.BytesIO(packed_record(self.folder, fetch)), self._max_bytes), None)
        if not isinstance(record, Record):
            name, offset, _ = fetch.place
            raise UserError(f"{self.folder / name}: the record at {offset} is damaged; remove the file and crawl again")
        return record

    def write_superseded(self, volume: Volume) -> None:
        """Write, beside each WARC, which of its records later ones replace, for readers of the WARC.

        A change of such a list is noted in `volume` too, else the WARC files would not show that a page is gone.
        """
        for name, offsets in self.log.superseded().items():
            path = superseded_file(self.folder / name)
            data = json.dumps(offsets).encode()
            if path.exists() and path.read_bytes() == data:
                continue
            buffer = io.BytesIO()
            writer: Any = WARCWriter(buffer, gzip=True, warc_version="1.1")
            writer.write_record(writer.create_warcinfo_record(name, {"superseded": data.decode()}))
            volume.append(buffer.getvalue())  # first, for a kill in between then costs a second note, not the only one
            replace(path, data)

    def last_documents(self) -> dict[str, str]:
        """For each WARC, the document to which its last record belongs."""
        ends = self.log.ends()
        documents = {}
        for line in self.log:
            if line.kept and line.kind in ("document", "chapter") and line.place[2] == ends[line.place[0]]:
                documents[line.place[0]] = line.document or line.url
        return documents

    def files(self) -> list[Path]:
        return sorted(self.folder.glob(f"*{SUFFIX}"))


class Group:
    """The pages of one document, which are together in one volume.

    `taken` are the URLs of its pages, to which no other of its pages may lead. Pages that were kept before stay where
    they are, unless a new page joins them: then all are written again.
    """

    def __init__(self, archive: Archive, volume: Volume, document: str) -> None:
        self.document = document
        self.taken: set[str] = set()
        self._archive = archive
        self._volume = volume
        self._waiting: list[Fetch] = []
        self._open = False

    def keep(self, fetch: Fetch) -> Fetch:
        if self._open:
            return self._archive.move(self._volume, fetch)
        self._waiting.append(fetch)
        return fetch

    async def store(self, answer: Answer, url: str, kind: Kind) -> Fetch:
        if not self._open and not (self._together() and self._at_end()):
            self._move()
        self._open = True
        return await self._archive.store(self._volume, answer, url, kind, self.document)

    def finish(self) -> None:
        """Bring the pages together, for a kill may have left only some of them moved."""
        if not self._open and not self._together():
            self._move()

    def _move(self) -> None:
        for fetch in self._waiting:
            self._archive.move(self._volume, fetch)

    def _together(self) -> bool:
        places = [fetch.place for fetch in self._waiting]
        return all(place[0] == after[0] and place[2] == after[1] for place, after in pairwise(places))

    def _at_end(self) -> bool:
        last = self._waiting[-1].place if self._waiting else (self._volume.path.name, 0, self._volume.size)
        return (last[0], last[2]) == (self._volume.path.name, self._volume.size)


def _pack(answer: Answer, warc_headers: dict[str, str], kind: Literal["response", "revisit"] = "response") -> bytes:
    """A record, packed by itself; a revisit has no body."""
    headers = [(name, value) for name, value in answer.headers if name.lower() not in HOP]
    body = answer.body if kind == "response" else b""
    if kind == "response":
        headers.append(("Content-Length", str(len(body))))
    if answer.truncated is not None:
        warc_headers = {**warc_headers, "WARC-Truncated": answer.truncated}
    buffer = io.BytesIO()
    writer: Any = WARCWriter(buffer, gzip=True, warc_version="1.1")
    date = answer.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    record = writer.create_warc_record(
        answer.url,
        kind,
        payload=io.BytesIO(body),
        length=len(body),
        http_headers=StatusAndHeaders(
            f"{answer.status} {responses.get(answer.status or 0, '')}", headers, protocol="HTTP/1.1"
        ),
        warc_headers_dict={"WARC-Date": date, **warc_headers},
    )
    writer.write_record(record)
    return buffer.getvalue()


def _payload(record: Record, max_bytes: int) -> Payload | None:
    if record.headers.get(KIND.lower(), OTHER) == OTHER:
        return None
    try:
        return read_payload(record.block, max_bytes)
    except PayloadError:
        return None


def _recovered(name: str, record: Record, end: int, payload: Payload) -> Fetch:
    headers = record.headers
    final = headers["warc-target-uri"]
    asked = headers.get(ASKED.lower(), final)
    return Fetch(
        url=asked,
        kind=headers[KIND.lower()],
        document=headers.get(DOCUMENT.lower()),
        kept=True,
        at=datetime.fromisoformat(headers["warc-date"]),
        final_url=final if final != asked else None,
        status=payload.status,
        etag=payload.headers.get("etag"),
        last_modified=payload.headers.get("last-modified"),
        sha256=hashlib.sha256(payload.body).hexdigest(),
        warc=name,
        offset=record.offset,
        length=end - record.offset,
    )
