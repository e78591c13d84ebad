"""The exporters by name, and one export: three arms, each read back, and how to train on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from visift.errors import InputError, did_you_mean
from visift.export import llama_factory, llava, readback, trl
from visift.export.exporter import DEFAULTS, Export, Exporter, ExportOptions, Fit, Rows
from visift.export.fitting import fit_to, mend
from visift.export.media import image_mode, place_images
from visift.export.order import arrange
from visift.export.runmd import notes, run_md
from visift.files import disk_errors
from visift.pool.pool import Pool
from visift.pool.record import Record

_EXPORTERS = (
    Exporter(
        name="llava",
        title="LLaVA",
        image_modes=("relative", "copy", "symlink"),
        verbatim=True,
        media_tags=("<image>",),
        records_a_step=128,
        gpus=8,
        fault=llava.fault,
        write=llava.write,
        check=readback.check_llava,
        instructions=llava.instructions,
        remarks=llava.remarks,
    ),
    Exporter(
        name="llama-factory",
        title="LLaMA-Factory",
        image_modes=("relative", "absolute", "copy", "symlink"),
        verbatim=False,
        media_tags=llama_factory.MEDIA_TAGS,
        records_a_step=8,
        gpus=1,
        fault=llama_factory.fault,
        write=llama_factory.write,
        check=readback.check_llama_factory,
        instructions=llama_factory.instructions,
    ),
    Exporter(
        name="trl",
        title="TRL",
        image_modes=("embed", "absolute", "copy", "symlink"),
        verbatim=False,
        media_tags=trl.MEDIA_TAGS,
        records_a_step=8,
        gpus=1,
        fault=trl.fault,
        write=trl.write,
        check=readback.check_trl,
        instructions=trl.instructions,
    ),
)
TRAINERS = {exporter.name: exporter for exporter in _EXPORTERS}


def check_trainer(name: str) -> None:
    """Raise `InputError` if there is no exporter of that name."""
    if name not in TRAINERS:
        raise InputError(
            f'no exporter "{name}".{did_you_mean(name, TRAINERS)}',
            fix=f"Exporters: {', '.join(TRAINERS)}.",
        )


def check_export(
    trainer: str, pool: Pool, rows: Rows, *, options: ExportOptions = DEFAULTS
) -> None:
    """Find out before a selection whether rows could be exported, without writing anything.

    Args:
        trainer: one of `TRAINERS`.
        pool: what rows refer to.
        rows: that may be exported, each once.
        options: of the export.

    Raises:
        InputError: no such trainer, or it would fail on a record (with the count, the first ones
            and what to do), or it cannot do what the options ask.
    """
    check_trainer(trainer)
    image_mode(TRAINERS[trainer], options)
    fit_to(TRAINERS[trainer], pool, rows, options, "Select with --export llava, then: ")


def write_export(
    trainer: str,
    pool: Pool,
    arms: Mapping[str, Rows],
    folder: Path,
    *,
    ranked: bool,
    options: ExportOptions = DEFAULTS,
    note: Callable[[str], object] = lambda _: None,
) -> Path:
    """Write the arms of a run for a trainer, read each back, and say how to train on them.

    RUN.md is written last: a folder that has one holds a whole export.

    Args:
        trainer: one of `TRAINERS`.
        pool: what rows refer to.
        arms: pool rows by name, in rank order.
        folder: written to; made if it is not there.
        ranked: keep rank order (every smaller budget is then a prefix); else the pool's order,
            unless the options name one.
        options: order, images, and what becomes of records that do not fit the trainer.
        note: told what a person must know before training; RUN.md says it too.

    Raises:
        InputError: see `check_export`, and images that cannot be handed over as asked.
        PoolError: an image that was there is not there any more.
        StorageError: the folder cannot be written.
        ReadbackError: a file does not say what the pool says.
    """
    check_trainer(trainer)
    exporter = TRAINERS[trainer]
    mode = image_mode(exporter, options)
    asked = np.unique(np.concatenate([*arms.values(), np.empty(0, np.int64)]))
    fit = fit_to(exporter, pool, asked, options)
    left_out = np.array(sorted(fit.left_out), np.int64)
    order = options.order or ("rank" if ranked else "original")
    head = not exporter.verbatim
    placed = {
        arm: arrange(
            pool, rows[~np.isin(rows, left_out)], order, image_first=head, seed=options.seed
        )
        for arm, rows in arms.items()
    }
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "RUN.md").unlink(missing_ok=True)
    written = np.setdiff1d(asked, left_out)
    media = place_images(pool, written, folder, mode, as_written=exporter.verbatim)
    export = Export(pool, placed, folder, order, media, fit, _records(exporter, pool, fit, options))
    exporter.write(export)
    exporter.check(export)
    told = list(notes(exporter, export))
    with disk_errors(folder):
        (folder / "RUN.md").write_text(run_md(exporter, export, told), "utf-8")
    for sentence in told:
        note(sentence)
    return folder


def _records(
    exporter: Exporter, pool: Pool, fit: Fit, options: ExportOptions
) -> Callable[[int], Record]:
    """Return what reads records as they are to be written."""

    def record(row: int) -> Record:
        found = pool.record(row)
        return mend(found, exporter, options) if row in fit.mended else found

    return record
