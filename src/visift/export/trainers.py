"""The exporters by name, and one export: three arms, each read back, and how to train on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visift.errors import InputError, did_you_mean
from visift.export import llava
from visift.export.readback import check_llava
from visift.files import disk_errors
from visift.pool.pool import Pool

TRAINERS = ("llava",)


def check_trainer(name: str) -> None:
    """Raise `InputError` if there is no exporter of that name."""
    if name not in TRAINERS:
        raise InputError(
            f'no exporter "{name}".{did_you_mean(name, TRAINERS)}',
            fix=f"Exporters: {', '.join(TRAINERS)}.",
        )


def write_export(
    trainer: str, pool: Pool, arms: Mapping[str, NDArray[np.int64]], folder: Path, *, ranked: bool
) -> Path:
    """Write the arms of a run for a trainer, read each back, and say how to train on them.

    Args:
        trainer: one of `TRAINERS`.
        pool: what rows refer to.
        arms: pool rows by name, in rank order.
        folder: written to; made if it is not there.
        ranked: keep rank order (every smaller budget is then a prefix); else the pool's order.

    Raises:
        InputError: no such trainer.
        StorageError: the folder cannot be written.
        ReadbackError: a file does not say what the pool says.
    """
    check_trainer(trainer)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    changed = 0
    for name, rows in arms.items():
        ordered = rows if ranked else np.sort(rows)
        path = folder / f"{name}.json"
        changed += llava.write(pool, ordered, path)
        check_llava(pool, ordered, path)
    with disk_errors(folder):
        (folder / "RUN.md").write_text(_instructions(pool, arms, ranked, changed), "utf-8")
    return folder


def _instructions(
    pool: Pool, arms: Mapping[str, NDArray[np.int64]], ranked: bool, changed: int
) -> str:
    several = int((np.diff(pool.images.offsets) > 1)[arms["subset"]].sum())
    order = "rank order: any smaller budget is a prefix" if ranked else "the pool's order"
    lines = [
        "# Training on this selection with LLaVA or LLaVA-NeXT",
        "",
        "Train once an arm, with everything else the same:",
        "",
        *(f"    --data_path {name}.json --image_folder IMAGES" for name in arms),
        "",
        "IMAGES is the image folder of the pool. `subset` is the selection, `control` random rows",
        "with as many a source and as many text-only ones, `random` random rows in the pool's mix.",
        "",
        f"- {len(arms['subset']):,} records an arm, in {order}.",
    ]
    if several:
        lines.append(
            f"- {several:,} records show several images: LLaVA-NeXT reads them, LLaVA-1.5 does not."
        )
    if changed:
        lines.append(f"- {changed:,} empty `image` keys of text-only records were taken out here.")
    return "\n".join(lines) + "\n"
