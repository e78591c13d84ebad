"""A model whose card names the pool it is to judge is found, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visift.models.card import Named, listed_datasets, pools_named

#: Of LLaVA-1.5's own card: it names no file.
LLAVA = """\
---
inference: false
---
## Training dataset
- 558K filtered image-text pairs from LAION/CC/SBU, captioned by BLIP.
- 158K GPT-generated multimodal instruction-following data.
- 450K academic-task-oriented VQA data mixture.
"""
CONVERTED = "---\ndatasets:\n- liuhaotian/LLaVA-Instruct-150K\nlicense: llama2\n---\n# LLaVA\n"
MIX = "playground/data/llava_v1_5_mix665k.json"


def named(folder: Path, card: str, *files: str) -> list[tuple[str, str]]:
    (folder / "README.md").write_text(card, encoding="utf-8")
    return [(one.data, one.file) for one in pools_named(folder, files)]


@pytest.mark.parametrize(
    ("card", "file", "data"),
    [
        (LLAVA, MIX, "LLaVA-665K"),
        (CONVERTED, MIX, "LLaVA-Instruct-150K"),
        (CONVERTED, "llava_instruct_150k.json", "LLaVA-Instruct-150K"),
        ("Tuned on llava-v1.5-mix665k.", "llava_665k.jsonl", "LLaVA-665K"),
        ("Tuned on [Vision-Flan](x).", "vision-flan_191-task_1k/annotation.json", "Vision-Flan"),
        ("datasets: HuggingFaceM4/the_cauldron", "the_cauldron/ai2d.parquet", "The Cauldron"),
        ("We use FineVision, and more.", "finevision.json", "FineVision"),
        (
            "---\ndatasets: [lmms-lab/LLaVA-OneVision-Data]\n---\n",
            "LLaVA-OneVision-Data/clevr.json",
            "LLaVA-OneVision-Data",
        ),
        (
            "---\ndatasets: acme/Our-Charts_120k\n---\n",
            "our_charts_120k.json",
            "acme/Our-Charts_120k",
        ),
    ],
)
def test_a_card_that_names_the_pool(tmp_path: Path, card: str, file: str, data: str) -> None:
    assert named(tmp_path, card, file) == [(data, Path(file).name)]


@pytest.mark.parametrize(
    ("card", "file"),
    [
        (LLAVA, "pool.json"),
        (LLAVA, "sharegpt4v_mix665k_cap23k.json"),
        (CONVERTED, "mix.json"),
        (CONVERTED, "vision_flan.json"),
        ("LLaVA-OneVision is a model, and so is LLaVA-NeXT.", "LLaVA-OneVision-Data/a.json"),
        ("It has 665k downloads; its vision flanks are wide.", MIX),
        ("The train data: train.json, pool.json", "train.json"),
        ("---\ndatasets: [acme/train-data, acme/instruct-mix-665k]\n---\n", "train_data.json"),
        ("---\ndatasets: [acme/instruct-mix-665k]\n---\n", "instruct_mix_665k.json"),
        ("---\ndatasets: [acme/our-charts]\n---\n", "our_charts_2.json"),
        ("our-charts-120k in words only", "our-charts-120k.json"),
        ("", MIX),
    ],
)
def test_a_card_that_does_not(tmp_path: Path, card: str, file: str) -> None:
    assert named(tmp_path, card, file) == []


def test_files_of_several_pools_are_told_apart(tmp_path: Path) -> None:
    found = named(tmp_path, CONVERTED, "pool.json", MIX, "finevision.json")
    assert found == [("LLaVA-Instruct-150K", "llava_v1_5_mix665k.json")]


def test_a_model_without_a_card_names_nothing(tmp_path: Path) -> None:
    assert pools_named(tmp_path, [MIX]) == ()
    (tmp_path / "README.md").mkdir()
    assert pools_named(tmp_path, [MIX]) == ()


@pytest.mark.parametrize(
    ("head", "listed"),
    [
        ("datasets: a/b", ("a/b",)),
        ("datasets: [a/b, c]", ("a/b", "c")),
        ("datasets: [a, [b], {c: d}, 2024-99-99, !!bool e]", ("a", "2024-99-99", "e")),
        ("datasets: {a: b}", ()),
        ("license: mit", ()),
        ("datasets: [a\n- b: :", ()),
        ("datasets: &all [a, *all]", ()),
        ("- a", ()),
        ("a: " + "[" * 1500, ()),
        ("x: !!python/object/apply:os.system [ls]", ()),
    ],
)
def test_front_matter_of_any_kind(tmp_path: Path, head: str, listed: tuple[str, ...]) -> None:
    (tmp_path / "README.md").write_text(f"---\n{head}\n---\nwords\n", encoding="utf-8")
    assert listed_datasets(tmp_path) == listed


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=300), st.text(max_size=30))
def test_no_card_and_no_name_breaks_it(
    tmp_path_factory: pytest.TempPathFactory, card: bytes, name: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "README.md").write_bytes(b"---\n" + card + b"\n---\n" + card)
    found = pools_named(folder, [name, name.replace("\0", "")])
    assert all(isinstance(one, Named) for one in found)
