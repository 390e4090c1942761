"""The crawl on Ray: each site has its folder with table and manifest, one actor asks a host, a killed crawl goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from ingest.inputs import ReadSettings
from ingest.records import Rejected
from ingest.sources.warc import WarcInput, read_warc
from ingest.web.crawl import CrawlSettings
from ingest.web.fetchlog import FETCH
from lake.dataset import Output
from lake.error import UserError
from lake.step import Step
from ray_jobs.crawl import crawl
from ray_jobs.read import READ
from tests.ingest.outcomes import outcomes

pytestmark = pytest.mark.engine

ROOT = Path(__file__).resolve().parents[2]
PROSE = "Give fluids often, in small sips, and look again after one hour of rest at home."
CHROMIUM = "/usr/bin/chromium"
RATE = 20.0


def site(folder: Path, tag: str, **more: Any) -> str:
    keys = {
        "name": tag,
        "audience": "doctor",
        "license": "CC0-1.0",
        "redistributable": True,
        "mode": "html",
        "expect": {"documents": 3, "words": 60},
        "rate": RATE,
        "checked": "a test",
    }
    path = folder / f"{tag}.yaml"
    path.write_text(yaml.safe_dump(keys | more), encoding="utf-8")
    return str(path)


def settings(*sites: str, **more: Any) -> CrawlSettings:
    keys = {"contact": "a@example.org", "sites": sites, "retries": 1, "backoff_seconds": 0.01, "max_bytes": 2**20}
    return CrawlSettings.model_validate(keys | more)


def document(title: str) -> str:
    return f"<html><body><nav>Menu</nav><main><h1>{title}</h1><p>{title}: {PROSE}</p></main></body></html>"


def links(*paths: str) -> str:
    return "".join(f'<li><a href="{path}">x</a></li>' for path in paths)


def two_sites(web: Any, folder: Path) -> list[str]:
    """Pages in a paged index, and guidelines in chapters, on one host."""
    for n in range(6):
        web.page(f"/a/{n}", document(f"Page {n}"))
    web.page("/a?page=1", links("/a/0", "/a/1", "/a/2"))
    web.page("/a?page=2", links("/a/3", "/a/4", "/a/5", "/a/gone"))
    web.page("/b", links("/b/1", "/b/2"))
    for n in (1, 2):
        web.page(f"/b/{n}", document(f"Guideline {n}") + f"<ol>{links(f'/b/{n}/x', f'/b/{n}/y')}</ol>")
        web.page(f"/b/{n}/x", document(f"Chapter {n} x"))
        web.page(f"/b/{n}/y", document(f"Chapter {n} y"))
    index = {"urls": [f"{web.url}/a?page={{page}}"], "paging": {"most": 5}, "links": "li a"}
    chapters = {"index": {"urls": [f"{web.url}/b"]}, "mode": "chapters", "chapters": "ol a", "content": "main"}
    return [site(folder, "paged", index=index), site(folder, "chaptered", **chapters)]


def texts(data: Path, path: str) -> dict[str, str]:
    """Text by title of each document that the readers find in the WARC files of a site."""
    by_title = {}
    tag = Path(path).stem
    for warc in sorted((data / "crawl" / tag).glob("*.warc.gz")):
        pages = WarcInput(format="warc", source="guidelines", paths=("*",), site=path)
        for document in outcomes(read_warc(warc, warc.name, pages)):
            assert not isinstance(document, Rejected), document.drop
            by_title[document["title"]] = document["text"]
    return by_title


def test_sites_are_crawled_to_warc_table_and_manifest(ray_cluster: None, web: Any, tmp_path: Path) -> None:
    paths = two_sites(web, tmp_path)
    manifests = crawl(settings(*paths), str(tmp_path))
    assert list(manifests) == ["paged", "chaptered"]
    # The site has no third page of its index, and no page `gone`, to which it links.
    assert manifests["paged"]["accounts"]["document"] == {"in": 7, "kept": 6, "dropped": {"not_found": 1}}
    assert manifests["paged"]["accounts"]["index"] == {"in": 3, "kept": 2, "dropped": {"not_found": 1}}
    assert manifests["chaptered"]["accounts"]["document"] == {"in": 2, "kept": 2, "dropped": {}}
    assert manifests["chaptered"]["accounts"]["chapter"] == {"in": 4, "kept": 4, "dropped": {}}
    output = Output(str(tmp_path / "crawl" / "paged"))
    assert output.read_json("manifest.json") == manifests["paged"]
    rows = output.scan("fetches").to_table(columns=FETCH.names).cast(FETCH).to_pylist()
    assert [row["url"] for row in rows if row["kind"] == "document" and not row["kept"]] == [f"{web.url}/a/gone"]
    assert all((row["warc"] is not None) == (row["status"] is not None) for row in rows)
    assert set(texts(tmp_path, paths[0])) == {f"Page {n}" for n in range(6)}
    chaptered = texts(tmp_path, paths[1])
    assert set(chaptered) == {"Guideline 1", "Guideline 2"}
    assert chaptered["Guideline 1"].index("Chapter 1 x") < chaptered["Guideline 1"].index("Chapter 1 y")
    # There are two sites and several actors but one host, so one robots.txt and one rate.
    assert Counter(web.paths(robots=True))["/robots.txt"] == 1
    times = [moment for moment, _, _ in web.asked]
    assert times[-1] - times[0] >= (len(times) - 1) / RATE * 0.95
    # A second crawl asks for nothing; one of a single site leaves the other alone.
    web.asked.clear()
    output.write_json(manifests["paged"] | {"health": {"found": {"documents": 6}, "faults": []}}, "manifest.json")
    again = crawl(settings(*paths), str(tmp_path), ["paged"])
    assert list(again) == ["paged"]
    assert again["paged"]["accounts"]["document"] == manifests["paged"]["accounts"]["document"]
    assert (manifests["paged"]["last_yield"], again["paged"]["last_yield"]) == (None, {"documents": 6})
    assert web.asked == []


def test_the_step_read_takes_what_was_crawled(ray_cluster: None, web: Any, tmp_path: Path) -> None:
    paths = two_sites(web, tmp_path)
    crawl(settings(*paths), str(tmp_path))
    inputs = [
        {"format": "warc", "source": "guidelines", "paths": [f"crawl/{Path(path).stem}/*.warc.gz"], "site": path}
        for path in paths
    ]
    reading = ReadSettings.model_validate({"inputs": inputs})
    step = Step("read", READ, reading, str(tmp_path / "lake"), extra={"data": str(tmp_path)})
    step.run()
    assert step.manifest().accounts["guidelines"].kept == 8
    assert step.manifest().total.dropped == {}


@pytest.mark.skipif(shutil.which(CHROMIUM) is None, reason=f"{CHROMIUM} is not installed")
def test_a_site_that_needs_javascript_is_built_by_a_browser(ray_cluster: None, web: Any, tmp_path: Path) -> None:
    routes = "".join(f"<a href='#/guideline/{n}'>x</a>" for n in (1, 2))
    script = f"""
    const route = location.hash.split("/")[2];
    fetch("/data?" + (route || "all")).then(answer => answer.text()).then(text => {{
      document.body.innerHTML = route ? "<main><h1>" + text + "</h1><p>" + text + ": {PROSE}</p></main>" : "{routes}";
    }});"""
    web.page("/app", f"<html><body><p>Loading</p><script>{script}</script></body></html>")
    for name in ("1", "2", "all"):
        web.page(f"/data?{name}", f"Guideline {name}", "text/plain")
    index = {"urls": [f"{web.url}/app"], "links": "a[href^='#/guideline']"}
    path = site(tmp_path, "app", mode="browser", index=index, wait_for="main h1", content="main")
    manifests = crawl(settings(path, chromium=CHROMIUM), str(tmp_path))
    assert manifests["app"]["accounts"]["document"] == {"in": 2, "kept": 2, "dropped": {}}
    by_title = texts(tmp_path, path)
    assert set(by_title) == {"Guideline 1", "Guideline 2"}
    assert PROSE in by_title["Guideline 2"]


@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        ({"mode": "browser"}, {"chromium": "/no/chromium"}, "/no/chromium: no such browser"),
        (
            {"index": {"urls": ["http://127.0.0.1/"], "links": "a[["}},
            {},
            r"clinic\.yaml: index\.links: 'a\[\[' is not a CSS",
        ),
        ({"rate": 0}, {}, "rate"),
    ],
)
def test_a_fault_is_an_error_before_work_starts(
    tmp_path: Path, change: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    path = site(tmp_path, "clinic", **({"seeds": ["http://127.0.0.1:9/"]} | change))
    with pytest.raises(UserError, match=message) as error:
        crawl(settings(path, **more), str(tmp_path))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "crawl").exists()


def test_a_site_outside_the_config_is_an_error(tmp_path: Path) -> None:
    path = site(tmp_path, "clinic", seeds=["http://127.0.0.1:9/"])
    with pytest.raises(UserError, match=r"^other: not in crawl\.sites of the config, which has clinic"):
        crawl(settings(path), str(tmp_path), ["other"])


SCRIPT = """
import json, sys
from ingest.web.crawl import CrawlSettings
from ray_jobs.cluster import RaySettings, start
from ray_jobs.crawl import crawl

