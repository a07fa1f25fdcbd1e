"""The engines' libraries and headers, out of the wheels that pip installs or downloads."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path, PurePosixPath

import msgspec

from edgedeploy.errors import MissingToolError
from edgedeploy.runners.abi import Engine, LinuxAbi, host_abi
from edgedeploy.runners.local_file import sha256_of

Emit = Callable[[str], None]

_DOWNLOAD_TIMEOUT_S = 600
_SEEN_LINES = 6


class _Wheel(msgspec.Struct, frozen=True, kw_only=True):
    distribution: str
    version: str
    package: str
    library_folder: str
    libraries: tuple[str, ...]
    headers: str | None


# The versions are pinned: ExecuTorch's wheel is a C++ SDK since 1.5, and LiteRT's C ABI moves between releases
# (runner/src/litert_abi.h declares the one of 2.3.0).
_WHEELS: dict[Engine, _Wheel] = {
    "executorch": _Wheel(
        distribution="executorch",
        version="1.5.1",
        package="executorch",
        library_folder="executorch/lib",
        libraries=(
            "libexecutorch.so",
            "libexecutorch_kernels_optimized.so",
            "libexecutorch_kernels_quantized.so",
            "libexecutorch_backend_xnnpack.so",
            "libexecutorch_threadpool.so",
        ),
        headers="executorch/include",
    ),
    "litert": _Wheel(
        distribution="ai-edge-litert",
        version="2.3.0",
        package="ai_edge_litert",
        library_folder="ai_edge_litert",
        libraries=("libLiteRt.so",),
        headers=None,
    ),
}

# Newest first; a wheel may be tagged with any of them.
_PLATFORMS: dict[LinuxAbi, tuple[str, ...]] = {
    abi: tuple(f"manylinux_{tag}_{abi.removeprefix('linux-')}" for tag in ("2_28", "2_27", "2_17"))
    for abi in ("linux-x86_64", "linux-aarch64")
}
# Any that both wheels exist for: the libraries inside do not depend on Python.
_WHEEL_PYTHON = "3.11"


class Sdk(msgspec.Struct, frozen=True, kw_only=True):
    """An engine for one ABI. ``root`` holds ``include/`` and ``lib/`` where there are headers."""

    version: str
    root: Path
    libraries: tuple[Path, ...]


def find_sdk(engine: Engine, abi: LinuxAbi, *, cache_dir: Path, emit: Emit) -> Sdk:
    """Return the engine's SDK: the installed package for this machine's own ABI, else one that pip downloads once.

    Raises:
        MissingToolError: it is neither installed nor can it be downloaded; with the command to do it by hand.
    """
    wheel = _WHEELS[engine]
    site = _installed_site(wheel) if abi == host_abi() else None
    if site is None:
        site = _unpacked(wheel, _wheel_file(wheel, abi, cache_dir, emit), abi, cache_dir)
    return Sdk(
        version=wheel.version,
        root=site / wheel.package,
        libraries=tuple(site / wheel.library_folder / name for name in wheel.libraries),
    )


def _installed_site(wheel: _Wheel) -> Path | None:
    try:
        installed = metadata.distribution(wheel.distribution)
    except metadata.PackageNotFoundError:
        return None
    site = Path(str(installed.locate_file("")))
    whole = all((site / wheel.library_folder / name).is_file() for name in wheel.libraries)
    return site if whole and installed.version.split("+")[0] == wheel.version else None


def _wheel_file(wheel: _Wheel, abi: LinuxAbi, cache_dir: Path, emit: Emit) -> Path:
    folder = cache_dir / "wheels" / abi
    folder.mkdir(parents=True, exist_ok=True)
    pattern = f"{wheel.distribution.replace('-', '_')}-{wheel.version}-*{abi.removeprefix('linux-')}.whl"
    for path in sorted(folder.glob(pattern)):
        # pip compared the download with the index's digest; from then on this record guards the file. One that was put
        # here by hand has no record yet, and its user's word for it.
        record = path.with_name(path.name + ".sha256")
        if not record.exists() or record.read_text("ascii").strip() == sha256_of(path):
            return path
        emit(f"{path.name} is damaged and is downloaded again")
        path.unlink()
    emit(f"downloading {wheel.distribution} {wheel.version} for {abi} (once)")
    with tempfile.TemporaryDirectory(prefix=".downloading-", dir=folder) as scratch:
        _pip_download(wheel, abi, Path(scratch), folder)
        downloaded = next(Path(scratch).glob(pattern), None)
        if downloaded is None:
            raise MissingToolError(
                f"pip downloaded no wheel of {wheel.distribution} {wheel.version} for {abi}",
                seen=", ".join(path.name for path in Path(scratch).iterdir()) or "nothing",
            )
        target = folder / downloaded.name
        target.with_name(target.name + ".sha256").write_text(sha256_of(downloaded) + "\n", "ascii")
        return downloaded.replace(target)


def _pip_download(wheel: _Wheel, abi: LinuxAbi, scratch: Path, folder: Path) -> None:
    requirement = f"{wheel.distribution}=={wheel.version}"
    options = ["--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", _WHEEL_PYTHON]
    for tag in _PLATFORMS[abi]:
        options += ["--platform", tag]
    argv = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", *options, "--dest"]
    by_hand = " ".join(["python", *argv[1:], str(folder), requirement])
    try:
        done = subprocess.run(
            [*argv, str(scratch), requirement],
            capture_output=True,
            check=False,
            timeout=_DOWNLOAD_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise MissingToolError(
            f"downloading {requirement} for {abi} took more than {_DOWNLOAD_TIMEOUT_S} s", next_step=by_hand
        ) from error
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").splitlines()
        no_pip = any("No module named pip" in line for line in lines)
        raise MissingToolError(
            f"{requirement} for {abi} cannot be downloaded",
            seen="\n        ".join(lines[-_SEEN_LINES:]) or f"pip ended with code {done.returncode}",
            next_step="python -m ensurepip" if no_pip else f"where there is a network, run: {by_hand}",
        )


def _wanted(wheel: _Wheel, name: str) -> bool:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or name.endswith("/"):
        return False
    is_library = str(path.parent) == wheel.library_folder and path.name in wheel.libraries
    return is_library or (wheel.headers is not None and name.startswith(wheel.headers + "/"))


def _unpacked(wheel: _Wheel, path: Path, abi: LinuxAbi, cache_dir: Path) -> Path:
    target = cache_dir / "sdk" / f"{wheel.distribution}-{wheel.version}-{abi}-{sha256_of(path)[:16]}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=target.parent))
    try:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(scratch, [name for name in archive.namelist() if _wanted(wheel, name)])
        missing = [name for name in wheel.libraries if not (scratch / wheel.library_folder / name).is_file()]
        if missing:
            raise MissingToolError(
                f"the wheel of {wheel.distribution} {wheel.version} for {abi} lacks {', '.join(missing)}",
                where=str(path),
                next_step="delete that file and run again",
            )
        take_place(scratch, target)
    except zipfile.BadZipFile as error:
        raise MissingToolError(
            "a downloaded wheel cannot be unpacked", where=str(path), seen=str(error), next_step="delete it, run again"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def take_place(scratch: Path, target: Path) -> None:
    """Rename the folder ``scratch`` to ``target``; when another process was faster, its result stays."""
    try:
        scratch.rename(target)
    except OSError:
        if not target.is_dir():
            raise
