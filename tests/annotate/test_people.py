"""What people are given, and what they send back in the formats of their programs."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.lists import images
from helpers import put_images
from visift.annotate import ToAnnotate
from visift.annotate.people import Returned, hand_out, read_back
from visift.annotate.sheet import write_sheet
from visift.errors import InputError

URL = "/data/local-files/?d="
HOSTILE = '<script>&"=1+1" \x1b[2J\x00'


def listed(folder: Path) -> list[ToAnnotate]:
    images(folder, 3)
    put_images(folder, ["b c/é&.png"])
    return [
        ToAnnotate("u0", ("a/0.png",), rank=1, task="cats", reason="near the others"),
        ToAnnotate("u1", ("a/1.png",), rank=2, prompt="<image>\nHow many?"),
        ToAnnotate("u2", ("b c/é&.png",), rank=3, reason=HOSTILE),
        ToAnnotate("lost", ("a/none.png",), rank=4),
    ]


def give(folder: Path, kind: str, **rest: Any) -> Path:
    done = hand_out(kind, listed(folder), folder, folder / "tasks", url=URL, **rest)
    assert done.lines == 3
    assert done.left_out == {"lost": "image missing: a/none.png"}
    assert all((folder / "tasks" / name).exists() for name in done.files)
    return folder / "tasks"


def back(folder: Path, name: str, text: str) -> tuple[Returned, str]:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_back(path, listed(folder))


# --- Label Studio ---------------------------------------------------------------------------------


def exported(tasks: list[Any], written: dict[str, Any]) -> str:
    """Return tasks as Label Studio exports them, with what was written in each, by uid."""
    done = [
        {
            "id": number,
            "data": task["data"],
            "annotations": [
                {
                    "id": 10 * number + k,
                    "was_cancelled": texts is None,
                    "ground_truth": False,
                    "updated_at": f"2030-01-01T00:00:0{k}.000000Z",
                    "result": [
                        {
                            "from_name": name,
                            "to_name": "image",
                            "type": "textarea",
                            "value": {"text": text},
                        }
                        for name, text in (texts or {}).items()
                    ],
                }
                for k, texts in enumerate(written.get(task["data"]["uid"], []))
            ],
            "predictions": [],
        }
        for number, task in enumerate(tasks)
    ]
    return json.dumps(done)


def test_label_studio_there_and_back(tmp_path: Path) -> None:
    folder = give(tmp_path, "label-studio")
    tasks = json.loads((folder / "tasks.json").read_text())
    assert [task["data"]["image"] for task in tasks] == [
        f"{URL}a/0.png",
        f"{URL}a/1.png",
        f"{URL}b%20c/%C3%A9%26.png",
    ]
    assert tasks[0]["data"]["heading"] == "cats · near the others"
    assert [task["data"]["question"] for task in tasks] == ["", "How many?", ""]
    view = ElementTree.parse(folder / "interface.xml").getroot()
    assert {area.get("name") for area in view.iter("TextArea")} == {"question", "answer"}
    first = {"question": ["Which cat?"], "answer": ["A black one."]}
    text = exported(tasks, {"u0": [{"answer": ["?"]}, first], "u1": [{"answer": ["Two."]}]})
    returned, program = back(tmp_path, "export.json", text)
    assert program == "label-studio"
    assert returned.finished.said == {
        "u0": (("Which cat?", "A black one."),),
        "u1": (("<image>\nHow many?", "Two."),),
    }
    assert returned.finished.failed == {}


def test_label_studio_skips_turns_and_strangers(tmp_path: Path) -> None:
    tasks: list[Any] = [{"data": {"uid": uid}} for uid in ("u0", "u1", "u2", "who?")]
    turns = {"question": ["One?", "Two?"], "answer": ["1", "2"]}
    uneven = {"question": ["One?"], "answer": ["1", "2"]}
    written = {"u0": [turns], "u1": [None], "u2": [uneven], "who?": [turns]}
    returned, _ = back(tmp_path, "export.json", exported(tasks, written))
    assert returned.finished.said == {"u0": (("One?", "1"), ("Two?", "2"))}
    assert returned.finished.failed == {
        "u1": "skipped by the annotator",
        "u2": "not as many answers as questions: 2 and 1",
    }
    assert returned.strangers == 1


def test_label_studio_s_short_export(tmp_path: Path) -> None:
    tasks = [
        {"uid": "u0", "question": "What?", "answer": "That.", "id": 1, "annotation_id": 2},
        {"uid": "u1", "question": {"text": ["How many?"]}, "answer": ["Two."]},
        {"uid": "u2", "question": ""},
    ]
    returned, _ = back(tmp_path, "min.json", json.dumps(tasks))
    assert returned.finished.said == {
        "u0": (("What?", "That."),),
        "u1": (("How many?", "Two."),),
    }
    assert returned.finished.failed == {}


def test_several_images_a_line(tmp_path: Path) -> None:
    images(tmp_path, 2)
    items = [ToAnnotate("both", ("a/0.png", "a/1.png")), ToAnnotate("one", ("a/0.png",))]
    folder = tmp_path / "tasks"
    hand_out("label-studio", items, tmp_path, folder, url="x/")
    data = [task["data"] for task in json.loads((folder / "tasks.json").read_text())]
    assert [one["images"] for one in data] == [["x/a/0.png", "x/a/1.png"], ["x/a/0.png"]]
    assert 'valueList="$images"' in (folder / "interface.xml").read_text()
    done = hand_out("cvat", items, tmp_path, tmp_path / "other", url="")
    assert done.left_out == {"both": "several images: CVAT shows one at a time"}


# --- CVAT -----------------------------------------------------------------------------------------


def test_cvat_there_and_back(tmp_path: Path) -> None:
    folder = give(tmp_path, "cvat", copy_images=True)
    (label,) = json.loads((folder / "labels.json").read_text())
    assert [one["name"] for one in label["attributes"]] == ["uid", "question", "answer"]
    tree = ElementTree.parse(folder / "annotations.xml")
    found = [(one.get("name"), one.get("width"), one.get("height")) for one in tree.iter("image")]
    assert found == [("a/0.png", "4", "3"), ("a/1.png", "4", "3"), ("b c/é&.png", "4", "3")]
    assert (folder / "images/b c/é&.png").read_bytes() == (tmp_path / "b c/é&.png").read_bytes()
    # Nothing written yet: everything is left.
    returned, _ = read_back(folder / "annotations.xml", listed(tmp_path))
    assert (returned.finished.said, returned.finished.failed) == ({}, {})
    for image, answer in zip(tree.iter("image"), ("Grey.", "Two.", ""), strict=True):
        for attribute in image.iter("attribute"):
            if attribute.get("name") == "answer":
                attribute.text = answer
            if attribute.get("name") == "question" and not attribute.text:
                attribute.text = "Which colour?"
    done = ElementTree.tostring(tree.getroot(), encoding="unicode")
    returned, program = back(tmp_path, "done.xml", done)
    assert program == "cvat"
    assert returned.finished.said == {
        "u0": (("Which colour?", "Grey."),),
        "u1": (("How many?", "Two."),),
    }
    with zipfile.ZipFile(tmp_path / "done.zip", "w") as archive:
        archive.writestr("annotations.xml", done)
    assert read_back(tmp_path / "done.zip", listed(tmp_path)) == (returned, "cvat")


def test_a_tag_somebody_drew_belongs_to_the_line_of_its_image(tmp_path: Path) -> None:
    text = """<annotations><version>1.1</version>
    <image id="0" name="a/0.png" width="4" height="3">
      <tag label="instruction"><attribute name="question">What?</attribute>
        <attribute name="answer">That.</attribute></tag>
      <tag label="other"><attribute name="answer">no</attribute></tag></image>
    <image id="1" name="z.png"><tag label="instruction">
      <attribute name="answer">?</attribute></tag></image></annotations>"""
    returned, _ = back(tmp_path, "done.xml", text)
    assert returned.finished.said == {"u0": (("What?", "That."),)}
    assert returned.strangers == 1


# --- tables ---------------------------------------------------------------------------------------


def test_a_table_there_and_back(tmp_path: Path) -> None:
    folder = give(tmp_path, "csv")
    with (folder / "to_annotate.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["uid"] for row in rows] == ["u0", "u1", "u2"]
    assert rows[1]["question"] == "How many?"
    rows[0] |= {"question": "Which cat?", "answer": "A black one."}
    rows[1]["answer"] = 'Two.\nReally; two, "2".'
    rows.append({**rows[0], "question": "And that?", "answer": "A white one."})
    path = tmp_path / "done.csv"
    for delimiter in ",;":
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            table.writeheader()
            table.writerows(rows)
        returned, program = read_back(path, listed(tmp_path))
        assert program == "csv"
        assert returned.finished.said == {
            "u0": (("Which cat?", "A black one."), ("And that?", "A white one.")),
            "u1": (("How many?", 'Two.\nReally; two, "2".'),),
        }


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1)


@given(st.lists(CELLS, min_size=1, max_size=3, unique=True))
def test_no_cell_is_a_formula_and_names_come_back(
    tmp_path_factory: pytest.TempPathFactory, uids: list[str]
) -> None:
    path = tmp_path_factory.mktemp("sheet") / "to_annotate.csv"
    items = [ToAnnotate(uid, ("a.png",), reason=uid) for uid in uids]
    write_sheet(path, items)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert not any(row[name][:1] in tuple("=+-@\t") for row in rows for name in ("uid", "reason"))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows({**row, "question": "q", "answer": "a"} for row in rows)
    returned, _ = read_back(path, items)
    assert set(returned.finished.said) == set(uids)


# --- what cannot be read --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("x.json", "{", "is no JSON."),
        ("x.json", "{}", "is no list of tasks."),
        ("x.xml", "<annotations>", "holds no annotations.xml that can be read."),
        ("x.xml", "<html/>", "is XML, but of another kind: <html>."),
        ("x.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "declares a document type"),
        ("x.zip", "PK", "holds no annotations.xml that can be read."),
        ("x.csv", "id,answer\n1,a\n", 'has no column "uid".'),
        ("x.txt", "", "is no file that people's annotations come in."),
    ],
)
def test_what_cannot_be_read_is_named(name: str, text: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        back(tmp_path, name, text)
    assert what in error.value.what


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    give(tmp_path, "csv")
    with pytest.raises(InputError, match="is there already"):
        give(tmp_path, "csv")
    give(tmp_path, "csv", overwrite=True)
