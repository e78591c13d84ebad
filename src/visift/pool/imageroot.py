"""Where the images of a pool lie: a folder, an archive, a parquet file, or a folder with archives.

A record names an image by a path relative to the image root. Nothing outside that root is ever
read, whatever a path, a link or an archive says, and nothing is ever fetched from the network.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

from PIL import Image

from visift.errors import ImageError, ImageUnavailable, PoolError
from visift.pool.archives import Members, compressed_tar
from visift.pool.embedded import Embedded, EmbeddedImages
from visift.pool.files import ARCHIVES, COMPRESSED_TARS, PARQUET
from visift.pool.images import DEFAULT_LIMITS, ImageLimits, decode, too_many_bytes
from visift.pool.paths import LEAVES, must_be_unicode, normalise

# Between the parts of a key; one without it is a digest.
_MARK = "\x1f"
_NOT_PLAIN = re.compile(r"[\\:]")
# Reading the list of a folder pays off from about this many paths in it.
_WORTH_LISTING = 64


@dataclass(frozen=True, slots=True)
class Found:
    """One image that is there.

    Attributes:
        key: identity of the image for caching: path and size (and CRC-32 in a zip), with the
            byte 1f between them; or 32 hexadecimal digits of BLAKE2b over its bytes.
        path: normalised path relative to the root.
        n_bytes: size of the encoded image, in bytes.
        file: the file that holds it: the image itself, an archive or a parquet file.
        member: number of the archive member or of the row, None for a file.
    """

    key: str
    path: str
    n_bytes: int
    file: str
    member: int | None = None


class ImageRoot:
    """Looks up and reads images; safe in several threads, and travels to workers by pickling.

    The list of archive members is read once, on opening. Archives are opened anew for every read,
    so nothing is shared between threads and any number of archives can be used.

    Attributes:
        path: the folder, archive or parquet file, as given.
        ignored: names of top-level files of the folder that look like archives and are not used:
            compressed tars, and links to archives outside the folder.
    """

    def __init__(self, path: Path, folder: str | None, members: Members | EmbeddedImages) -> None:
        self.path = path
        self.ignored: tuple[str, ...] = ()
        self._folder = folder
        self._members = members
        # Real path of every folder asked for so far; None when there is none.
        self._real_folders: dict[str, str | None] = {}

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> ImageRoot:
        """Open a folder (with its top-level archives, by name), one archive or one parquet file.

        Args:
            path: a folder, a `.zip`, an uncompressed `.tar`, or a `.parquet` with images in it.

        Raises:
            PoolError: no such folder or archive, a compressed tar, a corrupt archive, or a name
                that is not UTF-8.
        """
        given = Path(path)
        must_be_unicode(given)
        if os.path.isdir(given):  # noqa: PTH112 (Path raises where a name is too long)
            folder = os.path.realpath(given)
            archives, ignored = _top_level_archives(folder)
            root = cls(given, folder, Members(archives))
            root.ignored = tuple(ignored)
            return root
        if given.name.lower().endswith(COMPRESSED_TARS):
            raise compressed_tar(given)
        if not os.path.isfile(given):  # noqa: PTH113
            raise PoolError(
                "there is no such image folder or archive.",
                where=str(given),
                fix="Check --image-folder.",
            )
        if given.suffix.lower() == PARQUET:
            return cls(given, None, EmbeddedImages(given.absolute()))
        if given.suffix.lower() not in ARCHIVES:
            raise PoolError(
                "is neither a folder nor a .zip or .tar archive.",
                where=str(given),
                fix="Name the folder that image paths start from: --image-folder FOLDER",
            )
        # Not the real path: the name says the kind, and a link may point to a file named otherwise.
        return cls(given, None, Members([str(given.absolute())]))

    def packed(self) -> list[str]:
        """Return the paths of all files in the archives."""
        return list(self._members.number)

    def row_names(self) -> list[str | None]:
        """Return what the image of each row of a parquet file is called, None where it has none."""
        return self._members.names if isinstance(self._members, EmbeddedImages) else []

    def locate(self, path: str, *, digest: bool = False) -> Found:
        """Find an image: a file first, then a member of the archives in the order of their names.

        Folders are looked up once and remembered; files are asked for every time.

        Args:
            path: as the record says; a backslash counts as a slash.
            digest: identify the image by its bytes, which are read for it.

        Raises:
            ImageUnavailable: missing, or (with `digest`) unreadable.
            ImageError: not a path inside the root, or (with `digest`) above the limits.
        """
        name = normalise(path)
        found = (self._file(name) if self._folder is not None else None) or self._member(name)
        if found is None:
            raise ImageUnavailable("missing")
        if digest and _MARK in found.key:
            data = self._read(found, DEFAULT_LIMITS)
            return replace(found, key=blake2b(data, digest_size=16).hexdigest())
        return found

    def unavailable(self, paths: Sequence[str]) -> dict[str, str]:
        """Return the paths that `locate` would refuse, each with the reason.

        One listing a folder instead of one look-up a file: much faster on network disks.
        """
        by_folder: dict[str, list[str]] = {}
        for path in dict.fromkeys(paths):
            by_folder.setdefault(path.rpartition("/")[0], []).append(path)
        reasons: dict[str, str] = {}
        for group in by_folder.values():
            present = self._listing(group[0]) if len(group) >= _WORTH_LISTING else frozenset()
            for path in group:
                if path.rpartition("/")[2] in present:
                    continue
                try:
                    self.locate(path)
                except ImageError as error:
                    reasons[path] = error.what
        return reasons

    def read(self, path: str, limits: ImageLimits = DEFAULT_LIMITS) -> bytes:
        """Return the encoded bytes of an image.

        Raises:
            ImageUnavailable: not found, unreadable, or damaged in its archive.
            ImageError: above `limits.max_bytes` (checked before it is read or inflated).
        """
        return self._read(self.locate(path), limits)

    def load(
        self, path: str, limits: ImageLimits = DEFAULT_LIMITS, key: str | None = None
    ) -> Image.Image:
        """Read and decode an image; see `visift.pool.images.decode`.

        Args:
            path: see `locate`.
            limits: see `visift.pool.images.decode`.
            key: what identified the image when it was located, None for any.

        Raises:
            ImageUnavailable: as for `read`, or the image is not the one of that key any more.
            ImageError: as for `read`, or not an image that can be decoded within the limits.
        """
        found = self.locate(path)
        data = self._read(found, limits)
        if key is not None and not _is_the_one(key, found, data):
            raise ImageUnavailable("changed after the pool was opened")
        return decode(data, limits)

    def _read(self, found: Found, limits: ImageLimits) -> bytes:
        if found.n_bytes > limits.max_bytes:
            raise too_many_bytes(found.n_bytes, limits)
        try:
            if found.member is not None:
                return self._members.read(found.member, limits)
            with open(found.file, "rb") as file:  # noqa: PTH123 (a third of the time is Path)
                data = file.read(limits.max_bytes + 1)
        except OSError as error:
            raise _unreadable(error) from error
        if len(data) != found.n_bytes:
            raise ImageUnavailable("changed while it was read")
        return data

    def _file(self, name: str) -> Found | None:
        folder, _, leaf = name.rpartition("/")
        try:
            real = self._real_folder(folder)
            if real is None:
                return None
            place = f"{real}/{leaf}"
            status = os.lstat(place)
            if stat.S_ISLNK(status.st_mode):
                place = os.path.realpath(place, strict=True)
                self._must_be_inside(place)
                status = os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise _unreadable(error) from error
        if stat.S_ISDIR(status.st_mode):
            raise ImageUnavailable("is a folder")
        if not stat.S_ISREG(status.st_mode):
            raise ImageUnavailable("is not a regular file")
        return Found(f"{name}{_MARK}{status.st_size}", name, status.st_size, place)

    def _real_folder(self, folder: str) -> str | None:
        """Return the real path of a folder below the root, None when there is none."""
        if folder not in self._real_folders:
            assert self._folder is not None
            real = os.path.realpath(f"{self._folder}/{folder}")
            self._must_be_inside(real)
            # One entry a folder: a few thousand at most in any pool.
            self._real_folders[folder] = real if _is_folder(real) else None
        return self._real_folders[folder]

    def _must_be_inside(self, real: str) -> None:
        if real != self._folder and not real.startswith(f"{self._folder}/".replace("//", "/")):
            raise ImageUnavailable(f"{LEAVES} (by a link)")

    def _member(self, name: str) -> Found | None:
        number = self._members.number.get(name)
        if number is None:
            return None
        member = self._members[number]
        if isinstance(member, Embedded):
            return Found(member.digest, name, member.n_bytes, member.archive, number)
        crc = "" if member.crc is None else f"{_MARK}{member.crc:08x}"
        key = f"{name}{_MARK}{member.n_bytes}{crc}"
        return Found(key, name, member.n_bytes, member.archive, number)

    def _listing(self, path: str) -> frozenset[str]:
        """Return the names of the regular files beside `path`; empty when it is no plain path."""
        try:
            name = normalise(path)
            if self._folder is None or name != path:
                return frozenset()
            real = self._real_folder(name.rpartition("/")[0])
            if real is None:
                return frozenset()
            with os.scandir(real) as entries:
                names = frozenset(e.name for e in entries if e.is_file(follow_symlinks=False))
            # A backslash or a colon means something else in a path.
            return frozenset(name for name in names if not _NOT_PLAIN.search(name))
        except (ImageError, OSError, ValueError):
            return frozenset()


def _is_the_one(key: str, found: Found, data: bytes) -> bool:
    """Return whether a key is that of an image, with a digest or without; see `imagetable`."""
    if key == found.key:
        return True
    digest = blake2b(data, digest_size=16).hexdigest()
    return key in (digest, f"{found.key}\x1f{digest}")


def _is_folder(real: str) -> bool:
    """Return whether a folder is there; raises `PermissionError` where nobody may know."""
    try:
        return stat.S_ISDIR(os.stat(real).st_mode)  # noqa: PTH116
    except PermissionError:
        raise
    except OSError:
        return False


def _unreadable(error: Exception) -> ImageUnavailable:
    why = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return ImageUnavailable(f"cannot be read ({why})")


def _top_level_archives(folder: str) -> tuple[list[str], list[str]]:
    """Return the archives of a folder (full paths), and what looks like one but is not used."""
    archives: list[str] = []
    ignored: list[str] = []
    try:
        with os.scandir(folder) as entries:
            # A leading dot marks leftovers such as macOS's `._images.zip`.
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise PoolError(f"the folder cannot be read ({error.strerror}).", where=folder) from error
    for name in names:
        suffix = name.lower()
        if not suffix.endswith(ARCHIVES + COMPRESSED_TARS):
            continue
        path = f"{folder}/{name}"
        if not os.path.isfile(path):  # noqa: PTH113
            continue
        inside = os.path.commonpath([folder, os.path.realpath(path)]) == folder
        used = inside and suffix.endswith(ARCHIVES)
        archives.append(path) if used else ignored.append(name)
    return archives, ignored
