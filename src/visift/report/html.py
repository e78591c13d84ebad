"""Rendering: every text is escaped and made visible, every style is known by its hash."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from visift.amounts import counted, duration
from visift.report.text import label, score_text, share, visible

if TYPE_CHECKING:
    from jinja2 import Environment

#: The look of every page and gallery.
STYLE = "style.css"


def render(template: str, **values: Any) -> str:
    """Return a template of this package filled in; plain texts in `values` are never markup."""
    return str(environment().get_template(template).render(values))


@cache
def environment() -> Environment:
    """Return the templates of this package, with what all of them use.

    `finalize` runs on every text a template puts out, before it is escaped: a template cannot
    forget either.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=PackageLoader("visift.report"),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (files("visift.report") / "templates" / STYLE).read_text(encoding="utf-8")
    made.filters.update(
        label=label, share=share, counted=counted, score=score_text, duration=duration
    )
    made.filters["thousands"] = "{:,}".format
    made.filters["mean"] = lambda value: "–" if value != value else f"{value:.2f}"
    made.globals.update(style=Markup(style), policy=policy([style]))
    return made


def _finalize(value: Any) -> Any:
    if value is None:
        return ""
    return visible(value) if type(value) is str else value


def policy(styles: Sequence[str]) -> str:
    """Return a Content-Security-Policy: pictures inside the page, the given styles, nothing else.

    Args:
        styles: the exact text of every `<style>` of the page.
    """
    digests = (base64.b64encode(sha256(style.encode()).digest()).decode() for style in styles)
    hashes = " ".join(f"'sha256-{digest}'" for digest in digests)
    rest = "base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; img-src data:; style-src {hashes}; {rest}"
