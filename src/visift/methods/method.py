"""What a selection method is, the table of them, and how one is built from a user's settings.

A method is a frozen dataclass of documented parameters. `measure` says what it needs and reads no
value; `choose` is the paper: a pure function of stored values.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import (
    Any,
    ClassVar,
    Literal,
    Protocol,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from visift.budget import Budget
from visift.engine.lab import Lab
from visift.errors import InputError, did_you_mean
from visift.pool.pool import Pool
from visift.selection import Choice

Origin = Literal["paper", "code", "ours"]

#: Methods that come with visift: name -> where its class is.
METHODS = {
    "balanced": "visift.methods.balanced:Balanced",
    "random": "visift.methods.controls:Random",
    "stratified": "visift.methods.controls:Stratified",
    "longest": "visift.methods.longest:Longest",
    "prism": "visift.methods.prism:Prism",
    "perplexity": "visift.methods.perplexity:Perplexity",
    "ifd": "visift.methods.ifd:IFD",
    "visnec": "visift.methods.visnec:VisNec",
    "mllm_selector": "visift.methods.mllm_selector:MLLMSelector",
    "presel": "visift.methods.presel:PreSel",
    "typical": "visift.methods.typical:Typical",
    "typiclust": "visift.methods.typiclust:TypiClust",
    "kcenter": "visift.methods.kcenter:KCenter",
    "herding": "visift.methods.herding:Herding",
    "prototypes": "visift.methods.prototypes:Prototypes",
    "semdedup": "visift.methods.semdedup:SemDeDup",
    "tive": "visift.methods.tive:Tive",
    "grand": "visift.methods.grand:GraNd",
    "less": "visift.methods.less:Less",
    "icons": "visift.methods.icons:Icons",
    "rds": "visift.methods.rds:RDS",
    "mmssr": "visift.methods.mmssr:MMSSR",
}

ENTRY_POINTS = "visift.methods"

#: Parameters that flags of their own set.
_FLAGS = {"seed": "--seed", "model": "--model"}


class Method(Protocol):
    """One selection method; see the module's text.

    Attributes:
        name: as `--method` takes it.
        summary: one line.
        paper: arXiv id, or an empty string.
        nested: whether a smaller budget selects a subset of what a larger one selects.
        needs_budget: whether there is no budget of its own.
        group_by: the label it shares the budget over.
        coverage: whether what is kept or there already decides what is chosen beside it.
        presets: by name, parameter values that `--set preset=NAME` stands for.

    A method with a parameter `compat` may state in `official` the values that its `official` stands
    for; one that is set explicitly still wins, there as in presets.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str]
    nested: ClassVar[bool]
    needs_budget: ClassVar[bool]
    group_by: ClassVar[Literal["source", "task", None]]
    coverage: ClassVar[bool]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]

    def measure(self, pool: Pool, lab: Lab, budget: Budget | None) -> Any:
        """Ask for what is needed; returns the method's own Inputs, whose values nobody has read."""
        ...

    def choose(self, pool: Pool, inputs: Any, budget: Budget | None) -> Choice:
        """Choose from the inputs' values: the paper's equations, in the paper's order."""
        ...


