"""The speed comparison: both sides train on the same images, and the table holds their ratio."""

import json
import sys

from conftest import TINY

from caelab import bench


def test_the_bare_loop_counts_the_images_of_all_epochs_but_the_first(monkeypatch, tmp_path):
    ticks = iter([0.0, 100.0, 200.0, 204.0, 300.0, 304.0])
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(ticks))
    overrides = [o for o in TINY if "max_epochs" not in o]
    speed = bench.bare_loop([*overrides, f"paths.data={tmp_path}", "trainer.max_epochs=3"])
    assert speed == 2 * 96 / 8


def test_pairs_their_ratio_and_the_file(monkeypatch, tmp_path, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench, "_python", lambda *_: "200.0")
    monkeypatch.setattr(bench, "_command_line", lambda _: 190.0)
    monkeypatch.setattr(sys, "argv", ["caelab-bench", "--models", "base", "--pairs", "2", "dataset=shapes"])
    bench.main()
    assert "0.950 .. 0.950" in capfd.readouterr().out
    (path,) = (tmp_path / "multirun" / "bench").glob("*.json")
    found = json.loads(path.read_text())
    assert found["overrides"] == ["dataset=shapes"]
    assert found["models"]["base"]["ratio"] == [0.95, 0.95]


def test_both_sides_for_real(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAELAB_DATA", str(tmp_path / "data"))
    found = bench.bench(["base"], [o for o in TINY if o != "model=base"], pairs=1)
    assert found["base"]["caelab"][0] > 0
    assert found["base"]["ratio"] == [found["base"]["caelab"][0] / found["base"]["bare"][0]]
