"""Leases on a real POSIX sh: this machine's, over the local transport."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgedeploy.deploy import lease
from edgedeploy.deploy.device_shell import DeviceShell
from edgedeploy.deploy.holder_process import has_ended, process_token
from edgedeploy.deploy.lease import Holder, Leases, new_token
from edgedeploy.errors import DeviceBusyError, DeviceRunError, LeaseLostError
from edgedeploy.transports.local import LocalConnection


def leases(workdir: Path) -> Leases:
    return Leases(DeviceShell(LocalConnection("here"), "here"), str(workdir))


def take(of: Leases, token: str, *, ttl_s: int = 60, wait_s: float = 0, purpose: str = "push") -> int:
    return of.take(token=token, owner="me@desk", purpose=purpose, ttl_s=ttl_s, wait_s=wait_s, waiting=lambda _holder: None)


def expire(workdir: Path, *, boot: str = "") -> None:
    """As if the device had run for long since."""
    link = max((workdir / "leases").glob("[0-9]*"), key=lambda path: int(path.name))  # a lower one may just be given up
    words = str(link.readlink()).split(" ")
    words[0] = boot or words[0]
    words[1] = "1"
    new = workdir / "leases/.expired"
    new.symlink_to(" ".join(words))
    new.replace(link)


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    here = leases(tmp_path)
    assert here.holder() is None
    assert take(here, "a", purpose='push "net" *; 測試') == 1
    with pytest.raises(DeviceBusyError) as caught:
        take(here, "b")
    assert "in use by me@desk" in caught.value.what
    assert 'push "net" *; 測試' in caught.value.seen
    assert caught.value.retryable
    holder = here.holder()
    assert holder is not None
    assert (holder.owner, holder.purpose) == ("me@desk", 'push "net" *; 測試')
    assert 55 <= holder.left_s <= 60


def test_its_holder_takes_it_again_and_gives_it_back(tmp_path: Path) -> None:
    here = leases(tmp_path)
    assert take(here, "a") == take(here, "a") == 1
    assert not here.release("b")
    assert here.holder() is not None
    assert here.release("a")
    assert here.holder() is None
    assert take(here, "b") == 2
    assert [path.name for path in (tmp_path / "leases").iterdir()] == ["2"]


def test_a_push_of_this_machine_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    here = leases(tmp_path)
    program = "from edgedeploy.deploy.holder_process import process_token; print(process_token())"
    dead = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    take(here, dead)
    assert take(here, "b") == 2
    here.release("b")
    take(here, process_token())  # this process lives
    with pytest.raises(DeviceBusyError):
        take(here, "c")


@pytest.mark.parametrize(
    "token",
    ["", "a", "a-b-c-d", f"{'0' * 16}-{'0' * 12}-1-1", "x-y-99999999-1"],
    ids=["none", "plain", "words", "elsewhere", "other"],
)
def test_of_a_process_elsewhere_nothing_is_known(token: str) -> None:
    assert not has_ended(token)


def test_it_can_be_taken_away_by_whoever_insists(tmp_path: Path) -> None:
    here = leases(tmp_path)
    take(here, "a")
    assert here.release()
    assert take(here, "b") == 2
    with pytest.raises(LeaseLostError):
        here.renew(1, token="a", owner="me", purpose="push")


def test_a_holder_that_died_frees_the_device(tmp_path: Path) -> None:
    here = leases(tmp_path)
    take(here, "dead")
    expire(tmp_path)
    assert here.holder() is None
    assert take(here, "next") == 2


def test_one_that_expired_is_kept_by_renewing_it_in_time(tmp_path: Path) -> None:
    here = leases(tmp_path)
    number = take(here, "slow", ttl_s=60)
    expire(tmp_path)
    here.renew(number, token="slow", owner="me", purpose="push")
    with pytest.raises(DeviceBusyError):
        take(here, "next")


def test_after_a_reboot_the_holder_has_its_time_once_more(tmp_path: Path) -> None:
    here = leases(tmp_path)
    take(here, "a", ttl_s=1_000_000_000)
    expire(tmp_path, boot="another-boot")
    assert here.holder() is not None  # this machine has not been up for 30 years
    (tmp_path / "leases/1").unlink()
    (tmp_path / "leases/1").symlink_to("another-boot 1 1 a {}")
    assert here.holder() is None


@pytest.mark.parametrize(
    "text", ["", "x", "boot", "boot 99", "boot nan 60 a {}", "boot 99999999999 60 a {}", "* * * *", "a\nb 1 2"]
)
def test_a_damaged_lease_counts_as_free(tmp_path: Path, text: str) -> None:
    here = leases(tmp_path)
    take(here, "a")
    (tmp_path / "leases/1").unlink()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    if text:
        (tmp_path / "leases/1").symlink_to(text.replace("boot", boot))
    else:
        (tmp_path / "leases/1").write_text("no link at all")
    assert here.holder() is None
    assert take(here, "b") in {1, 2}
    assert here.holder() is not None


def test_those_who_wait_are_told_and_get_it(tmp_path: Path) -> None:
    here = leases(tmp_path)
    take(here, "a", purpose="measure")
    told: list[Holder] = []
    freed = threading.Timer(0.5, lambda: leases(tmp_path).release("a"))
    freed.start()
    here.take(token="b", owner="me", purpose="push", wait_s=30, waiting=told.append)
    freed.join()
    assert told
    assert told[0].purpose == "measure"


def test_many_clients_on_some_devices_never_get_one_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each client takes a device, is alone on it, and gives it back, or dies and lets its lease expire."""
    monkeypatch.setattr(lease, "_LOOK_AGAIN_S", 0.05)
    monkeypatch.setattr(lease, "_RACE_PAUSE_S", 0.01)
    inside: Counter[int] = Counter()
    lock = threading.Lock()
    crowds: list[int] = []

    def client(number: int) -> None:
        device = number % 3
        here = leases(tmp_path / str(device))
        token = new_token()
        take(here, token, wait_s=120, ttl_s=60)
        with lock:
            inside[device] += 1
            crowds.append(inside[device])
        with lock:
            inside[device] -= 1
        if number % 5:
            assert here.release(token)
        else:
            expire(tmp_path / str(device))

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(client, range(60)))
    assert crowds == [1] * 60


def test_a_number_that_nothing_follows_is_damage_and_no_race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_RACES_S", 0.1)
    here = leases(tmp_path)
    (tmp_path / "leases").mkdir()
    (tmp_path / "leases/999999999999999").write_text("damage")
    with pytest.raises(DeviceRunError, match="cannot be taken") as caught:
        take(here, "a")
    assert f"rm -r {tmp_path}/leases" in caught.value.next_step
