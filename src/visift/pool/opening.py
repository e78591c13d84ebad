"""What `--pool`, `--keep` and `--have` name: records, tables of images, or images by themselves."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from visift.errors import InputError, PoolError
from visift.pool.archives import compressed_tar
from visift.pool.files import (
    ARCHIVES,
    COMPRESSED_TARS,
    PARQUET,
    Contents,
    look_into,
    must_be_a_file,
    must_be_local,
    only_images,
)
from visift.pool.imageroot import ImageRoot
from visift.pool.paths import must_be_unicode
from visift.pool.readers import Reader, open_reader
from visift.pool.readers.images import ImageList
from visift.pool.readers.tables import has_images_inside, read_parquet
from visift.pool.roles import PoolFile, RowRole, named_paths


def open_files(
    by_role: Mapping[RowRole, Sequence[Path]],
    image_folder: str | Path | None,
    task_field: str | None,
    source_field: str | None,
) -> tuple[tuple[PoolFile, ...], tuple[ImageRoot, ...]]:
    """Open all files of a pool and the image roots that their records refer to.

    Args:
        by_role: files and folders as given.
        image_folder: where all images lie; None for the folder of each file.
        task_field: see `Pool.open`.
        source_field: see `Pool.open`.

    Raises:
        PoolError: a file, folder or archive cannot be read, or holds nothing that makes a pool.
        InputError: a field that no record has, or that holds what the records say.
    """
    folder = None if image_folder is None else Path(must_be_local(image_folder))
    opening = _Opening(folder, task_field, source_field)
    for role, path, prefix in named_paths(by_role):
        opening.add(role, path, prefix)
    _must_mention(opening.files, {"--task-field": task_field, "--source-field": source_field})
    return tuple(opening.files), opening.all_roots()


@dataclass(slots=True)
class _Opening:
    """The files opened so far; roots are opened at the end, where listing images needs none."""

    image_folder: Path | None
    task_field: str | None
    source_field: str | None
    files: list[PoolFile] = field(default_factory=list)
    _roots: list[Path] = field(default_factory=list)
    _opened: dict[Path, ImageRoot] = field(default_factory=dict)

    def add(self, role: RowRole, path: Path, prefix: str) -> None:
        """Open a file, a folder of files, or images."""
        if os.path.isdir(path):  # noqa: PTH112 (Path raises where a name is too long)
            must_be_unicode(path)
            found = look_into(path)
            if not found.files:
                self._add_images(role, path, prefix, found)
            for file in found.files:
                self._add_file(role, file, path, prefix)
        elif path.name.lower().endswith((*ARCHIVES, *COMPRESSED_TARS)):
            must_be_a_file(path)
            if not path.name.lower().endswith(ARCHIVES):
                raise compressed_tar(path)
            self._add_images(role, path, prefix, None)
        else:
            self._add_file(role, path, path.parent, prefix)

    def _add_file(self, role: RowRole, file: Path, folder: Path, prefix: str) -> None:
        """Open a file of records or a table, which may be the root of its own images."""
        name = prefix + file.relative_to(folder).as_posix()
        if file.suffix.lower() == PARQUET and has_images_inside(file):
            names = self._root(file).row_names()
            reader: Reader = read_parquet(file, self.task_field, self.source_field, names)
            self._keep(reader, name, file, role)
        else:
            reader = open_reader(file, self.task_field, self.source_field)
            self._keep(reader, name, self.image_folder or self._beside(role) or folder, role)

    def _beside(self, role: RowRole) -> Path | None:
        """Return where the images of files beside a pool of images alone lie: in the pool.

        What was annotated for such a pool names images by its paths.
        """
        alone = [file for file in self.files if isinstance(file.reader, ImageList)]
        if role == "candidate" or len(alone) != len(self.files) or len(self._roots) != 1:
            return None
        return self._roots[0]

    def _add_images(self, role: RowRole, path: Path, prefix: str, found: Contents | None) -> None:
        """List the images of a folder (as found) and of its archives, or of one archive."""
        beside = self._root(path).packed()
        below = self._below_image_folder(path, packed=bool(found and beside))
        loose = found.images if found else ()
        listed = only_images(list({*loose, *beside}))
        if not listed.images:
            raise _nothing_in(path, found)
        skipped = Counter(found.skipped if found else {}) + Counter(listed.skipped)
        inside = "" if below in (None, ".") else f"{below}/"
        names = [inside + name for name in listed.images]
        root = path if below is None or self.image_folder is None else self.image_folder
        images = ImageList.of_names(path, names, dict(skipped.most_common()))
        self._keep(images, prefix + _own_name(path), root, role)

    def _below_image_folder(self, path: Path, *, packed: bool) -> str | None:
        """Return where in the image folder some images lie, None if it does not lead to them.

        Archives are found at the top of the image folder only.
        """
        if self.image_folder is None:
            return None
        inside = os.path.relpath(path, self.image_folder).replace(os.sep, "/")
        if inside.startswith("../") or inside == "..":
            return None
        if inside == "." or os.path.isdir(path):  # noqa: PTH112
            return None if packed and inside != "." else inside
        return None if "/" in inside else "."

    def _keep(self, reader: Reader, name: str, root: Path, role: RowRole) -> None:
        if root not in self._roots:
            self._roots.append(root)
        self.files.append(PoolFile(reader, name, self._roots.index(root), role))

    def _root(self, path: Path) -> ImageRoot:
        if path not in self._opened:
            self._opened[path] = ImageRoot.open(path)
        return self._opened[path]

    def all_roots(self) -> tuple[ImageRoot, ...]:
        """Return the image roots in the order of their numbers."""
        return tuple(self._root(path) for path in self._roots)


def _own_name(path: Path) -> str:
    """Return what uids call a folder or an archive of images."""
    return path.name if path.name.strip(".") else path.resolve().name or "images"


def _nothing_in(path: Path, found: Contents | None) -> PoolError:
    if found is None:
        return PoolError("no image in this archive.", where=str(path), fix="Name another one.")
    there = ", ".join(f"{count:,} {ending}" for ending, count in found.skipped.items())
    return PoolError(
        f"no .json or .jsonl file and no image in this folder{f' ({there})' if there else ''}.",
        where=str(path),
        fix="Name the pool file, or a folder or archive of images.",
    )


def _must_mention(files: Sequence[PoolFile], fields: Mapping[str, str | None]) -> None:
    """Raise `InputError` for a field named by the user that no record has."""
    for flag, name in fields.items():
        if name and not any(file.reader.mentions(name) for file in files):
            raise InputError(f'no record has a field "{name}".', fix=f"Check {flag}.")
