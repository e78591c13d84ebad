"""Every reply, kept as it comes: one file of JSON lines that is only ever appended to.

A request is noted before it is sent and its reply when it is there, so that whatever kills a run,
the next one asks only what has no reply, and knows what may have been paid for without one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import orjson

from visift.annotate.money import Tokens
from visift.annotate.replies import Reply
from visift.errors import InputError, StorageError
from visift.files import claimed, disk_errors

_FIX = "Move the file away: everything is then asked, and paid for, again."


class Journal:
    """The replies there are, by key of their request.

    Attributes:
        path: the file.
        replies: the last reply of each key.
        times: how many replies each key has had.
        paid: tokens of all replies of each key, as far as the endpoint counted them.
        open: what requests without a reply were assumed to have at most, by key.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.replies: dict[str, Reply] = {}
        self.times: dict[str, int] = {}
        self.paid: dict[str, Tokens] = {}
        self.open: dict[str, list[Tokens]] = {}
        self._n_bytes = 0
        self._file: BinaryIO | None = None

    @classmethod
    def read(cls, path: Path) -> Journal:
        """Read a file; a last line that was cut off by a crash is passed over.

        Raises:
            StorageError: the file cannot be read, or holds something else.
        """
        journal = cls(path)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return journal
        except OSError as error:
            raise StorageError(
                f"cannot be read ({error.strerror}).", where=str(path), fix=_FIX
            ) from error
        journal._n_bytes = len(data)
        for number, line in enumerate(data[: _whole(data)].splitlines(), 1):
            try:
                journal._take(orjson.loads(line))
            except (orjson.JSONDecodeError, msgspec.ValidationError, KeyError, TypeError):
                raise StorageError(
                    "is no line that visift annotate wrote.",
                    where=f"{path}, line {number:,}",
                    fix=_FIX,
                ) from None
        return journal

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the file against other processes and append to it meanwhile.

        Raises:
            InputError: another process holds it, or has written since it was read.
            StorageError: it cannot be written.
        """
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
        with claimed(self.path), disk_errors(self.path), self.path.open("r+b") as file:
            data = file.read()
            if len(data) != self._n_bytes:
                raise InputError(
                    "another process has just written here.",
                    where=str(self.path),
                    fix="Run the same command again.",
                )
            file.truncate(_whole(data))
            file.seek(0, os.SEEK_END)
            self._file = file
            try:
                yield
            finally:
                self._file = None

    def asked(self, key: str, most: Tokens) -> None:
        """Note that a request is about to be sent."""
        self._append({"asked": key, "most": [most.sent, most.received]})
        self.open.setdefault(key, []).append(most)

    def costs_nothing(self, key: str) -> None:
        """Note that a request was turned away, which no endpoint sends a bill for."""
        self._append({"turned_away": key})
        self.open[key].pop()

    def answered(self, key: str, reply: Reply) -> None:
        """Keep a reply."""
        said = {name: value for name, value in asdict(reply).items() if value is not None}
        self._append({"answered": key, "reply": said}, durable=True)
        self._keep(key, reply)

    def _append(self, line: dict[str, Any], *, durable: bool = False) -> None:
        assert self._file is not None, "only while writing"
        self._file.write(orjson.dumps(line) + b"\n")
        self._file.flush()
        if durable:
            os.fsync(self._file.fileno())

    def _take(self, line: dict[str, Any]) -> None:
        if "asked" in line:
            self.open.setdefault(line["asked"], []).append(Tokens(*line["most"]))
        elif "turned_away" in line:
            with suppress(KeyError, IndexError):
                self.open[line["turned_away"]].pop()
        else:
            self._keep(line["answered"], msgspec.convert(line["reply"], Reply))

    def _keep(self, key: str, reply: Reply) -> None:
        asked = self.open.get(key) or [Tokens()]
        self.paid[key] = self.paid.get(key, Tokens()) + counted(reply, asked.pop())
        self.replies[key] = reply
        self.times[key] = self.times.get(key, 0) + 1


def counted(reply: Reply, most: Tokens) -> Tokens:
    """Return the tokens of a reply, or what was assumed where the endpoint does not count them."""
    if reply.tokens_in is None or reply.tokens_out is None:
        return most
    return Tokens(reply.tokens_in, reply.tokens_out)


def _whole(data: bytes) -> int:
    """Return the length of a file's whole lines."""
    return data.rfind(b"\n") + 1
