"""docs/models.md is what trying every entry of transformers' mapping gives."""

from __future__ import annotations

import runpy
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("torchvision"), reason="many processors need torchvision")
def test_the_page_is_current() -> None:
    page = (DOCS / "models.md").read_text(encoding="utf-8")
    if f"transformers {transformers.__version__}." not in page:
        pytest.skip("the page was written with another version of transformers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = runpy.run_path(str(DOCS / "make_models.py"))["page"]()
    assert page == written, "python docs/make_models.py"


def test_the_families_of_the_suite_are_on_the_page() -> None:
    from models.families import FAMILIES

    page = (DOCS / "models.md").read_text(encoding="utf-8")
    suite = [line.split(" | ")[0].strip("| ") for line in page.splitlines() if "| suite |" in line]
    assert sorted(FAMILIES) == suite
