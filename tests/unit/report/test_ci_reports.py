"""JUnit XML and the step summary."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from documents import failed_run, measured_run, report_of
from hypothesis import given
from hypothesis import strategies as st

from edgedeploy.domain.verdict import Verdict
from edgedeploy.report.github import step_summary
from edgedeploy.report.junit import junit_xml

FAIL = Verdict(status="fail", reasons=("p50 8.19 ms is over the budget of 5 ms",))


def test_junit_tells_failures_errors_and_skips_apart() -> None:
    report = report_of(
        measured_run(),
        measured_run(verdict=FAIL),
        measured_run(verdict=Verdict(status="inconclusive", reasons=("too noisy",))),
        measured_run(verdict=Verdict(status="unmeasured")),
        failed_run(),
    )
    suite = ET.fromstring(junit_xml(report)).find("testsuite")
    assert suite is not None
    assert [suite.get(key) for key in ("tests", "failures", "errors", "skipped")] == ["5", "1", "2", "1"]
    good, bad, noisy, skipped, lost = suite
    assert [child.tag for child in good] == ["system-out"]
    assert "device: " in (good[0].text or "")
    assert good.get("classname") == "pixel8.desk-pixel"
    assert good.get("name") == "mobilenet executorch-xnnpack-int8"
    assert float(good.get("time", "")) == 0.008189
    assert [child[0].tag for child in (bad, noisy, skipped, lost)] == ["failure", "error", "skipped", "error"]
    assert bad[0].get("message") == FAIL.reasons[0]
    assert lost[0].get("type") == "DeviceLostError"
    assert "plug it in again" in (lost[0].text or "")


@given(st.text())
def test_junit_is_xml_whatever_a_model_is_called(name: str) -> None:
    report = report_of(measured_run(model=name, iterations=1, processes=1))
    case = ET.fromstring(junit_xml(report)).find("testsuite/testcase")
    assert case is not None


def test_the_summary_is_a_table_with_reasons_below() -> None:
    lines = step_summary(report_of(measured_run(verdict=FAIL), failed_run())).splitlines()
    assert lines[2].startswith("| model | lane |")
    assert lines[3].count("---") == lines[2].count("|") - 1
    assert "8.19 ms" in lines[4]
    assert "❌ fail" in lines[4]
    assert any("over the budget" in line for line in lines[6:])
    assert any("next: plug it in again" in line for line in lines[6:])


def test_the_summary_escapes_what_markdown_and_html_act_on() -> None:
    text = step_summary(report_of(measured_run(model="a|b<img src=x>`c`@team [x](http://y)\n# big")))
    row = text.splitlines()[4]
    assert row.count("|") - row.count("\\|") == 11
    assert "<img" not in text
    assert "a\\|b&lt;img src=x&gt;\\`c\\`\\@team \\[x\\]\\(http\\://y\\) \\# big" in row
