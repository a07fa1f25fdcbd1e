"""What README.md and docs/ say is so: commands run, configuration is accepted, links lead somewhere.

A line of a shell block that starts with ``edgedeploy`` is run, on the devices its page is about; any other line has to be listed
in ``NOT_RUN``.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from integration.pipeline.command import Run
from integration.pipeline.test_modes import write_quick
from integration.pipeline.test_real_transports import PIXEL, board_keys, write_lab
from integration.pipeline.test_upkeep import board_device, make_release
from standins.board import SshBoard
from standins.phone import Phone

from edgedeploy.config.lab import read_lab
from edgedeploy.config.project import read_project
from edgedeploy.config.targets import read_target
from edgedeploy.lab import Lab
from edgedeploy.pipeline import Pipeline

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# Lines of shell blocks that are no command of edgedeploy's, and why they are not run here.
NOT_RUN = {
    "make demo": "installs gigabytes",
    "make test": "is what runs this",
    "pip install -e '.[all]'": "installs gigabytes",
    "brew install xcodegen": "needs a Mac",
    "xcodegen generate": "needs a Mac",
    "xcodebuild -scheme edgedeploy-runner -configuration Release -destination generic/platform=iOS -derivedDataPath build "
    "-allowProvisioningUpdates DEVELOPMENT_TEAM=ABCDE12345 PREFIX=com.example": "needs a Mac",
    "xcrun devicectl device install app --device 00008120-000A11B22C33D44E "
    "build/Build/Products/Release-iphoneos/edgedeploy-runner.app": "needs a Mac and a phone",
    'eval "$(edgedeploy lease take --target pixel8 --for 2h)"': "sets a variable of the shell; the command in it is run",
}

MYBOARD = """\
name = "myboard"
title = "My board"
os = "linux"
abi = "linux-aarch64"
transports = ["ssh"]
workdir = "~/edgedeploy"
lanes = [{ exporter = "tflite", backend = "xnnpack" }]
"""

# Files that docs/results.md imports.
OTHER_TOOLS = {
    "benchmark_model.log": "Inference timings in us: Init: 2500, First inference: 9000, Warmup (avg): 8200.5, Inference (avg): 8101\n",
    "executorch.log": 'PyTorchObserver {"prompt_tokens":14,"generated_tokens":50,"model_load_start_ms":1,"model_load_end_ms":325,'
    '"inference_start_ms":325,"inference_end_ms":440,"prompt_eval_end_ms":340,"first_token_ms":341,'
    '"SCALING_FACTOR_UNITS_PER_SECOND":1000}\n',
    "llama-bench.json": '[{"n_prompt": 512, "n_gen": 0, "avg_ns": 2000000000, "avg_ts": 256.0}]\n',
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        """Without comments, blank lines and continuations."""
        joined = self.text.replace("\\\n", " ")
        return [line for line in (re.sub(r"(^|\s)#\s.*", "", line).strip() for line in joined.splitlines()) if line]


def _blocks() -> list[Block]:
    return [
        Block(str(page.relative_to(ROOT)), match[1], match[2])
        for page in PAGES
        for match in re.finditer(r"^```([a-z]*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    ]


BLOCKS = _blocks()
SHELL = [block for block in BLOCKS if block.language in {"sh", "bash", "console", "shell"}]


def lines_of(page: str) -> list[str]:
    return [line for block in SHELL if block.page == page for line in block.lines]


def is_for_a_phone(line: str) -> bool:
    return line.startswith("edgedeploy") and "pixel8" in line


def execute(lines: list[str], run: Run, start: Path) -> Path:
    """Run lines one after the other as a shell would: ``cd`` and ``>`` are understood. Returns the folder it ends in."""
    here = start
    for line in lines:
        words = shlex.split(line)
        if words[0] == "cd":
            here = here / words[1]
        elif words[0] == "edgedeploy":
            words, output = (words[:-2], words[-1]) if words[-2] == ">" else (words, None)
            done = run(*words[1:], cwd=here)
            assert done.exit_code == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            if output:
                (here / output).write_text(done.stdout)
        else:
            assert line in NOT_RUN, line
    return here


def test_every_line_of_a_shell_block_is_run_or_listed() -> None:
    pages_run = {
        "README.md",
        "docs/phones.md",
        "docs/iphones.md",  # test_iphone.py
        "docs/boards.md",
        "docs/deploy.md",
        "docs/ci.md",
        "docs/plugins.md",
        "docs/plan.md",
        "docs/lanes.md",
        "docs/compare.md",
        "docs/results.md",
        "docs/modes.md",
    }
    for block in SHELL:
        for line in block.lines:
            if line.startswith("edgedeploy"):
                assert block.page in pages_run, f"{block.page}: {line}: add a test that runs the commands of this page"
            else:
                assert line in NOT_RUN or line.startswith("cd "), f"{block.page}: {line}"
    written = {line for block in SHELL for line in block.lines}
    assert set(NOT_RUN) <= written, "listed, and no longer written anywhere"
    assert not [block.page for block in BLOCKS if not block.language and "edgedeploy " in block.text]
    makefile = (ROOT / "Makefile").read_text()
    for line in NOT_RUN:
        if line.startswith("make "):
            assert f"\n{line.removeprefix('make ')}:" in makefile


@pytest.mark.sdk
def test_the_readme_from_doctor_to_report(run: Run, tmp_path: Path) -> None:
    lines = [line for line in lines_of("README.md") if not is_for_a_phone(line)]
    assert len([line for line in lines if line.startswith("edgedeploy")]) >= 5
    ended_in = execute(lines, run, tmp_path)
    assert (ended_in / "edgedeploy-report.html").is_file()


@pytest.mark.sdk
@pytest.mark.standin
def test_commands_for_a_phone(run: Run, project: Path, phone_factory: Callable[..., Phone]) -> None:
    phone_factory(arch="arm64", identity=PIXEL)
    lines = [line for line in lines_of("README.md") if is_for_a_phone(line)] + lines_of("docs/phones.md")
    assert len(lines) >= 4
    execute(lines, run, project)


@pytest.mark.sdk
@pytest.mark.standin
def test_commands_for_deploying(run: Run, project: Path, ssh_board: SshBoard, tmp_path: Path) -> None:
    write_lab(project, "desk", "linux-x86_64", **board_keys(ssh_board, Path.home()))
    make_release(board_device(ssh_board), "~/.local/share/edgedeploy", tmp_path, b"an earlier one")  # something to go back to
    # On a board of this machine's kind: an emulated phone takes minutes for so many commands; test_upkeep.py has one.
    lines = [line.replace("pixel8", "linux-x86_64") for line in lines_of("docs/deploy.md") if line not in NOT_RUN]
    assert len(lines) >= 15
    execute(lines, run, project)


@pytest.mark.sdk
@pytest.mark.standin
def test_commands_for_a_board(run: Run, project: Path, pi_board: SshBoard) -> None:
    write_lab(project, "kitchen-pi", "raspberry-pi-5", **board_keys(pi_board, Path.home()))
    lines = lines_of("docs/boards.md")
    assert len(lines) >= 2
    execute(lines, run, project)


@pytest.mark.sdk
def test_commands_for_ci(run: Run, project: Path, tmp_path: Path) -> None:
    lines = lines_of("docs/ci.md")
    assert lines[0].startswith("edgedeploy export ")
    # Exported in the project, everything else on a machine that has the bundle only.
    execute([lines[0].replace(" dist", f" {tmp_path / 'dist'}")], run, project)
    execute(lines[1:], run, tmp_path)
    assert "<testsuite" in (tmp_path / "results.xml").read_text()
    assert "edgedeploy.push/2" in (tmp_path / "result.json").read_text()


@pytest.mark.sdk
def test_commands_for_a_plan(run: Run, project: Path) -> None:
    lines = lines_of("docs/plan.md")
    assert len(lines) >= 2
    execute(lines, run, project)


@pytest.mark.sdk
def test_commands_for_lanes(run: Run, tmp_path: Path) -> None:
    lines = lines_of("docs/lanes.md")
    assert len(lines) >= 4
    execute(["edgedeploy init mymodel", "cd mymodel", *lines], run, tmp_path)


@pytest.mark.sdk
def test_commands_for_comparisons(run: Run, scratch_project: Path) -> None:
    for words in (["init", "-q"], ["add", "model.py", "edgedeploy.toml"], ["commit", "-qm", "one"]):
        subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=n@n", *words], cwd=scratch_project, check=True)
    lines = lines_of("docs/compare.md")
    assert len(lines) >= 3
    execute(lines, run, scratch_project)


@pytest.mark.sdk
def test_commands_for_results(run: Run, project: Path) -> None:
    lines = lines_of("docs/results.md")
    assert len(lines) >= 10
    for name, content in OTHER_TOOLS.items():
        (project / name).write_text(content)
    ended_in = execute(lines, run, project)
    assert "executorch-xnnpack-fp32" in run("history", cwd=ended_in).stdout
    written = ("runs.csv", "results.json", "tflite.json", "mlperf_log_summary.txt")
    assert all((project / name).stat().st_size > 500 for name in written)
    for name in (*written, *OTHER_TOOLS):
        (project / name).unlink()


@pytest.mark.sdk
def test_commands_for_modes(run: Run, scratch_project: Path) -> None:
    write_quick(scratch_project, exporter="tflite")  # its defaults take ten minutes
    lines = lines_of("docs/modes.md")
    assert len(lines) >= 3
    execute(lines, run, scratch_project)


def test_commands_for_plug_ins(run: Run, tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets/myboard.toml").write_text(MYBOARD)
    lines = lines_of("docs/plugins.md")
    assert lines
    execute(lines, run, tmp_path)


TOML = [
    pytest.param(block, id=f"{block.page}-{number}") for number, block in enumerate(b for b in BLOCKS if b.language == "toml")
]


@pytest.mark.parametrize("block", TOML)
def test_toml_blocks_are_accepted(block: Block, tmp_path: Path) -> None:
    data = tomllib.loads(block.text)
    # Keys that are commented out are shown to be used: they are read, too.
    both_ways = (block.text, re.sub(r"^# (?=[a-z_]+ = )", "", block.text, flags=re.MULTILINE))
    if "sources" in data:
        for text in both_ways:
            file = tmp_path / "myboard.toml"
            file.write_text(f"{MYBOARD}\n{text}")
            assert read_target(file)
        return
    if "devices" in data:
        for text in both_ways:
            file = tmp_path / "lab.toml"
            file.write_text(text)
            assert read_lab(file, Lab(None).targets)
        return
    file = tmp_path / "edgedeploy.toml"
    file.write_text(block.text if "name" in data else f'name = "x"\n{"" if "models" in data else "models = {}"}\n{block.text}')
    project = read_project(file)
    for model in project.models.values():
        for name in (model.source.partition(":")[0], *model.files):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("")
    if project.deploy:
        pipeline = Pipeline.load(file)
        for target in {name for deploy in project.deploy for name in deploy.targets}:
            assert pipeline.plan(target).runs


def test_python_blocks_are_python() -> None:
    found = [block for block in BLOCKS if block.language == "python"]
    assert found
    for block in found:
        compile(block.text, block.page, "exec")


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for address in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", address):
            place, _, anchor = address.partition("#")
            file = (page.parent / place) if place else page
            assert file.exists(), address
            if anchor:
                headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
                assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, address