start(RaySettings(cpus=2))
crawl(CrawlSettings.model_validate_json(sys.argv[1]), sys.argv[2])
"""


def test_killed_with_all_its_workers_it_goes_on_where_it_was(web: Any, tmp_path: Path) -> None:
    paths = two_sites(web, tmp_path)
    command = [sys.executable, "-c", SCRIPT, settings(*paths).model_dump_json(), str(tmp_path)]
    stored: set[str] = set()
    for kill_at in (6, 5, None):
        web.asked.clear()
        process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and (kill_at is None or len(web.asked) < kill_at):
            time.sleep(0.005)
        if kill_at is not None:
            assert process.poll() is None, process.communicate()
            os.killpg(process.pid, signal.SIGKILL)
        _, stderr = process.communicate(timeout=120)
        assert stored.isdisjoint(web.paths()), "a page that was stored was asked for again"
        stored = logged(tmp_path, web.url)
    assert process.returncode == 0, stderr
    assert len(texts(tmp_path, paths[0])) == 6
    assert len(texts(tmp_path, paths[1])) == 2


def logged(data: Path, url: str) -> set[str]:
    """Paths of the pages that the logs say are stored. A killed crawl may leave half a line, which does not count."""
    paths = set()
    for log in data.glob("crawl/*/fetches.jsonl"):
        for line in log.read_bytes().splitlines(keepends=True):
            fetch = json.loads(line) if line.endswith(b"\n") else {"kept": False}
            if fetch["kept"] and fetch["kind"] != "robots":
                paths.add(fetch["url"].removeprefix(url))
    return paths
