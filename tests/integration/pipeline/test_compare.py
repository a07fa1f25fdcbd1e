"""``edgedeploy compare`` on this machine, on a phone and on a board: real runners that take turns."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.pipeline.command import EDGEDEPLOY, Run
from integration.pipeline.test_real_transports import PIXEL, board_keys, write_lab
from standins.board import SshBoard
from standins.phone import Phone

pytestmark = pytest.mark.sdk

# Whatever else this machine does, what is compared with itself is not three times as slow.
CALM = ("--tolerance", "200", "--turn-seconds", "0.01")


def only(document: dict) -> dict:
    (found,) = document["comparisons"]
    return found


def check(contest: dict, device: str) -> None:
    assert (contest["verdict"], contest["device"], contest["error"]) == ("pass", device, None), contest
    assert contest["ci_low"] <= contest["ratio"] <= contest["ci_high"]
    assert contest["blocks"] == len(contest["measured"]) >= 5
    used = sum(len(turn["latency_ns"]) for block in contest["measured"] for turn in block["turns"])
    assert contest["samples"] == used
    assert contest["taking_turns"]
    assert contest["base_performance"]["peak_rss_bytes"] > 1_000_000


def test_two_engines_on_this_machine(run: Run, project: Path) -> None:
    done = run("compare", "now@fp32/executorch", "now@fp32/tflite", "--target", "this-machine", *CALM, "--json", cwd=project)
    contest = only(done.document)
    check(contest, "this-machine")
    assert done.exit_code == 0
    engines = [contest[side]["engine"] for side in ("base_performance", "candidate_performance")]
    assert engines == ["executorch", "litert"]
    assert contest["same_outputs"] is not None
    past = run("history", "--model", "net", "--json", cwd=project).document
    assert (past["runs"], past["series"]) == ([], [])
    assert [(one["verb"], one["contest"]) for one in past["comparisons"]] == [("compare", contest | {"measured": []})]
    releases = run("releases", "--target", "this-machine", "--json", cwd=project).document
    assert releases["devices"][0]["found"]["projects"] == []  # what was compared is none of the project's releases


def test_a_worse_one_fails_and_a_better_one_passes(run: Run, project: Path) -> None:
    """The engine that takes more memory fails, the other way round the other one passes: the verdict does not depend on sides."""
    sides = ("now@fp32/executorch", "now@fp32/tflite")
    options = ("--target", "this-machine", "--turn-seconds", "0.01", "--figure", "peak_rss", "--tolerance", "0")
    there, back = (run("compare", *order, *options, cwd=project) for order in (sides, sides[::-1]))
    assert {there.exit_code, back.exit_code} == {0, 1}, there.stdout + back.stdout
    assert "peak RSS" in there.stdout


def test_a_git_revision_against_the_work_tree_and_a_bundle(run: Run, scratch_project: Path, tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=n", "-c", "user.email=n@n", *words], cwd=scratch_project, check=True, capture_output=True
        )

    git("init", "-q")
    git("add", "model.py", "edgedeploy.toml")
    git("commit", "-qm", "one")
    options = ("--target", "this-machine", *CALM, "--json")
    done = run("compare", "git:HEAD@fp32/executorch", "now@fp32/executorch", *options, cwd=scratch_project)
    contest = only(done.document)
    check(contest, "this-machine")
    assert contest["base"]["sha256"] == contest["candidate"]["sha256"]
    assert contest["same_outputs"] is True
    trees = subprocess.run(["git", "worktree", "list"], cwd=scratch_project, check=True, capture_output=True, text=True).stdout
    assert len(trees.splitlines()) == 1
    unknown = run("compare", "git:nothing", *options, cwd=scratch_project)
    assert unknown.exit_code == 2
    assert "git log" in unknown.document["next_step"]

    assert run("export", "--target", "this-machine", "--exporter", "executorch", "-o", "old", cwd=scratch_project).exit_code == 0
    check(only(run("compare", "old", *options, cwd=scratch_project).document), "this-machine")
    alone = tmp_path / "nothing-else"
    alone.mkdir()
    (scratch_project / "old").rename(alone / "old")
    contest = only(run("compare", "old", "./old", *options, cwd=alone).document)
    check(contest, "this-machine")
    assert (contest["base"]["origin"], contest["candidate"]["origin"]) == ("old", "./old")
    (past,) = run("history", "--bundle", "old", "--json", cwd=alone).document["comparisons"]
    whole = run("results", "show", past["id"], "--bundle", "old", cwd=alone).document
    assert whole["contest"] == contest


def test_baselines_are_found_again_on_a_machine_that_never_had_them(run: Run, scratch_project: Path, tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=n", "-c", "user.email=n@n", *words], cwd=scratch_project, check=True, capture_output=True
        )

    chosen = ("--target", "this-machine", "--model", "net")
    missing = run("compare", "baseline@fp32/executorch", "@fp32/executorch", *chosen, cwd=scratch_project)
    assert missing.exit_code == 2
    assert "edgedeploy baseline set" in missing.stderr
    git("init", "-q")
    git("add", "model.py", "edgedeploy.toml")
    git("commit", "-qm", "one")
    set_them = run("baseline", "set", *chosen, "--precision", "fp32", "--exporter", "executorch", "--json", cwd=scratch_project)
    (baseline,) = set_them.document["baselines"]
    assert len(baseline["revision"]) == 40
    assert "net/fp32/executorch" in run("baseline", "list", "--target", "this-machine", cwd=scratch_project).stdout
    model = scratch_project / "model.py"
    model.write_text(model.read_text().replace("nn.Linear(8, 10)", "nn.Linear(8, 11)"))
    elsewhere = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = run("compare", "baseline", "@fp32/executorch", *chosen, *CALM, "--json", cwd=scratch_project, **elsewhere)
    contest = only(done.document)
    check(contest, "this-machine")
    assert contest["base"]["sha256"] == baseline["sha256"] != contest["candidate"]["sha256"]
    assert contest["same_outputs"] is None  # the wider layer took more random numbers: its golden inputs are others


def test_the_gate_judges_each_run_by_its_own_bounds(run: Run, scratch_project: Path) -> None:
    chosen = ("--target", "this-machine", "--turn-seconds", "0.01")
    nothing = run("gate", *chosen, cwd=scratch_project)
    assert (nothing.exit_code, "gate = {" in nothing.stderr) == (2, True)
    file = scratch_project / "edgedeploy.toml"
    gated = 'exporters = ["executorch", "tflite"]\ngate = { latency_p50_percent = 200, peak_rss_percent = 50 }'
    file.write_text(file.read_text().replace('exporters = ["executorch", "tflite"]', gated))
    assert run("gate", *chosen, cwd=scratch_project).exit_code == 2  # no baselines
    assert run("baseline", "set", "--target", "this-machine", cwd=scratch_project).exit_code == 0
    unchanged = run("gate", *chosen, cwd=scratch_project)
    assert (unchanged.exit_code, unchanged.stdout.count("the same file")) == (0, 2), unchanged.stdout
    model = scratch_project / "model.py"
    model.write_text(model.read_text().replace("nn.Linear(8, 10)", "nn.Linear(8, 11)"))
    done = run("gate", *chosen, "--json", cwd=scratch_project)
    assert done.exit_code == 0, done.stderr
    found = done.document["comparisons"]
    assert [one["base"]["lane"]["exporter"] for one in found] == ["executorch", "tflite"]
    for contest in found:
        check(contest, "this-machine")
        assert [(one["figure"], one["tolerance"]) for one in contest["decided"]] == [("latency_p50", 2.0), ("peak_rss", 0.5)]
    past = run("history", "--json", cwd=scratch_project).document["comparisons"]
    told = {(one["verb"], one["contest"]["base"]["lane"]["exporter"], one["contest"]["blocks"]) for one in past}
    assert {("gate", one["base"]["lane"]["exporter"], one["blocks"]) for one in found} <= told


def test_a_push_gates_what_it_deploys(run: Run, scratch_project: Path) -> None:
    here = ("--target", "this-machine")
    file = scratch_project / "edgedeploy.toml"
    lanes = 'exporters = ["executorch", "tflite"]'
    file.write_text(file.read_text().replace(lanes, f"{lanes}\ngate = {{ latency_p50_percent = 200, size_percent = 3 }}"))
    assert run("baseline", "set", *here, "--exporter", "executorch", cwd=scratch_project).exit_code == 0
    model = scratch_project / "model.py"
    model.write_text(model.read_text().replace("nn.Linear(8, 10)", "nn.Linear(8, 11)"))
    done = run("push", *here, "--json", cwd=scratch_project)
    assert done.exit_code == 2, done.stderr
    ungated, gated = sorted(done.document["runs"], key=lambda one: one["gate"] is not None)
    assert "no baseline on this-machine" in ungated["error"]["what"]
    assert ungated["push"] is None
    assert (gated["verdict"]["status"], gated["gate"]["verdict"]) == ("pass", "pass")
    assert [one["figure"] for one in gated["gate"]["decided"]] == ["latency_p50", "size"]
    assert 1 < gated["gate"]["decided"][1]["ratio"] < 1.03
    assert gated["latency_ns"]["p50"] > 0
    assert gated["gate"]["blocks"] >= 5

    model.write_text(model.read_text().replace("nn.Linear(8, 11)", "nn.Linear(8, 100)"))
    larger = run("push", *here, "--exporter", "executorch", cwd=scratch_project)
    assert larger.exit_code == 1, larger.stderr
    assert "against its baseline: size: " in larger.stdout
    assert run("push", *here, "--exporter", "executorch", "--no-gate", cwd=scratch_project).exit_code == 0


def test_what_is_deployed_is_compared_with_what_may_replace_it(run: Run, scratch_project: Path, tmp_path: Path) -> None:
    """The release's files are taken from the device, which says how they are run; none of this machine's is looked at."""
    here, one = ("--target", "this-machine"), ("--exporter", "executorch", "--no-measure")
    mine = {"HOME": str(tmp_path)}  # a device of its own
    nothing = run("compare", "release", "@fp32/executorch", *here, *CALM, "--json", cwd=scratch_project, **mine)
    assert (nothing.exit_code, "push it first" in nothing.stdout) == (2, True), nothing.stdout
    assert run("push", *here, *one, cwd=scratch_project, **mine).exit_code == 0
    model = scratch_project / "model.py"
    model.write_text(model.read_text().replace("nn.Linear(8, 10)", "nn.Linear(8, 11)"))
    for side in ("release", "release:1"):
        contest = only(run("compare", side, "@fp32/executorch", *here, *CALM, "--json", cwd=scratch_project, **mine).document)
        check(contest, "this-machine")
        assert contest["base"]["origin"] == side
        assert contest["base"]["sha256"] not in {"", contest["candidate"]["sha256"]}
    missing = run("compare", "release:7", "@fp32/executorch", *here, *CALM, "--json", cwd=scratch_project, **mine)
    assert (missing.exit_code, "there is no release 7" in missing.stdout) == (2, True), missing.stdout
    assert only(missing.document)["base"]["sha256"] == ""


@pytest.mark.standin
def test_on_a_phone(run: Run, project: Path, phone_factory: Callable[..., Phone]) -> None:
    """mkfifo, head, tail and wc are toybox's there, sh is mksh, and the processor is emulated."""
    phone = phone_factory(arch="arm64", identity=PIXEL)
    done = run("compare", "now", "now", "--target", "pixel8", *CALM, "--json", cwd=project)
    check(only(done.document), phone.address)


