"""Lines, gzip and tar whose bytes tell neither when nor where they were made."""

import io
import json
import tarfile
import zlib
from typing import Any

GZIP_HEADER = bytes.fromhex("1f8b08000000000002ff")
"""No file name, no time, unknown system: nothing that differs between machines."""

Record = dict[str, Any]


def line(record: Record) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def gzipped(data: bytes, cut: bytes | None = None) -> bytes:
    """A gzip member; with `cut` those bytes follow the data, and the stream stops before it is ended."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = packer.compress(data)
    if cut is not None:
        return GZIP_HEADER + body + packer.compress(cut) + packer.flush(zlib.Z_SYNC_FLUSH)
    trailer = zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    return GZIP_HEADER + body + packer.flush() + trailer


def tarred(files: dict[str, bytes]) -> bytes:
    """A tar of files by name, which belong to nobody and were written at no time."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return packed.getvalue()
