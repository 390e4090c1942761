"""A site's folder of the crawl: WARC files that grow record by record, and the log of fetches, safe from a kill."""

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

SUFFIX = ".warc.gz"
HOP = ("content-length", "transfer-encoding", "connection", "keep-alive", "set-cookie")
"""Headers that do not hold for a body that is stored unpacked and in one piece, or are nobody's business."""

REVISIT = "http://netpreserve.org/warc/1.1/revisit"

HEADROOM = 4 * 2**20
"""What a record may have beside its body."""


class Volume:
    """One WARC file, open for appending; who holds it is the only one who writes to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream = path.open("ab")

    @property
    def size(self) -> int:
        return self._stream.tell()

    def append(self, data: bytes) -> tuple[int, int]:
        """Offset and length of a whole record that is packed by itself."""
        offset = self.size
        self._stream.write(data)
        self._stream.flush()
        return offset, len(data)

    def close(self) -> None:
        self._stream.close()


class Archive:
    """The folder of one site. Opening it recovers what a killed crawl left: nothing but whole records stays.

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
            raise UserError(f"{folder}: another crawl is at work here; wait for it or end it") from None
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
        """Log the whole records behind the last that is logged, and cut off what is torn."""
        with path.open("r+b") as stream:
            for found in read_records(stream, self._max_bytes, end):
                if not isinstance(found, Record) or found.end is None:
                    break
                payload = _payload(found, self._max_bytes)
                if payload is not None:
                    self.log.add(_recovered(path.name, found, found.end, payload))
                end = found.end
            stream.truncate(end)

    # Writing ---------------------------------------------------------------------------------------------------------

    def volume(self, prefix: str, room: int) -> Volume:
        """A new file for records, or, where it is below `room` bytes, the newest that begins with `prefix`."""
        names = sorted(self.folder.glob(f"{prefix}-[0-9]*{SUFFIX}"))
        if names and names[-1].stat().st_size < room:
            return Volume(names[-1])
        number = int(names[-1].name.removesuffix(SUFFIX).rpartition("-")[2]) + 1 if names else 0
        return Volume(self.folder / f"{prefix}-{number:05d}{SUFFIX}")

    async def store(self, volume: Volume, answer: Answer, url: str, kind: Kind, document: str | None = None) -> Fetch:
        """Write a page that was asked for as `url` to a volume, then to the log."""
        ours: dict[str, str] = {KIND: kind}
        if document is not None:
            ours[DOCUMENT] = document
        if answer.url != url:
            ours[ASKED] = url
        offset, length = volume.append(await asyncio.to_thread(_pack, answer, ours))
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
        """Write a response that is no page, if a host answered; returns its place as a Fetch has it."""
        if answer.status is None:
            return {}
        offset, length = volume.append(await asyncio.to_thread(_pack, answer, {KIND: OTHER}))
        return {"warc": volume.path.name, "offset": offset, "length": length}

    async def store_miss(
        self, volume: Volume, answer: Answer, url: str, kind: Kind, document: str | None = None
    ) -> None:
        """Write what came of a URL that gave no page, then the reason to the log."""
        place = await self.store_other(volume, answer)
        self.log.add(Fetch.of_miss(answer, url, kind, document).model_copy(update=place))

    async def store_before(self, volume: Volume, answer: Answer) -> None:
        """Write all that was received on the way to an answer; robots.txt has a line in the log as well."""
        for one in answer.before:
            await self.store_other(volume, one)
        robots = answer.robots
        if robots is None:
            return
        if robots.miss is None and robots.status == 200:
            await self.store(volume, robots, robots.url, "robots")
        else:
            told = robots.as_miss(robots.miss or Miss.NOT_FOUND, robots.evidence or f"status {robots.status}")
            await self.store_miss(volume, told, robots.url, "robots")

    async def store_revisit(self, volume: Volume, answer: Answer, old: Fetch) -> None:
        """Write that a page is the same as before, by its host's word (status 304) or by its bytes, and refer to it."""
        page = self._record(old).headers
        told = {
            KIND: OTHER,
            "WARC-Profile": f"{REVISIT}/{'server-not-modified' if answer.unchanged else 'identical-payload-digest'}",
            "WARC-Refers-To": page.get("warc-record-id"),
            "WARC-Refers-To-Target-URI": page["warc-target-uri"],
            "WARC-Refers-To-Date": page["warc-date"],
            "WARC-Payload-Digest": page.get("warc-payload-digest"),
        }
        ours = {name: value for name, value in told.items() if value is not None}
        volume.append(await asyncio.to_thread(_pack, answer, ours, "revisit"))

    def move(self, volume: Volume, fetch: Fetch) -> Fetch:
        """Write the record of a page once more, so that the pages of its document stand together."""
        name, offset, end = fetch.place
        with (self.folder / name).open("rb") as stream:
            stream.seek(offset)
            data = stream.read(end - offset)
        offset, length = volume.append(data)
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
        name, offset, end = fetch.place
        with (self.folder / name).open("rb") as stream:
            stream.seek(offset)
            packed = io.BytesIO(stream.read(end - offset))
        found = next(read_records(packed, self._max_bytes), None)
        if not isinstance(found, Record):
            raise UserError(f"{self.folder / name}: the record at {offset} is damaged; remove the file and crawl again")
        return found

    def write_superseded(self, volume: Volume) -> None:
        """Beside each WARC, the records in it that later ones replace, for who reads it.

        A change of them is noted in `volume` as well, so that who goes by the content of WARC files sees that something
        changed where a page only vanished.
        """
        for name, offsets in self.log.superseded().items():
            path = superseded_file(self.folder / name)
            data = json.dumps(offsets)
            if path.exists() and path.read_text(encoding="utf-8") == data:
                continue
            buffer = io.BytesIO()
            writer: Any = WARCWriter(buffer, gzip=True, warc_version="1.1")
            writer.write_record(writer.create_warcinfo_record(name, {"superseded": data}))
            volume.append(
                buffer.getvalue()
            )  # first: a kill before the list is there leads to one note more, not to none
            temporary = path.with_name(f".{path.name}")
            temporary.write_text(data, encoding="utf-8")
            temporary.replace(path)

    def last_documents(self) -> dict[str, str]:
        """For each WARC, the document that its last record belongs to."""
        ends = self.log.ends()
        found = {}
        for line in self.log:
            if line.kept and line.kind in ("document", "chapter") and line.place[2] == ends[line.place[0]]:
                found[line.place[0]] = line.document or line.url
        return found

    def files(self) -> list[Path]:
        return sorted(self.folder.glob(f"*{SUFFIX}"))


