"""What the whole suite shares: tiny models, built once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

# A machine at work elsewhere is no failure.
settings.register_profile("visift", deadline=None)
settings.load_profile("visift")


def pytest_configure() -> None:
    # Test modules import parts of transformers while they are collected, which must also work
    # beside a torchvision that was built for another torch.
    if all(find_spec(name) for name in ("torch", "transformers", "torchvision")):
        from visift.models.vlm import import_transformers

        import_transformers()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of the tiny random model of a family; see `models.families`. Do not change it."""
    from models.families import save

    @functools.cache
    def folder(family: str) -> Path:
        return save(family, tmp_path_factory.mktemp(family))

    return folder
