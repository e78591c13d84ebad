"""The page of a verdict in a real browser: silent, fitting every width, accessible."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from report.pages import HOSTILE
from report.test_report_in_chromium import (
    CHROMIUM,
    DRIVER,
    browser,
    look,
    must_be_accessible,
    must_fit,
    requests,
)
from validate.verdicts import validated
from visift.report.verdict import write_verdict
from visift.validate.writing import facts

__all__ = ["browser"]

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two budgets and rounds, with long names and attacks in every label."""
    folder: Path = tmp_path_factory.mktemp("verdict")
    done = validated(folder, {"balanced": 0.3}, budgets=("12", "24"), rounds=3)
    text = json.dumps(facts(done))
    for name, other in (("random", HOSTILE), ("colour", "y" * 70), ("longest", "x" * 70)):
        text = text.replace(f'"{name}"', json.dumps(other))
    return write_verdict(json.loads(text), folder / "report").as_uri()


def test_it_opens_in_silence_and_asks_for_nothing(browser: Any, address: str) -> None:
    look(browser, address)
    assert browser.get_log("browser") == []
    assert [url for url in requests(browser, address) if not url.startswith("data:")] == [address]


@pytest.mark.parametrize("width", [320, 768])
def test_it_never_scrolls_sideways(browser: Any, address: str, width: int) -> None:
    must_fit(browser, address, width)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Any, address: str, scheme: str) -> None:
    must_be_accessible(browser, address, scheme)
