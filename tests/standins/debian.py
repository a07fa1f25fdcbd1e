"""Debian packages of any architecture, fetched with apt's own checks and without installing anything."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from standins.build_cache import cache_dir, locked
from standins.unavailable import StandinUnavailableError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
APT_FOLDER = Path("/etc/apt")
MIRROR_VARIABLE = "EDGEDEPLOY_DEBIAN_MIRROR"
APT_TIMEOUT_S = 900.0

_ONE_LINE = re.compile(r"^deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)$")


@dataclass(frozen=True, kw_only=True)
class AptSource:
    """One archive that this machine's apt is set up to use."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str


def parse_one_line_sources(text: str) -> Iterator[AptSource]:
    """The archives in a ``sources.list`` file."""
    for line in text.splitlines():
        found = _ONE_LINE.match(line.split("#", 1)[0].strip())
        if found:
            signed = re.search(r"signed-by=(\S+)", found["options"] or "")
            yield AptSource(
                uri=found["uri"],
                suites=(found["suite"],),
                components=tuple(found["components"].split()),
                signed_by=signed[1] if signed else "",
            )


def parse_deb822_sources(text: str) -> Iterator[AptSource]:
    """The archives in a ``*.sources`` file."""
    without_comments = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", without_comments):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line[:1].isspace() and key:
                fields[key] += " " + line.strip()
            elif ":" in line:
                name, value = line.split(":", 1)
                key = name.strip().lower()
                fields[key] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
            continue
        for uri in fields.get("uris", "").split():
            yield AptSource(
                uri=uri,
                suites=tuple(fields.get("suites", "").split()),
                components=tuple(fields.get("components", "").split()),
                signed_by=fields.get("signed-by", ""),
            )


def _configured_sources() -> Iterator[AptSource]:
    files = [APT_FOLDER / "sources.list", *sorted((APT_FOLDER / "sources.list.d").glob("*"))]
    for path in files:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if path.suffix == ".sources":
            yield from parse_deb822_sources(text)
        elif path.suffix == ".list":
            yield from parse_one_line_sources(text)


def choose_mirror(sources: Sequence[AptSource], os_release: Mapping[str, str]) -> str | None:
    """The address of the Debian archive among ``sources``; None when there is none.

    On Debian it is the archive that the running release itself comes from, wherever that is mirrored; on other systems
    an archive counts only when Debian's own keyring signs it.
    """
    codename = os_release.get("VERSION_CODENAME", "")
    for source in sources:
        own_key = "debian-archive-keyring" in source.signed_by
        release = os_release.get("ID") == "debian" and codename in source.suites
        foreign_key = bool(source.signed_by) and not own_key
        security = any("security" in suite for suite in source.suites)
        if "main" in source.components and not security and not foreign_key and (own_key or release):
            return source.uri
    return None


def mirror() -> str:
    """The Debian archive to fetch from: ``$EDGEDEPLOY_DEBIAN_MIRROR``, else the one in this machine's apt sources.

    Raises:
        StandinUnavailableError: neither is there.
    """
    chosen = os.environ.get(MIRROR_VARIABLE)
    if chosen:
        return chosen
    try:
        os_release = platform.freedesktop_os_release()
    except OSError:
        os_release = {}
    found = choose_mirror(list(_configured_sources()), os_release)
    if found is None:
        raise StandinUnavailableError(
            "no Debian archive among this machine's apt sources",
            next_step=f"set {MIRROR_VARIABLE} to the address of a Debian mirror, the folder that holds dists/ and pool/",
        )
    return found


def fetch_packages(*, suite: str, arch: str, packages: Sequence[str]) -> list[Path]:
    """The ``.deb`` files of ``packages`` and of everything they depend on, signatures and hashes checked by apt.

    Kept in the cache and fetched once. Nothing is installed and no state of the machine's own apt is touched.

    Raises:
        StandinUnavailableError: no apt, no keyring, no mirror, or apt could not fetch.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise StandinUnavailableError(
            "stand-ins are unpacked from Debian packages, and there is no apt-get or dpkg-deb here",
            next_step="run these tests on Debian or Ubuntu, or in a container of one",
        )
    if not KEYRING.is_file():
        raise StandinUnavailableError(f"Debian's signing keys are not installed ({KEYRING})")
    wanted = " ".join(sorted(packages))
    folder = cache_dir() / f"packages-{suite}-{arch}"
    complete = folder / "complete"
    with locked(f"packages-{suite}-{arch}"):
        if not complete.is_file() or complete.read_text(encoding="utf-8") != wanted:
            _download(folder, suite=suite, arch=arch, packages=packages)
            complete.write_text(wanted, encoding="utf-8")
    return sorted((folder / "archives").glob("*.deb"))


def _download(folder: Path, *, suite: str, arch: str, packages: Sequence[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("lists/partial", "archives/partial"):
        (folder / part).mkdir(parents=True)
    sources = folder / "sources.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n", encoding="utf-8")
    (folder / "status").touch()  # an empty system: apt then resolves the whole closure
    settings = {
        "Dir::Etc::sourcelist": str(sources),
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State": str(folder),
        "Dir::State::lists": str(folder / "lists"),
        "Dir::State::status": str(folder / "status"),
        "Dir::Cache": str(folder),
        "Dir::Cache::archives": str(folder / "archives"),
        "APT::Architecture": arch,
        "APT::Architectures": arch,
        "APT::Install-Recommends": "0",
        "APT::Sandbox::User": "",  # the cache is often under a home folder that the user _apt cannot enter
        "APT::Keep-Downloaded-Packages": "true",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Debug::NoLocking": "1",
    }
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    _apt([*options, "-q", "update", "--error-on=any"])
    _apt([*options, "-q", "-y", "--download-only", "install", *packages])


def _apt(arguments: Sequence[str]) -> None:
    done = subprocess.run(
        ["apt-get", *arguments],
        capture_output=True,
        text=True,
        timeout=APT_TIMEOUT_S,
        check=False,
        env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
    )
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise StandinUnavailableError(
            f"apt-get could not fetch the stand-ins' packages (exit code {done.returncode}):\n{tail}\n",
            next_step="check the network; NO_PUBKEY or EXPKEYSIG means that debian-archive-keyring is too old",
        )


def unpack(packages: Sequence[Path], into: Path) -> None:
    """Lay the files of ``packages`` under ``into``; their scripts are not run and nothing is executed."""
    into.mkdir(parents=True, exist_ok=True)
    for package in packages:
        # The archive passes through tar by itself because dpkg-deb -x would replace usr-merge links by folders.
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as reader:
            try:
                subprocess.run(
                    ["tar", "-x", "--keep-directory-symlink", "-C", str(into)],
                    stdin=reader.stdout,
                    timeout=120,
                    check=True,
                )
            except BaseException:
                reader.kill()
                raise
        if reader.returncode != 0:
            raise StandinUnavailableError(
                f"{package.name} is damaged",
                next_step=f"remove {package.parent.parent} and try again",
            )
