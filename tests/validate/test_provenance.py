"""What a validation can be repeated by."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from validate.verdicts import validated
from visift.validate.loop import Validated
from visift.validate.provenance import provenance, surroundings
from visift.validate.writing import page


def changed(done: Validated, **changes: object) -> str:
    """Return the hash of the same validation with another request."""
    request = dataclasses.replace(done.request, **changes)  # type: ignore[arg-type]
    found = provenance(dataclasses.replace(done, request=request))["configuration"]
    assert isinstance(found, str)
    return found


def test_files_are_known_by_digest_and_libraries_by_version(tmp_path: Path) -> None:
    found = provenance(validated(tmp_path, {"balanced": 0.3}))
    (pool,) = found["pool"]
    assert pool["file"] == "pool.json"
    assert pool["bytes"] == (tmp_path / "pool" / "pool.json").stat().st_size
    assert found["questions"] == []  # they are held out of the pool
    assert {"visift", "python", "numpy"} <= set(found["versions"])
    assert found["machine"]["cores"] >= 1
    assert found["models"][0]["name"] == "builtin:tiny"


def test_the_hash_is_of_what_was_asked_and_not_of_where_it_lies(tmp_path: Path) -> None:
    here = validated(tmp_path / "here", {"balanced": 0.3})
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    there = validated(tmp_path / "there", {"balanced": 0.1})
    known = changed(here)
    assert changed(there) == known
    assert changed(here, seed=1) != known
    assert changed(here, budgets=("13",)) != known
    assert changed(here, held_out="10%") != known
    labels = tmp_path / "labels.parquet"
    labels.write_bytes(b"some")
    with_labels = changed(here, labels=(str(labels),))
    assert with_labels != known
    labels.write_bytes(b"others")
    assert changed(here, labels=(str(labels),)) not in (known, with_labels)


def test_another_pool_is_another_configuration(tmp_path: Path) -> None:
    one = validated(tmp_path, {"balanced": 0.3})
    known = changed(one)
    file = tmp_path / "pool" / "pool.json"
    file.write_bytes(file.read_bytes() + b"\n")
    assert changed(one) != known


def test_the_page_says_what_it_was_made_with(tmp_path: Path) -> None:
    done = validated(tmp_path, {"balanced": 0.3})
    assert "\n- with visift " in page(done)
    assert surroundings(done.request).endswith("cpu")
