"""Experiments: one word is a model and its recipe, and gives the figure that its header promises."""

import json
import re
from pathlib import Path
from statistics import fmean

import pytest

from caelab import studies
from caelab.composition import compose
from caelab.config import CONF, options
from caelab.runs.record_file import ARCHIVE, archived

ROOT = Path(__file__).parents[1]


def identity(*words):
    return compose.identity(compose.config([*words, "logger=none"])[0])


def record(fingerprint):
    """The record of a run in docs."""
    kept = (ROOT / "docs" / "results" / "runs").glob(f"*/{ARCHIVE}")
    runs = [
        files for path in kept for name, files in archived(path.parent).items() if fingerprint[:10] in name
    ]
    (files,) = runs
    return json.loads(files["result.json"])


@pytest.mark.parametrize("name", options.options("experiment"))
def test_one_word_gives_the_figure_of_its_header(name):
    header = Path(CONF, "experiment", f"{name}.yaml").read_text()
    promised = re.search(rf"caelab train experiment={name}: ([\d.]+) dB", header)[1]
    records = [record(identity(f"experiment={name}", f"seed={seed}")) for seed in range(3)]
    assert f"{fmean(one['metrics']['test/psnr'] for one in records):.2f}" == promised


def test_a_word_of_the_command_line_wins_wherever_it_stands():
    words = ["model=base", "model.latent=8", "optimizer=adam", "flip=false", "trainer.max_epochs=2"]
    first, last = (
        compose.config(both) for both in (["experiment=residual", *words], [*words, "experiment=residual"])
    )
    assert first == last
    cfg, choices = first
    assert (choices["model"], choices["optimizer"], choices["dataset"]) == ("base", "adam", "cifar10")
    assert (cfg.model.latent, cfg.flip, cfg.trainer.max_epochs) == (8, False, 2)
    assert (cfg.ema, cfg.optimizer.lr, cfg.trainer.gradient_clip_val) == (0.999, 0.0015, 0.01)


def test_a_run_of_an_experiment_is_the_run_of_its_words():
    words = ["model=improved_skip", "model.negative_slope=1", "model.skip_levels=[1,3,4]"]
    own = identity(*words, "dataset=cifar10", "trainer.max_epochs=10")
    assert identity("experiment=improved_skip_authors") == own


def test_a_sweep_over_experiments_names_each_run_by_what_it_is(train):
    answer = train(
        "-m",
        "experiment=residual,improved_skip_authors",
        "dataset=shapes",
        "dataset.train_size=96",
        "dataset.val_size=40",
        "dataset.test_size=50",
        "model.latent=8",
        "trainer.max_epochs=1",
        "trainer.accelerator=cpu",
        tiny=False,
    )
    assert answer.status == 0
    names = [path.name.rpartition("-")[0] for path in answer.run_dirs]
    assert names == ["improved_skip-mse-adam-s0", "residual-mse-adamw-s0"]
    assert [one["config"]["dataset"]["batch_size"] for one in answer.records] == [32, 64]


def test_a_study_whose_rows_name_experiments_has_the_runs_on_record():
    rows = {row.label: row for row in studies.load("residual_large").variants("cifar10", lambda _: None)}
    for label, psnr in {"residual": 28.89, "residual_large": 29.79}.items():
        records = [record(rows[label].identity(seed)) for seed in range(3)]
        assert round(fmean(one["metrics"]["test/psnr"] for one in records), 2) == psnr


def test_a_search_on_record_keeps_its_name():
    (search,) = studies.load("search_residual", "quick").searches("cifar10")
    assert (ROOT / "docs" / "results" / "runs" / "searches" / search.name).is_dir()
