"""Paths of images as records and archives write them, relative to the image root."""

from __future__ import annotations

import os
import re

from visift.errors import ImageError, PoolError

LEAVES = "leaves the image folder"

#: Characters of a path; longer ones name no file on any common system.
LONGEST_PATH = 4096
_SHOWN = 200

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_DRIVE = re.compile(r"[A-Za-z]:")
# `kind`, `kind (detail)` or `kind: detail`.
_KIND = re.compile(r"(?P<kind>.*?)(?: \((?P<inside>.*)\)|: (?P<after>.*))?", re.DOTALL)


def name_image(error: ImageError, path: str) -> ImageError:
    """Return an error of one image as a reason that names it: a short kind, the path, details.

    `truncated (302 bytes, 840 needed)` becomes `image truncated: a/1.png (302 bytes, 840 needed)`:
    what stands before the first colon is the same for all images of that kind.
    """
    split = _KIND.fullmatch(error.what)
    assert split is not None, "it matches any text"
    detail = split["inside"] or split["after"]
    named = f"image {split['kind']}: {shortened(path)}"
    return type(error)(f"{named} ({detail})" if detail else named)


def shortened(text: str) -> str:
    """Return a text whose middle is left out where it is too long for a reason to show."""
    half = _SHOWN // 2
    return text if len(text) <= _SHOWN else f"{text[:half]}…{text[-half:]}"


def must_be_unicode(path: str | os.PathLike[str]) -> None:
    """Raise `PoolError` for a file whose name no table, manifest or report could hold."""
    name = os.fspath(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise PoolError(
            "its name is not valid UTF-8.",
            where=os.fsencode(name).decode(errors="backslashreplace"),
            fix="Rename it, or name it by a link.",
        ) from None


def normalise(path: str) -> str:
    """Return a path relative to the image root, with `/`, without `.` and `..`.

    Raises:
        ImageError: empty, too long, a URL, absolute, or climbing out of the root.
    """
    if not path:
        raise ImageError("empty path")
    if len(path) > LONGEST_PATH:
        raise ImageError(f"cannot be read (a path of {len(path):,} characters)")
    if "\0" in path:
        raise ImageError("path with a zero byte")
    if ":" in path:
        _refuse_urls_and_drives(path)
    if "\\" in path:
        path = path.replace("\\", "/")
    if path[0] == "/":
        raise ImageError(f"{LEAVES} (absolute path; write it relative to that folder)")
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                raise ImageError(f"{LEAVES} (by ..)")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    if not parts:
        raise ImageError("is a folder")
    name = "/".join(parts)
    if name.isspace():
        raise ImageError("empty path")
    if ":" in name:
        _refuse_urls_and_drives(name)
    return name


def _refuse_urls_and_drives(path: str) -> None:
    start = path.lstrip()
    if start[:5].lower() == "data:":
        raise ImageError("is embedded data, not the path of a file")
    if _URL.match(start) or start[:5].lower() == "file:":
        raise ImageError("is a URL: nothing is ever downloaded; download it first")
    if _DRIVE.match(start):
        raise ImageError(f"{LEAVES} (absolute path; write it relative to that folder)")
