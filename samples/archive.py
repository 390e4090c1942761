"""Answers of a web server as WARC records, in files that are the same in every run."""

import hashlib
import json
import uuid
from dataclasses import dataclass
from io import BytesIO

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from samples.packing import Record, gzipped

HTML = "text/html; charset=utf-8"
KIND, DOCUMENT = "WARC-Gap-Kind", "WARC-Gap-Document"
PAGES = ("document", "chapter")


@dataclass(frozen=True)
class Answer:
    """What a server answered. `kind` is None for a page of somebody else's crawl; `document` is a chapter's."""

    url: str
    body: bytes
    kind: str | None = "document"
    document: str | None = None
    type: str = HTML


class WarcFile:
    """A file of records below `crawl`, and the log of fetches that a crawl keeps beside it.

    The date and id of a record follow from its place and URL.
    """

    def __init__(self, site: str, day: str, packed: bool) -> None:
        self._folder = f"crawl/{site}"
        self._file = f"{site}-00000.warc{'.gz' if packed else ''}"
        self._day = day
        self._packed = packed
        self._records: list[bytes] = []
        self._length = 0
        self._log: list[str] = []
        self._add("warcinfo", "", b"software: gap-replay samples\r\nformat: WARC File Format 1.1\r\n", {})

    def add(self, answer: Answer) -> str:
        """Returns the `file:offset` of the record."""
        own = {}
        if answer.kind is not None:
            own[KIND] = answer.kind
        if answer.kind in PAGES:
            own[DOCUMENT] = answer.document or answer.url
        headers = {"Content-Type": answer.type, "Content-Length": str(len(answer.body))}
        http = StatusAndHeaders("200 OK", list(headers.items()), "HTTP/1.1")
        at, offset = self._now(), self._length
        native = self._add("response", answer.url, answer.body, own, http)
        if answer.kind is not None:
            row: Record = {
                "url": answer.url,
                "kind": answer.kind,
                "document": own.get(DOCUMENT),
                "kept": True,
                "at": at,
            }
            row |= {"final_url": answer.url, "status": 200, "sha256": hashlib.sha256(answer.body).hexdigest()}
            row |= {"warc": self._file, "offset": offset, "length": self._length - offset}
            self._log.append(json.dumps({name: value for name, value in row.items() if value is not None}))
        return native

    def add_raw(self, data: bytes) -> str:
        """Bytes that are no record, in a file that is not packed; returns their `file:offset`."""
        return self._append(data)

    def files(self) -> dict[str, bytes]:
        log = "".join(f"{row}\n" for row in self._log).encode()
        return {f"{self._folder}/{self._file}": b"".join(self._records), f"{self._folder}/fetches.jsonl": log}

    def _now(self) -> str:
        place = len(self._records)
        return f"{self._day}T{place // 3600:02d}:{place // 60 % 60:02d}:{place % 60:02d}Z"

    def _add(self, kind: str, url: str, body: bytes, own: dict[str, str], http: StatusAndHeaders | None = None) -> str:
        date = self._now()
        own = own | {"WARC-Date": date, "WARC-Record-ID": f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, date + url)}>"}
        written = BytesIO()
        writer = WARCWriter(written, gzip=False, warc_version="WARC/1.1")
        record = writer.create_warc_record(
            url, kind, payload=BytesIO(body), length=len(body), warc_headers_dict=own, http_headers=http
        )
        writer.write_record(record)
        return self._append(written.getvalue())

    def _append(self, data: bytes) -> str:
        native = f"{self._folder}/{self._file}:{self._length}"
        data = gzipped(data) if self._packed else data
        self._records.append(data)
        self._length += len(data)
        return native
