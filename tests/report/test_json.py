"""The JSON form: finite, compact, fast, in step with its schema."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from mace_jax.metrics import IndividualRisk, RecordRisks
from mace_jax.report import SCHEMA_VERSION, report_schema
from mace_jax.report._json import encode
from mace_jax.report._schema import build_schema, schema_text


def risks(n: int) -> RecordRisks:
    p = np.random.default_rng(n).uniform(0.01, 0.99, n)
    return RecordRisks(posterior=p, log_ratio=np.log(p / (1 - p)), low=p * 0.9, high=p, q_value=p**2)


def test_written_report_satisfies_the_shipped_schema(report, tmp_path):
    path = report.to_json(tmp_path / "deep" / "report.json")
    read = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(report_schema())
    jsonschema.validate(read, report_schema())
    jsonschema.validate(report.to_dict(), report_schema())
    assert read["schema_version"] == SCHEMA_VERSION == report_schema()["properties"]["schema_version"]["const"]


def test_shipped_schema_is_in_step_with_the_dataclasses():
    shipped = Path(__file__).parents[2] / "mace_jax" / "report" / "report.schema.json"
    assert report_schema() == build_schema(), "rewrite report.schema.json with mace_jax.report._schema.schema_text()"
    assert shipped.read_text(encoding="utf-8") == schema_text()


@pytest.mark.parametrize("change", ["extra", "missing", "type", "nested"])
def test_schema_refuses_what_is_not_a_report(report, change):
    values = report.to_dict()
    if change == "extra":
        values["more"] = 1
    elif change == "missing":
        del values["verdict"]
    elif change == "type":
        values["seed"] = "0"
    else:
        values["queries"][0]["roc"]["more"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, report_schema())


def test_schema_allows_a_skipped_control(make_report):
    jsonschema.validate(make_report(control=None, control_skipped="too few").to_dict(), report_schema())


def test_json_and_dict_agree_to_six_digits(report, tmp_path):
    read = json.loads(report.to_json(tmp_path / "r.json").read_text(encoding="utf-8"))
    exact = report.to_dict()
    assert exact["individual_risk"] == report.individual_risk.to_dict()
    for group in ("members", "nonmembers"):
        for name, values in read["individual_risk"].pop(group).items():
            np.testing.assert_allclose(values, exact["individual_risk"][group][name], rtol=5e-6)
        exact["individual_risk"].pop(group)
    assert read == json.loads(json.dumps(exact))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_json_cannot_hold_are_refused_by_name(make_report, tmp_path, bad):
    path = tmp_path / "report.json"
    report = make_report()
    with pytest.raises(ValueError, match=r"report\.elapsed_seconds is"):
        dataclasses.replace(report, elapsed_seconds=bad).to_json(path)
    with pytest.raises(ValueError, match=r"report\.settings\.limits\[1\] is"):
        dataclasses.replace(report, settings={"limits": (1.0, np.float64(bad))}).to_json(path)
    members = dataclasses.replace(report.individual_risk.members)
    members.low[7] = bad
    with pytest.raises(ValueError, match=r"report\.individual_risk\.members\.low\[7\] is"):
        report.to_json(path)
    assert list(tmp_path.iterdir()) == []


def test_settings_may_hold_paths_and_arrays_but_not_objects(make_report, tmp_path):
    settings = {"out": Path("a") / "b", "grid": np.arange(4).reshape(2, 2), "names": np.array(["x", "y"]), "n": None}
    read = json.loads(make_report(settings=settings).to_json(tmp_path / "r.json").read_text(encoding="utf-8"))
    assert read["settings"] == {"out": str(Path("a") / "b"), "grid": [[0, 1], [2, 3]], "names": ["x", "y"], "n": None}
    with pytest.raises(TypeError, match=r"report\.settings\.model is a object"):
        make_report(settings={"model": object()}).to_json(tmp_path / "r.json")


def test_text_survives(make_report, tmp_path):
    names = ('"quotes" \\ $ </script>', "\x00nul\n\udc80")
    read = json.loads(make_report(names).to_json(tmp_path / "r.json").read_text(encoding="utf-8"))
    assert tuple(query["name"] for query in read["queries"]) == names


def test_lists_of_numbers_take_one_line():
    assert encode({"a": (0.1, 2), "b": np.array([1 / 3, 0.0]), "c": ()}) == (
        '{\n "a": [0.1, 2],\n "b": [0.333333, 0],\n "c": []\n}\n'
    )


def test_big_report_is_fast_and_small(make_report, tmp_path):
    report = make_report(individual_risk=IndividualRisk(risks(100_000), risks(100_001), 0.5, 0.95, 45))
    start = time.perf_counter()
    path = report.to_json(tmp_path / "r.json")
    elapsed = time.perf_counter() - start
    assert elapsed < 6.0, f"{elapsed:.1f} s"  # 0.6 s on an idle machine
    assert path.stat().st_size < 13e6
    read = json.loads(path.read_text(encoding="utf-8"))
    assert len(read["individual_risk"]["nonmembers"]["low"]) == 100_001
