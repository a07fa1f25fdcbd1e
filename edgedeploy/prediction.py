"""From what a model is made of to what it will take on a target. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgedeploy.domain.footprint import Arithmetic, Footprint
from edgedeploy.domain.plan import Bound, Prediction, Roofline
from edgedeploy.domain.profile import ModelProfile
from edgedeploy.domain.target import CoreGroup, MeasurePolicy, Soc, Target


def predict(footprint: Footprint, profile: ModelProfile, target: Target, policy: MeasurePolicy) -> Prediction:
    """What the export will be, and the least time one call of it can take."""
    golden_inputs = sum(method.input_bytes * method.golden_cases for method in profile.methods)
    least = footprint.runtime_bytes + footprint.packed_bytes + footprint.activation_bytes + profile.state_bytes
    return Prediction(
        size_bytes=footprint.size_bytes,
        device_bytes=least + footprint.size_bytes + golden_inputs,
        device_least_bytes=least,
        storage_bytes=footprint.size_bytes + golden_inputs,
        export_peak_bytes=footprint.export_peak_bytes,
        roofline=roofline(footprint, profile, target.soc, policy),
    )


def jobs_within(free_bytes: int, peaks: Sequence[int], most: int) -> int:
    """How many of several jobs, whichever they are, fit into memory at once: at least one, at most ``most``."""
    largest = sorted(peaks, reverse=True)
    return max((n for n in range(1, most + 1) if sum(largest[:n]) <= free_bytes), default=1)


def roofline(footprint: Footprint, profile: ModelProfile, soc: Soc, policy: MeasurePolicy) -> Roofline:
    """The least time one call of the main method can take on the cores that are measured.

    Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009: work over peak rate, and bytes over bandwidth. The bytes are
    a lower bound: weights, inputs and outputs once; what lies between the operators may never leave the caches.
    """
    main = profile.methods[0]
    rate, unknown = _operations_per_s(soc, policy, footprint.arithmetic)
    moved = footprint.weight_bytes + main.input_bytes + main.output_bytes
    bandwidth = soc.memory_bandwidth_bytes_per_s
    compute_ns = round(2 * main.macs / rate * 1e9) if rate else None
    memory_ns = round(moved / bandwidth * 1e9) if bandwidth else None
    if bandwidth is None:
        unknown = (*unknown, "soc.memory_bandwidth_bytes_per_s")
    bound: Bound | None = None
    if compute_ns is not None and memory_ns is not None:
        bound = "compute" if compute_ns >= memory_ns else "memory"
    return Roofline(compute_ns=compute_ns, memory_ns=memory_ns, bound=bound, unknown=unknown)


def _operations_per_s(soc: Soc, policy: MeasurePolicy, arithmetic: Arithmetic | None) -> tuple[float | None, tuple[str, ...]]:
    """Peak rate of the cores that are used, a multiply-accumulate counted as two; or the names of what is not known."""
    if arithmetic is None:
        return None, ("peak rate of the GPU or neural engine",)
    used = list(_used_cores(soc, policy))
    if not used:
        return None, ("soc.cores",)
    field = {"fp32": "fp32_flops_per_cycle", "fp16": "fp16_flops_per_cycle", "int8": "int8_ops_per_cycle"}[arithmetic]
    unknown = tuple(f"soc.cores.{key}" for key in ("max_clock_hz", field) if any(getattr(core, key) is None for core in used))
    if unknown:
        return None, unknown
    return float(sum((core.max_clock_hz or 0) * getattr(core, field) for core in used)), ()


def _used_cores(soc: Soc, policy: MeasurePolicy) -> Iterator[CoreGroup]:
    """One entry per core that a measurement uses: those it is pinned to, else the fastest, as many as threads."""
    cores = [group for group in soc.cores for _ in range(group.count)]
    if policy.cpus:
        yield from (cores[cpu] for cpu in policy.cpus if cpu < len(cores))
        return
    cores.sort(key=lambda core: (core.max_clock_hz or 0) * (core.fp32_flops_per_cycle or 1), reverse=True)
    yield from cores[: policy.threads or len(cores)]
