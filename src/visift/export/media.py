"""Handing over images: by name, by copy, by link."""

from __future__ import annotations

import os
from pathlib import Path

from visift.errors import ImageError, InputError, PoolError
from visift.export.exporter import IMAGE_FLAGS, Exporter, ExportOptions, ImageMode, Media, Rows
from visift.files import disk_errors
from visift.pool.imageroot import Found
from visift.pool.paths import name_image, normalise
from visift.pool.pool import Pool
from visift.pool.record import ImageRef

#: The folder inside an export that copies and links go to.
IMAGES = "images"


def image_mode(exporter: Exporter, options: ExportOptions) -> ImageMode:
    """Return how images are handed over; raises `InputError` where the trainer cannot do that."""
    asked = options.images
    if asked is None:
        return exporter.image_modes[0]
    if asked not in exporter.image_modes:
        flags = [IMAGE_FLAGS[mode] for mode in exporter.image_modes if mode in IMAGE_FLAGS]
        raise InputError(
            f"{IMAGE_FLAGS.get(asked, asked)} is nothing that {exporter.title} can be given.",
            fix=f"It takes {', '.join(flags)}, or none of them.",
        )
    return asked


def place_images(
    pool: Pool, rows: Rows, folder: Path, mode: ImageMode, *, as_written: bool
) -> Media:
    """See to it that a trainer finds the images of some rows.

    Args:
        pool: what rows refer to.
        rows: each once.
        folder: of the export; `copy` and `symlink` write into `images` below it.
        mode: how they are handed over.
        as_written: the trainer gets paths as records write them, else as `image_name` does.

    Raises:
        InputError: links or absolute paths to images inside archives; two images of one name; or
            images that lie in the very folder they would be put into.
        PoolError: an image that was there is not there any more.
        StorageError: the folder cannot be written.
    """
    refs = image_refs(pool, rows)
    sources = tuple(dict.fromkeys(_absolute(pool, ref) for ref in refs))
    if mode == "embed":
        return Media(mode, None, sources)
    # Paths alone need no file: whoever exports may be elsewhere than the images.
    found = {} if mode == "relative" else {ref: _find(pool, ref) for ref in refs}
    packed = sum(one.member is not None for one in found.values())
    if packed and mode in ("absolute", "symlink"):
        raise InputError(
            f"{packed:,} of {len(found):,} images lie inside archives: {IMAGE_FLAGS[mode]} cannot "
            "reach them.",
            fix="Unpack them for the trainer: --copy-images",
        )
    if mode in ("copy", "symlink"):
        with disk_errors(folder):
            _put(pool, found, folder / IMAGES, link=mode == "symlink")
        base: Path | None = (folder / IMAGES).absolute()
    else:
        # A trainer that gets paths as written joins them with one folder, whatever they say.
        one = mode == "relative" and (as_written or len(sources) == 1)
        base = sources[0] if one and sources else None
    media = Media(mode, base, sources)
    lost = sum(not _opens(media, pool, ref, as_written) for ref in refs)
    return Media(mode, base, sources, lost)


def image_refs(pool: Pool, rows: Rows) -> list[ImageRef]:
    """Return the images of some rows as their records name them, each once, first seen first."""
    paths = pool.index["images"].take(rows).to_pylist()
    files = pool.index["file"].take(rows).to_pylist()
    named = zip(paths, files, strict=True)
    return list(dict.fromkeys(ImageRef(p, pool.files[f].root) for ps, f in named for p in ps))


def image_name(media: Media, pool: Pool, ref: ImageRef) -> str:
    """Return the path of an image as a trainer is given it: below `media.folder`, or absolute."""
    name = normalise(ref.path)
    return name if media.folder is not None else str(_absolute(pool, ref) / name)


def image_file(media: Media, name: str) -> str:
    """Return the path that a trainer opens for a name."""
    return os.path.join(media.folder or "", name)  # noqa: PTH118 (the trainers' own rule)


def _opens(media: Media, pool: Pool, ref: ImageRef, as_written: bool) -> bool:
    name = ref.path if as_written else image_name(media, pool, ref)
    base = media.folder or _absolute(pool, ref)
    return os.path.isfile(os.path.join(base, name))  # noqa: PTH118, PTH113


def _absolute(pool: Pool, ref: ImageRef) -> Path:
    return pool.roots[ref.root].path.absolute()


def _find(pool: Pool, ref: ImageRef) -> Found:
    try:
        return pool.roots[ref.root].locate(ref.path)
    except ImageError as error:
        raise gone(error, ref) from None


def gone(error: ImageError, ref: ImageRef) -> PoolError:
    """Return the error for an image that was found before and cannot be read now."""
    return PoolError(
        f"{name_image(error, ref.path).what}.", fix="Restore the image, then run this again."
    )


def _put(pool: Pool, found: dict[ImageRef, Found], target: Path, *, link: bool) -> None:
    """Write or link every image below `target`, under the path its record gives it."""
    home = f"{os.path.realpath(target)}{os.sep}"
    placed: dict[str, ImageRef] = {}
    for ref, one in found.items():
        if one.file.startswith(home):
            raise InputError(
                "holds the images that would be copied into it.",
                where=str(target),
                fix="Choose another --output.",
            )
        other = placed.setdefault(one.path, ref)
        if other is not ref:
            _must_be_equal(pool, other, ref)
            continue
        place = target / one.path
        place.parent.mkdir(parents=True, exist_ok=True)
        # What lies there may be a link of an earlier export: never write through it.
        place.unlink(missing_ok=True)
        if link:
            place.symlink_to(one.file)
        else:
            place.write_bytes(read_image(pool, ref))


def read_image(pool: Pool, ref: ImageRef) -> bytes:
    """Return the bytes of an image; raises `PoolError` if it cannot be read any more."""
    try:
        return pool.image_bytes(ref)
    except ImageError as error:
        raise gone(error, ref) from None


def _must_be_equal(pool: Pool, one: ImageRef, other: ImageRef) -> None:
    if one.root == other.root or read_image(pool, one) == read_image(pool, other):
        return
    raise InputError(
        f"two image folders hold different images of one name: {other.path}",
        where=f"{_absolute(pool, one)}, {_absolute(pool, other)}",
        fix="Rename one, or export with --absolute where the trainer takes it.",
    )
