"""Pools that hold every shape an exporter meets, and what is asked of exports in tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import open_records, put_images, talk
from visift.export.exporter import Export, ExportOptions
from visift.export.trainers import TRAINERS, write_export
from visift.pool.pool import Pool

NAMES = [f"a/{n}.png" for n in range(8)]


def several_turns(*turns: tuple[str, str], **rest: Any) -> dict[str, Any]:
    return {**rest, "conversations": [{"from": who, "value": said} for who, said in turns]}


SHAPES = [
    talk("hello?", "hi.", id=7),
    talk("<image>\nwhat is it?", "a dot.", image="a/0.png", id="dot"),
    talk("more?", "text.", image=None, id=None, model="x"),
    talk("compare <image> with\n<image>\nplease", "same.", image=["a/1.png", "a/2.png"], id=8),
    several_turns(
        ("system", "be brief"), ("human", "which?\n<image>"), ("gpt", "this"), image="./a/3.png"
    ),
    several_turns(
        ("human", "first <image>"),
        ("gpt", "one"),
        ("human", "\n<image>\n"),
        ("gpt", "ünïcode \U0001f600"),
        image=["a/4.png", "a/4.png"],
        id=9,
    ),
]


def pool_of(folder: Path, *records: Any) -> Pool:
    """Open records, all of SHAPES by default, beside real images."""
    put_images(folder, NAMES)
    return open_records(folder, records or SHAPES)


def export_all(pool: Pool, trainer: str, folder: Path, **options: Any) -> tuple[Path, list[str]]:
    """Export all rows as one arm; return the folder and what was noted."""
    told: list[str] = []
    arms = {"subset": np.arange(len(pool))}
    how = ExportOptions(**options)
    return write_export(
        trainer, pool, arms, folder, ranked=False, options=how, note=told.append
    ), told


def tampering(
    monkeypatch: pytest.MonkeyPatch, trainer: str, change: Callable[[Path], object]
) -> None:
    """Have an exporter change a folder between writing it and reading it back."""
    exporter = TRAINERS[trainer]

    def write(export: Export) -> None:
        exporter.write(export)
        change(export.folder)

    monkeypatch.setitem(TRAINERS, trainer, replace(exporter, write=write))
