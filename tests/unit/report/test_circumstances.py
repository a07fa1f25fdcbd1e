"""What was seen beside the runner, in words."""

from __future__ import annotations

import msgspec
from documents import measured_run

from edgedeploy.domain.conditions import During, FixedClock, Sample, Start
from edgedeploy.domain.energy import Energy
from edgedeploy.domain.estimate import Estimate
from edgedeploy.report import circumstances
from edgedeploy.report.gaps import not_measured
from edgedeploy.report.html import render_html
from edgedeploy.report.words import energy_words

DURING = During(
    cpus=(7,),
    zone="BIG",
    cost=0.003,
    samples=(
        Sample(at_s=0, hottest_c=40.0, clocks_hz=(1_200_000_000,), busy=None, own=None),
        Sample(at_s=0.5, hottest_c=52.0, clocks_hz=(2_900_000_000,), busy=1.25, own=1.0),
    ),
)


def test_what_was_seen_meanwhile_is_told() -> None:
    run = measured_run()
    assert run.environment is not None
    environment = msgspec.structs.replace(run.environment, during=DURING)
    assert circumstances.meanwhile(environment) == (
        ("hottest meanwhile", "52.0 °C, BIG"),
        ("load by others meanwhile", "0.25 processors in the median"),
        ("looked at", "2 times, for 0.3% of a processor"),
    )
    assert circumstances.cores(environment)[7].meanwhile == "1.20 GHz to 2.90 GHz"
    assert circumstances.cores(environment)[6].meanwhile == ""
    page = render_html([msgspec.structs.replace(run, environment=environment)], title="t")
    assert "1.20 GHz to 2.90 GHz" in page
    assert "52.0 °C, BIG" in page


def test_a_fixed_clock_is_told() -> None:
    run = measured_run()
    assert run.environment is not None
    held = msgspec.structs.replace(run.environment, fixed_clock=FixedClock(how="governor performance", left=("x is a, was b",)))
    assert circumstances.meanwhile(held) == (("fixed clock", "governor performance"), ("clock not given back", "x is a, was b"))
    refused = msgspec.structs.replace(run.environment, fixed_clock=FixedClock(refused="it needs root"))
    assert circumstances.meanwhile(refused) == (("fixed clock", "no: it needs root"),)


def test_what_could_not_be_seen_is_a_gap() -> None:
    run = measured_run()
    assert run.environment is not None
    unknown = Start(waited_s=2, unknown=("load",))
    blind = During(samples=(Sample(at_s=0),), unavailable=("temperature", "load by others"))
    environment = msgspec.structs.replace(run.environment, during=blind, start=unknown)
    assert circumstances.meanwhile(environment) == (("waited for", "2 s; then it was ready"), ("looked at", "1 times"))
    gaps = not_measured(msgspec.structs.replace(run, environment=environment))
    assert {"load before the start", "temperature meanwhile", "load by others meanwhile"} <= set(gaps)


def test_energy_in_words() -> None:
    def around(mean: float) -> Estimate:
        return Estimate(mean=mean, standard_error=mean / 50, ci_low=mean * 0.9, ci_high=mean * 1.1, repetitions=3)

    run = measured_run()
    assert energy_words(run) == ""
    told = Energy(source="hwmon ina226", rest_mw=around(3200), active_mw=around(4200), per_iteration_mj=around(12.3))
    assert energy_words(msgspec.structs.replace(run, energy=told)) == (
        "energy: 12.3 mJ per inference above rest (11.1 to 13.5); 4.20 W at work, 3.20 W at rest, by hwmon ina226"
    )
    unclear = Estimate(mean=1.0, standard_error=1.0, ci_low=-3.3, ci_high=5.3, repetitions=3)
    assert "(-3.30 to 5.30, which may be none)" in energy_words(
        msgspec.structs.replace(run, energy=msgspec.structs.replace(told, per_iteration_mj=unclear))
    )
    absent = msgspec.structs.replace(run, energy=Energy(absent="it is charged"))
    assert energy_words(absent) == "energy not measured: it is charged"
    assert "energy: it is charged" in not_measured(absent)
    page = render_html([msgspec.structs.replace(run, energy=told)], title="t")
    assert "12.3 mJ per inference above rest" in page
