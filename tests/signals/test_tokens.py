"""Tokens by a model's own tokeniser: what a record says, and nothing a trainer adds."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import open_records, talk
from visift.engine.lab import Examples, LocalLab
from visift.errors import ModelError
from visift.models.ref import BUILTIN_TINY, ModelRef
from visift.signals.tokens import AnswerTokens, TextTokens


def test_tokens_are_those_of_the_tokeniser(tmp_path: Path) -> None:
    from visift.models.vlm import import_transformers

    ref = ModelRef(BUILTIN_TINY)
    tokenizer = import_transformers().AutoTokenizer.from_pretrained(ref.folder())
    several = {"from": "gpt", "value": "two green squares"}
    first = talk("<image>\nhow many red circles?", "three")
    pool = open_records(
        tmp_path,
        [
            {**first, "conversations": [*first["conversations"], several]},
            talk("", ""),
            {"conversations": [{"from": "human", "value": "no answer here"}]},
        ],
    )
    lab = LocalLab(pool, tmp_path / "cache", lambda: ["cpu"])
    rows = pool.rows()
    text, answers = (lab.measure(kind(ref), Examples(rows)) for kind in (TextTokens, AnswerTokens))

    def count(*texts: str) -> int:
        return sum(len(tokenizer(t, add_special_tokens=False)["input_ids"]) for t in texts)

    said = count("\nhow many red circles?")
    spoken = count("three", "two green squares")
    assert answers.take("answer_tokens", rows).tolist() == [spoken, 0, 0]
    assert text.take("text_tokens", rows).tolist() == [said + spoken, 0, count("no answer here")]


def test_a_folder_without_a_tokeniser_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="its tokeniser cannot be loaded") as caught:
        TextTokens(ModelRef(str(tmp_path))).open("cpu")
    assert caught.value.where == str(tmp_path)
