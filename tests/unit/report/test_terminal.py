"""Reports on a terminal and in a pipe, at several widths."""

from __future__ import annotations

import io

import msgspec
import pytest
from documents import failed_run, measured_run, report_of
from rich.console import Console

from edgedeploy.domain.measurement import LanguageAgreement, Perplexity
from edgedeploy.domain.result import GenerationSummary, PushReport
from edgedeploy.domain.verdict import Verdict
from edgedeploy.report.terminal import print_report

FAIL = Verdict(status="fail", reasons=("p50 8.19 ms is over the budget of 5 ms",))


def printed(report: PushReport, *, width: int, terminal: bool = False) -> str:
    out = io.StringIO()
    print_report(report, Console(file=out, width=width, force_terminal=terminal, color_system="standard" if terminal else None))
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_nothing_is_wider_than_the_console_and_the_figures_are_there(width: int) -> None:
    text = printed(report_of(measured_run(verdict=FAIL), failed_run()), width=width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text
    flat = " ".join(text.split())
    for part in ("8.19 ms", "8.32 ms", "10.6 ms", "3.71 MB", "62.6 MB", "38.4 dB", "fail", "over the budget", "error"):
        assert part in flat, part
    assert "DeviceLostError" in flat
    assert "plug it in again" in flat


def test_a_wide_console_has_one_line_per_run_and_all_columns() -> None:
    lines = printed(report_of(measured_run()), width=200).splitlines()
    assert lines[0].split()[:4] == ["model", "lane", "device", "size"]
    assert "max error 0.012" in lines[2]
    assert "3.71 of 22.7 MB" in lines[2]
    assert len(lines) == 3


def test_a_middling_console_has_a_table_and_a_narrow_one_blocks() -> None:
    report = report_of(measured_run())
    assert printed(report, width=120).splitlines()[0].startswith("model")
    assert printed(report, width=80).splitlines()[0] == "mobilenet  executorch-xnnpack-int8  on desk-pixel  pass"
    assert "pushed 3.71 of 22.7 MB" in printed(report, width=80)


def test_the_verdict_has_its_colour_on_a_terminal() -> None:
    assert "\x1b[1;32mpass" in printed(report_of(measured_run()), width=80, terminal=True)
    assert "\x1b[1;31mfail" in printed(report_of(measured_run(verdict=FAIL)), width=80, terminal=True)


@pytest.mark.parametrize("width", [80, 200])
def test_names_are_neither_markup_nor_escape_sequences(width: int) -> None:
    text = printed(report_of(measured_run(model="[red]a\x1b[2Jb[/nonsense]")), width=width)
    assert "[red]a\ufffd[2Jb[/nonsense]" in text


def test_no_runs() -> None:
    assert "nothing in the project" in printed(report_of(), width=80)


def test_an_export_has_no_device() -> None:
    run = measured_run(device="", verdict=Verdict(status="unmeasured", reasons=("exported, not deployed",)))
    assert printed(report_of(run), width=80).splitlines()[0] == "mobilenet  executorch-xnnpack-int8  unmeasured"


def test_a_language_model_says_what_its_answer_took_and_whether_it_is_pytorchs() -> None:
    said = LanguageAgreement(tokens=96, same=95, perplexity=Perplexity(pytorch=12.0, artifact=12.6, tokens=2000))
    run = measured_run()
    host = msgspec.structs.replace(run.verify.device, language=said)
    run = msgspec.structs.replace(
        run,
        verify=msgspec.structs.replace(run.verify, host=host),
        generation=GenerationSummary(
            prompt_tokens=128,
            generated_tokens=32,
            ttft_ns=250_000_000,
            prefill_tokens_per_s=512.4,
            decode_tokens_per_s=11.04,
            kv_cache_bytes=134_217_728,
        ),
    )
    for width in (80, 300):
        text = printed(report_of(run), width=width)
        assert "TTFT 250 ms for 128 tokens" in text
        assert "prefill 512 tok/s" in text
        assert "decode 11 tok/s" in text
        assert "95 of 96 tokens as PyTorch" in text
        assert "12.00" in text
        assert "+5.0%" in text
