"""What a signal is: something measured per record or per image, and its identity.

A signal is a frozen dataclass. All its fields, its class and its `version` are its identity, so
two requests that could differ in one value never share a stored one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from numpy.typing import NDArray
from PIL import Image

from visift.errors import ImageError, InputError
from visift.pool.paths import name_image
from visift.pool.record import Record

Unit = Literal["record", "image"]


@dataclass(frozen=True, slots=True)
class Column:
    """One stored value of a signal.

    Attributes:
        name: the column's name in stored parts and in `--signals` files.
        dtype: a numpy dtype name.
        shape: of one item's value; None where only the opened model knows the width.
        scaled: floats that may exceed the range of `dtype` are stored with a float32 scale an item.
        extra: stored beside what was asked for; `--signals` files may leave it out.
        missing: NaN is a value, too: an item is fine without a number here.
        text: UTF-8 as bytes, padded with zeros; in `--signals` files texts, or lists of them,
            which are joined by ", ".
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] = ()
    scaled: bool = False
    extra: bool = False
    missing: bool = False
    text: bool = False

    def identity(self) -> dict[str, Any]:
        """Return what of a column decides stored values."""
        plain = dataclasses.asdict(self)
        for how in ("extra", "missing", "text"):
            del plain[how]
        return plain


@dataclass(frozen=True, slots=True)
class ImageItem:
    """One image to measure: its path as a record writes it, and what decodes it."""

    path: str
    decode: Callable[[], Image.Image]

    def load(self) -> Image.Image:
        """Decode the image; raises `ImageError`, as a reason that names the image."""
        try:
            return self.decode()
        except ImageError as error:
            raise name_image(error, self.path) from error


@dataclass(frozen=True, slots=True)
class RecordItem:
    """One record to measure, its images not yet decoded."""

    record: Record
    images: tuple[ImageItem, ...]


@dataclass(frozen=True, slots=True)
class Values:
    """What measuring some items gave.

    Attributes:
        columns: by column name, (n, *shape) arrays; rows of failed items hold zeros.
        reasons: (n,) None where fine, else why the item has no value.
        passing: positions whose reason does not follow from the item's content, a fault of the
            machine for example: they are not stored, and measured again.
    """

    columns: Mapping[str, NDArray[Any]]
    reasons: Sequence[str | None]
    passing: frozenset[int] = frozenset()

    def at(self, positions: Sequence[int]) -> Values:
        """Return the values of some items, none of them `passing`."""
        columns = {name: array[list(positions)] for name, array in self.columns.items()}
        return Values(columns, [self.reasons[p] for p in positions])


Measure = Callable[[Sequence[Any]], Values]


@runtime_checkable
class Signal(Protocol):
    """A measurable quantity; see the module's text for what makes its identity."""

    version: ClassVar[int]
    unit: ClassVar[Unit]

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is stored of every item; of most signals the same, whatever their fields say."""
        ...

    def open(self, device: str) -> Measure:
        """Load what measuring needs, once a worker, onto `device` (`cpu`, `cuda:0`, `mps`)."""
        ...


def identity(signal: Signal) -> dict[str, Any]:
    """Return everything that decides a signal's values, as plain JSON data.

    Raises:
        InputError: its model was not named.

    Fields that have an `identity()` of their own (a `ModelRef`) are asked for it: names of models
    do not count, digests of their weights do.
    """
    kind = type(signal)
    if getattr(signal, "model", signal) is None:
        columns = ", ".join(column.name for column in signal.columns if not column.extra)
        raise InputError(
            "this method needs a model.",
            fix=f"Name one with --model, or hand in {columns} with --signals FILE.",
        )
    return {
        "signal": f"{kind.__module__}.{kind.__qualname__}",
        "version": kind.version,
        "columns": [column.identity() for column in signal.columns],
        **{
            field.name: _plain(getattr(signal, field.name))
            for field in dataclasses.fields(signal)  # type: ignore[arg-type]
        },
    }


def _plain(value: Any) -> Any:
    if hasattr(value, "identity"):
        return value.identity()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return value
