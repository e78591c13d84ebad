"""Lists for people who annotate, in the formats of the programs they use, and what they send back.

A format is one module with `write` and `read`; everything here is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from visift.annotate.records import Finished, Pairs, checked
from visift.annotate.todo import ToAnnotate, check_bare
from visift.errors import ImageError, InputError
from visift.files import disk_errors
from visift.pool.imageroot import ImageRoot
from visift.pool.paths import name_image, normalise

IMAGES = "images"


@dataclass(frozen=True, slots=True)
class Written:
    """What a person wrote for one line.

    Attributes:
        uid: of the line.
        pairs: questions with answers; an empty question stands for the one of the list.
        skipped: why there is nothing, where the person said so.
    """

    uid: str
    pairs: Pairs
    skipped: str | None = None


@dataclass(frozen=True, slots=True)
class Returned:
    """What came back.

    Attributes:
        finished: the conversations; lines that nobody has worked on are left.
        strangers: annotations of no line of the list.
        again: annotations of a line that has another one, which is the one taken.
    """

    finished: Finished
    strangers: int = 0
    again: int = 0


@dataclass(frozen=True, slots=True)
class Handout:
    """What a format writes for people.

    Attributes:
        items: the lines; all their images are there.
        root: where images lie.
        folder: to write into; it is there.
        url: what image paths are appended to, where a format names images by address.
    """

    items: Sequence[ToAnnotate]
    root: ImageRoot
    folder: Path
    url: str


@dataclass(frozen=True, slots=True)
class HandedOut:
    """What was written.

    Attributes:
        files: names of the files, in the order in which they are needed.
        lines: that people will see.
        left_out: why a line is not among them, by uid.
        next_step: what to do with the files, one sentence.
    """

    files: tuple[str, ...]
    lines: int
    left_out: dict[str, str]
    next_step: str


#: Writes the files of a format; returns their names, lines it cannot hold, and what comes next.
Write = Callable[[Handout], tuple[tuple[str, ...], dict[str, str], str]]


def hand_out(
    kind: str,
    items: Sequence[ToAnnotate],
    image_folder: Path,
    folder: Path,
    *,
    url: str,
    copy_images: bool = False,
    overwrite: bool = False,
) -> HandedOut:
    """Write a list for people.

    Args:
        kind: `label-studio`, `cvat` or `csv`.
        items: the list.
        image_folder: what image paths start from.
        folder: to write into.
        url: what Label Studio finds images under.
        copy_images: copy the images, too, into `images/`.
        overwrite: write into a folder that holds something.

    Raises:
        InputError: the folder is not empty, or the list wants ratings.
        PoolError: there are no images.
        StorageError: a file cannot be written.
    """
    check_bare(items)
    root = ImageRoot.open(image_folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not overwrite:
        raise InputError(
            "is there already.",
            where=str(folder),
            fix="Choose another --output, or write into it: --overwrite",
        )
    left_out = _unavailable(items, root)
    there = [item for item in items if item.uid not in left_out]
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if copy_images:
            _copy(there, root, folder / IMAGES, left_out)
            there = [item for item in there if item.uid not in left_out]
        files, more, next_step = _writer(kind)(Handout(there, root, folder, url))
    left_out |= more
    files += (f"{IMAGES}/",) if copy_images else ()
    return HandedOut(files, len(items) - len(left_out), left_out, next_step)


def read_back(path: Path, items: Sequence[ToAnnotate]) -> tuple[Returned, str]:
    """Read what people wrote; the name of the file says by which program.

    Args:
        path: Label Studio's JSON, CVAT's XML (or the zip it comes in), or the CSV file.
        items: the list.

    Returns:
        What came back, and the name of the program.

    Raises:
        InputError: the file cannot be read, or is of another kind; the list wants ratings.
    """
    check_bare(items)
    from visift.annotate import cvat, labelstudio, sheet

    readers = {
        ".json": ("label-studio", labelstudio.read),
        ".xml": ("cvat", cvat.read),
        ".zip": ("cvat", cvat.read),
        ".csv": ("csv", sheet.read),
    }
    if path.suffix.lower() not in readers:
        raise InputError(
            "is no file that people's annotations come in.",
            where=str(path),
            fix="Label Studio's .json, CVAT's .xml or .zip, or the .csv file.",
        )
    kind, read = readers[path.suffix.lower()]
    try:
        written = read(path, items)
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror or error}).", where=str(path), fix="Check --from."
        ) from error
    return _returned(items, written), kind


def _returned(items: Sequence[ToAnnotate], written: Iterable[Written]) -> Returned:
    by_uid = {item.uid: item for item in items}
    said: dict[str, Pairs] = {}
    failed: dict[str, str] = {}
    strangers = again = 0
    for one in written:
        item = by_uid.get(one.uid)
        if item is None:
            strangers += 1
            continue
        again += one.uid in said or one.uid in failed
        said.pop(one.uid, None)
        failed.pop(one.uid, None)
        pairs, fault = checked(item, _with_question(item, one.pairs))
        fault = one.skipped or fault
        if fault is None:
            said[one.uid] = pairs
        else:
            failed[one.uid] = fault
    return Returned(Finished(said, failed), strangers, again)


def _with_question(item: ToAnnotate, pairs: Pairs) -> Pairs:
    """Return pairs whose first question is the one of the list where the person left it empty."""
    if not pairs or pairs[0][0].strip() or item.prompt is None:
        return pairs
    return ((item.prompt, pairs[0][1]), *pairs[1:])


def _unavailable(items: Sequence[ToAnnotate], root: ImageRoot) -> dict[str, str]:
    reasons = root.unavailable([path for item in items for path in item.images])
    return {
        item.uid: name_image(ImageError(reasons[path]), path).what
        for item in items
        for path in item.images
        if path in reasons
    }


def _copy(
    items: Sequence[ToAnnotate], root: ImageRoot, folder: Path, left_out: dict[str, str]
) -> None:
    for item in items:
        for path in item.images:
            target = folder / normalise(path)
            if target.exists():
                continue
            try:
                data = root.read(path)
            except ImageError as error:
                left_out[item.uid] = name_image(error, path).what
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)


def _writer(kind: str) -> Write:
    from visift.annotate import cvat, labelstudio, sheet

    writers: dict[str, Write] = {
        "label-studio": labelstudio.write,
        "cvat": cvat.write,
        "csv": sheet.write,
    }
    return writers[kind]
