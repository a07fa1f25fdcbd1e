from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedeploy.domain.measurement import DeviceFacts
from edgedeploy.ports import Probe
from edgedeploy.probes.android import AndroidProbe
from edgedeploy.probes.linux import LinuxProbe
from edgedeploy.probes.macos import MacosProbe
from edgedeploy.probes.sections import script, section, split_sections

TEXTS = Path(__file__).parents[2] / "fixtures/probes"
PROBES: list[Probe] = [AndroidProbe(), LinuxProbe(), MacosProbe()]
RECORDED = [path.read_text(encoding="utf-8") for path in sorted(TEXTS.glob("*.txt"))]


def parsed(probe: Probe, name: str) -> DeviceFacts:
    return probe.parse((TEXTS / name).read_text(encoding="utf-8"))


def test_an_android_phone() -> None:
    facts = parsed(AndroidProbe(), "android-phone.txt")
    assert (facts.os, facts.os_version) == ("android", "14")
    assert facts.os_build == "google/shiba/shiba:14/AP2A.240805.005/12025142:user/release-keys"
    assert facts.kernel == "5.15.137-android14-11-gdeadbeef"
    assert (facts.model, facts.soc, facts.abi) == ("Google Pixel 8", "Google Tensor G3", "android-arm64")
    assert [core.index for core in facts.cores] == [0, 1, 2, 10]
    assert (facts.cores[0].current_hz, facts.cores[0].max_hz) == (324_000_000, 1_704_000_000)
    assert (facts.cores[0].governor, facts.cores[1].max_hz, facts.cores[2].governor) == ("sched_pixel", None, None)
    assert facts.memory_total_bytes == 11_874_304 * 1024
    assert facts.memory_available_bytes == 5 << 30
    assert facts.storage_free_bytes == 78_118_912 * 1024
    assert facts.temperatures_c == {
        "VIRTUAL-SKIN": 49.875,
        "BIG": 52.0,
        "CACHED-ONLY": 20.0,
        "battery": 31.2,
        "BIG#1": 53.5,
        "soc_therm": 44.125,
    }
    assert (facts.thermal_status, facts.throttled) == ("severe", True)
    assert (facts.battery_percent, facts.battery_charging, facts.plugged, facts.battery_saver) == (100, False, True, False)
    assert facts.load_average_1m == 6.21
    assert facts.properties["ro.product.odd"] == "two\nlines"
    # Neither the serial number nor what does not describe the device goes into results.
    assert not {"ro.serialno", "persist.sys.language", "ro.build.user"} & set(facts.properties)


def test_a_phone_that_tells_nothing() -> None:
    assert parsed(AndroidProbe(), "android-denied.txt") == DeviceFacts(os="android")


def test_the_standin_phone() -> None:
    facts = parsed(AndroidProbe(), "android-standin.txt")
    assert facts.model == "Edgedeploy Stand-in Phone"
    assert len(facts.cores) == 8
    assert (facts.thermal_status, facts.throttled, facts.battery_charging) == ("none", False, True)


def test_a_pc() -> None:
    facts = parsed(LinuxProbe(), "linux-pc.txt")
    assert (facts.os, facts.os_version, facts.abi) == ("linux", "12", "linux-x86_64")
    assert facts.os_build == "Debian GNU/Linux 12 (bookworm)"
    assert facts.soc == "AMD EPYC"
    assert [core.index for core in facts.cores] == [0, 1]
    assert facts.cores[0].current_hz is None
    assert facts.temperatures_c == {}
    assert (facts.thermal_status, facts.throttled) == (None, None)


def test_the_standin_raspberry_pi() -> None:
    facts = parsed(LinuxProbe(), "pi-standin.txt")
    assert (facts.model, facts.soc) == ("Raspberry Pi 4 Model B Rev 1.5", "BCM2711")
    assert (facts.thermal_status, facts.throttled) == ("none", False)
    assert facts.properties["vcgencmd.get_throttled"] == "0x50000"
    assert facts.temperatures_c["cpu-thermal"] == 48.686


@pytest.mark.parametrize(
    ("machine", "bits", "abi"),
    [
        ("aarch64", "64", "linux-aarch64"),
        ("aarch64", "32", "linux-armv7l"),
        ("x86_64", "32", "linux-i686"),
        ("armv7l", "32", "linux-armv7l"),
        ("riscv64", "", "linux-riscv64"),
        ("", "64", None),
    ],
)
def test_the_programs_decide_about_the_abi(machine: str, bits: str, abi: str | None) -> None:
    said = f"\n@@edgedeploy@@ machine\n{machine}\n\n@@edgedeploy@@ bits\n{bits}\n"
    assert LinuxProbe().parse(said).abi == abi


