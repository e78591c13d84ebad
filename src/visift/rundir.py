"""The run directory: what is written, where, and when it may be written over.

`run.yaml` comes first, `manifest.json` last: a folder with a manifest is a finished run.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from visift.config import RunConfig
from visift.engine.ledger import Entry
from visift.errors import InputError
from visift.files import claimed, disk_errors, file_facts, write_atomically
from visift.methods.method import Setting
from visift.models.ref import ModelRef
from visift.pool.files import ARCHIVES
from visift.pool.readers import Reader
from visift.report.card import dataset_card
from visift.report.page import write_report
from visift.selection import describe_rows
from visift.wanted import LIST, SHEET, write_wanted

if TYPE_CHECKING:
    from visift.finished import Run

#: What `files.write_atomically` leaves in a folder if it is killed.
_UNFINISHED = f".{'[0-9a-f]' * 32}.tmp"
_PACKAGES = ("visift", "numpy", "pyarrow", "scikit-learn", "pillow")
_MODEL_PACKAGES = ("torch", "transformers", "tokenizers", "torchvision", "peft", "accelerate")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A folder that holds one run."""

    path: Path

    @classmethod
    @contextmanager
    def begin(cls, path: Path, config: RunConfig, overwrite: bool) -> Iterator[RunFolder]:
        """Claim a folder for a run; a finished run in it stays as it is until `write`.

        Raises:
            InputError: it holds another finished run, files that are no run, or a run that is
                being written by another process.
        """
        if path.is_file():
            raise InputError("is a file.", where=str(path), fix="Choose another --output.")
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        with claimed(path):
            for left in path.glob(_UNFINISHED):
                left.unlink(missing_ok=True)
            _must_be_free(path, config, overwrite)
            if not (path / "manifest.json").exists():
                with disk_errors(path):
                    write_atomically(path / "run.yaml", config.to_yaml().encode())
            yield cls(path)

    def write(self, run: Run, say: Callable[[str, str], None] = lambda label, text: None) -> None:
        """Write everything a finished run holds, in place of what was there.

        Args:
            run: the run.
            say: called with (label, text) for what a person should know of an export.

        Raises:
            StorageError: the disk is full.
            PoolError: a pool file changed during the run.
        """
        run.pool.must_be_unchanged()
        with disk_errors(self.path):
            (self.path / "manifest.json").unlink(missing_ok=True)
            for name in ("export", "report"):
                shutil.rmtree(self.path / name, ignore_errors=True)
            write_atomically(self.path / "run.yaml", run.config.to_yaml().encode())
            run.selection.save(self.path)
            control = describe_rows(run.pool, run.control)
            rank = np.arange(1, len(run.control) + 1)
            pq.write_table(control.append_column("rank", [rank]), self.path / "control.parquet")
            pq.write_table(run.quarantine.table(run.pool), self.path / "quarantine.parquet")
            wanted = run.wanted()
            (self.path / LIST).unlink(missing_ok=True)
            (self.path / SHEET).unlink(missing_ok=True)
            if len(wanted):
                table = run.selection.table
                reasons = dict(zip(run.rows.tolist(), table["reason"].to_pylist(), strict=True))
                # All of them: what was written for the others stays in the same file.
                bare = run.rows[run.pool.unannotated[run.rows]]
                write_wanted(self.path, run.pool, bare.tolist(), reasons)
            for trainer in run.config.export if not len(wanted) else ():
                target = self.path / "export" / trainer
                run.export(trainer, target, note=lambda text: say("Note", text))
            (self.path / "README.md").write_text(
                dataset_card(run, run.config.warning), encoding="utf-8"
            )
            write_report(run, self.path / "report")
            run.pool.must_be_unchanged()
            manifest = _manifest(run)
            text = json.dumps(manifest, indent=2, ensure_ascii=False, default=str)
            write_atomically(self.path / "manifest.json", f"{text}\n".encode())


