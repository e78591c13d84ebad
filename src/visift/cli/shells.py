"""Completion scripts: plain text made once, so that a TAB never starts Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from visift.cli import COMMANDS
from visift.cli.parameters import Parameter, everywhere, parameters

Known = Mapping[str, Sequence[Parameter]]

_HEAD = "# Completion of visift for {shell}. Written by: visift completion {shell}\n"
_HELP = Parameter(("--help", "-h"), "", "Show what there is.")
_VERSION = Parameter(("--version",), "", "Show which visift this is.")

_BASH = """\
_visift() {{
    local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD - 1]}}"
    local word command="" at words="" options="" files=""
    COMPREPLY=()
    # "=" is a word of its own here.
    if [[ $cur == "=" ]]; then
        cur=""
    elif [[ $prev == "=" ]]; then
        prev="${{COMP_WORDS[COMP_CWORD - 2]}}"
    fi
    for ((at = 1; at < COMP_CWORD; at++)); do
        word="${{COMP_WORDS[at]}}"
        case "$word" in
            --log-file) [[ ${{COMP_WORDS[at + 1]}} == "=" ]] && ((at++)); ((at++)) ;;
            -*) ;;
            *) command="$word"; break ;;
        esac
    done
    case "$command $prev" in
{values}
        *)
            case "$command" in
{options}
                *) options="{commands}" ;;
            esac
            if [[ $cur == -* || $words$files == "" ]]; then
                words="$options" files=""
            fi
            ;;
    esac
    [[ $files != "" ]] && return  # bash completes files by itself
    compopt +o default +o bashdefault 2>/dev/null
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -o bashdefault -F _visift visift
"""

_ZSH = """\
_visift() {{
    local curcontext="$curcontext" state
    local -a commands
    commands=(
{commands}
    )
    _arguments -C \\
{everywhere}
        '1:command:->command' \\
        '*::argument:->rest'
    case $state in
        command) _describe -t commands 'command of visift' commands ;;
        rest)
            case $words[1] in
{options}
            esac
            ;;
    esac
}}
if [[ $funcstack[1] == _visift ]]; then
    _visift "$@"
else
    compdef _visift visift
fi
"""


def bash() -> str:
    """Return the script for bash."""
    known = parameters()
    return _HEAD.format(shell="bash") + _BASH.format(
        values="\n".join(_bash_values(known)),
        options="\n".join(_bash_options(known)),
        commands=" ".join([*COMMANDS, *_flags([*everywhere(), _HELP, _VERSION])]),
    )


def _bash_values(known: Known) -> Iterator[str]:
    """Yield what completes the value of an option."""
    indent = " " * 8
    for command, all_ in known.items():
        for option in _with_value(all_):
            patterns = "|".join(f'"{command} {flag}"' for flag in option.flags)
            yield f"{indent}{patterns}) {_bash_answer([option])};;"
    flags = [flag for option in _with_value(everywhere()) for flag in option.flags]
    anywhere = "|".join(f'" {flag}"' for flag in flags)
    yield f"{indent}{anywhere}) files=yes ;;"


def _bash_options(known: Known) -> Iterator[str]:
    """Yield what completes any other word: the arguments of a command, and its options."""
    for command, all_ in known.items():
        arguments = _bash_answer([one for one in all_ if not one.flags])
        options = " ".join(_flags([*all_, _HELP]))
        yield f'{" " * 16}{command}) {arguments}options="{options}" ;;'


def _bash_answer(some: Sequence[Parameter]) -> str:
    """Return what a value of these may be: files, or words, or neither."""
    if any(one.is_file for one in some):
        return "files=yes "
    words = " ".join(choice for one in some for choice in one.choices)
    return f'words="{words}" ' if words else ""


def zsh() -> str:
    """Return the script for zsh."""
    return (
        "#compdef visift\n"
        + _HEAD.format(shell="zsh")
        + _ZSH.format(
            commands="\n".join(
                f"        {_quoted(f'{name}:{text}')}" for name, text in COMMANDS.items()
            ),
            everywhere="\n".join(_zsh_lines([*everywhere(), _HELP, _VERSION], 8)),
            options="\n".join(_zsh_options(parameters())),
        )
    )


def _zsh_options(known: Known) -> Iterator[str]:
    for command, all_ in known.items():
        lines = "\n".join(_zsh_lines([*all_, _HELP], 20)).removesuffix(" \\")
        yield f"{' ' * 16}{command}) _arguments -S \\\n{lines} ;;"


def _zsh_lines(all_: Sequence[Parameter], indent: int) -> Iterator[str]:
    for one in all_:
        action = f"({' '.join(one.choices)})" if one.choices else "_files" if one.is_file else " "
        value = f":{one.value or ' '}:{action}" if one.value else ""
        if not one.flags:
            yield f"{' ' * indent}{_quoted(('*' if one.repeatable else '') + value)} \\"
        for flag in one.flags:
            # Not after itself or its other spelling, unless it may be repeated.
            before = "*" if one.repeatable else f"({' '.join(one.flags)})"
            said = one.help.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
            said = said.replace(":", "\\:")
            yield f"{' ' * indent}{_quoted(f'{before}{flag}[{said}]{value}')} \\"


def fish() -> str:
    """Return the script for fish."""
    lines = [_HEAD.format(shell="fish"), "complete -c visift -f\n"]
    for name, text in COMMANDS.items():
        lines.append(f"complete -c visift -n __fish_use_subcommand -a {name} -d {_quoted(text)}\n")
    lines += _fish_lines("", [*everywhere(), _HELP])
    lines += _fish_lines("-n __fish_use_subcommand ", [_VERSION])
    for command, all_ in parameters().items():
        own = [one for one in all_ if one not in everywhere()]
        lines += _fish_lines(f'-n "__fish_seen_subcommand_from {command}" ', own)
    return "".join(lines)


def _fish_lines(when: str, all_: Sequence[Parameter]) -> Iterator[str]:
    for one in all_:
        names = " ".join(f"-l {f[2:]}" if f.startswith("--") else f"-s {f[1:]}" for f in one.flags)
        values = f" -a {_quoted(' '.join(one.choices))}" if one.choices else ""
        files = " -F" if one.is_file else ""
        if not one.flags and (values or files):
            yield f"complete -c visift {when}{values.strip()}{files}\n"
        elif one.flags:
            needs = " -r -F" if one.is_file else " -x" if one.value else ""
            yield f"complete -c visift {when}{names}{needs}{values} -d {_quoted(one.help)}\n"


def _quoted(text: str) -> str:
    """Return a text in single quotes, as all three shells read it."""
    return "'" + text.replace("'", "'\\''") + "'"


def _flags(all_: Sequence[Parameter]) -> list[str]:
    return [flag for one in all_ for flag in one.flags]


def _with_value(all_: Sequence[Parameter]) -> list[Parameter]:
    return [one for one in all_ if one.flags and one.value]


SCRIPTS: dict[str, Callable[[], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
