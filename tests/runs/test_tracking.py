"""What a tracker is told of a run."""

import pytest
from toys import exact, typed

from caelab.runs import tracking


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (
            ["dataset=mnist", "seed=3", "trainer.max_epochs=2", "paths.data=/x", "logger=wandb", "keep=best"],
            "base",
        ),
        (
            ["model=base", "+model.halvings=2", "~loss.alpha", "seed=1"],
            "model=base +model.halvings=2 ~loss.alpha",
        ),
    ],
)
def test_a_variant_is_what_differs_but_by_seed_data_and_place(overrides, name):
    assert tracking.variant(overrides, "base") == name


def test_the_config_is_nested_and_names_no_folder_of_the_machine():
    config = {"paths": {"data": "/a", "output": "multirun"}, "logger": {"wandb": {}}, "force": False}
    config |= {"dataset": {"data_dir": "/a", "batch_size": 32}, "model": {"latent": 6}}
    run = exact(config=config)
    assert tracking.config(run) == {
        "fingerprint": run.fingerprint,
        "variant": "model=base",
        "choices": run.choices,
        "dataset": {"batch_size": 32},
        "model": {"latent": 6},
    }


def test_the_summary_has_the_figures_of_the_record_and_the_gain():
    run = typed(metrics={"test/latent_reliance": 0.25})
    summary = tracking.summary(run, 20.0)
    assert run.metrics.items() <= summary.items()
    assert (summary["pca/psnr"], summary["pca/gain"]) == (20.0, 1.5)
    assert (summary["size/parameters"], summary["time/fit_seconds"], summary["best_epoch"]) == (1234, 3.25, 2)
    assert summary["bypassing"] is True
    assert "time/images_per_second" not in summary  # which is not known
    assert "pca/psnr" not in tracking.summary(run)
    trial = exact(status="trial", metrics={"val/psnr": 21.0})
    assert tracking.summary(trial)["val/psnr"] == 21.0


def test_names_are_those_that_a_live_run_has():
    assert tracking.names(typed(sweep="toy-full")) == {
        "name": "shapes-base-mse-adam-s3",
        "group": "toy-full",
        "job_type": "model=base",
        "tags": ["shapes", "base", "mse", "adam"],
    }
