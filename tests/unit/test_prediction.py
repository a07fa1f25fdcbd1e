"""What is predicted from a profile, a footprint and a target: by hand-calculated figures."""

from __future__ import annotations

import msgspec
import pytest
from unit.stages.planned import target

from edgedeploy.domain.footprint import Arithmetic, Effort, Footprint, Packing
from edgedeploy.domain.plan import Prediction, Roofline
from edgedeploy.domain.profile import Access, MethodProfile, ModelProfile, Weight, WeightKind, peak_live_bytes
from edgedeploy.domain.recipe import Budget
from edgedeploy.domain.target import CoreGroup, MeasurePolicy, Soc
from edgedeploy.obstacles import obstacles, verdict
from edgedeploy.prediction import jobs_within, predict, roofline

GB = 10**9


def weight(kind: WeightKind, *shape: int, dtype: str = "float32", looked_up: int = 0) -> Weight:
    return Weight(
        name=kind, kinds=(kind,), dtype=dtype, shape=shape, element_bytes=8 if dtype == "int64" else 4, looked_up=looked_up
    )


def profile(*weights: Weight, macs: int = 1_000_000, **changes: object) -> ModelProfile:
    method = MethodProfile(
        name="forward",
        macs=macs,
        operators={"linear": 2},
        primitives=10,
        steps={"linear": 2, "relu": 1},
        label_bytes=10,
        activation_bytes=4_000,
        input_bytes=400,
        output_bytes=100,
        golden_cases=3,
        calibration_cases=5,
    )
    made = ModelProfile(
        parameters=1, weights=weights, state_bytes=0, methods=(method,), loaded_rss_bytes=200_000_000, torch="2.13.0"
    )
    return msgspec.structs.replace(made, **changes)


def footprint(*, arithmetic: Arithmetic | None = "fp32", weight_bytes: int = 10_000_000) -> Footprint:
    return Footprint(
        size_bytes=weight_bytes + 1000,
        weight_bytes=weight_bytes,
        packed_bytes=weight_bytes,
        runtime_bytes=9_000_000,
        activation_bytes=4_000,
        export_peak_bytes=500_000_000,
        arithmetic=arithmetic,
    )


# Two small cores and one large one.
SOC = Soc(
    cores=(
        CoreGroup(count=2, name="small", max_clock_hz=1 * GB, fp32_flops_per_cycle=8),
        CoreGroup(count=1, name="large", max_clock_hz=2 * GB, fp32_flops_per_cycle=16, int8_ops_per_cycle=64),
    ),
    memory_bandwidth_bytes_per_s=10 * GB,
)


class TestLiveness:
    def test_a_chain_needs_two_neighbours_at_a_time(self) -> None:
        chain = [Access(reads=(n,), writes=(n + 1,)) for n in range(3)]
        assert peak_live_bytes(chain, {0: 10, 1: 20, 2: 30, 3: 5}, given=(0,), kept=(3,)) == 50

    def test_what_is_read_again_later_stays(self) -> None:
        skip = [Access(reads=(0,), writes=(1,)), Access(reads=(1,), writes=(2,)), Access(reads=(0, 2), writes=(3,))]
        assert peak_live_bytes(skip, {0: 10, 1: 10, 2: 10, 3: 10}, given=(0,), kept=(3,)) == 30

    def test_a_pointwise_operator_writes_over_an_input_nobody_needs_any_more(self) -> None:
        steps = [Access(reads=(0,), writes=(1,)), Access(reads=(1,), writes=(2,), in_place=True)]
        sizes = {0: 5, 1: 100, 2: 100}
        assert peak_live_bytes(steps, sizes, given=(0,), kept=(2,)) == 105
        needed_later = [*steps, Access(reads=(1, 2), writes=())]
        assert peak_live_bytes(needed_later, sizes, given=(0,), kept=(2,)) == 200

    def test_outputs_live_to_the_end_and_weights_do_not_count(self) -> None:
        steps = [Access(reads=(0, 99), writes=(1,)), Access(reads=(0,), writes=(2,)), Access(reads=(2,), writes=(3,))]
        assert peak_live_bytes(steps, {0: 1, 1: 50, 2: 7, 3: 7}, given=(0,), kept=(1, 3)) == 64

    def test_inputs_alone(self) -> None:
        assert peak_live_bytes([], {0: 8}, given=(0,), kept=()) == 8


