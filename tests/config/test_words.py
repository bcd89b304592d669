"""What a person types: text stays text, a path may start with ~, and flags stand anywhere."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from caelab.composition import words
from caelab.config.grammar import written
from caelab.errors import UserError


def value(word):
    """What Hydra makes of a word."""
    (override,) = OverridesParser.create().parse_overrides(words.read([word]))
    return override.value()


@pytest.mark.parametrize("text", ["2024", "007", "1e3", "1_0", "true", "null", "nan", "-1", ".5", "a b (1)"])
def test_text_stays_text_where_text_is_expected(text):
    assert value(f"dataset.path={text}") == text
    assert value(f"logger.wandb.project={text}") == text
    assert value(f"paths.output={text}") == text
    assert value(f"hydra.run.dir={text}") == text


def test_numbers_and_no_value_stay_what_they_are_elsewhere():
    assert value("optimizer.lr=1e-3") == 0.001
    assert value("model.channels=[4,8]") == [4, 8]
    assert value("flip=true") is True
    assert value("dataset.train_size=null") is None
    assert value("dataset.archive=null") is None
    assert value("dataset.index=null") is None
    assert value("dataset.index=pictures (1).csv") == "pictures (1).csv"
    assert value("dataset.archive=2024") == "2024"
    assert value("trainer.precision=32") == 32
    assert words.read(["dataset.path=${oc.env:HOME}", "seed=choice(0,1)", "foo", "-m"]) == [
        "dataset.path=${oc.env:HOME}",
        "seed=choice(0,1)",
        "foo",
        "-m",
    ]


def test_several_paths_are_a_sweep_of_texts():
    assert words.read(["dataset.path=2024,photos,'a b'"]) == ["dataset.path='2024',photos,'a b'"]


@pytest.mark.parametrize("name", ["photos(1)", "[2024] pics", "{a}", "it's", "a,b"])
def test_what_is_there_is_taken_as_it_is_called(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for folder in (name, "a", "b"):
        Path(folder).mkdir()
    assert value(f"dataset.path={name}") == name
    assert value(f"dataset.path=~/{name}") == str(tmp_path / name)
    assert value(f"dataset.path={tmp_path / name}") == str(tmp_path / name)
    assert words.read(["dataset.path=a,b,it"]) == ["dataset.path=a,b,it"]


@pytest.mark.parametrize("key", words.PATHS)
@pytest.mark.parametrize("form", ["~/my runs", "'~/my runs'", '"~/my runs"'])
def test_every_path_may_start_at_home(monkeypatch, key, form):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert value(f"{key}={form}") == "/home/somebody/my runs"
    assert value(f"{key}=a~b") == (str(Path("a~b").absolute()) if key == "paths.data" else "a~b")


def test_the_folder_of_the_environment_may_start_at_home(monkeypatch):
    from caelab.composition import compose

    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("CAELAB_DATA", "~/data")
    assert compose.config(["dataset=shapes"])[0].dataset.data_dir == "/home/somebody/data"


@pytest.fixture
def homeless(monkeypatch):
    """Nobody's process: without a home directory."""
    import pwd

    def nobody(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME")


def test_who_has_no_home_is_asked_for_a_folder(train, homeless, monkeypatch):
    monkeypatch.delenv("CAELAB_DATA")
    answer = train()
    assert answer.status == 1
    assert answer.err == (
        "caelab: there is no home directory for data; give paths.data=FOLDER, or set CAELAB_DATA\n"
    )
    with pytest.raises(UserError, match="~/runs: there is no such home directory; give the whole path"):
        words.read(["paths.output=~/runs"])
    assert train("paths.data=data").status == 0


def test_who_has_no_home_trains_code_of_their_own(train, homeless, tmp_path):
    (tmp_path / "own_of_nobody.py").write_text("from torch.nn import MSELoss as Loss\n")
    (tmp_path / "conf/loss").mkdir(parents=True)
    (tmp_path / "conf/loss/mine.yaml").write_text("_target_: own_of_nobody.Loss\n")
    answer = train("loss=mine")
    assert answer.status == 0
    assert "~: no home directory; opening the run will ask for --trust\n" in answer.err
    assert not (tmp_path / "~").exists()


def test_a_path_with_quotes_of_its_own_is_kept():
    for text in ("Bob's", 'a "b"', "tail\\"):
        (override,) = OverridesParser.create().parse_overrides([f"key={written(text)}"])
        assert override.value() == text
    assert value("dataset.path=Bob's") == "Bob's"


def test_flags_may_stand_anywhere():
    assert words.command_line(["model=base", "-m", "seed=0,1", "--cfg", "job"]) == [
        "-m",
        "--cfg",
        "job",
        "model=base",
        "seed=0,1",
    ]


def test_keys_of_a_swept_group_wait_for_its_options():
    typed = ["loss=l1_mse,l1_bce", "loss.alpha=0.5", "model.latent=8", "+loss.beta=1", "seed=0,1"]
    assert words.swept(typed) == [typed[0], "loss.alpha=choice(0.5)", *typed[2:]]
    assert words.command_line(["-m", *typed[:2]])[-1] == "loss.alpha=choice(0.5)"
    assert words.command_line(typed[:2])[-1] == "loss.alpha=0.5"
    assert words.swept(["experiment=a,b", "model.channels=[4,8]"])[-1] == "model.channels=choice([4,8])"
    kept = ["dataset=folder,hf", "dataset.path='12'", "dataset.index=null", "dataset.path=${oc.env:HOME}"]
    assert words.swept([*kept, "dataset.channels=1,3"]) == [*kept, "dataset.channels=1,3"]
    assert words.swept(["loss=l1_mse,l1_bce", "loss.alpha=[", "loss.alpha=1"])[-1] == "loss.alpha=1"
