"""The HTML report: whole, self-contained, and deaf to what names say."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import msgspec.structs
import pytest
from documents import failed_run, measured_run, runs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgedeploy.domain.measurement import Core, DeviceFacts
from edgedeploy.domain.result import RunResult
from edgedeploy.domain.verdict import Verdict
from edgedeploy.report.gaps import not_measured
from edgedeploy.report.html import render_html

VOID = {"meta", "br", "hr", "img", "link", "input", "path", "circle"}


class Page(HTMLParser):
    """The page as a browser sees it: elements, text, and whether every element is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in {"style", "script"}:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def page(*runs_of_it: RunResult, title: str = "shop") -> Page:
    return Page(render_html(runs_of_it, title=title))


def test_figures_charts_and_circumstances_are_there() -> None:
    shown = page(measured_run())
    flat = " ".join(shown.text.split())
    for part in ("8.19 ms", "10.6 ms", "41.9 ms", "62.6 MB", "38.4 dB", "3.71 MB", "0.999950", "2.91 GHz", "47.5 °C"):
        assert part in flat, part
    for part in ("AP4A.250105.002", "sched_pixel", "executorch-native 0.1.0", "5f" * 32, "2.13.0", "XnnpackBackend x1"):
        assert part in flat, part
    assert "the same file" in flat
    assert "Nothing is missing." in flat
    dots = [attrs["d"] for attrs in shown.all("path") if (attrs.get("class") or "").startswith("dots")]
    assert [(path or "").count("h0") for path in dots] == [100, 100, 100]


def test_one_file_that_asks_nobody_for_anything() -> None:
    text = render_html([measured_run()], title="shop")
    shown = Page(text)
    assert not [attrs for _, attrs in shown.elements if attrs.keys() & {"src", "srcset", "action", "data"}]
    assert all((attrs["href"] or "").startswith("#") for attrs in shown.all("a"))
    assert not shown.all("link")
    assert "url(" not in text
    assert "@import" not in text


def test_the_policy_allows_our_script_and_no_other() -> None:
    text = render_html([measured_run()], title="shop")
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [m["content"] for m in Page(text).all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert f"script-src 'sha256-{digest}'" in (policy or "")
    assert "default-src 'none'" in (policy or "")


HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "</style></title><b>",
    "a\x1b[31m\u202eb",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_and_messages_are_text(name: str) -> None:
    calm = page(measured_run(), failed_run())
    good, bad = measured_run(model=name, device=name, verdict=Verdict(status="fail", reasons=(name,))), failed_run()
    assert good.environment is not None
    assert good.artifact is not None
    assert bad.error is not None
    good = msgspec.structs.replace(
        good,
        artifact=msgspec.structs.replace(good.artifact, inspection={name: name}),
        toolchain={name: name},
        environment=msgspec.structs.replace(
            good.environment, before=DeviceFacts(os=name, properties={name: name}, temperatures_c={name: 1.0})
        ),
    )
    bad = msgspec.structs.replace(bad, error=msgspec.structs.replace(bad.error, what=name, seen=name, where=name))
    shown = page(good, bad, title=name)
    assert {tag for tag, _ in shown.elements} <= {tag for tag, _ in calm.elements}
    assert len(shown.all("script")) == 1
    assert not any(key.startswith("on") for _, attrs in shown.elements for key in attrs)
    if name.isprintable():
        assert shown.text.count(name) >= 8
    else:
        assert "\x1b" not in shown.text
        assert "\u202e" not in shown.text


def test_a_run_that_failed_says_why_and_what_it_lacks() -> None:
    shown = page(failed_run())
    flat = " ".join(shown.text.split())
    assert "DeviceLostError" in flat
    assert "plug it in again" in flat
    assert "not compared" in flat
    assert "latency, load time, peak memory" in flat
    assert not shown.all("figure")


def test_another_file_on_the_device_is_pointed_out() -> None:
    shown = page(msgspec.structs.replace(measured_run(), device_sha256="00" * 32))
    assert "another file:" in shown.text


def test_gaps_are_named() -> None:
    run = measured_run()
    assert not_measured(run) == ()
    assert run.environment is not None
    bare = msgspec.structs.replace(run.environment, before=DeviceFacts(os="linux"))
    gaps = not_measured(msgspec.structs.replace(run, environment=bare, device_sha256=None))
    assert gaps == (
        "which file the device really ran",
        "temperature before",
        "clock frequencies before",
        "the frequency governor",
        "throttling before",
        "the build of the operating system",
    )


def test_tables_and_sections_are_named_for_those_who_listen() -> None:
    shown = page(measured_run(), failed_run())
    assert all(attrs.get("scope") in {"col", "row"} for attrs in shown.all("th"))
    ids = {attrs["id"] for _, attrs in shown.elements if "id" in attrs}
    assert all(attrs["aria-labelledby"] in ids for attrs in shown.all("section"))
    assert all((attrs["href"] or "")[1:] in ids for attrs in shown.all("a"))
    assert all(attrs.get("aria-label") for _, attrs in shown.elements if attrs.get("role") == "img")
    assert all(attrs.get("aria-hidden") == "true" for attrs in shown.all("svg"))


def test_no_runs() -> None:
    assert "No runs yet." in page().text


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(runs(), max_size=2), st.text())
def test_any_document_makes_a_well_formed_page(documents: list[RunResult], title: str) -> None:
    assert len(page(*documents, title=title).all("section")) == len(documents)


def test_cores_of_which_only_the_numbers_are_known_are_no_table() -> None:
    run = measured_run()
    assert run.environment is not None
    facts = DeviceFacts(os="linux", cores=(Core(index=0), Core(index=1)))
    shown = page(msgspec.structs.replace(run, environment=msgspec.structs.replace(run.environment, before=facts, after=facts)))
    assert "Governor" not in shown.text
    assert "Governor" in page(run).text
