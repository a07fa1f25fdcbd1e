"""Adapters by name, from entry points as pip writes them."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgedeploy import registry
from edgedeploy.errors import MissingToolError, UsageError

PLUGIN = """\
class Loud:
    name = "loud"


value = 1
"""


class Site:
    """A folder on ``sys.path`` into which distributions are put."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, name: str, points: str, *, kind: str = "dist-info") -> None:
        info = self.folder / f"{name.replace('-', '_')}-1.0.{kind}"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)

    def module(self, name: str, content: str) -> None:
        (self.folder / f"{name}.py").write_text(content)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Comes first on the path; what the registry knows is forgotten before and after."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    registry._all_points.cache_clear()
    yield Site(tmp_path)
    registry._all_points.cache_clear()
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("kind", ["dist-info", "egg-info"])
def test_a_plug_in_is_found_beside_the_built_in_ones(site: Site, kind: str) -> None:
    site.install("loud-plugin", "[edgedeploy.transports]\nloud = loud_plugin:Loud\n", kind=kind)
    site.module("loud_plugin", PLUGIN)
    assert {"loud", "local", "ssh", "adb"} <= set(registry.names("transports"))
    assert registry.transport("loud").name == "loud"
    assert registry.origin("transports", "loud") == "loud_plugin-1.0"
    assert registry.origin("transports", "silent") == ""
    assert registry.transport("local").name == "local"


def test_every_built_in_adapter_is_what_importlib_metadata_says_it_is() -> None:
    groups = ("exporters", "transports", "runtimes", "compressors", "probes")
    for group in groups:
        expected = {point.name: point.value for point in importlib.metadata.entry_points(group=f"edgedeploy.{group}")}
        assert expected
        assert {name: point.value for name, point in registry._points(group).items()} == expected
        for point in importlib.metadata.entry_points(group=f"edgedeploy.{group}"):
            assert isinstance(registry._load(group, point.name), type)


def test_names_are_sorted_and_nothing_is_imported_to_list_them(site: Site) -> None:
    site.install("loud-plugin", "[edgedeploy.exporters]\nzz = raises_at_import:A\naa = raises_at_import:B\n")
    site.module("raises_at_import", "raise SystemExit('imported')\n")
    found = registry.names("exporters")
    assert list(found) == sorted(found)
    assert {"aa", "zz", "executorch"} <= set(found)


def test_spaces_comments_and_other_groups_of_the_file_do_no_harm(site: Site) -> None:
    points = """\
[console_scripts]
loud = loud_plugin:main

[edgedeploy.runtimes]
# a comment = with an equals sign
; another = one
  spaced   =   loud_plugin:Loud

[edgedeploy.probes]
beos = loud_plugin:Loud
[somebody.else]
loud = other:Thing
"""
    site.install("loud-plugin", points)
    site.module("loud_plugin", PLUGIN)
    assert "spaced" in registry.names("runtimes")
    assert not {"loud", "# a comment", "; another"} & set(registry.names("runtimes"))
    assert registry.probe("beos").name == "loud"


def test_a_file_that_cannot_be_read_hides_no_other_plug_in(site: Site) -> None:
    site.install("aaa", "")
    (site.folder / "aaa-1.0.dist-info/entry_points.txt").write_bytes(b"[edgedeploy.exporters]\n\xff\xfe = x:y\n")
    site.install("bbb", "[edgedeploy.exporters]\ngood = loud_plugin:Loud\n")
    (site.folder / "ccc-1.0.dist-info/entry_points.txt").mkdir(parents=True)
    assert "good" in registry.names("exporters")


def test_the_first_on_the_path_wins(
    site: Site, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("second", "[edgedeploy.exporters]\nsame = second:Exporter\n")
    first = Site(tmp_path_factory.mktemp("first"))
    first.install("first", "[edgedeploy.exporters]\nsame = first:Exporter\n")
    monkeypatch.syspath_prepend(str(first.folder))
    registry._all_points.cache_clear()
    assert registry._points("exporters")["same"].owner == "first-1.0"


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no exporter named 'executorh' is installed") as caught:
        registry.exporter("executorh")
    assert caught.value.next_step.startswith("did you mean 'executorch'? allowed: coreml, executorch, tflite")
    with pytest.raises(UsageError, match="no probe named 'beos' is installed"):
        registry.probe("beos")


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("no_such_module:Thing", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("needs_more:Thing", "ModuleNotFoundError: No module named 'the_sdk_it_needs'"),
        ("loud_plugin:Gone", "AttributeError: module 'loud_plugin' has no attribute 'Gone'"),
        ("misspelt:Thing", "SyntaxError: "),
    ],
)
def test_a_broken_plug_in_is_told_with_its_distribution(site: Site, value: str, seen: str) -> None:
    site.install("half-plugin", f"[edgedeploy.exporters]\nhalf = {value}\n")
    site.module("loud_plugin", PLUGIN)
    site.module("needs_more", "import the_sdk_it_needs\n")
    site.module("misspelt", "def broken(:\n")
    with pytest.raises(MissingToolError, match="the exporter 'half' cannot be loaded") as caught:
        registry.exporter("half")
    assert caught.value.exit_code == 3
    assert caught.value.where == f"entry point {value} of half_plugin-1.0"
    assert caught.value.seen.startswith(seen)
    assert caught.value.next_step.endswith(" half_plugin")


def test_folders_of_target_packs(site: Site) -> None:
    package = site.folder / "pack_of_targets"
    package.mkdir()
    (package / "__init__.py").write_text("")
    site.install("pack", "[edgedeploy.targets]\nmine = pack_of_targets\n")
    assert registry.target_packs() == (package,)