@pytest.mark.parametrize(
    ("bits", "status", "throttled"),
    [("0x0", "none", False), ("0x50005", "under-voltage, throttled", True), ("0xe0008", "soft temperature limit", True)],
)
def test_what_a_raspberry_pi_says_of_throttling(bits: str, status: str, *, throttled: bool) -> None:
    facts = LinuxProbe().parse(f"\n@@edgedeploy@@ vcgencmd-throttled\nthrottled={bits}\n")
    assert (facts.thermal_status, facts.throttled) == (status, throttled)


@pytest.mark.parametrize(
    ("vmstat", "count"), [("oom_kill 3", 3), ("oom_kill 0", 0), ("", None), ("oom_kill -1", None), ("oom_killer 3", None)]
)
@pytest.mark.parametrize("probe", [LinuxProbe(), AndroidProbe()], ids=lambda probe: probe.name)
def test_how_often_memory_ran_out(probe: Probe, vmstat: str, count: int | None) -> None:
    assert probe.parse(f"\n@@edgedeploy@@ vmstat\n{vmstat}\n").oom_kills == count


def test_a_mac() -> None:
    facts = parsed(MacosProbe(), "macos.txt")
    assert (facts.os, facts.os_version, facts.os_build) == ("macos", "15.1", "24B83")
    assert (facts.model, facts.soc, facts.abi, len(facts.cores)) == ("Mac15,12", "Apple M3", "macos-arm64", 8)
    assert facts.memory_total_bytes == 16 << 30
    assert facts.storage_free_bytes == 250_000_000 * 1024
    assert facts.load_average_1m == 1.52
    assert facts.memory_available_bytes == 303_000 * 16384
    assert (facts.battery_percent, facts.battery_charging, facts.plugged) == (83, True, True)
    assert (facts.thermal_status, facts.throttled) == ("limited to 80 % of the clock", True)


def test_a_laptop_with_a_wireless_mouse() -> None:
    supplies = "/sys/class/power_supply/"
    said = "".join(
        f"{supplies}{row}\n"
        for row in (
            "AC/type:Mains", "AC/online:0", "BAT0/type:Battery", "BAT0/status:Discharging", "BAT0/capacity:61",
            "hidpp_battery_0/type:Battery", "hidpp_battery_0/scope:Device", "hidpp_battery_0/status:Full",
        )
    )  # fmt: skip
    facts = LinuxProbe().parse(f"\n@@edgedeploy@@ supplies\n{said}\n@@edgedeploy@@ throttle-counts\n3\n0\n4\n")
    assert (facts.battery_percent, facts.battery_charging, facts.plugged) == (61, False, False)
    assert facts.throttle_count == 7


@pytest.mark.parametrize("capacity", ["-1", "101", "full", ""])
def test_a_battery_that_talks_nonsense(capacity: str) -> None:
    said = f"/sys/class/power_supply/b/type:Battery\n/sys/class/power_supply/b/capacity:{capacity}\n"
    facts = LinuxProbe().parse(f"\n@@edgedeploy@@ supplies\n{said}")
    assert (facts.battery_percent, facts.battery_charging, facts.plugged) == (None, None, None)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
class TestEveryProbe:
    def test_nothing_is_no_facts(self, probe: Probe) -> None:
        assert probe.parse("") == DeviceFacts(os=probe.parse("").os)

    def test_windows_line_ends_are_taken(self, probe: Probe) -> None:
        text = (TEXTS / "android-phone.txt").read_text(encoding="utf-8")
        assert probe.parse(text.replace("\n", "\r\n")) == probe.parse(text)

    @given(text=st.text())
    def test_text_never_raises(self, probe: Probe, text: str) -> None:
        assert probe.parse(text).os

    @given(recorded=st.sampled_from(RECORDED), start=st.integers(0, 6000), length=st.integers(0, 40), junk=st.text(max_size=20))
    def test_damage_never_raises(self, probe: Probe, recorded: str, start: int, length: int, junk: str) -> None:
        assert probe.parse(recorded[:start] + junk + recorded[start + length :]).os

    @pytest.mark.parametrize("shell", ["sh", "bash"])
    @pytest.mark.parametrize("workdir", ["/", "relative", "/no/such/$(id) 'place'", ""])
    def test_the_script_ends_well_whatever_is_missing(self, probe: Probe, shell: str, workdir: str) -> None:
        ended = subprocess.run(
            [shell, "-c", probe.script(workdir)],
            capture_output=True,
            timeout=60,
            check=True,
            text=True,
            errors="replace",
            env={"PATH": "/usr/bin:/bin"},
        )
        assert ended.stderr == ""
        assert probe.parse(ended.stdout).storage_free_bytes


def test_sections_are_found_again() -> None:
    text = script(section("one", "echo a; echo b"), section("two", "nonsense-command; false"), section("three", "cat"))
    ended = subprocess.run(["sh", "-c", text], capture_output=True, timeout=30, check=True, text=True, input="stdin")
    assert split_sections(ended.stdout) == {"one": "a\nb", "two": "", "three": ""}
    assert split_sections("noise\n@@edgedeploy@@ x") == {"x": ""}
