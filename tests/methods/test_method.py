"""Methods by name, and parameters by name: what fits, what does not, and what is said then."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from visift.errors import InputError
from visift.methods.controls import Random, Stratified
from visift.methods.method import METHODS, build, convert, method_class, param, settings
from visift.methods.prism import Prism


@dataclass(frozen=True)
class Own:
    """A method of somebody else's."""

    name: ClassVar[str] = "own"
    summary: ClassVar[str] = "for this test"
    presets: ClassVar[dict[str, dict[str, Any]]] = {"half": {"tau": 0.5, "flag": True}}

    seed: int = 0
    tau: float = param(0.25, origin="paper", doc="a share")
    count: int = param(3, origin="code", doc="a number")
    flag: bool = param(False, origin="ours", doc="a switch")
    kind: Literal["a", "b"] = param("a", origin="ours", doc="a choice")
    label: str | None = param(None, origin="ours", doc="a text")

    def measure(self, pool: Any, lab: Any, budget: Any) -> None: ...

    def choose(self, pool: Any, inputs: Any, budget: Any) -> None: ...


not_a_method = 3
OWN = f"{__name__}:Own"


def test_the_table_and_other_peoples_classes() -> None:
    assert {name: method_class(name).name for name in METHODS} == {name: name for name in METHODS}
    assert isinstance(build(OWN, {}), Own)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("prisma", 'there is no method "prisma". Did you mean "prism"?'),
        ("zzz", 'there is no method "zzz".'),
        ("", "no method was named."),
        ("no.such.module:Method", "cannot be imported"),
        (f"{__name__}:Missing", "cannot be imported"),
        (":Own", "cannot be imported"),
        (".relative:Own", "cannot be imported"),
        (f"{__name__}:not_a_method", "is no method"),
        ("json:loads", "is no method"),
        ("visift.errors:VisiftError", "is no method"),
    ],
)
def test_names_that_are_no_method(name: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        build(name, {})
    assert said in caught.value.what


def test_parameters_from_text_and_from_values() -> None:
    text = {"tau": "0.5", "count": "7", "flag": "yes", "kind": "b", "label": "x"}
    values = {"tau": 0.5, "count": 7.0, "flag": True, "kind": "b", "label": "x"}
    assert build(OWN, text) == build(OWN, values) == Own(0, 0.5, 7, True, "b", "x")
    assert build(OWN, {"label": "none"}, seed=4, model="m") == Own(seed=4)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("tau", "a third", "a number was expected"),
        ("tau", "nan", "a number was expected"),
        ("tau", "inf", "a number was expected"),
        ("tau", True, "a number was expected"),
        ("tau", None, "a number was expected"),
        ("count", "2.5", "a whole number was expected"),
        ("count", 2.5, "a whole number was expected"),
        ("flag", "maybe", "true or false was expected"),
        ("kind", "c", "one of a, b was expected"),
        ("label", 3, "text or none was expected"),
    ],
)
def test_values_that_do_not_fit(name: str, value: Any, wanted: str) -> None:
    with pytest.raises(InputError) as caught:
        build(OWN, {name: value})
    assert caught.value.what == f"--set {name}={value}: {wanted}."


def test_an_unknown_parameter_offers_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        build("prism", {"taau": 1})
    assert caught.value.what == 'Unknown parameter "taau" of prism. Did you mean "tau"?'
    assert caught.value.fix == "All parameters: visift methods prism"


@pytest.mark.parametrize("name", ["seed", "model"])
def test_flags_are_no_parameters(name: str) -> None:
    with pytest.raises(InputError, match=f'"{name}" is set by --{name}'):
        build("prism", {name: "1"})


def test_presets_and_what_still_wins() -> None:
    assert build(OWN, {"preset": "half"}) == Own(tau=0.5, flag=True)
    assert build(OWN, {"preset": "half", "tau": "0.1"}) == Own(tau=0.1, flag=True)
    with pytest.raises(InputError, match='Did you mean "half"') as caught:
        build(OWN, {"preset": "halv"})
    assert caught.value.fix == "Presets: half."
    with pytest.raises(InputError, match="no preset"):
        build(OWN, {"preset": ["half"]})
    with pytest.raises(InputError, match="no preset"):
        build("random", {"preset": "x"})


def test_settings_say_where_each_value_is_from() -> None:
    given = {"preset": "half", "tau": 0.1}
    found = {s.name: (s.value, s.origin) for s in settings(build(OWN, given), given)}
    assert found == {
        "tau": (0.1, "you"),
        "count": (3, "code"),
        "flag": (True, "preset half"),
        "kind": ("a", "ours"),
        "label": (None, "ours"),
    }


@pytest.mark.parametrize("kind", [Random, Stratified, Prism])
def test_every_parameter_is_documented(kind: type) -> None:
    for field in dataclasses.fields(kind):
        if field.name not in ("seed", "model"):
            assert field.metadata["origin"] in ("paper", "code", "ours")
            assert field.metadata["doc"]


def test_every_preset_can_be_built() -> None:
    for name in METHODS:
        for preset in method_class(name).presets:
            build(name, {"preset": preset})


def test_none_is_only_what_may_be_none() -> None:
    assert convert("x", "none", str | None) is None
    assert convert("x", "none", str) == "none"


def test_a_method_elsewhere_is_found_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "from visift.methods.controls import Random\nclass Mine(Random):\n    name = 'mine'\n"
    (tmp_path / "elsewhere_for_this_test.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert build("elsewhere_for_this_test:Mine", {}, seed=2).name == "mine"
