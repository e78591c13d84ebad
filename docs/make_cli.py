"""Write docs/cli.md, what every command takes; run it as `python docs/make_cli.py`.

`tests/cli/test_reference.py` fails where the page is not what this would write.
"""

from __future__ import annotations

import inspect
from pathlib import Path

from visift.cli import COMMANDS
from visift.cli.parameters import Parameter, everywhere, parameters
from visift.cli.single import command_function

PAGE = Path(__file__).parent / "cli.md"

_HEAD = """\
# Command line

Written by `docs/make_cli.py` from the commands themselves; `visift COMMAND --help` says the same.

Exit codes: 0 done, 1 something to mend on your side (unknown options, too), 2 a fault of visift,
130 stopped by Ctrl-C, 143 by SIGTERM. Results go to stdout, progress and warnings to stderr; with
`--json` stdout is one object, described in [schemas](schemas). `VISIFT_CACHE` names the folder of
measured values, `VISIFT_DEBUG=1` is `--debug`.
"""


def reference() -> str:
    """Return the page."""
    known = parameters()
    parts = [_HEAD, _table("Every command takes", everywhere())]
    for name in COMMANDS:
        own = [one for one in known[name] if one not in everywhere()]
        said = inspect.cleandoc(command_function(name).__doc__ or "")
        arguments = " ".join(_argument(one) for one in own if not one.flags)
        usage = f"visift {name} {arguments} [OPTIONS]".replace("  ", " ")
        parts.append(f"## visift {name}\n\n{said}\n\n```\n{usage}\n```\n")
        parts.append(_table("argument or option", own))
    return "\n".join(parts)


def _argument(one: Parameter) -> str:
    word = f"{one.value}…" if one.repeatable and not one.value.endswith("...") else one.value
    return word if one.required else f"[{word}]"


def _table(head: str, listed: list[Parameter]) -> str:
    lines = [f"| {head} | |", "|---|---|"]
    for one in listed:
        name = ", ".join(f"`{flag}`" for flag in one.flags)
        value = f" `{one.value}`" if one.value else ""
        lines.append(f"| {name}{value} | {_escaped(one.help)} |")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Return one line that Markdown shows as it is."""
    plain = " ".join(text.split())
    for sign in "\\|<>*_[]":
        plain = plain.replace(sign, f"\\{sign}")
    return plain


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
