"""What is printed while something goes on."""

from __future__ import annotations

import pytest
from rich.table import Table
from rich.text import Text

from visift.cli.output import Printer
from visift.cli.progress import Bar, MeasureProgress, bar, counting_what_is_kept
from visift.models.ref import ModelRef
from visift.signals.features import VisualFeatures


def test_without_a_terminal_a_bar_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with bar("images", 100) as shown:
        shown.advance(10)
        assert capsys.readouterr().err == ""
        shown._started -= 40
        shown._said -= 40
        shown.advance(10)
        shown.advance(10)
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("          20/100 images · 0/s · ")
    assert line.endswith(" left")


def test_what_was_measured_before_does_not_count_as_speed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = Bar("images", 1000, done=500)
    shown._started -= 50
    shown._said -= 50
    shown.advance(100)
    assert capsys.readouterr().err.strip() == "600/1,000 images · 2/s · 3 min left"


def test_stopping_says_how_much_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    progress = MeasureProgress(Printer(quiet=False))
    with pytest.raises(KeyboardInterrupt, match=r"^Stopped\. What is measured is kept; "):  # noqa: SIM117
        with counting_what_is_kept(progress):
            raise KeyboardInterrupt
    progress.begin(VisualFeatures(ModelRef("builtin:tiny")), 10, 3)
    progress.advance(2)
    with pytest.raises(KeyboardInterrupt, match=r"^Stopped\. 5 images are measured and kept; "):  # noqa: SIM117
        with counting_what_is_kept(progress):
            raise KeyboardInterrupt
    assert capsys.readouterr().out == "Measure   10 images, 3 of them measured before\n"


def test_a_table_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(box=None)
    table.add_column("a")
    table.add_row(Text("\x1b[31mred\x1b[0m \u202eback"))
    Printer(quiet=False).table(table)
    assert capsys.readouterr().out.splitlines()[1].strip() == "\\x1b[31mred\\x1b[0m \\u202eback"


def test_quiet_says_only_what_must_be_known(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer(quiet=True)
    printer.say("Pool", "x")
    printer.say("Note", "a\x07b")
    printer.warn("c\nd")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "note  a\\x07b\nwarning  c\\nd\n")
