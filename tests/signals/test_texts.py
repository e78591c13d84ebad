"""Texts as bytes of a fixed width, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visift.signals.texts import decoded, encoded


@given(st.lists(st.text(max_size=20)))
def test_texts_that_fit_come_back(texts: list[str]) -> None:
    kept = [text.replace("\0", "").encode(errors="replace").decode() for text in texts]
    rows = encoded(texts, 80)
    assert rows.shape == (len(texts), 80)
    assert rows.dtype == np.uint8
    assert decoded(rows) == kept


@pytest.mark.parametrize(
    ("width", "kept"), [(0, ""), (1, "a"), (2, "a"), (3, "a"), (4, "a木"), (5, "a木b")]
)
def test_a_long_text_is_cut_where_a_character_ends(width: int, kept: str) -> None:
    assert decoded(encoded(["a木bc"[:3]], width)) == [kept]
