"""PRISM on a file in the layout, labels and composition of LLaVA-665K (prism.md, U9).

Every record has images of its own, so that a source of n records has n image groups: of these
PRISM keeps floor(.333 n + .5). How often the real file shows one image is not asserted anywhere.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from benchmarks import llava_like

from visift.pool.index import build_index
from visift.pool.readers import open_reader
from visift.run import select

LABELS = {
    "llava": "llava", "vqav2": "vqav2+okvqa", "okvqa": "vqav2+okvqa", "a_okvqa": "a_okvqa",
    "refcoco": "refcoco", "gqa": "gqa", "ocr_vqa": "ocr_vqa", "textcaps": "textvqa", "vg": "vg",
}  # fmt: skip


@pytest.mark.parametrize(
    "records", [6_653, pytest.param(llava_like.RECORDS, marks=pytest.mark.slow)]
)
def test_prism_keeps_a_third_of_the_images_of_every_source(tmp_path: Path, records: int) -> None:
    path = tmp_path / "pool.json"
    llava_like.write(path, records, labelled=False)
    images = build_index([open_reader(path, None, None)])["images"].to_pylist()
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name in dict.fromkeys(name for row in images for name in row):
            archive.writestr(name, b"x")
    values = np.random.default_rng(0).normal(size=(records, 4)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 4)
    table = pa.table({"row": np.arange(records), "visual_feature": column})
    pq.write_table(table, tmp_path / "features.parquet")

    run = select(
        path,
        method="prism",
        image_folder=tmp_path / "images.zip",
        signals=tmp_path / "features.parquet",
        output=tmp_path / "out",
    )

    text = sum(not row for row in images)
    there = Counter(run.selection.scores["source"].to_pylist())
    kept = Counter(run.selection.table["source"].to_pylist())
    assert set(there) == {*LABELS.values(), None}
    if records == llava_like.RECORDS:
        sizes = {name: count for name, (count, *_) in llava_like.SOURCES.items()}
        expected = Counter({None: sizes.pop("sharegpt")})
        for name, count in sizes.items():
            expected[LABELS[name]] += count
        assert there == expected
        assert (kept["vg"], kept["ocr_vqa"]) == (28_777, 26_640)
    third = {
        name: int(Fraction("0.333") * count + Fraction(1, 2))
        for name, count in there.items()
        if name is not None
    }
    assert kept == Counter({**third, None: text}), "and all text-only records, as the paper does"
