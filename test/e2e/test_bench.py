"""The benchmarks still measure what they say: in their shortest form."""
import importlib.machinery
import importlib.util
import json

import pytest

import harness


def test_rollout_loss_counts_every_kind_of_change_and_finds_nothing_lost(tmp_path):
    figures = tmp_path / "figures.json"
    harness.run([harness.ROOT / "bench/rollout-loss", "--rollouts", "2", "--others", "1", "--outside", "0.2", "--mode", "close",
                 "--json", figures], timeout=240 * harness.PATIENCE)
    rows = json.loads(figures.read_text())
    assert {row["what"] for row in rows} == {"rollouts", "scale rounds", "deletes", "evictions"}
    assert len({(row["what"], row["way"], row["style"]) for row in rows}) == len(rows) == 4 * 3 * 2
    assert all(row["requests"] and row["inside"]["count"] and not row["failed"] for row in rows), rows


def loaded(program):
    """A benchmark as a module: its name has no suffix."""
    loader = importlib.machinery.SourceFileLoader("bench_" + program, str(harness.ROOT / "bench" / program))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("figure, arguments, code", [(6, [], 0), (6, ["--strict"], 1), (5, ["--strict"], 0)])
def test_a_missed_target_is_a_failure_where_that_is_asked_for(monkeypatch, capsys, figure, arguments, code):
    run = loaded("run")
    monkeypatch.setattr(run, "MEASURES", {"made": lambda bench: [("made up", figure, "ms", ("<=", 5), "")]})
    monkeypatch.setattr("sys.argv", ["run", *arguments])
    assert run.main() == code
    assert ("SHORT" if figure > 5 else "met") in capsys.readouterr().out
