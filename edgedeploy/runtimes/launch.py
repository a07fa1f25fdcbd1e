"""The arguments every runner takes (docs/runner-protocol.md), from a launch."""

from __future__ import annotations

from edgedeploy.domain.release import RunnerBundle
from edgedeploy.ports import Launch, Talk

# Enough for a median that one interruption does not move, and few enough for the document of a model with thousands of
# operators to stay below a megabyte.
PROFILED_INVOCATIONS = 10


def command(bundle: RunnerBundle, launch: Launch, *, runner_dir: str, python: str) -> tuple[str, ...]:
    """The argument list that starts a runner on a device.

    Args:
        bundle: the runner; its placeholders are filled in.
        launch: the model, its method, the inputs in order, the policy, and what is wanted: samples or a profile.
        runner_dir: the folder of the bundle's files on the device.
        python: the device's interpreter, for runners that need one.
    """
    start = [word.replace("{dir}", runner_dir).replace("{python}", python) for word in bundle.start]
    arguments = ["--model", launch.model, "--method", launch.method, "--output-dir", launch.output_dir]
    for spec, file in zip(launch.inputs, launch.input_files, strict=True):
        arguments += ["--input", f"{spec.dtype}:{','.join(map(str, spec.shape))}:{file}"]
    if launch.talk is not None:
        arguments += _talk(launch.talk)
    policy = launch.policy
    arguments += ["--warmup", str(policy.warmup_iterations), "--warmup-seconds", f"{policy.warmup_seconds:g}"]
    arguments += ["--iterations", str(policy.iterations)]
    arguments += ["--min-seconds", f"{policy.min_seconds:g}", "--max-seconds", f"{policy.max_seconds:g}"]
    arguments += ["--vary", "1" if policy.inputs == "varied" else "0", "--threads", str(policy.threads)]
    if policy.cpus:
        arguments += ["--cpus", ",".join(map(str, policy.cpus))]
    if launch.cold:
        arguments += ["--cold", "1"]
    if launch.profile:
        arguments += ["--profile", str(PROFILED_INVOCATIONS)]
    if launch.turns is not None:
        turns = launch.turns
        arguments += ["--turns", turns.schedule, "--side", turns.side, "--turn-seconds", f"{turns.turn_s:g}"]
    if launch.bursts is not None:
        arguments += ["--bursts", str(launch.bursts.count), "--idle-seconds", f"{launch.bursts.idle_s:g}"]
    if launch.window_s:
        arguments += ["--window-seconds", f"{launch.window_s:g}"]
    if launch.barrier:
        arguments += ["--barrier", "1"]
    return (*start, *arguments)


def _talk(talk: Talk) -> list[str]:
    words = [word for prompt in talk.prompts for word in ("--prompt", prompt)]
    if talk.prompts:
        words += ["--generate", str(talk.generate_tokens), "--prefill", str(talk.prefill_tokens)]
    return words + (["--score", talk.text, "--window", str(talk.window)] if talk.text else [])
