"""The page of a comparison in a real browser: silent, fitting every width, accessible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from report.pages import HOSTILE, random_run, records, scored_run
from report.test_report_in_chromium import (
    CHROMIUM,
    DRIVER,
    browser,
    look,
    must_be_accessible,
    must_fit,
    requests,
)
from visift.comparing.compare import compare
from visift.comparing.sides import open_sides
from visift.report.comparison import write_comparison

__all__ = ["browser"]

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three selections of pools with long names and attacks in every label."""
    folder = tmp_path_factory.mktemp("compared")
    for name, make in (("scored", scored_run), ("plain", random_run), ("third", random_run)):
        pool = records(folder / name, {"coco": 30, "a" * 70: 15}, text=5)
        for record in pool[:9]:
            record |= {"source": HOSTILE, "task": f"task without any space {'y' * 60}"}
        make(folder / name, pool, **({"model": "builtin:tiny"} if name == "scored" else {}))
    paths: list[Path] = [folder / name / "out" for name in ("scored", "plain", "third")]
    return write_comparison(compare(open_sides(paths, None)), folder / "page").as_uri()


def test_it_opens_in_silence_and_asks_for_nothing(browser: Any, address: str) -> None:
    look(browser, address)
    assert browser.get_log("browser") == []
    assert [url for url in requests(browser, address) if not url.startswith("data:")] == [address]


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_it_never_scrolls_sideways(browser: Any, address: str, width: int) -> None:
    must_fit(browser, address, width)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Any, address: str, scheme: str) -> None:
    must_be_accessible(browser, address, scheme)
