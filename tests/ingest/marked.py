"""S2ORC records written as text with tags, for tests."""

import json
import re
from typing import Any

TAG = re.compile(r"<(/?)(\w+)((?:\s+\w+=\"[^\"]*\")*)\s*>")
ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')


def content(marked: str) -> dict[str, Any]:
    """`<bibref ref_id="b0">1</bibref>` becomes the text 1 and a span of the kind bibref; the rest stays as it is."""
    text, last = "", 0
    opened: list[tuple[str, int, dict[str, str]]] = []
    found: dict[str, list[dict[str, Any]]] = {}
    for tag in TAG.finditer(marked):
        text += marked[last : tag.start()]
        last = tag.end()
        if not tag[1]:
            opened.append((tag[2], len(text), dict(ATTRIBUTE.findall(tag[3]))))
            continue
        kind, start, attributes = opened.pop()
        assert kind == tag[2], f"{kind} is closed by {tag[2]}"
        span: dict[str, Any] = {"start": start, "end": len(text)}
        found.setdefault(kind, []).append(span | ({"attributes": attributes} if attributes else {}))
    annotations = {kind: json.dumps(spans) for kind, spans in found.items()}
    return {"text": text + marked[last:], "annotations": dict.fromkeys(("venue", "publisher")) | annotations}


def record(marked: str, corpusid: int = 7, **more: Any) -> bytes:
    ids = {"pubmed": "123", "pubmedcentral": "456", "doi": "10.1/x"}
    return json.dumps({"corpusid": corpusid, "externalids": ids, "content": content(marked)} | more).encode()
