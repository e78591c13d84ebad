"""Exports as the trainers' own code sees them: loaded, converted, and trained on for two steps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from export.environments import Environment, environment, without_audio_and_video
from export.pools import SHAPES, pool_of
from visift.export.exporter import ExportOptions
from visift.export.trainers import write_export

pytestmark = pytest.mark.slow

ARMS = {"subset": np.array([5, 2, 4, 1]), "control": np.arange(12), "random": np.arange(6, 12)}

_DESCRIBE = """
import json, sys
from datasets import load_dataset
data = load_dataset("parquet", data_files=sys.argv[1] + "/*.parquet", split="train")
rows = [[row["uid"], [image.size for image in row["images"]]] for row in data]
print("FOUND", json.dumps([str(data.features["images"]), rows]))
"""

_TEMPLATE_WITH_ANSWERS = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>\n' }}"
    "{% elif message['role'] == 'assistant' %}{% generation %}{{ part['text'] + ' ' }}"
    "{% endgeneration %}{% else %}{{ part['text'] + ' ' }}{% endif %}{% endfor %}{% endfor %}"
)


def export(trainer: str, folder: Path) -> Path:
    pool = pool_of(folder, *SHAPES, *SHAPES)
    how = ExportOptions(images="copy" if trainer == "llama-factory" else None)
    return write_export(trainer, pool, ARMS, folder / trainer, ranked=False, options=how)


# --- LLaMA-Factory -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llama_factory(request: pytest.FixtureRequest) -> Environment:
    assert request.config.cache is not None
    made = environment(request.config.cache, "llama-factory", ["llamafactory==0.9.5"])
    without_audio_and_video(made)
    return made


def train_with_llama_factory(
    made: Environment, folder: Path, arm: str, model: Path
) -> tuple[int, str]:
    done = made.run(
        "llamafactory-cli",
        "train",
        f"{arm}.yaml",
        f"model_name_or_path={model}",
        "max_steps=2",
        "bf16=false",
        "preprocessing_num_workers=1",
        home=folder,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("arm", ["subset", "control"])
def test_llama_factory_trains_on_every_record(
    llama_factory: Environment, tiny_model: Callable[[str], Path], tmp_path: Path, arm: str
) -> None:
    folder = export("llama-factory", tmp_path)
    code, said = train_with_llama_factory(llama_factory, folder, arm, tiny_model("llava"))
    assert code == 0, said[-3000:]
    assert f"Num examples = {len(ARMS[arm])}\n" in said
    for complaint in ("abnormal example", "does not exist in `media_dir`", "Dropped invalid"):
        assert complaint not in said
    results = json.loads((folder / "saves" / arm / "train_results.json").read_text("utf-8"))
    assert 0 < results["train_loss"] < 20


def test_llama_factory_does_stop_at_a_tag_without_an_image(
    llama_factory: Environment, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = export("llama-factory", tmp_path)
    path = folder / "subset.jsonl"
    path.write_bytes(path.read_bytes().replace(b"a dot.", b"an <image> tag"))
    code, said = train_with_llama_factory(llama_factory, folder, "subset", tiny_model("llava"))
    assert code != 0
    assert "The number of images does not match the number of <image> tokens" in said


# --- TRL -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trl(request: pytest.FixtureRequest) -> Environment:
    assert request.config.cache is not None
    packages = ["trl==1.16.0", "datasets==5.2.0", "transformers==5.23.0", "peft", "pillow"]
    return environment(request.config.cache, "trl", packages)


@pytest.mark.parametrize("arm", ["subset", "control", "random"])
def test_datasets_decodes_the_images(trl: Environment, tmp_path: Path, arm: str) -> None:
    folder = export("trl", tmp_path)
    done = trl.run("python", "-c", _DESCRIBE, arm, home=folder)
    (found,) = (line for line in done.stdout.splitlines() if line.startswith("FOUND "))
    features, rows = json.loads(found.removeprefix("FOUND "))
    assert features == "List(Image(mode=None, decode=True))"
    images = {f"pool.json#{n}": count for n, count in enumerate([0, 1, 0, 2, 1, 2] * 2)}
    assert sorted(uid for uid, _ in rows) == sorted(f"pool.json#{row}" for row in ARMS[arm])
    assert all(sizes == [[4, 3]] * images[uid] for uid, sizes in rows)


def test_trl_trains_on_all_tokens(
    trl: Environment, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = export("trl", tmp_path)
    options = ["--model", str(tiny_model("llava")), "--max-steps", "2", "--all-tokens"]
    done = trl.run("python", "train.py", "control", *options, home=folder)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "'train_loss'" in done.stdout
    assert (folder / "saves" / "control" / "adapter_model.safetensors").is_file()


def test_trl_trains_on_answers_where_the_template_tells_them(
    trl: Environment, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, model = export("trl", tmp_path), tmp_path / "model"
    shutil.copytree(tiny_model("llava"), model)
    (model / "chat_template.jinja").write_text(_TEMPLATE_WITH_ANSWERS, "utf-8")
    options = ["--model", str(model), "--max-steps", "2"]
    done = trl.run("python", "train.py", "subset", *options, home=folder)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "'train_loss'" in done.stdout
