"""`visift select --method prism` from features measured before, on a pool of LLaVA-665K's size.

Everything but the measuring: open the pool, look up images and features, score, choose, draw two
random twins, export all three and read them back, write the report. Beside `balanced` on the same
pool, which does the same without features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import llava_like
from benchmarks.commands import SHARE, Chosen, select
from benchmarks.harness import Measurement, in_fresh_process
from benchmarks.made import MODEL, pool_with_images, store_features, write_signals
from benchmarks.table import Line

WIDTH, QUICK_WIDTH = 4096, 256
QUICK_RECORDS = 5_000


def run(folder: Path, quick: bool) -> Iterator[Line]:
    """Yield the lines of this benchmark; pool, images and features are made where they lack."""
    records, width = (QUICK_RECORDS, QUICK_WIDTH) if quick else (llava_like.RECORDS, WIDTH)
    path = pool_with_images(folder, records, shared=False)
    cache, signals = folder / f"cache-{records}-{width}", path.with_name(f"{width}.parquet")
    files = sorted(store_features(path, cache, width).folder.glob("*.arrow"))
    write_signals(path, cache, signals)

    def selected(cold: Sequence[Path] = (), **options: Any) -> Measurement:
        return in_fresh_process(select, path, folder / "end-to-end-out", options, cold)

    reference = selected()
    stored = selected(files, method="prism", model=MODEL, cache=cache)
    given = selected([signals], method="prism", signals=signals)
    gigabytes = sum(file.stat().st_size for file in files) / 1e9
    size = f"{records:,} records, {stored.value.images:,} x {width:,} features, {gigabytes:.2f} GB"
    yield Line.of(f"end to end: balanced, which reads no feature ({size})", reference, "1")
    yield Line.of(
        f"end to end: prism --budget {SHARE}%, features in the store",
        stored,
        _times(stored, reference),
        f"{stored.value.said}, {stored.value.measured} images measured, "
        f"{stored.value.said_of_torch}",
        float(stored.value.wrong + stored.value.measured),
    )
    differ = _differences(given.value, stored.value)
    yield Line.of(
        f"end to end: prism --budget {SHARE}%, features in a --signals file",
        given,
        _times(given, reference),
        f"{differ} ranks differ from the line above, {given.value.said_of_torch}",
        float(differ),
    )


def _times(run: Measurement, reference: Measurement) -> str:
    disk = "" if run.disk is None else f" ({run.disk / 1e9:.1f} GB from the disk)"
    return f"{run.seconds / reference.seconds:.1f} x the time{disk}"


def _differences(ours: Chosen, reference: Chosen) -> int:
    """Return at how many ranks two selections hold different rows."""
    lost = abs(len(ours.rows) - len(reference.rows))
    return lost + sum(a != b for a, b in zip(ours.rows, reference.rows, strict=False))
