"""The Hub's API, played on loopback: repositories, Git files, large files in one piece or several, tags, downloads.

Faults are injected by method and path, once each, in order.
"""

import base64
import hashlib
import json
import re
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_playedTokenThatNobodyMaySee"
OWNER = "me"
LARGE = (".parquet", ".safetensors")
PIECE = 1 << 20
"""Bytes of a piece: a larger file is sent in several."""

HELD = 500_000
"""Bytes above which a file waits on its way until `go_on` is set."""

PAGE = 5
"""Files on a page of a repository's list."""


@dataclass
class Repository:
    """`commits` are the trees by revision, the last one is the head. A tree has the bytes of each file."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, tree: dict[str, bytes], message: str) -> str:
        number = hashlib.sha1(f"{len(self.commits)} {sorted(tree)}".encode()).hexdigest()
        self.commits[number] = tree
        self.messages.append(message)
        return number

    @property
    def head(self) -> str:
        return list(self.commits)[-1]

    @property
    def files(self) -> dict[str, bytes]:
        return {path: data for path, data in self.commits[self.head].items() if path != ".gitattributes"}

    def revision(self, name: str) -> str | None:
        name = urllib.parse.unquote(name)
        found = self.head if name == "main" else self.tags.get(name, name)
        return found if found in self.commits else None


class CutError(Exception):
    """The connection ends without an answer."""


class PlayedHub:
    """`asked` has method and path of every request; `faults` are taken by the first request that they match."""

    def __init__(self) -> None:
        hub = self
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.pieces: dict[str, dict[int, bytes]] = {}
        self.asked: list[tuple[str, str]] = []
        self.faults: list[tuple[str, str, str]] = []
        self.put_began = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.lock = threading.RLock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                try:
                    hub.serve(self)
                except (CutError, ConnectionError):
                    self.close_connection = True

            do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815 - names of http.server

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()

    def fail(self, method: str, path: str, *kinds: str) -> None:
        """Answer the next requests whose path matches with a status, or `cut` before the work or `lost` after it."""
        self.faults += [(method, path, kind) for kind in kinds]

    def __getitem__(self, name: str) -> Repository:
        """A repository by its id, which only one kind has in these tests."""
        return next(found for (_, id_), found in self.repositories.items() if id_ == name)

    def writes(self) -> list[str]:
        return [path for method, path in self.asked if method in ("POST", "PUT")]

    # Requests --------------------------------------------------------------------------------------------------------

    def serve(self, request: Any) -> None:
        path = urllib.parse.urlsplit(request.path).path
        with self.lock:
            self.asked.append((request.command, path))
            fault = next((f for f in self.faults if f[0] == request.command and re.search(f[1], path)), None)
            if fault is not None:
                self.faults.remove(fault)
        kind = fault[2] if fault is not None else ""
        body = self._body(request, path, kind)
        if kind == "cut":
            raise CutError
        if kind.isdigit():
            more = {"Retry-After": "0"} if kind == "429" else {}
            # A careless server that repeats what it was sent.
            said = f"not now, {request.headers.get('Authorization')}".encode()
            return self._answer(request, int(kind), said, **more)
        with self.lock:
            answer = self._route(request, path, body)
        if kind == "lost":
            raise CutError
        status, data, more = answer
        return self._answer(request, status, data, **more)

    def _body(self, request: Any, path: str, kind: str) -> bytes:
        length = int(request.headers.get("Content-Length") or 0)
        if request.headers.get("Transfer-Encoding") == "chunked":
            chunks = []
            while size := int(request.rfile.readline().strip() or b"0", 16):
                chunks.append(request.rfile.read(size))
                request.rfile.readline()
            request.rfile.readline()
            return b"".join(chunks)
        if request.command != "PUT":
            return request.rfile.read(length)
        first = request.rfile.read(min(length, 10_000))
        if kind == "cut":
            raise CutError
        if length > HELD:
            self.put_began.set()
            self.go_on.wait(60)
        rest = request.rfile.read(length - len(first))
        if len(first) + len(rest) < length:
            raise CutError
        return first + rest

    @staticmethod
    def _answer(request: Any, status: int, data: bytes, **more: str) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **more}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(data)

    def _route(self, request: Any, path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        for method, pattern, work in ROUTES:
            if method == request.command and (match := re.fullmatch(pattern, path)):
                found = work(self, request, body, **match.groupdict())
                return (
                    found
                    if isinstance(found, tuple)
                    else (200, json.dumps(found).encode(), {"Content-Type": "application/json"})
                )
        return missing("EntryNotFound")

    def _repository(self, kind: str, id: str) -> Repository | None:
        return self.repositories.get((kind, id))

    # The API ---------------------------------------------------------------------------------------------------------

    def whoami(self, request: Any, _: bytes) -> Any:
        return {"name": OWNER, "type": "user"} if trusted(request) else refused()

    def create(self, request: Any, body: bytes) -> Any:
        if not trusted(request):
            return refused()
        asked = json.loads(body)
        kind, id_ = asked.get("type", "model"), f"{asked['organization'] or OWNER}/{asked['name']}"
        told = {"url": f"{self.url}/{'' if kind == 'model' else kind + 's/'}{id_}"}
        if (kind, id_) in self.repositories:
            return 409, json.dumps(told).encode(), {"Content-Type": "application/json"}
        made = Repository(asked.get("visibility") == "private" or bool(asked.get("private")))
        made.commit({".gitattributes": b"*.parquet filter=lfs\n"}, "initial commit")
        self.repositories[kind, id_] = made
        return told

    def info(self, request: Any, _: bytes, kind: str, id: str, revision: str = "main") -> Any:
        found = self._repository(kind, id)
        if found is None or (found.private and not trusted(request)):
            return missing("RepoNotFound")
        if (commit := found.revision(revision)) is None:
            return missing("RevisionNotFound")
        siblings = [{"rfilename": path} for path in found.commits[commit]]
        return {"id": id, "sha": commit, "private": found.private, "siblings": siblings, "tags": [], "downloads": 0}

    def tree(self, request: Any, _: bytes, kind: str, id: str, revision: str, below: str = "") -> Any:
        found = self._repository(kind, id)
        if found is None or (commit := found.revision(revision)) is None:
            return missing("RepoNotFound")
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(request.path).query))
        start, prefix = int(query.get("cursor", 0)), f"{urllib.parse.unquote(below)}/" if below else ""
        listed = listing(found.commits[commit], prefix, query.get("recursive", "").lower() == "true")
        if not listed and below:
            return missing("EntryNotFound")
        more = {"Content-Type": "application/json"}
        if start + PAGE < len(listed):
            query["cursor"] = str(start + PAGE)
            address = f"{self.url}{urllib.parse.urlsplit(request.path).path}?{urllib.parse.urlencode(query)}"
            more["Link"] = f'<{address}>; rel="next"'
        return 200, json.dumps(listed[start : start + PAGE]).encode(), more

    def paths_info(self, _: Any, body: bytes, kind: str, id: str, revision: str) -> Any:
        found = self._repository(kind, id)
        if found is None or (commit := found.revision(revision)) is None:
            return missing("RepoNotFound")
        asked = json.loads(body)["paths"] if body.startswith(b"{") else urllib.parse.parse_qs(body.decode())["paths"]
        everything = listing(found.commits[commit], "", recursive=True)
        return [entry for entry in everything if entry["path"] in asked]

    def refs(self, _: Any, __: bytes, kind: str, id: str) -> Any:
        found = self._repository(kind, id)
        if found is None:
            return missing("RepoNotFound")
        branches = [{"name": "main", "ref": "refs/heads/main", "targetCommit": found.head}]
        tags = [{"name": name, "ref": f"refs/tags/{name}", "targetCommit": at} for name, at in found.tags.items()]
        return {"branches": branches, "converts": [], "tags": tags}

    def tag(self, request: Any, body: bytes, kind: str, id: str, revision: str) -> Any:
        found, name = self._repository(kind, id), json.loads(body)["tag"]
        if not trusted(request) or found is None:
            return refused()
        if name in found.tags:
            return 409, b"{}", {}
        found.tags[name] = found.revision(revision) or found.head
        return {}

    def validate(self, _: Any, body: bytes) -> Any:
        content = json.loads(body)["content"]
        return {"errors": [] if content.startswith("---\n") else [{"message": "no head"}], "warnings": []}

    def preupload(self, request: Any, body: bytes, kind: str, id: str, revision: str) -> Any:
        found = self._repository(kind, id)
        if not trusted(request) or found is None:
            return refused()
        head = found.commits[found.head]
        return {
            "files": [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(LARGE) or file["size"] > 10 * 2**20 else "regular",
                    "shouldIgnore": False,
                    "oid": git_digest(head[file["path"]]) if file["path"] in head else None,
                }
                for file in json.loads(body)["files"]
            ]
        }

    def batch(self, request: Any, body: bytes, id: str) -> Any:
        if not trusted(request):
            return refused()
        objects = []
        for asked in json.loads(body)["objects"]:
            oid, size = asked["oid"], asked["size"]
            if oid in self.stored:
                objects.append({"oid": oid, "size": size})
                continue
            signed = f"{self.url}/lfs/{oid}?X-Amz-Signature=secretSignature"
            upload: dict[str, Any] = {"href": signed}
            if size > PIECE:
                places = {
                    str(n + 1): f"{self.url}/lfs/{oid}/{n + 1}?X-Amz-Signature=secretSignature"
                    for n in range(-(-size // PIECE))
                }
                upload = {"href": f"{self.url}/lfs/{oid}/complete", "header": {"chunk_size": str(PIECE), **places}}
            verify = {"href": f"{self.url}/lfs/{oid}/verify"}
            objects.append({"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}})
        return {"transfer": "basic", "objects": objects}

    def put(self, _: Any, body: bytes, oid: str) -> Any:
        if hashlib.sha256(body).hexdigest() != oid:
            return 400, b"other bytes", {}
        self.stored[oid] = body
        return 200, b"", {"ETag": '"whole"'}

    def put_piece(self, _: Any, body: bytes, oid: str, number: str) -> Any:
        self.pieces.setdefault(oid, {})[int(number)] = body
        return 200, b"", {"ETag": f'"piece{number}"'}

    def complete(self, _: Any, body: bytes, oid: str) -> Any:
        pieces = self.pieces.pop(oid)
        return self.put(None, b"".join(pieces[part["partNumber"]] for part in json.loads(body)["parts"]), oid)

    def verify(self, _: Any, body: bytes, oid: str) -> Any:
        return {} if len(self.stored.get(oid, b"")) == json.loads(body)["size"] else (404, b"", {})

    def commit(self, request: Any, body: bytes, kind: str, id: str, revision: str) -> Any:
        found = self._repository(kind, id)
        if not trusted(request) or found is None:
            return refused()
        lines = [json.loads(line) for line in body.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit") not in (None, found.head):
            return 412, b"another commit came between", {}
        tree = dict(found.commits[found.head])
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                tree[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                tree[value["path"]] = self.stored[value["oid"]]
            else:
                del tree[value["path"]]
        made = found.commit(tree, header["summary"])
        return {"commitUrl": f"{self.url}/{id}/commit/{made}", "commitOid": made}

    def resolve(self, request: Any, _: bytes, id: str, revision: str, path: str, kinds: str | None = None) -> Any:
        found = self._repository((kinds or "models/").removesuffix("s/"), id)
        if found is None or (found.private and not trusted(request)):
            return missing("RepoNotFound")
        if (commit := found.revision(revision)) is None:
            return missing("RevisionNotFound")
        data = found.commits[commit].get(urllib.parse.unquote(path))
        if data is None:
            return missing("EntryNotFound")
        digest = hashlib.sha256(data).hexdigest() if path.endswith(LARGE) else git_digest(data)
        more = {"ETag": f'"{digest}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        if asked is None:
            return 200, data, more
        first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
        return 206, data[first : last + 1], more | {"Content-Range": f"bytes {first}-{last}/{len(data)}"}


def trusted(request: Any) -> bool:
    return request.headers.get("Authorization") == f"Bearer {TOKEN}"


def refused() -> tuple[int, bytes, dict[str, str]]:
    return 401, b"no right to do that", {}


def missing(code: str) -> tuple[int, bytes, dict[str, str]]:
    return 404, b"", {"X-Error-Code": code}


def git_digest(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\x00" % len(data) + data).hexdigest()


def listing(tree: dict[str, bytes], prefix: str, recursive: bool) -> list[dict[str, Any]]:
    """Files and folders as the Hub lists them."""
    entries: dict[str, dict[str, Any]] = {}
    for path, data in sorted(tree.items()):
        if not path.startswith(prefix):
            continue
        parts = path.removeprefix(prefix).split("/")
        for depth in range(1, len(parts) if recursive else min(2, len(parts))):
            folder = prefix + "/".join(parts[:depth])
            entries[folder] = {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0}
        if recursive or len(parts) == 1:
            entry = {"type": "file", "path": path, "size": len(data), "oid": git_digest(data)}
            if path.endswith(LARGE):
                pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(data).hexdigest()}\n"
                entry |= {
                    "oid": git_digest(pointer.encode()),
                    "lfs": {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": len(pointer)},
                }
            entries[path] = entry
    return list(entries.values())


ID = r"(?P<id>[^/]+/[^/]+)"
API = rf"/api/(?P<kind>model|dataset)s/{ID}"
OBJECT = r"/lfs/(?P<oid>[0-9a-f]{64})"
REVISION = r"(?P<revision>[^/]+)"
ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", "/api/whoami-v2", PlayedHub.whoami),
    ("POST", "/api/repos/create", PlayedHub.create),
    ("POST", "/api/validate-yaml", PlayedHub.validate),
    ("GET", API, PlayedHub.info),
    ("GET", f"{API}/revision/{REVISION}", PlayedHub.info),
    ("GET", f"{API}/tree/{REVISION}", PlayedHub.tree),
    ("GET", f"{API}/tree/{REVISION}/(?P<below>.+)", PlayedHub.tree),
    ("POST", f"{API}/paths-info/{REVISION}", PlayedHub.paths_info),
    ("GET", f"{API}/refs", PlayedHub.refs),
    ("POST", f"{API}/tag/{REVISION}", PlayedHub.tag),
    ("POST", f"{API}/preupload/{REVISION}", PlayedHub.preupload),
    ("POST", f"{API}/commit/{REVISION}", PlayedHub.commit),
    ("POST", rf"/(?:datasets/)?{ID}\.git/info/lfs/objects/batch", PlayedHub.batch),
    ("PUT", OBJECT, PlayedHub.put),
    ("PUT", rf"{OBJECT}/(?P<number>\d+)", PlayedHub.put_piece),
    ("POST", f"{OBJECT}/complete", PlayedHub.complete),
    ("POST", f"{OBJECT}/verify", PlayedHub.verify),
    *(
        (method, rf"/(?P<kinds>datasets/)?{ID}/resolve/{REVISION}/(?P<path>.+)", PlayedHub.resolve)
        for method in ("GET", "HEAD")
    ),
]
