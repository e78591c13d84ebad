"""The README says what is there: its tree is compared with the disk, its commands with files."""

from __future__ import annotations

import re
from pathlib import Path

import visift
from visift.cli import COMMANDS

ROOT = Path(__file__).parent.parent
PACKAGE = Path(visift.__file__).parent


def tree() -> set[str]:
    block = re.search(r"```\nsrc/visift/\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert block is not None
    return set(re.findall(r"^  (\S+)", block.group(1), re.M))


def test_tree_names_every_module_and_folder_of_the_package() -> None:
    modules = {path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")}
    folders = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    assert tree() == modules | folders


def test_public_names_are_no_sub_packages() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert not folders & set(visift.__all__)


def test_every_command_has_a_module() -> None:
    assert all((PACKAGE / "cli" / f"{name}.py").exists() for name in COMMANDS)


def test_every_method_has_a_page_or_needs_none() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "methods").glob("*.md")}
    papers = {name for name, kind in visift.list_methods().items() if kind.paper}
    assert papers <= pages


def test_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.M)) <= targets
