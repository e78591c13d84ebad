"""One run as a small tree of plain values; `run.yaml` alone reproduces a selection."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

import yaml

from visift.errors import InputError, VisiftError, did_you_mean
from visift.models.ref import ModelRef
from visift.pool.files import must_be_local

if TYPE_CHECKING:
    from visift.pool.pool import Pool

Paths = str | Path | Sequence[str | Path]

#: What runs where no method is named; a scorer is never chosen silently.
DEFAULT_METHOD = "balanced"


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """What to choose from; see `Pool.open`.

    `evaluation` names records that the result will be judged by: targets must not be among them.
    """

    files: tuple[str, ...] = ()
    image_folder: str | None = None
    task_field: str | None = None
    source_field: str | None = None
    hash_images: bool = False
    keep: tuple[str, ...] = ()
    have: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    evaluation: tuple[str, ...] = ()

    def open(self) -> Pool:
        """Open the pool; raises what `Pool.open` raises."""
        from visift.pool.pool import Pool

        return Pool.open(
            self.files,
            image_folder=self.image_folder,
            task_field=self.task_field,
            source_field=self.source_field,
            hash_images=self.hash_images,
            keep=self.keep,
            have=self.have,
            target=self.target,
        )


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """How to measure: nothing here changes a value.

    Attributes:
        cache: folder of measured values; by default one a pool under the user's cache folder.
        workers: processes; `auto` is one a GPU, or as many as the cores and the memory allow.
        executor: `processes`, `inline` or `ray`.
        address: of the Ray cluster; None starts a Ray on this machine.
        shard_range: `i/n` to measure the i-th of n slices and choose nothing, see `engine.slices`.
        patience: seconds without any sign of life after which a worker is given up; its block is
            tried again, three times in all.
    """

    cache: str | None = None
    workers: str = "auto"
    executor: str = "processes"
    address: str | None = None
    shard_range: str | None = None
    patience: int = 1800


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Everything that decides a run.

    Attributes:
        pool: see `PoolConfig`.
        method: name of the method; empty where none was named, see `DEFAULT_METHOD`.
        settings: its parameters that were set, by name.
        model: of the signals; None where none is needed.
        budget: as written; None for the method's own.
        seed: of ties and draws.
        near_duplicates: bits of 64 in which the hash of an image may differ from that of one that
            stays, for it to be left out; None leaves near-duplicates in.
        max_unusable: share of records that may be set aside, as written.
        signals: parquet files of numbers measured elsewhere.
        labels: parquet files of a teacher's labels, for methods that learn from them.
        export: trainers to write for.
        nested: export in rank order.
        engine: see `EngineConfig`.
    """

    pool: PoolConfig = field(default_factory=PoolConfig)
    method: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    model: ModelRef | None = None
    budget: str | None = None
    seed: int = 0
    max_unusable: str = "1%"
    signals: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    export: tuple[str, ...] = ("llava",)
    nested: bool = False
    near_duplicates: int | None = None
    engine: EngineConfig = field(default_factory=EngineConfig)

    @property
    def default_method(self) -> str:
        """What runs where no method is named."""
        return DEFAULT_METHOD

    @property
    def warning(self) -> str | None:
        """What must be said wherever the bundled model is used."""
        if self.model is not None and self.model.is_toy:
            return "toy model: the ranking means nothing outside a demo"
        return None

    def to_yaml(self) -> str:
        """Return the run as YAML, the same text for equal runs."""
        plain = _listed(dataclasses.asdict(self))
        return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))

    @classmethod
    def from_yaml(cls, path: str | Path) -> RunConfig:
        """Read a run; raises `InputError` for an unknown name or a value of the wrong kind."""
        try:
            plain = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror}).", where=str(path)) from None
        except (UnicodeDecodeError, yaml.YAMLError) as error:
            raise _not_yaml(path, error) from None
        config: RunConfig = _build(cls, plain, str(path))
        return config

    def result(self) -> dict[str, Any]:
        """Return what decides the outcome: not how it is measured, nor what is put up with."""
        plain: dict[str, Any] = _listed(dataclasses.asdict(self))
        del plain["engine"], plain["max_unusable"]
        return plain

    def checked(self) -> RunConfig:
        """Return the run with its method and absolute paths: `run.yaml` works from any folder.

        Raises:
            InputError: a value of the wrong kind, or a pool that is no local file.
        """
        for name, wanted in get_type_hints(RunConfig).items():
            if name not in _PARTS:
                _must_be(getattr(self, name), wanted, name)
        folder, cache = self.pool.image_folder, self.engine.cache
        others = (*self.pool.keep, *self.pool.have, *self.pool.target, *self.pool.evaluation)
        for file in (*self.pool.files, *others, folder or ""):
            must_be_local(file)
        named = replace(
            self.pool,
            files=tuple(map(_absolute, self.pool.files)),
            image_folder=None if folder is None else _absolute(folder),
            keep=tuple(map(_absolute, self.pool.keep)),
            have=tuple(map(_absolute, self.pool.have)),
            target=tuple(map(_absolute, self.pool.target)),
            evaluation=tuple(map(_absolute, self.pool.evaluation)),
        )
        model = self.model
        if model is not None and Path(model.name).is_dir():
            model = replace(model, name=_absolute(model.name))
        return replace(
            self,
            pool=named,
            method=self.method or DEFAULT_METHOD,
            model=model,
            signals=tuple(map(_absolute, self.signals)),
            labels=tuple(map(_absolute, self.labels)),
            engine=replace(self.engine, cache=None if cache is None else _absolute(cache)),
        )