class TestPacking:
    def test_eight_bits_with_a_scale_per_channel(self) -> None:
        made = profile(weight("linear", 10, 100), weight("bias", 10), weight("embedding", 50, 4))
        packing = Packing(bits={"linear": 8})
        assert packing.size_bytes(made) == 1000 + 10 * 4 + 10 * 4 + 200 * 4
        assert packing.shrunk_bytes(made, frozenset({"linear"})) == 1040

    def test_four_bits_in_groups(self) -> None:
        assert Packing(bits={"linear": 4}, group=32, scale_bytes=2).size_bytes(profile(weight("linear", 8, 64))) == 256 + 16 * 2

    def test_what_is_folded_or_unused_is_gone_and_integers_keep_their_width(self) -> None:
        made = profile(weight("folded", 64), weight("unused", 64), weight("other", 3, dtype="int64"))
        assert Packing(otherwise=16).size_bytes(made) == 24

    def test_a_table_that_only_constants_read_shrinks_to_what_they_take(self) -> None:
        made = profile(weight("lookup", 512, 8, looked_up=256))
        assert Packing().size_bytes(made) == 512 * 8 * 4
        assert Packing(lookups_done=True).size_bytes(made) == 256 * 4

    def test_what_two_kinds_of_layers_share_is_stored_for_each(self) -> None:
        tied = msgspec.structs.replace(weight("embedding", 10, 4), kinds=("embedding", "linear"))
        assert Packing(bits={"linear": 8}).size_bytes(profile(tied)) == 160 + 40 + 40

    def test_small_tensors_stay_as_they_are(self) -> None:
        assert Packing(bits={"linear": 8}, otherwise=16, least_elements=100).size_bytes(profile(weight("linear", 9, 9))) == 162

    def test_every_constant_begins_at_a_multiple_and_has_a_header(self) -> None:
        made = profile(weight("linear", 10, 10), weight("bias", 10))
        # 100 bytes, ten scales in 20, ten biases in 40.
        packing = Packing(bits={"linear": 8}, scale_bytes=2, scales_apart=True, alignment=64, header_bytes=8)
        assert packing.size_bytes(made) == (8 + 128) + (8 + 64) + (8 + 64)

    def test_biases_have_scales_where_all_is_static(self) -> None:
        made = profile(weight("linear", 10, 100), weight("bias", 10))
        assert Packing(bits={"linear": 8}, scaled=frozenset({"bias"})).size_bytes(made) == 1000 + 10 * 4 + 10 * 4 + 10 * 4

    def test_equal_weights_are_stored_once(self) -> None:
        zeros = msgspec.structs.replace(weight("bias", 10), digest="0", zeros=True)
        made = profile(zeros, msgspec.structs.replace(zeros, name="other"), weight("bias", 10))
        assert Packing().size_bytes(made) == 2 * 40
        assert Packing(zero_biases_vanish=True).size_bytes(made) == 40

    def test_statistics_of_a_norm_may_vanish_into_its_weights(self) -> None:
        made = profile(weight("norm", 10), weight("statistics", 10))
        assert [Packing(statistics_vanish=vanish).size_bytes(made) for vanish in (False, True)] == [80, 40]

    def test_a_width_that_no_group_divides_takes_eight_bits(self) -> None:
        packing = Packing(bits={"linear": 4}, group=32, scale_bytes=2, eight_where_undivided=True)
        assert packing.size_bytes(profile(weight("linear", 8, 48))) == 8 * 48 + 8 * 2

    def test_indices_into_tables_where_the_channels_divide(self) -> None:
        packing = Packing(bits={"linear": 4}, otherwise=16, rows_per_table=16, scale_bytes=32)
        assert packing.size_bytes(profile(weight("linear", 32, 10))) == 160 + 2 * 32
        assert packing.size_bytes(profile(weight("linear", 24, 10))) == 480

    def test_effort_adds_up(self) -> None:
        effort = Effort(base_bytes=1e6, floor_bytes=1e8, per_weight_byte=2, per_largest_byte=3, per_primitive=1e3)
        made = profile(weight("linear", 1000), weight("bias", 10))
        assert effort.peak_bytes(made) == 200_000_000 + 1_000_000 + 2 * 4_040 + 3 * 4_000 + 10_000

    def test_a_small_process_grows_to_what_the_sdk_brings(self) -> None:
        effort = Effort(base_bytes=1e6, floor_bytes=1e9, per_weight_byte=0, per_primitive=0)
        assert effort.peak_bytes(profile(weight("linear", 1000))) == 1_000_004_000


