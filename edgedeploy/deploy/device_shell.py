"""Our scripts on a device, in POSIX sh with the tools that Android's toybox has.

A phone, a board and this machine go through the same lines. Data reaches a script as arguments or on stdin, never as its text.
"""

from __future__ import annotations

from edgedeploy.deploy.storage_complaints import storage_remedy
from edgedeploy.errors import DeviceRunError, DeviceStorageError
from edgedeploy.ports import ByteProgress, Completed, Connection, Feed

LIMIT_S = 60.0
ANY_FAILURE = tuple(range(1, 256))
"""Exit codes that a script may end with, for whoever can do without it."""

FILE_S = 0.05
"""How long a script may take per file: a few programs that are started, on a slow board."""

_HASH_BYTES_PER_S = 4e6  # slower than any board's sha256sum: bounds how long we wait for one
_SEEN_CHARACTERS = 300
_IN_ENGLISH = "export LC_ALL=C"  # complaints are read: a board may speak its owner's language

ENTER_ROOT = """
case $1 in '~') root=$HOME ;; '~/'*) root=$HOME/${1#'~/'} ;; *) root=$1 ;; esac
mkdir -p "$root" && cd "$root" || exit 1
folders() { for name in "$@"; do [ -d "$name" ] || [ ! -e "$name" ] || rm -f "$name"; done; mkdir -p "$@" || exit 1; }
"""
"""A beginning for scripts: makes the workdir ``$1`` and enters it, with ``~`` for the user's home there.

``folders`` makes folders in it; what is none and has such a name was put there by mistake, and goes.
"""

POINT = """
point() {
  [ -h "$1" ] || rm -rf "$1"
  rm -rf ".new.$$" && mkdir ".new.$$" && ln -s "$2" ".new.$$/$1" && mv -f ".new.$$/$1" . || exit 1
  rmdir ".new.$$" 2>/dev/null || :  # whoever comes next clears away, too
}
"""
"""A function for scripts: makes a link here of name ``$1`` and text ``$2``, in place of one that is there, by one rename.

It is moved into the folder under its own name: ``mv -T`` onto a link to a folder is refused by toybox.
"""

DIGEST = """
digest() {
  if [ -n "$tool" ]; then sum=$(echo "$1" | "$tool" hash)
  elif command -v sha256sum >/dev/null 2>&1; then sum=$(sha256sum < "$1")
  else sum=$(shasum -a 256 < "$1"); fi
  echo "${sum%% *}"
}
"""
"""A function for scripts: the SHA-256 of a file, in lower-case hex; by the device helper where ``$tool`` names it."""


def hashing_limit_s(size_bytes: int, *, files: int = 1) -> float:
    """How long a script may take that hashes so many bytes, of so many files."""
    return LIMIT_S + size_bytes / _HASH_BYTES_PER_S + files * FILE_S


class DeviceShell:
    """Runs scripts on one device; what goes wrong there becomes an error that names it."""

    def __init__(self, connection: Connection, device: str) -> None:
        self._connection = connection
        self.device = device

    def run(
        self, script: str, *arguments: str, stdin: bytes = b"", timeout_s: float = LIMIT_S, expected: tuple[int, ...] = ()
    ) -> Completed:
        """Run a script. Exit codes other than 0 are failures unless they are ``expected``.

        Raises:
            DeviceStorageError: the storage refused it.
            DeviceRunError: it failed for another reason.
        """
        return self._checked(self._connection.run(_argv(script, arguments), timeout_s=timeout_s, stdin=stdin), expected)

    def pour(
        self,
        script: str,
        *arguments: str,
        source: Feed,
        quiet_s: float,
        progress: ByteProgress,
        expected: tuple[int, ...] = (),
    ) -> Completed:
        """Run a script that reads ``source``; otherwise as :meth:`run`."""
        argv = _argv(script, arguments)
        return self._checked(self._connection.pour(argv, source, quiet_s=quiet_s, progress=progress), expected)

    def _checked(self, done: Completed, expected: tuple[int, ...]) -> Completed:
        if done.exit_code == 0 or done.exit_code in expected:
            return done
        said = done.stderr.decode(errors="replace").strip()
        complaint = next((line for line in said.splitlines() if storage_remedy(line)), "")
        if complaint:
            raise DeviceStorageError(
                "the device's storage refuses us",
                where=f"device {self.device}",
                seen=complaint[-_SEEN_CHARACTERS:],
                next_step=f"{storage_remedy(complaint)} (`workdir` in lab.toml)",
            )
        seen = said[-_SEEN_CHARACTERS:] or f"exit code {done.exit_code}"
        raise DeviceRunError("a step failed on the device", where=f"device {self.device}", seen=seen)


def _argv(script: str, arguments: tuple[str, ...]) -> list[str]:
    return ["sh", "-c", as_sent(script), "edgedeploy", *arguments]


def as_sent(script: str) -> str:
    """The whole text that a device's sh gets for a script."""
    return f"{_IN_ENGLISH}\n{script.strip()}"
