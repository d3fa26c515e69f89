"""The report of a real run, as a real browser shows it: its highlights, light, dark, narrow and on paper."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import httpx
import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, Page, Request, sync_playwright

from rlm_client._cli.app import rlm
from scripts.local.paths import local_paths
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.calls import ChatCall
from scripts.local.scripted.model import ScriptedModel
from tests.browser.chromium import chromium
from tests.worker.planted import QUESTION, Library, library, notes_of, told

pytestmark = [pytest.mark.worker, pytest.mark.slow]

NAMED = 5
EVIL = "<script>document.title = 1</script><img src=http://127.0.0.1:9/x.png onerror=document.title=1>"
# How many pixels of a picture have exactly that colour; counted by a page of its own, which has no policy.
_COUNT = """async ([picture, colour]) => {
  const image = new Image(); image.src = "data:image/png;base64," + picture; await image.decode();
  const canvas = document.createElement("canvas"); canvas.width = image.width; canvas.height = image.height;
  const context = canvas.getContext("2d"); context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data; let found = 0;
  for (let at = 0; at < pixels.length; at += 4)
    if (pixels[at] === colour[0] && pixels[at + 1] === colour[1] && pixels[at + 2] === colour[2]) found++;
  return found;
}"""
LIGHT, DARK = (0xFF, 0xF0, 0xB3), (0x4A, 0x3D, 0x0C)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium(local_paths())
    if path is None:
        pytest.skip("there is no Chromium, and apt-get cannot install one")
    # No look-ups by its own motion: a closed network makes each of them wait.
    options = ["--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-component-update"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=options, chromium_sandbox=False)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def planted() -> Library:
    return library(documents=10, characters=200_000)


@pytest.fixture(scope="module")
def worker(scripted_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProcess]:
    with DevProcess(tmp_path_factory.mktemp("report"), ai=scripted_server.url) as process:
        yield process


@pytest.fixture(scope="module")
def written(
    worker: DevProcess, scripted_server: ScriptedModel, planted: Library, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What `rlm ask --report` writes of a run whose answer tries to be more than text."""
    folder = tmp_path_factory.mktemp("asked")
    for name, text in planted.documents:
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    answer = f'{told(planted.facts[:NAMED])} {EVIL} The book says "there is no such depot at all".'

    def reply(call: ChatCall) -> str:
        return notes_of(call.text) if "NONE" in call.text else answer

    scripted_server.rules = [reply]
    page = folder / "out.html"
    asked = ["ask", QUESTION, str(folder), "--report", str(page), "--base-url", worker.url, "--include", "*.txt"]
    result = CliRunner().invoke(rlm, asked, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return page


def opened(
    browser: Browser, path: Path, *, width: int = 1280, scheme: Literal["light", "dark"] = "light"
) -> tuple[Page, Sequence[str]]:
    """The page in a window of its own, and everything that it asks the network for."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, wanted = context.new_page(), list[str]()

    def note(request: Request) -> None:
        wanted.append(request.url)

    page.on("request", note)
    page.goto(path.as_uri())
    return page, wanted


def pixels(browser: Browser, picture: bytes, colour: tuple[int, int, int]) -> int:
    counting = browser.new_page()
    try:
        return int(counting.evaluate(_COUNT, [base64.b64encode(picture).decode(), list(colour)]))
    finally:
        counting.close()


@pytest.mark.parametrize(("scheme", "colour"), [("light", LIGHT), ("dark", DARK)])
def test_highlights_are_seen(
    browser: Browser, written: Path, planted: Library, scheme: Literal["light", "dark"], colour: tuple[int, int, int]
) -> None:
    page, _ = opened(browser, written, scheme=scheme)
    page.screenshot(path=written.with_suffix(f".{scheme}.png"), full_page=True)
    marks = [page.locator(f"#c{number}") for number in range(1, NAMED + 1)]
    shown = sorted(" ".join(mark.inner_text().split()) for mark in marks)
    assert shown == sorted(" ".join(fact.text.split()) for fact in planted.facts[:NAMED])
    for mark in marks:
        assert pixels(browser, mark.screenshot(), colour) > 300
    heading = page.locator("header").screenshot()
    assert pixels(browser, heading, colour) == 0


def test_answer_leads_to_its_sources(browser: Browser, written: Path) -> None:
    page, _ = opened(browser, written)
    for number in range(1, NAMED + 1):
        page.locator(f".answer a[href='#c{number}']").click()
        box = page.locator(f"#c{number}").bounding_box()
        assert box is not None
        assert 0 <= box["y"] <= 900
    assert f"{NAMED} of {NAMED + 1} citations verified" in page.inner_text("header")
    assert "there is no such depot at all” stands nowhere in what was read" in page.inner_text("#unlocated")
    assert page.locator("svg.map rect").count() >= 1


def test_nothing_of_it_runs(browser: Browser, written: Path) -> None:
    page, wanted = opened(browser, written)
    assert list(wanted) == [written.as_uri()]
    assert page.title().endswith("rlm-worker")
    assert page.locator("script, img, iframe, object, link").count() == 0
    assert EVIL in page.inner_text(".answer")


@pytest.mark.parametrize("width", [320, 360, 768, 1920])
def test_page_fits_its_window(browser: Browser, written: Path, width: int) -> None:
    page, _ = opened(browser, written, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_page_prints(browser: Browser, written: Path) -> None:
    page, _ = opened(browser, written, scheme="dark")
    page.emulate_media(media="print")
    picture = page.screenshot(full_page=True)
    assert pixels(browser, picture, LIGHT) > 300
    assert pixels(browser, picture, DARK) == 0
    assert page.pdf().startswith(b"%PDF")


def test_route_serves_the_page(worker: DevProcess, browser: Browser, scripted_server: ScriptedModel) -> None:
    scripted_server.reset()
    body = {"context": f"{EVIL} The special magic number for tower is: 8123456.", "query": "What is the number?"}
    session = httpx.post(f"{worker.url}/rlm", json=body, timeout=120).json()["sessionId"]
    address = f"{worker.url}/session/{session}/report"
    found = httpx.get(address)
    assert found.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in found.headers["content-security-policy"]
    page = browser.new_page()
    page.goto(address)
    assert page.title().endswith("rlm-worker")
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).whiteSpace") == "pre-wrap"  # it took its style
    assert httpx.get(f"{worker.url}/session/{'0' * 32}/report").status_code == 404
    httpx.delete(f"{worker.url}/session/{session}")
    assert httpx.get(address).status_code == 404
