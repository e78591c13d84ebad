"""CVAT: the label, prefilled annotations in "CVAT for images 1.1", and that format back.

What is written about an image is a tag with three text attributes; `uid` says of which line.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import orjson

from visift.annotate.people import Handout, Written
from visift.annotate.todo import ToAnnotate
from visift.errors import ImageError, InputError
from visift.files import write_atomically
from visift.pool.imageroot import ImageRoot
from visift.pool.paths import name_image, normalise
from visift.pool.record import IMAGE_TAG

LABELS, ANNOTATIONS = "labels.json", "annotations.xml"
_LABEL = "instruction"
_ATTRIBUTES = ("uid", "question", "answer")
_LARGEST = 2**30
# What XML 1.0 cannot say at all.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(handout: Handout) -> tuple[tuple[str, ...], dict[str, str], str]:
    """Write `labels.json` and `annotations.xml`; see `people.Write`.

    A line with several images has no place in CVAT, where every image stands for itself.
    """
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    left_out: dict[str, str] = {}
    by_image: dict[str, list[ToAnnotate]] = {}
    for item in handout.items:
        if len(item.images) > 1:
            left_out[item.uid] = "several images: CVAT shows one at a time"
        else:
            by_image.setdefault(normalise(item.images[0]), []).append(item)
    kept = 0
    for path, items in by_image.items():
        try:
            _append_image(root, kept, path, items, handout.root)
            kept += 1
        except ImageError as error:
            left_out |= {item.uid: name_image(error, path).what for item in items}
    text = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    write_atomically(handout.folder / ANNOTATIONS, text)
    labels = orjson.dumps([_label()], option=orjson.OPT_INDENT_2)
    write_atomically(handout.folder / LABELS, labels)
    step = (
        f"In CVAT, make a task with {LABELS} as its raw labels and the images, and upload "
        f"{ANNOTATIONS} as CVAT 1.1"
    )
    return (LABELS, ANNOTATIONS), left_out, step


def read(path: Path, items: Sequence[ToAnnotate]) -> Iterator[Written]:
    """Yield what people wrote, from an XML file or the zip that CVAT puts it in.

    A tag without a uid belongs to the one line of its image.

    Raises:
        InputError: the file is no such export.
    """
    by_image: dict[str, list[str]] = {}
    for item in items:
        by_image.setdefault(normalise(item.images[0]), []).append(item.uid)
    for image in _parsed(path).iter("image"):
        here = by_image.get(image.get("name", ""), [])
        for tag in image.findall("tag"):
            if tag.get("label") != _LABEL:
                continue
            said = {one.get("name", ""): one.text or "" for one in tag.findall("attribute")}
            uid = said.get("uid", "").strip() or (here[0] if len(here) == 1 else "")
            answer = said.get("answer", "").strip()
            if answer:
                yield Written(uid, ((said.get("question", ""), answer),))


def _append_image(
    root: ElementTree.Element,
    number: int,
    path: str,
    items: Sequence[ToAnnotate],
    images: ImageRoot,
) -> None:
    width, height = images.load(path).size
    about = {"id": str(number), "name": _sayable(path)}
    about |= {"width": str(width), "height": str(height)}
    image = ElementTree.SubElement(root, "image", about)
    for item in items:
        tag = ElementTree.SubElement(image, "tag", {"label": _LABEL, "source": "manual"})
        question = (item.prompt or "").replace(IMAGE_TAG, "").strip()
        for name, text in zip(_ATTRIBUTES, (item.uid, question, ""), strict=True):
            attribute = ElementTree.SubElement(tag, "attribute", {"name": name})
            attribute.text = _sayable(text)


def _label() -> dict[str, Any]:
    attributes = [
        {
            "name": name,
            "input_type": "text",
            "mutable": False,
            "default_value": "",
            "values": [""],
        }
        for name in _ATTRIBUTES
    ]
    return {"name": _LABEL, "type": "tag", "attributes": attributes}


def _parsed(path: Path) -> ElementTree.Element:
    try:
        data = _unzipped(path) if path.suffix.lower() == ".zip" else path.read_bytes()
        # Entities could grow without end, and no export has any.
        if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
            raise InputError("declares a document type, which CVAT does not.", where=str(path))
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, zipfile.BadZipFile, KeyError, RuntimeError):
        raise InputError(
            f"holds no {ANNOTATIONS} that can be read.",
            where=str(path),
            fix='Export the task as "CVAT for images 1.1".',
        ) from None
    if root.tag != "annotations":
        raise InputError(
            f"is XML, but of another kind: <{root.tag}>.",
            where=str(path),
            fix='Export the task as "CVAT for images 1.1".',
        )
    return root


def _unzipped(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo(ANNOTATIONS).file_size > _LARGEST:
            raise InputError(f"{ANNOTATIONS} in it is larger than 1 GB.", where=str(path))
        return archive.read(ANNOTATIONS)


def _sayable(text: str) -> str:
    return _NO_XML.sub("�", text)