class TestRoofline:
    def test_the_fastest_core_for_one_thread(self) -> None:
        found = roofline(footprint(), profile(), SOC, MeasurePolicy(threads=1))
        assert found.compute_ns == round(2 * 1_000_000 / (2 * GB * 16) * 1e9) == 62_500
        assert found.memory_ns == round(10_000_500 / (10 * GB) * 1e9) == 1_000_050
        assert found.bound == "memory"
        assert found.least_ns == 1_000_050

    def test_compute_bound_on_pinned_cores(self) -> None:
        found = roofline(footprint(), profile(macs=GB), SOC, MeasurePolicy(threads=2, cpus=(0, 1)))
        assert found.compute_ns == round(2 * GB / (2 * GB * 8) * 1e9)
        assert found.bound == "compute"

    def test_all_threads_add_up(self) -> None:
        found = roofline(footprint(), profile(macs=GB), SOC, MeasurePolicy(threads=3))
        assert found.compute_ns == round(2 * GB / (2 * GB * 8 + 2 * GB * 16) * 1e9)

    def test_a_rate_that_some_core_lacks_is_unknown_and_named(self) -> None:
        found = roofline(footprint(arithmetic="int8"), profile(), SOC, MeasurePolicy(threads=3))
        assert found.compute_ns is None
        assert found.bound is None
        assert found.unknown == ("soc.cores.int8_ops_per_cycle",)
        assert found.least_ns == found.memory_ns

    def test_nothing_known_is_nothing_said(self) -> None:
        found = roofline(footprint(), profile(), Soc(), MeasurePolicy())
        assert found == Roofline(unknown=("soc.cores", "soc.memory_bandwidth_bytes_per_s"))
        assert found.least_ns is None

    def test_what_may_run_elsewhere_than_on_the_cores_has_no_bound_by_them(self) -> None:
        assert roofline(footprint(arithmetic=None), profile(), SOC, MeasurePolicy()).compute_ns is None


class TestPrediction:
    def test_memory_and_storage_add_up(self) -> None:
        made = profile(state_bytes=7_000)
        found = predict(footprint(), made, target(), MeasurePolicy())
        inputs = 3 * 400
        assert found.storage_bytes == 10_001_000 + inputs
        assert found.device_bytes - predict(footprint(), profile(), target(), MeasurePolicy()).device_bytes == 7_000
        assert found.device_least_bytes == 9_000_000 + 10_000_000 + 4_000 + 7_000
        assert found.device_bytes == found.device_least_bytes + 10_001_000 + inputs
        assert (found.size_bytes, found.export_peak_bytes) == (10_001_000, 500_000_000)


class TestJobs:
    @pytest.mark.parametrize(("free_bytes", "jobs"), [(100, 3), (60, 3), (59, 2), (50, 2), (49, 1), (5, 1)])
    def test_the_largest_have_to_fit_together(self, free_bytes: int, jobs: int) -> None:
        assert jobs_within(free_bytes, [10, 30, 20, 10], 3) == jobs

    def test_what_is_not_known_limits_nothing(self) -> None:
        assert jobs_within(5, [0, 0], 2) == 2


def prediction(**changes: object) -> Prediction:
    made = Prediction(
        size_bytes=10_000_000,
        device_bytes=100_000_000,
        device_least_bytes=80_000_000,
        storage_bytes=10_000_000,
        export_peak_bytes=500_000_000,
        roofline=Roofline(compute_ns=2_000_000, memory_ns=1_000_000, bound="compute"),
    )
    return msgspec.structs.replace(made, **changes)


class TestObstacles:
    @pytest.mark.parametrize(
        ("memory_bytes", "certain"), [(None, None), (GB, None), (150_000_000, False), (90_000_000, False), (70_000_000, True)]
    )
    def test_the_target_s_memory(self, memory_bytes: int | None, certain: bool | None) -> None:
        found = obstacles(prediction(), Budget(), target(soc=Soc(memory_bytes=memory_bytes)), None)
        assert [one.certain for one in found] == ([] if certain is None else [certain])

    @pytest.mark.parametrize(("size_mb", "certain"), [(20, None), (10.2, False), (9.8, False), (9.0, True)])
    def test_a_size_budget_within_the_error_is_doubtful(self, size_mb: float, certain: bool | None) -> None:
        found = obstacles(prediction(), Budget(size_mb=size_mb), target(), None)
        assert [one.certain for one in found] == ([] if certain is None else [certain])
        assert all("size_mb" in one.what for one in found)

    def test_a_latency_below_the_roofline_cannot_be_met(self) -> None:
        (found,) = obstacles(prediction(), Budget(latency_p50_ms=1.9, latency_p99_ms=2.1), target(), None)
        assert found.certain
        assert found.what.startswith("latency_p50_ms: 1.9 cannot be met")

    def test_a_latency_is_not_judged_by_what_is_unknown(self) -> None:
        assert obstacles(prediction(roofline=Roofline()), Budget(latency_p50_ms=0.001), target(), None) == ()

    @pytest.mark.parametrize(("free_bytes", "certain"), [(None, None), (GB, None), (450_000_000, False), (300_000_000, True)])
    def test_memory_for_the_export(self, free_bytes: int | None, certain: bool | None) -> None:
        found = obstacles(prediction(), Budget(), target(), free_bytes)
        assert [one.certain for one in found] == ([] if certain is None else [certain])

    def test_one_word(self) -> None:
        doubtful = obstacles(prediction(), Budget(size_mb=10), target(), None)
        certain = obstacles(prediction(), Budget(size_mb=1), target(), None)
        assert verdict((), None) == "unknown"
        assert verdict((), prediction()) == "yes"
        assert verdict(doubtful, prediction()) == "doubtful"
        assert verdict(doubtful + certain, prediction()) == "no"
