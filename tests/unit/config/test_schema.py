"""The schemas that lie in the package are those of the types, and say what the decoder says."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from edgedeploy.config.schema import FOLDER, KINDS, schema_of
from edgedeploy.shipped import shipped


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_is_up_to_date(kind: str) -> None:
    assert (FOLDER / f"{kind}.schema.json").read_text() == schema_of(kind), "run: python -m edgedeploy.config.schema"


def test_targets_and_examples_satisfy_their_schemas() -> None:
    root = Path(__file__).parents[3]
    files = [(file, "target") for file in shipped("targets").glob("*.toml")]
    files += [(file, "project") for file in root.glob("examples/*/edgedeploy.toml")]
    assert len(files) > 13
    for file, kind in files:
        data = tomllib.loads(file.read_text())
        jsonschema.validate(json.loads(json.dumps(data, default=str)), json.loads(schema_of(kind)))


def test_a_schema_refuses_an_unknown_key() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "x", "models": {}, "modle": 1}, json.loads(schema_of("project")))
