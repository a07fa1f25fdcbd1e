"""What power meters of phones and boards write, good and bad. Written by hand after the kernel's documentation, but for RAPL's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedeploy.probes.meters import metered, parse_metered, parse_reading

BAT = "/sys/class/power_supply/battery"
HWMON = "/sys/class/hwmon/hwmon2"
RAPL = "/sys/class/powercap/intel-rapl:0"


def phone(*looks: str, current: str = "current_now") -> str:
    head = f"name {BAT}/type Battery\nfile {BAT}/status\nfile {BAT}/{current}\nfile {BAT}/voltage_now\n"
    return head + "".join(f"at {10 + i}.00|{look}\n" for i, look in enumerate(looks))


@pytest.mark.parametrize(
    "look",
    [
        "Discharging|-500000|4000000",  # as Android has it: what leaves is negative
        "Discharging|500000|4000000",  # as other vendors have it
        "Discharging|500|4000000",  # in mA
        "Discharging|-500000|4000",  # in mV
    ],
)
def test_a_fuel_gauge_has_signs_and_units_of_its_vendor(look: str) -> None:
    (series,), reason = parse_metered(phone(look))
    assert (series.source, series.counts, reason) == ("battery battery", False, "")
    assert series.points == ((10.0, pytest.approx(2.0)),)


@pytest.mark.parametrize("status", ["Charging", "Full", "Not charging", "Unknown", ""])
def test_while_it_is_charged_a_gauge_tells_nothing_of_the_load(status: str) -> None:
    found, reason = parse_metered(phone("Discharging|-500000|4000000", f"{status}|300000|4000000"))
    assert found == ()
    assert "only while nothing charges it" in reason


@pytest.mark.parametrize("look", ["Discharging|0|4000000", "Discharging||4000000", "Discharging|x|4000000", "Discharging|5|-1"])
def test_a_gauge_that_talks_nonsense_is_none(look: str) -> None:
    assert parse_metered(phone(look)) == ((), "the battery's gauge may not be read")


def test_a_mouse_is_no_battery_of_the_machine() -> None:
    assert parse_metered(f"name {BAT}/scope Device\n" + phone("Discharging|-500000|4000000")) == ((), "")


def test_an_ina_on_a_board() -> None:
    text = f"name {HWMON}/name ina226\nname {HWMON}/power1_label SOC\nfile {HWMON}/power1_input\nat 1.00|2500000\nat 1.50|2600000\nat 2.00|\n"
    (series,), _ = parse_metered(text)
    assert (series.source, series.points) == ("hwmon ina226 SOC", ((1.0, 2.5), (1.5, 2.6)))


def test_of_a_jetson_the_input_counts_and_not_its_parts() -> None:
    text = "".join(f"name {HWMON}/{row}\n" for row in ("name ina3221", "in1_label VDD_IN", "in2_label VDD_CPU_GPU_CV"))
    text += "".join(f"file {HWMON}/{row}\n" for row in ("in1_input", "in2_input", "curr1_input", "curr2_input"))
    (series,), _ = parse_metered(text + "at 1.00|5000|5000|1000|600\n")
    assert (series.source, series.points) == ("hwmon ina3221 VDD_IN", ((1.0, 5.0),))
    (series,), _ = parse_metered((text + "at 1.00|5000|5000|1000|600\n").replace("VDD_IN", "VDD_SOC"))
    assert series.points == ((1.0, 8.0),)


def test_a_graphics_card_is_not_the_machine() -> None:
    assert parse_metered(f"name {HWMON}/name amdgpu\nfile {HWMON}/power1_average\nat 1.00|9000000\n") == ((), "")


def test_packages_are_added_up_and_counters_begin_anew() -> None:
    other = RAPL.replace(":0", ":1")
    core = f"{RAPL}:0"
    text = "".join(
        f"name {zone}/name {name}\nname {zone}/max_energy_range_uj 1000000\n"
        for zone, name in ((RAPL, "package-0"), (core, "core"), (other, "package-1"))
    )
    text += f"file {RAPL}/energy_uj\nfile {core}/energy_uj\nfile {other}/energy_uj\n"
    text += "at 1.00|900000|5|100000\nat 2.00|950000|6|300000\nat 3.00|50000|7|400000\n"
    (series,), _ = parse_metered(text)
    assert (series.source, series.counts) == ("RAPL package-0 + package-1", True)
    assert [value for _, value in series.points] == pytest.approx([0, 0.25, 0.45])


def test_a_counter_that_goes_back_for_no_reason_is_not_used() -> None:
    text = f"name {RAPL}/name package-0\nfile {RAPL}/energy_uj\nat 1.00|900\nat 2.00|100\n"
    assert parse_metered(text) == ((), "")


PMIC = """\
   3V7_WL_SW_A current(0)=0.10000000A
   VDD_CORE_A current(7)=2.00000000A
   3V7_WL_SW_V volt(8)=3.70000000V
   VDD_CORE_V volt(15)=0.80000000V
   EXT5V_V volt(24)=5.15000000V
   BATT_V volt(25)=0.00000000V
"""


def test_the_regulator_of_a_raspberry_pi_5() -> None:
    (series,), _ = parse_metered(f"at 1.00\n{PMIC}at 1.50\nerror=1\n")
    assert (series.source, series.points) == ("vcgencmd pmic_read_adc", ((1.0, pytest.approx(1.97)),))


def test_nothing_is_none() -> None:
    assert parse_metered("") == ((), "")
    assert parse_metered("at 1.00\nat 1.50\n") == ((), "")


GOOD = phone("Discharging|-500000|4000000", "Discharging|-510000|4000000") + PMIC


@given(text=st.text(), at=st.integers(0, len(GOOD)), gap=st.integers(0, 40))
def test_damage_never_raises(text: str, at: int, gap: int) -> None:
    for series in parse_metered(GOOD[:at] + text + GOOD[at + gap :])[0]:
        assert all(value >= 0 for _, value in series.points)


@pytest.mark.parametrize(
    ("said", "reading"),
    [
        ("3.42 W\n", (3.42, False)),
        ("time 12\npower: 3420mW", (3.42, False)),
        ("12.5 J", (12.5, True)),
        ("0.5 Wh", (1800.0, True)),
        ("1 W\n2 W\n", (2.0, False)),
        ("nothing", None),
        ("", None),
        ("-3 W", None),
        ("nan W", None),
        ("3.4.5 W", None),
        ("3 Watts", None),
        ("x3 W", None),
    ],
)
def test_what_a_users_command_prints(said: str, reading: tuple[float, bool] | None) -> None:
    assert parse_reading(said) == (reading if reading is None else (pytest.approx(reading[0]), reading[1]))


@given(text=st.text())
def test_any_command_may_print_anything(text: str) -> None:
    parse_reading(text)


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_the_loop_on_this_machine(shell: str, tmp_path: Path) -> None:
    argv = metered(["sh", "-c", "sleep 0.7; exit 5"], str(tmp_path / "seen"))
    ended = subprocess.run([shell, *argv[1:]], capture_output=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (5, b"", b"")
    assert (tmp_path / "seen").read_text().count("at ") >= 2