class Group:
    """The pages of one document, which stand together in one volume.

    `taken` are URLs of its pages, to which no other of its pages may lead.

    Pages that were kept before stay where they are, unless a new one comes among them: then all are written once more.
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
        """A kill may have left some of the pages moved and others not."""
        if not self._open and not self._together():
            self._move()

    def _move(self) -> None:
        for fetch in self._waiting:
            self._archive.move(self._volume, fetch)

    def _together(self) -> bool:
        places = [fetch.place for fetch in self._waiting]
        return all(one[0] == two[0] and one[2] == two[1] for one, two in pairwise(places))

    def _at_end(self) -> bool:
        last = self._waiting[-1].place if self._waiting else (self._volume.path.name, 0, self._volume.size)
        return (last[0], last[2]) == (self._volume.path.name, self._volume.size)


def _pack(answer: Answer, ours: dict[str, str], kind: Literal["response", "revisit"] = "response") -> bytes:
    """A record, packed by itself; a revisit has no body."""
    headers = [(name, value) for name, value in answer.headers if name.lower() not in HOP]
    body = answer.body if kind == "response" else b""
    if kind == "response":
        headers.append(("Content-Length", str(len(body))))
    if answer.truncated is not None:
        ours = {**ours, "WARC-Truncated": answer.truncated}
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
        warc_headers_dict={"WARC-Date": date, **ours},
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
