"""What a key that does not exist was meant to be."""

import pytest

from caelab.config import hints, options


@pytest.mark.parametrize(
    ("key", "right"),
    [
        ("lr", "optimizer.lr"),
        ("learning-rate", "optimizer.lr"),
        ("batch_size", "dataset.batch_size"),
        ("latent_dim", "model.latent"),
        ("model.z_dim", "model.latent"),
        ("trainer.epochs", "trainer.max_epochs"),
        ("gpus", "trainer.accelerator"),
        ("image_size", "dataset.image_size"),
        ("output_dir", "paths.output"),
        ("wandb", "logger=wandb"),
    ],
)
def test_common_wishes_have_their_right_name(key, right):
    assert hints.unknown(key) == f"{key}: there is no such key; did you mean '{right}'?"


def test_every_right_name_is_one_and_no_wish_is():
    known = set(options.every_key())
    assert {key.partition("=")[0] for key in hints.WISHES} <= known
    assert not known & {name for names in hints.WISHES.values() for name in names.split()}


def test_a_key_of_other_options_names_them():
    assert hints.elsewhere("optimizer.momentum").startswith("optimizer.momentum: the chosen optimizer has no")
    assert "sgd" in hints.elsewhere("optimizer.momentum")
    assert "adam" not in hints.elsewhere("optimizer.momentum").partition("only")[2]
    line = hints.elsewhere("optimizer.momentum", {"optimizer": "adam"})
    assert line.startswith("optimizer.momentum: optimizer=adam has no such key, only ")


def test_images_from_python_are_no_keys_of_a_command_line(train):
    answer = train("dataset=in_memory", tiny=False)
    assert answer.status == 1
    assert answer.err == (
        "caelab: dataset=in_memory: takes images from a Python program only, caelab.run(dataset=images); "
        "dataset=array reads them from a file\n"
    )
