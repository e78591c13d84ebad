"""What a validation can be repeated by."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from helpers import open_records, talk
from validate.verdicts import validated
from visift.config import PoolConfig
from visift.errors import InputError
from visift.models.ref import ModelRef
from visift.pool.labelled import TeacherLabels
from visift.pool.pool import Pool
from visift.validate.provenance import Sources, provenance, surroundings
from visift.validate.request import Request
from visift.validate.writing import page

TOY = ModelRef("builtin:tiny")
SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "validate.schema.json"


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return open_records(tmp_path / "pool", [talk(f"record {n}?") for n in range(4)])


def request_of(pool: Pool, **changes: object) -> Request:
    files = tuple(str(file.reader.path) for file in pool.files)
    known = Request(pool=PoolConfig(files), model=TOY)
    return dataclasses.replace(known, **changes)  # type: ignore[arg-type]


def configuration(pool: Pool, teacher: TeacherLabels | None = None, **changes: object) -> str:
    request = request_of(pool, **changes)
    sources = Sources.of(request, pool, pool, teacher or TeacherLabels())
    found = provenance(request, sources)["configuration"]
    assert isinstance(found, str)
    return found


def test_files_are_known_by_digest_and_libraries_by_version(pool: Pool) -> None:
    request = request_of(pool)
    found = provenance(request, Sources.of(request, pool, pool, TeacherLabels()))
    (file,) = found["pool"]
    path = pool.files[0].reader.path
    assert (file["file"], file["bytes"]) == ("pool.json", path.stat().st_size)
    assert found["questions"] == []  # they are held out of the pool
    assert {"visift", "python", "numpy"} <= set(found["versions"])
    assert found["machine"]["cores"] >= 1
    (model,) = found["models"]
    assert (model["name"], model["commit"], len(model["digest"])) == ("builtin:tiny", None, 32)


def test_the_hash_is_of_what_was_asked(pool: Pool) -> None:
    known = configuration(pool)
    assert configuration(pool) == known
    for change in ({"seed": 1}, {"budgets": ("13",)}, {"held_out": "10%"}, {"methods": ("prism",)}):
        assert configuration(pool, **change) != known


def test_it_is_not_of_where_things_lie(pool: Pool, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "pool", tmp_path / "elsewhere")
    there = Pool.open(tmp_path / "elsewhere" / "pool.json")
    assert configuration(there) == configuration(pool)
    shutil.copytree(TOY.folder(), tmp_path / "model")
    copied = ModelRef(str(tmp_path / "model"), device="cpu")
    shutil.copytree(TOY.folder(), tmp_path / "copy")
    other = ModelRef(str(tmp_path / "copy"))
    one = configuration(pool, model=copied)
    assert configuration(pool, model=other) == one
    weights = next((tmp_path / "copy").glob("*.safetensors"))
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert configuration(pool, model=ModelRef(str(tmp_path / "copy"))) != one


def test_it_is_of_what_was_read(pool: Pool, tmp_path: Path) -> None:
    known = configuration(pool)
    signals = tmp_path / "signals.parquet"
    signals.write_bytes(b"some")
    some = configuration(pool, signals=(str(signals),))
    signals.write_bytes(b"others")
    assert len({known, some, configuration(pool, signals=(str(signals),))}) == 3
    label = {"file": "labels.parquet", "bytes": 4, "blake2b": "0" * 32, "tokens": None}
    labels = TeacherLabels(files=(label,))  # also those that lie beside the output
    assert configuration(pool, labels) not in (known, some)
    file = pool.files[0].reader.path
    file.write_bytes(file.read_bytes() + b"\n")
    assert configuration(pool) != known


def test_it_is_what_the_schema_says(pool: Pool, tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    signals = tmp_path / "signals.parquet"
    signals.write_bytes(b"some")
    label = {"file": "labels.parquet", "bytes": 4, "blake2b": "0" * 32, "tokens": None}
    request = request_of(pool, signals=(str(signals),), questions=(str(pool.files[0].reader.path),))
    found = provenance(request, Sources.of(request, pool, pool, TeacherLabels(files=(label,))))
    assert all(found[name] for name in ("pool", "questions", "signals", "labels", "models"))
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    only = {"$ref": "#/$defs/provenance", "$defs": schema["$defs"]}
    jsonschema.Draft202012Validator(only).validate(json.loads(json.dumps(found)))


def test_a_file_that_is_gone_is_said(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        configuration(pool, signals=(str(tmp_path / "gone.parquet"),))


def test_the_page_says_what_it_was_made_with(tmp_path: Path) -> None:
    done = validated(tmp_path, {"balanced": 0.3})
    assert "\n- with visift " in page(done)
    assert surroundings(done.request).startswith("visift ")
