"""One script, many answers: each command's output behind a marker line of its own."""

from __future__ import annotations

import shlex

_MARKER = "@@edgedeploy@@ "


def section(name: str, command: str) -> str:
    """Return sh lines that print a marker and then whatever ``command`` has to say; its complaints are dropped."""
    return f"echo; echo '{_MARKER}{name}'\n{{ {command}\n}} 2>/dev/null </dev/null\n"


def script(*sections: str) -> str:
    """Return a whole script, which ends with code 0 whatever is missing on the device."""
    return "export LC_ALL=C\n" + "".join(sections) + "exit 0\n"


def split_sections(output: str) -> dict[str, str]:
    """Return what each section printed; one that is absent was never reached. Never raises."""
    found: dict[str, str] = {}
    for part in ("\n" + output.replace("\r\n", "\n")).split("\n" + _MARKER)[1:]:
        name, _, body = part.partition("\n")
        found[name.strip()] = body.strip("\n")
    return found


def storage_section(name: str, workdir: str) -> str:
    """Return a section with ``df`` of a folder, or of its nearest parent that exists."""
    return section(
        name,
        f"d={shlex.quote(workdir)}\n"
        'while [ ! -e "$d" ]; do case $d in */?*) d=${d%/*}; [ -n "$d" ] || d=/;; *) d=.; esac; done\n'
        'df -Pk "$d"',
    )
