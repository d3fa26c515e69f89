"""A page on an allowed origin may call, another may not: judged by a real browser."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from scripts.local.paths import local_paths
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel
from tests.browser.chromium import chromium, page_after_scripts

pytestmark = [pytest.mark.worker, pytest.mark.slow]

KEY = "a-page's-key"
PAGE = """<!doctype html><title>asks</title><pre id="said">nothing yet</pre><script>
const said = document.getElementById("said");
fetch("%s/rlm", {
  method: "POST",
  headers: {"authorization": "Bearer %s", "content-type": "application/json", "x-request-id": "from-a-page"},
  body: JSON.stringify({context: "One of the special magic numbers for tower is: 8123456.",
                        query: "What is the special magic number for tower?"}),
}).then(async (answer) => ({status: answer.status, id: answer.headers.get("x-request-id"), body: await answer.json()}))
  .catch((error) => ({refused: error.name}))
  .then((result) => { said.textContent = JSON.stringify(result); });
</script>"""


class _Page(BaseHTTPRequestHandler):
    """Serves one page, whatever the path."""

    def __init__(self, page: Callable[[], str], *arguments: object) -> None:
        self._page = page
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        content = self._page().encode()
        self.send_response(200)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def browser() -> Path:
    found = chromium(local_paths())
    if found is None:
        pytest.skip("there is no Chromium, and apt-get cannot install one")
    return found


@pytest.fixture(scope="module")
def sites() -> Iterator[tuple[list[str], dict[str, str]]]:
    """Two sites that serve the same page: their origins, and what the page is told."""
    told: dict[str, str] = {}
    servers = [
        ThreadingHTTPServer(("127.0.0.1", 0), partial(_Page, lambda: PAGE % (told["worker"], KEY))) for _ in "ab"
    ]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield [f"http://127.0.0.1:{server.server_port}" for server in servers], told
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def worker(
    scripted_server: ScriptedModel,
    tmp_path_factory: pytest.TempPathFactory,
    sites: tuple[list[str], dict[str, str]],
) -> Iterator[DevProcess]:
    (allowed, _), told = sites
    keys = f"page:{hashlib.sha256(KEY.encode()).hexdigest()}"
    variables = {"RLM_API_KEYS": keys, "CORS_ORIGINS": f"https://app.example, {allowed}"}
    with DevProcess(tmp_path_factory.mktemp("cors"), ai=scripted_server.url, variables=variables) as process:
        told["worker"] = process.url
        yield process


def _said(browser: Path, url: str, folder: Path) -> dict[str, object]:
    html = page_after_scripts(browser, url, folder / "browser.log")
    match = re.search(r'<pre id="said">(.*?)</pre>', html, re.DOTALL)
    assert match, html[-2_000:]
    return dict(json.loads(unescape(match[1])))


def test_allowed_page_gets_answer(
    worker: DevProcess, browser: Path, sites: tuple[list[str], dict[str, str]], tmp_path: Path
) -> None:
    said = _said(browser, sites[0][0], tmp_path)
    assert said["status"] == 200
    assert said["id"] == "from-a-page"
    assert "8123456" in str(said["body"])


def test_other_page_gets_nothing(
    worker: DevProcess,
    browser: Path,
    sites: tuple[list[str], dict[str, str]],
    tmp_path: Path,
    scripted_server: ScriptedModel,
) -> None:
    scripted_server.reset()
    assert _said(browser, sites[0][1], tmp_path) == {"refused": "TypeError"}
    assert not scripted_server.calls  # its preflight was refused, so nothing was paid for either


def test_preflight_for_listed_origins_only(worker: DevProcess, sites: tuple[list[str], dict[str, str]]) -> None:
    asking = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    allowed = httpx.options(f"{worker.url}/rlm", headers={"origin": sites[0][0], **asking})
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == sites[0][0]
    for origin in (sites[0][1], "null", "https://app.example.evil", "https://APP.example", "*"):
        refused = httpx.options(f"{worker.url}/rlm", headers={"origin": origin, **asking})
        assert refused.status_code == 405
        assert "access-control-allow-origin" not in refused.headers
