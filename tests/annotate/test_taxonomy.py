"""The file of definitions: what comes with visift, what may be changed, and mistakes in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from visift.annotate.capabilities import CAPABILITIES, STYLES
from visift.annotate.taxonomy import Taxonomy, own_taxonomy
from visift.errors import InputError


def read(folder: Path, text: str) -> Taxonomy:
    path = folder / "mine.yaml"
    path.write_text(text)
    return Taxonomy.read(path)


def test_the_file_defines_what_the_method_reads() -> None:
    own = Taxonomy.read()
    assert (own.keys, own.labels, own.source) == (CAPABILITIES, STYLES, None)
    for capability in own.capabilities:
        assert all(f"{score}:" in capability.definition for score in (0, 3, 5)), capability.key
    assert own.capabilities[0].name == "object spatial understanding"


def test_a_new_capability_is_a_new_entry(tmp_path: Path) -> None:
    added = own_taxonomy().replace(
        "\nstyles:\n", "\n  taste: |\n    Whether it is tasty.\nstyles:\n"
    )
    mine = read(tmp_path, added)
    assert mine.keys == (*CAPABILITIES, "taste")
    assert mine.source == str(tmp_path / "mine.yaml")
    assert [entry.definition for entry in mine.only(["taste"]).capabilities] == [
        "Whether it is tasty."
    ]
    assert mine.only(["taste"]).labels == ()


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("\nstyles:\n", "\nstils:\n", 'unknown name "stils". Did you mean "styles"?'),
        ("\nstyles:\n", "\nstyles: [\n", "is not valid YAML"),
        ("  humanities: |", "  stem_knowledge: |", '"stem_knowledge" stands there twice.'),
        ("  humanities: |", "  Human Sciences: |", '"Human Sciences" cannot be the name of a cap'),
        ("  yes/no: |", "  yes, no: |", '"yes, no" cannot be the name of a style.'),
        ("  yes/no: |", "  yes: |", "styles: True is no name."),
        ("  humanities: |\n", "  humanities:\n  art: |\n", 'capabilities: "humanities" has no def'),
        ("{dialogue}", "{dialog}", 'record says {dialog}. Did you mean "dialogue"?'),
        ("  {dialogue}\n", "", "record has no place {dialogue}."),
        ("system: |", "system: 3\nother: |", 'unknown name "other".'),
        ("ask_styles: |", "ask_styles: [1]\nrecord: |", '"record" stands there twice.'),
        ("\ncapabilities:\n", "\ncapabilities: 3\nx:\n", 'unknown name "x".'),
    ],
)
def test_a_mistake_is_named(old: str, new: str, what: str, tmp_path: Path) -> None:
    assert old in own_taxonomy()
    start = own_taxonomy().index("\nsystem: |")
    text = own_taxonomy()[start:].replace(old, new, 1)
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    assert what in error.value.what


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "names with values were expected."),
        ("- 1", "names with values were expected."),
        ("capabilities: {}", "there are no capabilities."),
        ("capabilities: 3", "capabilities: names with definitions were expected."),
        ("capabilities: {a: b}\nstyles: 3", "styles: names with definitions were expected."),
        ("capabilities: {a: b}", "system is no text."),
    ],
)
def test_a_file_of_another_kind_is_named(text: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    assert error.value.what == what


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        Taxonomy.read(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff")
    with pytest.raises(InputError, match="not text in UTF-8"):
        Taxonomy.read(tmp_path / "b.yaml")
