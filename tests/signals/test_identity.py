"""What makes two measurements the same: the model's files and dtype, never its name or place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha1, sha256
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from visift.errors import InputError, ModelError
from visift.models.ref import BUILTIN_TINY, ModelRef, digest
from visift.signals.features import VisualFeatures
from visift.signals.signal import identity


@pytest.fixture
def folder(tiny_model: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of a model folder that a test may change."""
    return shutil.copytree(tiny_model("llava"), tmp_path / "model")


def of(folder: Path, **options: str) -> dict[str, object]:
    return ModelRef(str(folder), **options).identity()


def test_name_place_and_device_are_no_part_of_it(folder: Path, tmp_path: Path) -> None:
    before = of(folder, dtype="float32")
    moved = shutil.move(folder, tmp_path / "another name")
    assert of(moved, dtype="float32") == before
    assert of(moved, dtype="float32", device="cpu") == before


def test_files_that_no_value_depends_on_are_no_part_of_it(folder: Path) -> None:
    before = of(folder)
    (folder / "README.md").write_text("hello")
    (folder / "optimizer.bin").write_bytes(b"123")
    assert of(folder) == before


def test_one_weight_is_part_of_it(folder: Path) -> None:
    before = of(folder)
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert of(folder) != before


@pytest.mark.parametrize(
    "name", ["chat_template.jinja", "config.json", "processor_config.json", "tokenizer.json"]
)
def test_template_configuration_and_processor_are_part_of_it(folder: Path, name: str) -> None:
    before = of(folder)
    (folder / name).write_text((folder / name).read_text() + " ")
    assert of(folder) != before


def test_the_dtype_is_part_of_it(folder: Path) -> None:
    assert of(folder, dtype="float32") != of(folder, dtype="bfloat16")
    assert of(folder, dtype="auto", device="cpu") == of(folder, dtype="float32")


def test_every_field_of_a_signal_is_part_of_its_identity(folder: Path) -> None:
    signal = VisualFeatures(ModelRef(str(folder)))
    others = [replace(signal, layer=1), replace(signal, pool="last"), replace(signal, batch_size=1)]
    found = {json.dumps(identity(one), sort_keys=True) for one in (signal, *others)}
    assert len(found) == 4
    assert str(folder) not in "".join(found)


def test_a_signal_without_a_model_says_what_to_do() -> None:
    with pytest.raises(InputError, match="--signals") as info:
        identity(VisualFeatures(None))
    assert "visual_feature" in str(info.value)


# --- folders of the hub's cache ------------------------------------------------------------------


def snapshot(folder: Path, cache: Path) -> Path:
    """Lay a model out as the hub's cache does: links to blobs, weights named by their SHA-256."""
    blobs, links = cache / "blobs", cache / "snapshots" / "main"
    blobs.mkdir(parents=True)
    links.mkdir(parents=True)
    for path in folder.iterdir():
        name = sha256 if path.suffix == ".safetensors" else sha1
        blob = blobs / name(path.read_bytes()).hexdigest()
        shutil.copy(path, blob)
        (links / path.name).symlink_to(f"../../blobs/{blob.name}")
    return links


def test_a_linked_blob_counts_by_its_name_without_being_read(folder: Path, tmp_path: Path) -> None:
    links = snapshot(folder, tmp_path / "hub")
    before = digest(links)
    weights = (links / "model.safetensors").resolve()
    weights.write_bytes(b"")
    assert digest(links) == before
    other = weights.with_name("0" * 64)
    weights.rename(other)
    (links / "model.safetensors").unlink()
    (links / "model.safetensors").symlink_to(other)
    assert digest(links) != before


def test_another_blob_is_read(folder: Path, tmp_path: Path) -> None:
    links = snapshot(folder, tmp_path / "hub")
    before = digest(links)
    template = (links / "chat_template.jinja").resolve()
    template.write_text(template.read_text() + " ")
    assert digest(links) != before


def test_two_snapshots_of_the_same_files_are_one_model(folder: Path, tmp_path: Path) -> None:
    assert digest(snapshot(folder, tmp_path / "a")) == digest(snapshot(folder, tmp_path / "b"))


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "revision"),
    [
        ("llava-hf/llava-1.5-7b-hf", "llava-hf/llava-1.5-7b-hf", None),
        ("llava-hf/llava-1.5-7b-hf@b234b80", "llava-hf/llava-1.5-7b-hf", "b234b80"),
        (BUILTIN_TINY, BUILTIN_TINY, None),
    ],
)
def test_a_revision_follows_an_at(text: str, name: str, revision: str | None) -> None:
    ref = ModelRef.parse(text)
    assert (ref.name, ref.revision) == (name, revision)
    assert ref.is_toy == (name == BUILTIN_TINY)


def test_a_folder_may_have_an_at_in_its_name(folder: Path, tmp_path: Path) -> None:
    there = shutil.move(folder, tmp_path / "run@12")
    ref = ModelRef.parse(str(there))
    assert (ref.name, ref.revision) == (str(there), None)
    assert ref.folder() == there


def test_a_built_in_model_of_another_name_is_not_asked_of_the_hub() -> None:
    with pytest.raises(ModelError, match=r"builtin:small: no built-in .*\nThere is builtin:tiny"):
        ModelRef.parse("builtin:small")


RESOLVE = """
import sys
from visift.models.ref import ModelRef
print(ModelRef("org/model", "main").resolved_revision(), ModelRef(sys.argv[1]).resolved_revision())
"""


def test_a_revision_is_resolved_to_the_commit_of_its_snapshot(tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    model = tmp_path / "models--org--model"
    (model / "snapshots" / commit).mkdir(parents=True)
    (model / "snapshots" / commit / "config.json").write_text("{}")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)
    said = subprocess.run(
        [sys.executable, "-c", RESOLVE, str(tmp_path)],
        env={**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == [commit, "None"]
    assert ModelRef(BUILTIN_TINY).resolved_revision() is None


def test_an_unknown_dtype_is_an_error_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="bfloat16"):
        ModelRef("somewhere", dtype="bf16")


@pytest.mark.parametrize("name", ["/no/such/folder", "./nowhere", "a/b/c"])
def test_what_can_only_be_a_folder_is_not_asked_of_the_hub(name: str) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        ModelRef(name).folder()


def test_the_built_in_model_has_an_identity() -> None:
    assert len(str(ModelRef(BUILTIN_TINY).identity()["digest"])) == 32
