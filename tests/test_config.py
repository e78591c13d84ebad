"""run.yaml: every run in plain values, and nothing unknown or of the wrong kind in it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from visift.config import EngineConfig, PoolConfig, RunConfig, share
from visift.errors import InputError
from visift.models.ref import ModelRef

FULL = RunConfig(
    pool=PoolConfig(("a.json", "dir é"), "images", "task", "source", True),
    method="prism",
    settings={"tau": "0.25", "layer": 3, "unlabelled": None},
    model=ModelRef("hub/name", "main", "float32"),
    budget="15%",
    seed=7,
    max_unusable="3%",
    signals=("f.parquet",),
    export=("llava",),
    nested=True,
    engine=EngineConfig("cache", "4", "inline"),
)


def written(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("config", [RunConfig(), FULL])
def test_round_trip(tmp_path: Path, config: RunConfig) -> None:
    path = written(tmp_path, config.to_yaml())
    assert RunConfig.from_yaml(path) == config
    assert RunConfig.from_yaml(path).to_yaml() == config.to_yaml()


def test_a_short_file_by_hand(tmp_path: Path) -> None:
    text = "pool: {files: a.json}\nmethod: random\nbudget: 1000\nengine: {workers: 2}\n"
    config = RunConfig.from_yaml(written(tmp_path, text))
    assert config.pool.files == ("a.json",)
    assert (config.budget, config.engine.workers, config.seed) == ("1000", "2", 0)


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("metod: prism", "", 'unknown name "metod". Did you mean "method"?'),
        ("pool: {file: a}", ", pool", 'unknown name "file". Did you mean "files"?'),
        ("model: {nam: a}", ", model", "Did you mean"),
        ("- a", "", "a mapping of names to values was expected."),
        ("", "", "a mapping of names to values was expected."),
        ("pool: 3", ", pool", "a mapping of names to values was expected."),
        ("seed: many", ", seed", "'many' was found, a whole number was expected."),
        ("seed: true", ", seed", "True was found, a whole number was expected."),
        ("nested: 'no'", ", nested", "'no' was found, true or false was expected."),
        ("method: 5", ", method", "5 was found, text was expected."),
        ("method: null", ", method", "None was found, text was expected."),
        ("export: [1]", ", export", "(1,) was found, a list of texts was expected."),
        ("pool: {files: 5}", ", pool, files", "(5,) was found, a list of texts was expected."),
        ("pool: {task_field: 1}", ", pool, task_field", "1 was found, text or null was expected."),
        ("settings: [a]", ", settings", "['a'] was found, a mapping was expected."),
        ("engine: {workers: null}", ", engine, workers", "None was found, text was expected."),
        ("a: [", ", line 1, column 5", "is not valid YAML: expected the node content"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, where: str, what: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        RunConfig.from_yaml(path)
    assert caught.value.where == f"{path}{where}"
    assert what in caught.value.what


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        RunConfig.from_yaml(tmp_path / "none.yaml")


def test_result_leaves_out_how_it_is_measured() -> None:
    assert "engine" not in FULL.result()
    assert FULL.result()["pool"]["files"] == ["a.json", "dir é"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1%", "1/100"), ("0.5 %", "1/200"), ("0.01", "1/100"), ("0", "0"), ("100%", "1")],
)
def test_share(text: str, value: str) -> None:
    assert share(text) == Fraction(value)


@pytest.mark.parametrize("text", ["", "%", "many", "3", "101%", "-1%", "nan"])
def test_share_refuses(text: str) -> None:
    with pytest.raises(InputError):
        share(text)