def param(
    default: Any,
    *,
    origin: Origin,
    doc: str,
    above: float | None = None,
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """Declare a method's parameter.

    Args:
        default: its value unless set.
        origin: where the default is from.
        doc: what it does.
        above: it must be greater than this.
        low: it must not be less than this.
        high: it must not be greater than this.
    """
    bounds = {"above": above, "low": low, "high": high}
    return dataclasses.field(default=default, metadata={"origin": origin, "doc": doc, **bounds})


@dataclass(frozen=True, slots=True)
class Setting:
    """One parameter of one built method.

    Attributes:
        name: of the parameter.
        value: in use.
        origin: of the value: paper, code, ours, `preset NAME`, `compat official`, or you.
        doc: what it does.
    """

    name: str
    value: Any
    origin: str
    doc: str


def method_class(name: str) -> type[Method]:
    """Return a method's class by name, entry point or `package.module:Class`.

    Raises:
        InputError: there is no such method; offers the nearest name.
    """
    if not name:
        raise InputError("no method was named.", fix=f"Name one: --method {' | '.join(METHODS)}")
    target = {**{e.name: e.value for e in entry_points(group=ENTRY_POINTS)}, **METHODS}.get(name)
    target = target or (name if ":" in name else None)
    if target is None:
        raise InputError(
            f'there is no method "{name}".{did_you_mean(name, METHODS)}',
            fix=f"Methods: {', '.join(METHODS)}, or package.module:Class.",
        )
    module, _, attribute = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise InputError(
            f'method "{name}" cannot be imported ({error}).', fix="Check the name and PYTHONPATH."
        ) from error
    if not dataclasses.is_dataclass(found) or not hasattr(found, "choose"):
        raise InputError(
            f'"{name}" is no method.', fix="A method is a dataclass with measure and choose."
        )
    return cast("type[Method]", found)


def build(name: str, given: Mapping[str, Any], **flags: Any) -> Method:
    """Return a method with its parameters set.

    Args:
        name: see `method_class`.
        given: parameters by name, as text (`--set`) or as values; `preset` picks a preset.
        **flags: values of `--seed` and `--model`, used where the method has such a parameter.

    Raises:
        InputError: an unknown parameter or preset, or a value that does not fit.
    """
    kind = method_class(name)
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    types_ = get_type_hints(kind)
    values = {**_official(kind, given), **_preset(kind, given)}
    for key, value in given.items():
        if key in _FLAGS:
            raise InputError(f'"{key}" is set by {_FLAGS[key]}.')
        if key == "preset":
            continue
        if key not in known:
            raise InputError(
                f'Unknown parameter "{key}" of {name}.{did_you_mean(key, known)}',
                fix=f"All parameters: visift methods {name}",
            )
        values[key] = convert(key, value, types_[key])
        _must_be_inside(key, value, values[key], known[key].metadata)
    values.update({key: value for key, value in flags.items() if key in known})
    return kind(**values)


def settings(method: Method, given: Mapping[str, Any]) -> list[Setting]:
    """Return every parameter of a built method with the origin of its value."""
    preset = str(given.get("preset", ""))
    from_preset = method.presets.get(preset, {})
    official = _official(type(method), given)
    listed = []
    for field in dataclasses.fields(method):  # type: ignore[arg-type]
        if field.name in _FLAGS or "origin" not in field.metadata:
            continue
        origin = str(field.metadata["origin"])
        if field.name in official:
            origin = "compat official"
        if field.name in from_preset:
            origin = f"preset {preset}"
        if field.name in given:
            origin = "you"
        value = getattr(method, field.name)
        listed.append(Setting(field.name, value, origin, field.metadata["doc"]))
    return listed


def _official(kind: type[Method], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values that `compat=official` stands for, where it is set."""
    values: Mapping[str, Any] = getattr(kind, "official", {})
    return values if given.get("compat") == "official" else {}


def _preset(kind: type[Method], given: Mapping[str, Any]) -> Mapping[str, Any]:
    if given.get("preset") is None:
        return {}
    wanted = str(given["preset"])
    if wanted not in kind.presets:
        there = ", ".join(kind.presets) or "none"
        raise InputError(
            f'there is no preset "{wanted}" of {kind.name}.{did_you_mean(wanted, kind.presets)}',
            fix=f"Presets: {there}.",
        )
    return kind.presets[wanted]


def convert(name: str, value: Any, kind: Any) -> Any:
    """Return a value in the type of a parameter; text is read as `--set` gives it.

    Raises:
        InputError: it does not fit; the message says what would.
    """
    options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    if type(None) in options and value in (None, "none", "None", ""):
        return None
    for option in options:
        try:
            return _read(value, option)
        except (ValueError, TypeError):
            continue
    wanted = " or ".join(_wanted(option) for option in options)
    raise InputError(f"--set {name}={value}: {wanted} was expected.")


def _must_be_inside(name: str, given: Any, value: Any, bounds: Mapping[str, Any]) -> None:
    """Raise `InputError` for a number outside the bounds of its parameter, as it was given."""
    words = {"above": "more than", "low": "at least", "high": "at most"}
    said = [f"{words[b]} {bounds[b]:g}" for b in words if bounds.get(b) is not None]
    if not isinstance(value, int | float) or not said:
        return
    above, low, high = bounds["above"], bounds["low"], bounds["high"]
    outside = (low is not None and value < low) or (high is not None and value > high)
    if outside or (above is not None and value <= above):
        raise InputError(f"--set {name}={given}: {' and '.join(said)} was expected.")


def _read(value: Any, kind: Any) -> Any:
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
        raise ValueError
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if str(value).lower() not in words:
            raise ValueError
        return words[str(value).lower()]
    if kind in (int, float):
        if isinstance(value, bool):
            raise TypeError
        number = kind(value)
        if not math.isfinite(number) or (kind is int and number != float(value)):
            raise ValueError
        return number
    if kind is str and isinstance(value, str):
        return value
    if get_origin(kind) is Mapping and isinstance(value, dict):
        return value
    raise TypeError


def _wanted(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    names |= {type(None): "none"}
    return names.get(kind, "a table")
