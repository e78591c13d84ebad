"""The Python calls beside `select`: measuring a signal, listing methods; who measures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import visift
from engine.simple import MeanColour
from helpers import open_records, put_images, talk
from visift.config import EngineConfig
from visift.engine.executor import Inline
from visift.engine.processes import Processes
from visift.errors import InputError
from visift.models.ref import ModelRef
from visift.staff import staffing


def test_importing_visift_imports_nothing_heavy() -> None:
    assert {"Pool", "select", "measure", "list_methods"} <= set(dir(visift))
    with pytest.raises(AttributeError, match="no attribute 'selekt'"):
        visift.selekt  # noqa: B018


def test_methods_are_listed_by_name() -> None:
    methods = visift.list_methods()
    assert list(methods) == [
        "balanced",
        "random",
        "stratified",
        "longest",
        "prism",
        "perplexity",
        "ifd",
        "visnec",
        "mllm_selector",
        "presel",
        "typical",
        "typiclust",
        "kcenter",
        "herding",
        "prototypes",
        "semdedup",
        "tive",
        "grand",
        "less",
        "icons",
        "rds",
        "mmssr",
    ]
    assert all(kind.name == name for name, kind in methods.items())


def test_measure_gives_values_by_row_and_stores_them(tmp_path: Path) -> None:
    put_images(tmp_path, ["0.png", "1.png"])
    pool = open_records(tmp_path, [talk(f"q{n}", image=f"{n % 2}.png") for n in range(4)])
    values = visift.measure(pool, MeanColour(), cache=tmp_path / "cache", workers=1)
    taken = values.take(MeanColour.columns[0].name, np.arange(4))
    assert taken[0].tolist() == taken[2].tolist() != taken[1].tolist()
    assert values.ok(np.arange(4)).all()
    assert len(list((tmp_path / "cache").rglob("*.arrow"))) == 1


@pytest.mark.parametrize("workers", ["0", "-1", "two"])
def test_a_number_of_workers_is_a_number(workers: str) -> None:
    with pytest.raises(InputError, match="is not a number of workers"):
        staffing(EngineConfig(workers=workers), None)


def test_an_unknown_executor_is_refused() -> None:
    with pytest.raises(InputError, match='unknown executor "threads"'):
        staffing(EngineConfig(executor="threads"), None)


def test_never_more_workers_than_blocks() -> None:
    _, executor = staffing(EngineConfig(workers="4"), None)
    assert executor(1) == Processes(1)
    assert executor(3) == Processes(3)
    assert executor(9) == Processes(4)


def test_inline_is_inline_whatever_the_number() -> None:
    _, executor = staffing(EngineConfig(workers="4", executor="inline"), None)
    assert executor(9) == Inline()


def test_automatic_workers_follow_cores_and_memory() -> None:
    pytest.importorskip("torch")
    devices, executor = staffing(EngineConfig(), ModelRef("builtin:tiny", device="cpu"))
    assert devices() == ("cpu",)
    assert isinstance(executor(1000), Inline | Processes)
