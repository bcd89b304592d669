"""A finished run scored again, on its own and on other data, and loaded from Python."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import TINY

import caelab
from caelab.errors import UserError
from caelab.inference import restore
from caelab.training.evaluate import evaluate

SHAPES = [o for o in TINY if o.startswith("dataset.")]


@pytest.mark.usefixtures("quiet")
def test_the_same_data_give_the_same_figures(trained):
    answer = trained("metrics=[sharpness]")
    found = evaluate(answer.run_dir, [])
    assert "test/sharpness" in found["metrics"]
    for key, value in found["metrics"].items():
        assert value == pytest.approx(answer.record["metrics"][key], rel=1e-6), key
    assert found["data"].items() <= answer.record["data"].items()  # it has trained on none
    (path,) = (answer.run_dir / "evaluations").glob("shapes-*.json")
    assert path == answer.run_dir / found.pop("file")
    assert found.pop("choices")["corruption"] == "none"
    assert json.loads(path.read_text()) == found


@pytest.mark.usefixtures("quiet")
def test_other_data_give_other_figures_and_leave_the_record_alone(train, trained):
    answer = trained()
    found = evaluate(answer.run_dir, ["dataset=shapes", "dataset.seed=7", *SHAPES])
    assert found["metrics"]["test/psnr"] != answer.record["metrics"]["test/psnr"]
    assert found["data"]["sha256"] != answer.record["data"]["sha256"]
    assert train().record == answer.record


@pytest.mark.usefixtures("quiet")
def test_a_run_that_was_tested_on_a_part_is_tested_on_that_part(trained):
    answer = trained("trainer.limit_test_batches=0.5", "dataset.test_size=1200")
    assert answer.record["data"]["test"] == 600
    assert evaluate(answer.run_dir, [])["data"]["test"] == 600
    assert evaluate(answer.run_dir, ["dataset.test_size=1200"])["data"]["test"] == 1200


@pytest.mark.usefixtures("quiet")
def test_what_was_asked_otherwise_is_kept_in_a_file_of_its_own(trained):
    answer = trained()
    asked = [["corruption=gaussian_noise", f"corruption.std={std}"] for std in (0.1, 0.5)]
    found = [
        evaluate(answer.run_dir, [*words])["file"] for words in (*asked, *asked, ["dataset.classes=[0]"], [])
    ]
    assert found[:2] == found[2:4]
    assert len({*found}) == 4


@pytest.mark.usefixtures("quiet")
def test_a_mistake_from_python_is_one_line(trained):
    run = caelab.Run(trained().run_dir)
    with pytest.raises(UserError, match=r"^dataset=nope: there is no such dataset"):
        run.evaluate(dataset="nope")
    with pytest.raises(
        UserError, match=r"^dataset\.sede: there is no such key; did you mean 'dataset\.seed'\?$"
    ):
        run.evaluate({"dataset.sede": 3})


@pytest.mark.usefixtures("quiet")
def test_the_runs_own_data_with_one_key_changed(trained):
    answer = trained()
    found = evaluate(answer.run_dir, ["dataset.test_size=20"])
    assert found["data"]["test"] == 20
    assert found["data"]["train"] == 96


@pytest.mark.usefixtures("quiet")
def test_values_in_another_range_than_the_runs_are_refused_unless_it_is_typed(train, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 4096, (60, 16, 16), np.uint16)
    np.save(tmp_path / "images.npy", pixels)
    words = ["dataset=array", f"dataset.path={tmp_path / 'images.npy'}"]
    few = ["trainer.max_epochs=1", "trainer.accelerator=cpu", "model.channels=[4,8]", "model.latent=8"]
    answer = train(*words, *few, "model=base", "dataset.value_range=[0,4095]", tiny=False)
    line = (
        "dataset=array has uint16 from 0 to 65535, the run takes 0 to 4095; "
        "give 'dataset.value_range=[0,4095]'"
    )
    with pytest.raises(UserError) as caught:
        evaluate(answer.run_dir, words)
    assert str(caught.value) == line
    own = answer.record["metrics"]["test/psnr"]
    for same in ([*words, "dataset.value_range=[0,4095]"], words[1:], []):
        assert evaluate(answer.run_dir, same)["metrics"]["test/psnr"] == pytest.approx(own, rel=1e-6)
    typed = evaluate(answer.run_dir, [*words, "dataset.value_range=[0,65535]"])
    assert typed["data"]["between"] == [0, 65535]


@pytest.fixture
def quiet():
    yield
    from conftest import close_log_files

    close_log_files()


def test_the_command_line_prints_a_table(trained, lab):
    answer = trained()
    assert f"{answer.record['metrics']['test/psnr']:.2f}" in lab("evaluate", answer.run_dir)[1]
    shown = lab("evaluate", "last", "corruption=blur")[1].strip()
    assert "on shapes, given with corruption=blur" in " ".join(shown.split())
    place = shown.splitlines()[-2]
    assert Path(place.strip()).name.startswith("shapes-blur-")
    assert Path(place.strip()).is_file()


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["dataset.image_size=28"], "has images of 3x28x28"),
        (["model=base"], "only dataset, corruption and paths.data can be changed here"),
        (["dataset=mnits"], "did you mean 'mnist'"),
        (["dataset.tset_size=3"], "did you mean 'dataset.test_size'"),
    ],
)
def test_mistakes_are_one_line(trained, lab, overrides, line):
    answer = trained()
    status, _, err = lab("evaluate", answer.run_dir, *overrides)
    assert status == 1
    assert line in err
    assert err.count("\n") == 1


def test_no_finished_run_there(tmp_path):
    with pytest.raises(UserError, match="no such directory"):
        evaluate(tmp_path / "nothing", [])


def test_load_gives_the_trained_network(trained):
    answer = trained()
    found = caelab.load(answer.run_dir)
    images = torch.randint(
        0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    code = found.encode(images)
    assert code.z.shape == (4, 8)
    assert code.skips == ()
    torch.testing.assert_close(found.decode(code), restore.load(answer.run_dir).reconstruct(images))
    state = torch.load(answer.run_dir / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    own = found.network.state_dict()
    assert all(torch.equal(value, state[f"net.{key}"]) for key, value in own.items())
    assert not found.network.training
    assert found.fingerprint == answer.record["fingerprint"]
    assert found.metrics == answer.record["metrics"]
