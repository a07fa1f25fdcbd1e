"""The verdicts as JUnit XML, which every CI server shows."""

from __future__ import annotations

from xml.etree import ElementTree as ET  # only writes here: nothing is parsed

from edgedeploy.domain.result import PushReport, RunResult
from edgedeploy.report import units
from edgedeploy.report.modes import lane_words
from edgedeploy.report.words import agreement_words, measured_words, verification_words

_NANOSECONDS = 1_000_000_000


def junit_xml(report: PushReport) -> str:
    """One test case per run, named ``model lane`` in the class ``target.device``.

    A broken gate is a failure; a run that could not be carried out is an error, and so is an inconclusive one, which
    proves nothing; a run that was not asked to measure is skipped. ``time`` is the median of one inference, in seconds;
    ``system-out`` says how close the outputs are to PyTorch's.
    """
    suite = ET.Element("testsuite", name=units.clean(f"edgedeploy {report.project} {report.target}"))
    for run in report.runs:
        suite.append(_case(run))
    statuses = [run.verdict.status for run in report.runs]
    suite.set("tests", str(len(statuses)))
    suite.set("failures", str(statuses.count("fail")))
    suite.set("errors", str(statuses.count("error") + statuses.count("inconclusive")))
    suite.set("skipped", str(statuses.count("unmeasured") + statuses.count("passed over")))
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _case(run: RunResult) -> ET.Element:
    case = ET.Element(
        "testcase",
        classname=units.clean(f"{run.target}.{run.device}" if run.device else run.target),
        name=units.clean(f"{run.model} {lane_words(run)}"),
    )
    if run.latency_ns is not None:
        case.set("time", f"{run.latency_ns.p50 / _NANOSECONDS:.9f}")
    message = units.clean("; ".join(run.verdict.reasons))
    match run.verdict.status:
        case "fail":
            ET.SubElement(case, "failure", type="gate", message=message)
        case "inconclusive":
            ET.SubElement(case, "error", type="inconclusive", message=message)
        case "error":
            failure = run.error
            element = ET.SubElement(case, "error", type=failure.kind if failure else "error", message=message)
            if failure is not None:
                element.set("message", units.clean(failure.what))
                told = (("where", failure.where), ("seen", failure.seen), ("next", failure.next_step))
                element.text = "\n".join(f"{name}: {units.clean(text)}" for name, text in told if text)
        case "unmeasured":
            ET.SubElement(case, "skipped", message=message or "not measured")
        case "passed over":
            ET.SubElement(case, "skipped", message="passed over for another lane")
        case "pass":
            pass
    compared = (("host", run.verify.host), ("device", run.verify.device))
    lines = [f"{place}: {agreement_words(agreement)}" for place, agreement in compared if agreement is not None]
    if lines:
        ET.SubElement(case, "system-out").text = units.clean(
            "; ".join((*lines, *measured_words(run), *verification_words(run.verify)))
        )
    return case