@pytest.mark.standin
def test_on_a_board(run: Run, project: Path, ssh_board: SshBoard) -> None:
    write_lab(project, "desk", "linux-x86_64", **board_keys(ssh_board, Path.home()))
    options = ("--target", "linux-x86_64", *CALM, "--json")
    check(only(run("compare", "now@fp32", "now@fp32", *options, cwd=project).document), "desk")


@pytest.mark.standin
def test_ctrl_c_leaves_no_runner_on_a_board(run: Run, project: Path, ssh_board: SshBoard) -> None:
    write_lab(project, "desk", "linux-x86_64", **board_keys(ssh_board, Path.home()))
    assert run("export", "--target", "linux-x86_64", cwd=project).exit_code == 0
    sides = ("now@fp32", "now@fp32", "--target", "linux-x86_64", "--tolerance", "0.0001")
    process = subprocess.Popen([EDGEDEPLOY, "compare", *sides], cwd=project, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "push" in line and "release" in line:
                break
        time.sleep(3)  # the first turns are taken
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
    finally:
        process.kill()
        process.stderr.close()
    left = "cd .local/share/edgedeploy && ls -A runs; ps ax | grep -c [t]urn-seconds"
    done = subprocess.run(ssh_board.ssh_argv("sh", "-c", left), capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.split() == ["0"], done
    leases = run("lease", "list", "--target", "linux-x86_64", "--device", "desk", "--json", cwd=project).document
    assert leases["devices"][0]["found"]["state"] == "free"


def test_a_side_that_cannot_be_exported_is_told(run: Run, scratch_project: Path) -> None:
    (scratch_project / "model.py").write_text("def net():\n    raise RuntimeError('no weights here')\n")
    done = run("compare", "now", "--target", "this-machine", "--json", cwd=scratch_project)
    assert done.exit_code == 4
    assert "no weights here" in done.stdout
