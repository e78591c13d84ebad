"""A model's own tokeniser, without the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from visift.errors import ModelError
from visift.models.ref import ModelRef
from visift.models.vlm import import_transformers

Count = Callable[[Sequence[str]], NDArray[np.int64]]


def load_tokenizer(ref: ModelRef) -> Count:
    """Return a function that counts the tokens of texts, special tokens left out.

    Raises:
        ModelError: the folder holds no tokeniser that transformers can load.
    """
    folder = ref.parts()[0]
    transformers = import_transformers()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=ref.trust_remote_code
        )
    except Exception as error:
        raise ModelError(
            f"its tokeniser cannot be loaded ({type(error).__name__}: {error}).", where=ref.name
        ) from error

    def count(texts: Sequence[str]) -> NDArray[np.int64]:
        if not texts:
            return np.empty(0, np.int64)
        ids = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return np.array([len(one) for one in ids], np.int64)

    return count