def _must_be_free(path: Path, config: RunConfig, overwrite: bool) -> None:
    """Raise `InputError` for a folder that holds something else than this run."""
    note = path / "run.yaml"
    if not note.exists() and any(path.iterdir()):
        raise InputError(
            "is not empty and holds no run.", where=str(path), fix="Choose another --output."
        )
    if (path / "manifest.json").exists() and not overwrite:
        _must_be_the_same(RunConfig.from_yaml(note), config, path)


def _must_be_the_same(before: RunConfig, now: RunConfig, path: Path) -> None:
    then, asked = before.result(), now.result()
    changed = [name for name, value in asked.items() if then[name] != value]
    if changed:
        raise InputError(
            f"holds another run (different: {', '.join(changed)}).",
            where=str(path),
            fix="Choose another --output, or replace it: --overwrite",
        )


def read_settings(folder: Path) -> list[Setting]:
    """Return the settings of a finished run's method; raises `InputError`, see `_read_manifest`."""
    return [Setting(**said) for said in _read_manifest(folder)["settings"]]


def read_costs(folder: Path) -> tuple[list[Entry], list[dict[str, Any]], float]:
    """Return ledger, signal identities and seconds of a finished run; raises `InputError`."""
    manifest = _read_manifest(folder)
    ledger = [Entry(**entry) for entry in manifest["cost"]["ledger"]]
    return ledger, manifest["signals"], manifest["cost"]["seconds"]


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a finished run; raises `InputError` for a damaged one."""
    with suppress(OSError, ValueError, AttributeError):
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest.keys() >= {"settings", "cost", "signals"}:
            return dict(manifest)
    raise InputError(
        "manifest.json is missing or damaged.",
        where=str(folder),
        fix="Run the selection again: what is measured is kept.",
    )


def _manifest(run: Run) -> dict[str, Any]:
    facts, identities = run.selection.facts, run.identities
    return {
        "versions": versions(models=bool(identities)),
        "pool": [{**fingerprint(file.reader), "role": file.role} for file in run.pool.files],
        "annotations": _annotations(run),
        "labels": [dict(one) for one in run.labels],
        "method": run.config.method,
        "settings": [dataclasses.asdict(setting) for setting in run.settings],
        "model": _model(run.config.model, bool(identities)),
        "warning": run.config.warning,
        "signals": list(identities),
        "seed": run.config.seed,
        "budget": run.config.budget,
        "counts": {
            "records": len(run.pool),
            "kept": len(run.pool.rows("kept")),
            "have": int(run.pool.has_role("have").sum()),
            "set aside": len(run.quarantine.reasons),
            "usable": int(facts["usable"]),
            "selected": len(run.selection),
            "selected text-only": int(run.pool.text_only[run.rows].sum()),
            "selected images": len(run.pool.images.of_rows(run.rows)),
        },
        "facts": facts,
        "cost": {
            "ledger": [dataclasses.asdict(entry) for entry in run.ledger],
            "seconds": round(run.seconds, 3),
        },
    }


def _model(model: ModelRef | None, used: bool) -> dict[str, Any] | None:
    """Return what was asked for, and the commit it stood for where it was used."""
    if model is None:
        return None
    return {**dataclasses.asdict(model), "commit": model.resolved_revision() if used else None}


def versions(*, models: bool) -> dict[str, str]:
    """Return the versions of Python and of our libraries, those that models need too if asked."""
    found = {"python": platform.python_version()}
    for name in (*_PACKAGES, *(_MODEL_PACKAGES if models else ())):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _annotations(run: Run) -> list[dict[str, Any]]:
    """Return the files in which chosen images found their conversations."""
    written = run.annotations.pool
    return [] if written is None else [fingerprint(file.reader) for file in written.files]


def fingerprint(reader: Reader) -> dict[str, Any]:
    """Return what a pool file is known by; of images alone, the list of its records."""
    path = reader.path
    if not path.is_dir() and not path.name.lower().endswith(ARCHIVES):
        return file_facts(path)
    digest, size = blake2b(digest_size=16), 0
    for row in range(len(reader.offsets)):
        line = reader.raw(row) + b"\n"
        digest.update(line)
        size += len(line)
    return {"file": path.name, "bytes": size, "blake2b": digest.hexdigest()}