def configured(
    pool: Pool | Paths,
    *,
    keep: Paths = (),
    have: Paths = (),
    target: Paths = (),
    evaluation: Paths = (),
    image_folder: str | Path | None = None,
    model: str | ModelRef | None = None,
    budget: str | int | None = None,
    signals: Paths = (),
    labels: Paths = (),
    cache: str | Path | None = None,
    workers: int | str = "auto",
    executor: str = "processes",
    task_field: str | None = None,
    source_field: str | None = None,
    hash_images: bool = False,
    **rest: Any,
) -> RunConfig:
    """Return a run as Python users say it, see `visift.select`; `rest` are fields of `RunConfig`.

    Raises:
        InputError: the pool is neither a `Pool` nor a path, or is open already and the call says
            how to open it.
    """
    from visift.pool.pool import Pool

    if isinstance(pool, Pool):
        said = {"keep": keep, "have": have, "target": target, "image_folder": image_folder}
        said |= {"task_field": task_field, "source_field": source_field}
        _must_be_unsaid({**said, "hash_images": hash_images})
        named = PoolConfig(**pool.opened, evaluation=texts(evaluation))
    elif not isinstance(pool, str | Path | Sequence):
        raise InputError(f"a pool is a Pool or the path of one, not a {type(pool).__name__}.")
    else:
        folder = None if image_folder is None else str(image_folder)
        fields = (task_field, source_field, hash_images)
        roles = (texts(keep), texts(have), texts(target), texts(evaluation))
        named = PoolConfig(texts(pool), folder, *fields, *roles)
    return RunConfig(
        pool=named,
        model=ModelRef.parse(model) if isinstance(model, str) else model,
        budget=None if budget is None else str(budget),
        signals=texts(signals),
        labels=texts(labels),
        engine=EngineConfig(None if cache is None else str(cache), str(workers), executor),
        **rest,
    )


def _must_be_unsaid(how_to_open: Mapping[str, Any]) -> None:
    """Raise `InputError` for what is said about opening a pool that is open."""
    said = [name for name, value in how_to_open.items() if value]
    if said:
        raise InputError(
            f"the pool is open already, so {', '.join(said)} cannot be changed.",
            fix="Say it to Pool.open, or name the pool by its file.",
        )


def texts(paths: Paths) -> tuple[str, ...]:
    """Return one path or several as texts."""
    return tuple(map(str, [paths] if isinstance(paths, str | Path) else paths))


def _absolute(path: str) -> str:
    return str(Path(path).absolute())


def share(text: str) -> Fraction:
    """Read a share such as `1%` or `0.01`; raises `InputError`."""
    try:
        value = Fraction(text.removesuffix("%").strip())
    except (ValueError, ZeroDivisionError):
        raise InputError(
            f'"{text}" is not a share.', fix="A share is a percentage such as 3%, or 0.03."
        ) from None
    value = value / 100 if text.strip().endswith("%") else value
    if not 0 <= value <= 1:
        raise InputError(f'"{text}" is not between 0% and 100%.')
    return value


def _not_yaml(path: str | Path, error: Exception) -> InputError:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return InputError("is not YAML, which is text in UTF-8.", where=str(path))
    mark = error.problem_mark
    return InputError(
        f"is not valid YAML: {error.problem}.",
        where=f"{path}, line {mark.line + 1}, column {mark.column + 1}",
    )


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(inner) for key, inner in value.items()}
    return [_listed(inner) for inner in value] if isinstance(value, tuple | list) else value


_PARTS: dict[str, type] = {"pool": PoolConfig, "model": ModelRef, "engine": EngineConfig}
_LISTS = ("files", "keep", "have", "target", "evaluation", "signals", "labels", "export")
#: Text that YAML may read as a number.
_NUMBERS = ("budget", "workers", "max_unusable")
_NAMES = {
    str: "text",
    int: "a whole number",
    bool: "true or false",
    tuple: "a list of texts",
    types.NoneType: "null",
}


def _build(kind: type[Any], plain: Any, where: str) -> Any:
    if not isinstance(plain, dict):
        raise InputError(
            "a mapping of names to values was expected.",
            where=where,
            fix="The run.yaml of a finished run shows how it is written.",
        )
    known = [f.name for f in dataclasses.fields(kind)]
    values = {}
    for name, value in plain.items():
        if name not in known:
            raise InputError(
                f'unknown name "{name}".{did_you_mean(str(name), known)}',
                where=where,
                fix=f"Known: {', '.join(known)}.",
            )
        if name in _PARTS and value is not None:
            values[name] = _build(_PARTS[name], value, f"{where}, {name}")
        elif name in _LISTS:
            values[name] = tuple(value) if isinstance(value, list) else (value,)
        elif name in _NUMBERS and isinstance(value, int | float):
            values[name] = str(value)
        else:
            values[name] = value
    for name, wanted in get_type_hints(kind).items():
        if name in values:
            _must_be(values[name], wanted, f"{where}, {name}")
    try:
        return kind(**values)
    except VisiftError as error:
        raise InputError(error.what, where=where, fix=error.fix) from None


def _must_be(value: Any, wanted: Any, where: str) -> None:
    """Raise `InputError` for a value that is not of the type a field is declared with."""
    union = get_origin(wanted) in (Union, types.UnionType)
    options = get_args(wanted) if union else (wanted,)
    kinds = tuple(get_origin(option) or option for option in options)
    number = isinstance(value, bool) and bool not in kinds
    texts = not isinstance(value, tuple) or all(isinstance(inner, str) for inner in value)
    if not isinstance(value, kinds) or number or not texts:
        names = " or ".join(_NAMES.get(kind, "a mapping") for kind in kinds)
        raise InputError(f"{value!r} was found, {names} was expected.", where=where)
