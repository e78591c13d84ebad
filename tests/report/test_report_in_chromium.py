"""The report in a real browser: nothing is loaded or refused, it fits, folds, and is accessible.

Needs Debian's `chromium` and `chromium-driver`, and selenium.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from helpers import talk
from report.pages import HOSTILE, records, scored_run
from visift.report.page import write_report

selenium = pytest.importorskip("selenium", reason="needs selenium")
axe = pytest.importorskip("axe_core_python.base", reason="needs axe-core-python")

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver"
)

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: Names the elements that stick out.
WIDEST = """
return [...document.querySelectorAll('body *')]
  .filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > arguments[0])
  .map(e => e.outerHTML.slice(0, 120)).slice(0, 4)
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(str(DRIVER))
    driver = webdriver.Chrome(options, service)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report with everything in it: scores, attacks, broken and missing images, duplicates."""
    folder = tmp_path_factory.mktemp("page")
    pool = records(folder, {"coco": 30, "gqa": 15, "a" * 70: 8}, text=10)
    pool[0]["image"] = "lost.png"
    (folder / "coco" / "1.png").write_bytes(b"<svg onload=alert(1)>")
    for n, record in enumerate(pool):
        record["license"] = HOSTILE if n % 2 else "x" * 300
        record["task"] = f"task of a long name without any space {'y' * 60} {n % 4}"
        if n % 3 == 0:
            record["conversations"] = talk(HOSTILE, "word" * 400)["conversations"]
    run = scored_run(folder, [*pool, pool[3]], model="builtin:tiny", max_unusable="10%")
    return write_report(run, folder / "report").as_uri()


def look(browser: Any, address: str, width: int = 1280, scheme: str = "light") -> None:
    """Open the page afresh in a window of a width, light or dark."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(address)


def requests(browser: Any, page: str) -> list[str]:
    """The addresses of everything a page asked for."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return [params["request"]["url"] for params in sent if params["documentURL"] == page]


def test_it_opens_in_silence_and_asks_for_nothing(browser: Any, address: str) -> None:
    look(browser, address)
    browser.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    assert browser.get_log("browser") == []  # an error, or something the policy refused
    others = [url for url in requests(browser, address) if not url.startswith("data:image/")]
    assert others == [address]


def test_the_style_is_in_force_and_pictures_are_shown(browser: Any, address: str) -> None:
    look(browser, address)
    edge = "return getComputedStyle(document.querySelector('.card')).borderTopLeftRadius"
    assert browser.execute_script(edge) == "8px"
    for image in browser.find_elements("css selector", ".card img"):
        browser.execute_script(
            "arguments[0].loading = 'eager'; return arguments[0].decode()", image
        )
        assert browser.execute_script("return arguments[0].naturalWidth", image) > 0


def test_a_question_unfolds(browser: Any, address: str) -> None:
    look(browser, address)
    details = browser.find_element("css selector", ".card details")
    answer = details.find_element("css selector", "dd:last-of-type")
    assert not answer.is_displayed()
    summary = details.find_element("css selector", "summary")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", summary)
    summary.click()
    assert answer.is_displayed()
    assert answer.text


def must_fit(browser: Any, address: str, width: int) -> None:
    """Fail where a page is wider than its window, with everything unfolded."""
    look(browser, address, width)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    page = "document.documentElement"
    needed, there = browser.execute_script(f"return [{page}.scrollWidth, {page}.clientWidth]")
    assert needed <= there, browser.execute_script(WIDEST, there)


def must_be_accessible(browser: Any, address: str, scheme: str) -> None:
    """Fail where axe-core finds anything, with everything unfolded."""
    look(browser, address, width=800, scheme=scheme)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    browser.execute_script(axe.AXE_SCRIPT)
    found = browser.execute_async_script(
        "axe.run({resultTypes: ['violations']}).then(arguments[arguments.length - 1])"
    )
    assert len(found["passes"]) > 20
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []


@pytest.mark.parametrize("width", [320, 360, 390, 768, 1280])
def test_it_never_scrolls_sideways(browser: Any, address: str, width: int) -> None:
    must_fit(browser, address, width)


def test_dark_is_dark(browser: Any, address: str) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        look(browser, address, scheme=scheme)
        script = "return getComputedStyle(document.body).backgroundColor"
        colours[scheme] = browser.execute_script(script)
    assert colours == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Any, address: str, scheme: str) -> None:
    must_be_accessible(browser, address, scheme)


def test_it_prints_with_every_answer(browser: Any, address: str) -> None:
    look(browser, address)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not browser.find_element("css selector", "nav").is_displayed()
    folded = "return document.querySelector('.card details dd').getBoundingClientRect().height"
    assert browser.execute_script(folded) > 0
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
