"""edgedeploy-device as a device has it: files come out right and with the right digest, whatever happens on the way."""

from __future__ import annotations

import hashlib
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integration.ndk import stand_in_ndk
from standins.adb_server import AdbServer
from standins.build_cache import cache_dir
from standins.phone import WORKDIR, Phone

from edgedeploy.deploy.chunks import chunks_of, pack
from edgedeploy.errors import MissingToolError, UsageError
from edgedeploy.runners.abi import LinuxAbi, host_abi
from edgedeploy.runners.build_tools import compiler_arguments, find_cmake, find_toolchain, run_tool
from edgedeploy.runners.device_helper import device_helper
from edgedeploy.shipped import shipped

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="native programs are built on Linux")

LIMIT_S = 120
MIB = 1 << 20
EMPTY = hashlib.sha256(b"").hexdigest()
# The programs' own buffers are 256 KiB and 1 MiB, and a block of SHA-256 is 64 bytes.
SIZES = st.one_of(
    st.integers(0, 200), st.integers(0, 3 * MIB), st.sampled_from([1 << 18, MIB]).flatmap(lambda n: st.integers(n - 1, n + 1))
)


class Helper:
    """The program with what starts it: nothing, or the emulator."""

    def __init__(self, program: Path, emulator: tuple[str, ...] = ()) -> None:
        self.argv = (*emulator, str(program))

    def __call__(
        self, *words: str, stdin: bytes = b"", cwd: Path | None = None, before: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[bytes]:
        argv = [*before, *self.argv, *words]
        return subprocess.run(argv, input=stdin, cwd=cwd, capture_output=True, timeout=LIMIT_S, check=False)

    def said(self, *words: str, stdin: bytes = b"", cwd: Path | None = None) -> str:
        done = self(*words, stdin=stdin, cwd=cwd)
        assert (done.returncode, done.stderr) == (0, b""), done
        return done.stdout.decode()

    def receive(self, *words: str, pieces: Iterable[bytes]) -> str:
        """Sent piece by piece, through a pipe as from an ssh or adb server."""
        with subprocess.Popen([*self.argv, "receive", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
            assert running.stdin is not None
            for piece in pieces:
                running.stdin.write(piece)
                running.stdin.flush()
            said, _ = running.communicate(timeout=LIMIT_S)
        assert running.returncode == 0
        return said.decode()


def built(abi: str) -> Path:
    try:
        return device_helper(abi, cache_dir=cache_dir() / "runners", emit=print)
    except MissingToolError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


def emulator() -> str:
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if qemu is None:
        pytest.skip("qemu-user is not installed: sudo apt install qemu-user-static")
    return qemu


@pytest.fixture(scope="session", params=["host", "emulated"])
def helper(request: pytest.FixtureRequest) -> Helper:
    if request.param == "host":
        return Helper(built("host"))
    if platform.machine() == "aarch64":
        pytest.skip("this machine is one")
    return Helper(built("linux-aarch64"), (emulator(), "-cpu", "cortex-a72"))


def line_of(content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()} {len(content)}\n"


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


# ------------------------------------------------------------------------------------------------ receive


@settings(max_examples=25)
@given(size=SIZES, data=st.data())
def test_a_file_that_came_in_pieces_is_the_file(helper: Helper, size: int, data: st.DataObject) -> None:
    content = noise(size, size)
    offset = data.draw(st.integers(0, size))
    cuts = sorted(data.draw(st.lists(st.integers(offset, size), max_size=6)))
    pieces = [content[start:end] for start, end in zip([offset, *cuts], [*cuts, size], strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.part"
        # What is there already, rightly up to the offset; the rest may be anything of any length.
        file.write_bytes(content[:offset] + noise(1, data.draw(st.integers(0, 2 * size + 3))))
        assert helper.receive(str(file), str(offset), pieces=pieces) == line_of(content)
        assert file.read_bytes() == content


def test_a_new_file_has_the_rights_of_one_from_the_shell(helper: Helper, tmp_path: Path) -> None:
    file = tmp_path / "new"
    assert helper.said("receive", str(file), "0", "--sync", stdin=b"abc") == line_of(b"abc")
    (tmp_path / "shell").touch()
    assert file.stat().st_mode == (tmp_path / "shell").stat().st_mode


def test_an_offset_beyond_the_end_leaves_zeros(helper: Helper, tmp_path: Path) -> None:
    file = tmp_path / "sparse"
    file.write_bytes(b"ab")
    assert helper.said("receive", str(file), "5", stdin=b"c") == line_of(b"ab\0\0\0c")
    assert helper.said("receive", str(file), "9") == line_of(b"ab\0\0\0c\0\0\0")
    assert helper.said("receive", str(file), str(8 * MIB), stdin=b"end") == line_of(file.read_bytes())
    assert file.stat().st_size == 8 * MIB + 3
    assert file.stat().st_blocks * 512 < MIB


def test_a_receiver_that_lost_its_connection_takes_nothing_from_its_successor(helper: Helper, tmp_path: Path) -> None:
    file = tmp_path / "model.part"
    content = noise(7, 3 * MIB)
    argv = [*helper.argv, "receive", str(file), "0", "--size", str(len(content))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as lost:
        assert lost.stdin is not None
        lost.stdin.write(content[:MIB])
        lost.stdin.flush()
        successor = helper.said("receive", str(file), str(MIB // 2), "--size", str(len(content)), stdin=content[MIB // 2 :])
        said, _ = lost.communicate(timeout=LIMIT_S)  # the server notices, and its input ends
    assert said.decode() == line_of(content[:MIB])
    assert successor.split()[1] == str(len(content))
    assert file.read_bytes() == content


def test_two_writers_of_the_same_content_do_no_harm(helper: Helper, tmp_path: Path) -> None:
    file = tmp_path / "model.part"
    content = noise(8, 5 * MIB + 11)
    argv = [*helper.argv, "receive", str(file), "0", "--size", str(len(content))]
    source = tmp_path / "source"
    source.write_bytes(content)
    with source.open("rb") as one, source.open("rb") as other:
        running = [subprocess.Popen(argv, stdin=stdin, stdout=subprocess.PIPE) for stdin in (one, other)]
        said = [process.communicate(timeout=LIMIT_S)[0].decode() for process in running]
    assert said == [line_of(content)] * 2
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/dev/full", "No space left on device"),
        ("missing/model.part", "No such file or directory"),
        (".", "Is a directory"),
    ],
)
def test_what_cannot_be_written_is_said_as_the_shell_says_it(helper: Helper, tmp_path: Path, path: str, problem: str) -> None:
    done = helper("receive", path, "0", stdin=b"abc", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == f"edgedeploy-device: {path}: {problem}\n"


def test_a_full_disk_keeps_what_came_before_it(helper: Helper, tmp_path: Path) -> None:
    # In a user's own mount namespace, so that it takes no root; the file system is gone with the process.
    script = 'mount -t tmpfs -o size=256k none "$0" && cd "$0" && { "$@"; code=$?; cat model.part; exit $code; }'
    unshared = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, str(tmp_path))
    if subprocess.run([*unshared, "touch", "model.part"], capture_output=True, timeout=LIMIT_S, check=False).returncode:
        pytest.skip("no user namespaces here")
    content = noise(9, MIB)
    done = helper("receive", "model.part", "0", stdin=content, before=unshared)
    assert done.returncode == 1
    assert done.stderr == b"edgedeploy-device: model.part: No space left on device\n"
    assert len(done.stdout) == 256 << 10
    assert content.startswith(done.stdout)


# ------------------------------------------------------------------------------------------------ assemble


@settings(max_examples=25)
@given(data=st.data())
def test_a_file_is_put_together_from_pieces_of_others(helper: Helper, data: st.DataObject) -> None:
    sources = {f"blob {index}": noise(index, data.draw(SIZES)) for index in range(data.draw(st.integers(1, 3)))}
    recipe: list[str] = []
    wanted = b""
    for _ in range(data.draw(st.integers(0, 8))):
        name = data.draw(st.sampled_from(sorted(sources)))
        start = data.draw(st.integers(0, len(sources[name])))
        length = data.draw(st.integers(0, len(sources[name]) - start))
        recipe.append(f"{start} {length} {name}\n")
        wanted += sources[name][start : start + length]
    with tempfile.TemporaryDirectory() as given_folder:
        folder = Path(given_folder)
        for name, content in sources.items():
            (folder / name).write_bytes(content)
        assert helper.said("assemble", "model.part", stdin="".join(recipe).encode(), cwd=folder) == line_of(wanted)
        assert (folder / "model.part").read_bytes() == wanted


def test_assembling_leaves_the_old_file_to_its_other_names(helper: Helper, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"0123456789")
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "model.part").hardlink_to(tmp_path / "old")
    assert helper.said("assemble", "model.part", stdin=b"2 3 source", cwd=tmp_path) == line_of(b"234")
    assert (tmp_path / "old").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("recipe", "problem"),
    [
        ("0 4 source\n8 3 source\n", "source: has 2 bytes from 8 on, not 3"),
        ("11 1 source\n", "source: has 0 bytes from 11 on, not 1"),
        ("0 4 source\n0 1 no such blob\n", "no such blob: No such file or directory"),
        ("0 4 source\n0 1\n", "line 2 is not OFFSET LENGTH PATH: '0 1'"),
        ("0 -1 source\n", "line 1 is not OFFSET LENGTH PATH: '0 -1 source'"),
        ("\n", "line 1 is not OFFSET LENGTH PATH: ''"),
    ],
)
def test_a_range_that_is_not_there_is_named(helper: Helper, tmp_path: Path, recipe: str, problem: str) -> None:
    (tmp_path / "source").write_bytes(b"0123456789")
    done = helper("assemble", "model.part", stdin=recipe.encode(), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == f"edgedeploy-device: {problem}\n"


def test_assembling_onto_a_full_disk_is_no_fault_of_the_recipe(helper: Helper, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"0123456789")
    done = helper("assemble", "missing/model.part", stdin=b"0 1 source\n", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"edgedeploy-device: missing/model.part: No such file or directory\n"


# ------------------------------------------------------------------------------------------------ hash and ranges


def test_every_path_gets_its_line(helper: Helper, tmp_path: Path) -> None:
    content = noise(3, 2 * MIB + 1)
    (tmp_path / "a file").write_bytes(content)
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("a file")
    os.mkfifo(tmp_path / "pipe")  # nobody writes into it: it must not be waited for
    said = helper.said("hash", stdin=b"a file\nmissing\nempty\nfolder\npipe\nlink", cwd=tmp_path)
    digest = hashlib.sha256(content).hexdigest()
    assert said.splitlines() == [
        f"{digest} {len(content)} a file",
        "- - missing",
        f"{EMPTY} 0 empty",
        "- - folder",
        "- - pipe",
        f"{digest} {len(content)} link",
    ]


def test_ranges_of_a_file_beyond_four_gigabytes(helper: Helper, tmp_path: Path) -> None:
    file = tmp_path / "large"
    start = (5 << 30) + 3
    with file.open("wb") as written:
        written.seek(start)
        written.write(b"the end")
    lines = f"{start} 7\n{start + 4} 3\n{start} 8\n0 0\n0 3\n{start + 100} 1\n"
    wanted = [hashlib.sha256(part).hexdigest() for part in (b"the end", b"end")]
    zeros = hashlib.sha256(b"\0\0\0").hexdigest()
    assert helper.said("ranges", str(file), stdin=lines.encode()).splitlines() == [*wanted, "-", EMPTY, zeros, "-"]
    recipe = f"{start} 3 large\n".encode()
    assert helper.said("assemble", "small", stdin=recipe, cwd=tmp_path) == line_of(b"the")


def test_an_answer_comes_before_the_next_question(helper: Helper, tmp_path: Path) -> None:
    file = tmp_path / "model.part"
    file.write_bytes(b"0123456789")
    argv = [*helper.argv, "ranges", str(file)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for start in range(3):
            running.stdin.write(f"{start} 2\n".encode())
            running.stdin.flush()
            wanted = hashlib.sha256(b"0123456789"[start : start + 2]).hexdigest()
            assert running.stdout.readline().decode() == f"{wanted}\n"
        running.communicate(timeout=LIMIT_S)
    assert running.returncode == 0


def test_bad_ranges_are_refused(helper: Helper, tmp_path: Path) -> None:
    (tmp_path / "model.part").write_bytes(b"0123456789")
    done = helper("ranges", "model.part", stdin=b"0 1\n0 1 x\n", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == b"edgedeploy-device: line 2 is not OFFSET LENGTH: '0 1 x'\n"
    done = helper("ranges", "missing", stdin=b"0 1\n", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, b"edgedeploy-device: missing: No such file or directory\n")


# ------------------------------------------------------------------------------------------------ the program


def test_it_says_which_version_it_is(helper: Helper) -> None:
    assert helper.said("version") == "edgedeploy-device 1\n"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["help"],
        ["hash", "file"],
        ["receive", "file"],
        ["receive", "file", "-1"],
        ["receive", "file", "1k"],
        ["receive", "file", "0", "--size"],
        ["receive", "file", "0", "--fsync"],
        ["assemble"],
        ["ranges", "file", "0"],
    ],
)
def test_wrong_arguments_change_nothing(helper: Helper, tmp_path: Path, words: list[str]) -> None:
    done = helper(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (64, b"")
    assert done.stderr.startswith(b"usage: edgedeploy-device receive FILE OFFSET")
    assert list(tmp_path.iterdir()) == []


def test_it_needs_nothing_and_is_small(helper: Helper) -> None:
    program = Path(helper.argv[-1])
    headers = subprocess.run(["readelf", "-lW", str(program)], capture_output=True, timeout=LIMIT_S, check=True).stdout
    assert b"INTERP" not in headers
    assert program.stat().st_size < MIB


def test_an_answer_that_cannot_be_given_is_a_failure(helper: Helper, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        argv = [*helper.argv, "receive", str(tmp_path / "file"), "0"]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, timeout=LIMIT_S, check=False)
    assert (done.returncode, done.stderr) == (1, b"edgedeploy-device: standard output: No space left on device\n")


def test_the_phone_gets_the_program_of_a_board(phone_arm64: Phone, adb_server: AdbServer) -> None:
    program = built("android-arm64")
    on_phone = f"{WORKDIR}/edgedeploy-device"
    assert adb_server.run("-s", phone_arm64.address, "push", str(program), on_phone).returncode == 0
    content = noise(4, MIB)
    received = adb_server.run("-s", phone_arm64.address, "shell", f"{on_phone} receive {WORKDIR}/model.part 0", stdin=content)
    assert (received.returncode, received.stdout.decode()) == (0, line_of(content))


# ------------------------------------------------------------------------------------------------ building


def test_it_is_built_once(tmp_path: Path) -> None:
    built("host")  # or skips
    said: list[str] = []
    first = device_helper("host", cache_dir=tmp_path, emit=said.append)
    assert said == [f"building device-helper-{host_abi()} (once)"]
    assert device_helper("host", cache_dir=tmp_path, emit=said.append) == first
    assert len(said) == 1


def test_without_a_compiler_callers_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ANDROID_NDK_HOME", raising=False)
    monkeypatch.delenv("ANDROID_NDK_ROOT", raising=False)
    for abi in ("linux-x86_64", "linux-aarch64", "android-arm64"):
        with pytest.raises(MissingToolError):
            device_helper(abi, cache_dir=tmp_path, emit=print)
    with pytest.raises(UsageError):
        device_helper("macos-arm64", cache_dir=tmp_path, emit=print)


def test_an_ndk_will_do_where_there_is_no_other_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_abi: str) -> None:
        raise MissingToolError("no compiler")

    monkeypatch.setenv("ANDROID_NDK_HOME", str(stand_in_ndk(tmp_path / "ndk")))
    monkeypatch.setattr("edgedeploy.runners.device_helper.find_toolchain", missing)
    program = device_helper("android-arm64", cache_dir=tmp_path / "cache", emit=print)
    assert program.parent.name.startswith("device-helper-android-arm64-ndk-")
    assert Helper(program, (emulator(),)).said("version") == "edgedeploy-device 1\n"


@pytest.mark.parametrize("abi", ["linux-x86_64", "linux-aarch64"])
def test_each_way_of_computing_sha256_agrees_with_the_standard(abi: LinuxAbi, tmp_path: Path) -> None:
    """The C tests of runner/tests that concern it; the aarch64 ones in the emulator, which has the instructions."""
    try:
        cmake, toolchain = find_cmake(), find_toolchain(abi)
    except MissingToolError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    start = [] if abi == host_abi() else [emulator(), "-L", "/usr/aarch64-linux-gnu"]
    configure = [cmake.program, "-S", str(shipped("runner")), "-B", str(tmp_path), *cmake.generator]
    run_tool([*configure, *compiler_arguments(abi, toolchain), "-DBUILD_LITERT_RUNNER=OFF"], what="the C tests")
    tests = ["test_sha256", "test_range_line"]
    run_tool([cmake.program, "--build", str(tmp_path), "--target", *tests], what="the C tests")
    said = [run_tool([*start, str(tmp_path / test)], what=test) for test in tests]
    if start:
        assert said[0] == "instructions of x86-64: not here, of aarch64: checked\n"
    elif abi == "linux-x86_64" and " sha_ni" in Path("/proc/cpuinfo").read_text("ascii"):
        assert said[0] == "instructions of x86-64: checked, of aarch64: not here\n"


# ------------------------------------------------------------------------------------------------ chunks


@settings(max_examples=25)
@given(noisy=SIZES, zeros=SIZES)
def test_a_device_cuts_as_the_pushing_machine_does(helper: Helper, noisy: int, zeros: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.pte"
        file.write_bytes(noise(noisy, noisy) + bytes(zeros))
        done = helper("chunks", str(file))
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout == pack(chunks_of(file))


def test_what_is_not_there_is_not_cut(helper: Helper, tmp_path: Path) -> None:
    done = helper("chunks", str(tmp_path / "gone"))
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"No such file or directory" in done.stderr
