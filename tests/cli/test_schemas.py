"""What `--json` prints is what `docs/schemas` says, and the schemas leave nothing open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers import png, put_images, sources_pool, talk, write_json
from visift.cli import run

jsonschema = pytest.importorskip("jsonschema")

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


def validate(name: str, said: Any) -> None:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    kind = jsonschema.Draft202012Validator
    kind(schema, format_checker=kind.FORMAT_CHECKER).validate(said)


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """Run a command with --json; stdout must be one object and nothing else."""
    assert run([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_schemas_are_schemas_of_closed_objects(path: Path) -> None:
    schema = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert list(open_places(schema)) == []


#: Parameters of methods and signals, which third parties write as well, may be anything.
ANYTHING = ("Of the signal, by name.", "Parameter -> value.", "Its value unless set.")


def open_places(schema: Any, where: str = "") -> Iterator[str]:
    """Yield the places of a schema where anything, or nothing, would do."""
    if "properties" in schema:
        if schema.get("additionalProperties") is not False:
            yield f"{where}: other names"
        if set(schema.get("required", ())) != set(schema["properties"]):
            yield f"{where}: may be missing"
    kinds = schema.get("type", ())
    if schema.get("description") in ANYTHING:
        return
    if "object" in kinds and not {"properties", "additionalProperties"} & set(schema):
        yield f"{where}: any object"
    if "array" in kinds and not {"items", "prefixItems"} & set(schema):
        yield f"{where}: any list"
    if not {"type", "$ref", "anyOf", "oneOf", "enum", "const"} & set(schema):
        yield f"{where}: any value"
    inside = {**schema.get("properties", {}), **schema.get("$defs", {})}
    inside |= {name: schema[name] for name in ("items", "additionalProperties") if name in schema}
    for name in ("anyOf", "oneOf", "prefixItems"):
        inside |= {f"{name} {at}": one for at, one in enumerate(schema.get(name, ()))}
    for name, one in inside.items():
        if isinstance(one, dict):
            yield from open_places(one, f"{where}/{name}")


@pytest.mark.parametrize(
    "options", [[], ["--method", "random", "--export", "llava"], ["--max-unusable", "50%"]]
)
def test_select(tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    pool = sources_pool(tmp_path / "data", {"coco": 8, "gqa": 4}, text=3)
    if "--max-unusable" in options:
        (pool.parent / "coco/3.png").unlink()
    arguments = ["select", "--pool", pool, "--budget", "40%", "-o", tmp_path / "out", *options]
    validate("select", said(capsys, *arguments))


def test_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_images(tmp_path, ["a/0.png", "a/1.png"])
    (tmp_path / "a/cut.jpg").write_bytes(png()[:-9])
    records: list[Any] = [
        talk("<image>", id=1, image="a/0.png", task="x"),
        talk("<image>", id="1", image="a/0.png", task="x"),
        talk("<image>", image=["a/1.png", "a/none.png"]),
        talk("", image="a/cut.jpg"),
        talk("<image>"),
        {"conversations": 3},
    ]
    pool = write_json(tmp_path / "pool.json", records)
    validate("inspect", said(capsys, "inspect", "--pool", pool))
    validate("inspect", said(capsys, "inspect", "--pool", pool, "--verify-images"))
    text = write_json(tmp_path / "text.json", [talk()])
    validate("inspect", said(capsys, "inspect", "--pool", text, "--verify-images"))


def test_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from visift.engine.store import Store, item_keys
    from visift.signals.signal import Values

    for model in (None, {"digest": "ab", "dtype": "float32"}):
        known = {"signal": "a.B", "version": 1, "columns": [], "layer": 2, "model": model}
        store = Store.open(tmp_path / "cache" / "images-0123456789ab", known, ())
        if model:
            store.commit(item_keys(["x"]), Values({}, [None]))
    listed = said(capsys, "cache", "--cache", tmp_path / "cache")
    assert len(listed["stores"]) == 2
    validate("cache", listed)
    validate("cache", said(capsys, "cache", "--cache", tmp_path / "cache", "--clear", "--yes"))
    validate("cache", said(capsys, "cache", "--cache", tmp_path / "none"))


def test_methods(capsys: pytest.CaptureFixture[str]) -> None:
    validate("methods", said(capsys, "methods"))
    one = said(capsys, "methods", "prism")
    validate("methods", one)
    (prism,) = one["methods"]
    assert (prism["paper"], prism["parameters"][0]["name"]) == ("2502.12119", "tau")


@pytest.mark.parametrize("full", [0.5, -1.0], ids=["tasks count", "none counts"])
def test_validate(tmp_path: Path, full: float) -> None:
    from validate.verdicts import validated
    from visift.cli.terminal import printable_json
    from visift.validate.benchmarks import Benchmarked
    from visift.validate.writing import facts

    done = validated(tmp_path, {"balanced": 0.2}, full=full, budgets=("12", "24"), rounds=2)
    one = done.judged[0]
    same = Benchmarked("12", one.results, one.scores, one.verdicts, one.beside)
    done = replace(done, benchmarks=(same,))
    validate("validate", json.loads(printable_json(facts(done))))


def test_validate_collect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool = sources_pool(tmp_path / "pool", {"a": 10})
    out = tmp_path / "out"
    said(capsys, "select", "--pool", pool, "--method", "random", "--budget", "4", "-o", out)
    lines = ["arm,training_seed,task,question,score"]
    for arm in ("subset", "random", "control"):
        lines += [f"{arm},{n % 2},{'ab'[n // 2 % 2]},q{n // 2},{n % 3 / 2}" for n in range(40)]
    file = tmp_path / "r.csv"
    file.write_text("\n".join(lines))
    found = said(capsys, "validate", "--collect", out, "--results", file)
    assert [one["arm"] for one in found["others"]] == ["control"]
    assert (out / "verdict" / "report" / "index.html").exists()
    validate("validate", found)
