"""Studies: their files describe runs that can be composed, and each run is the one that they say."""

import math
import re
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf

from caelab import config, studies
from caelab.composition import compose
from caelab.config.build import instantiate
from caelab.config.check import check
from caelab.errors import UserError
from caelab.runs.record import TrialRecord


def no_score(trial):
    return None


def load(name, budget="full"):
    """A study; the pictures of a user's own are those of any folder."""
    own = "folder" in studies.load(name, budget).datasets
    return studies.load(name, budget, overrides=["dataset.path=."] if own else [])


def expected_size(study):
    """Rows of a study on its first dataset, counted from its entries, searches left out."""
    entries = [*study.runs.values(), *study.floors.values()]
    first = study.datasets[0]
    count = 0
    for entry in entries:
        if entry.datasets is None or first in entry.datasets:
            points = 1
            for values in entry.grid.values():
                points *= len(values)
            count += points
    return count


@pytest.mark.slow
@pytest.mark.parametrize("budget", studies.BUDGETS)
@pytest.mark.parametrize("name", studies.names())
def test_every_run_of_a_study_can_be_composed_and_is_another_one(name, budget):
    study = load(name, budget)
    rows = study.variants(study.datasets[0], lambda trial: 0.0)
    searched = sum(not entry.space for entry in study.tune.entries.values()) if study.tune else 0
    assert len(rows) == expected_size(study) + searched
    assert len({row.label for row in rows}) == len(rows)
    for row in rows[::4]:
        cfg, choices = compose.config([*row.at(0), "logger=none"])
        check(compose.plain(cfg), choices)
        assert row.identity(0) == compose.identity(cfg)
        assert choices["dataset"] == study.datasets[0]
        own = [o.partition("=")[2] for o in row.overrides if o.startswith("trainer.max_epochs=")]
        assert row.floor or [cfg.trainer.max_epochs] == [int(epochs) for epochs in own]
        assert cfg.dataset.train_size == study.train_size
    # a tuned row may be the default one; any two others that were equal would be one row
    tuned = set(study.tune.entries) if study.tune else set()
    others = [row.identity(0) for row in rows if row.label not in tuned]
    assert len(set(others)) == len(others)


@pytest.mark.parametrize("budget", studies.BUDGETS)
@pytest.mark.parametrize("name", studies.names())
def test_claims_references_and_published_figures_name_rows_of_each_dataset(name, budget):
    study = studies.load(name, budget)
    assert set(study.published) <= set(studies.load(name).datasets)
    for dataset in study.datasets:
        labels = {row.label for row in study.variants(dataset, lambda trial: 0.0)}
        labels |= {search.label for search in study.searches(dataset)}
        for claim in study.claims:
            for key in {"better", "than", "no_gain", "over", "rows"} & claim.keys():
                if claim[key] != "others" and dataset in claim.get("where", study.datasets):
                    assert set(claim[key]) <= labels
        assert study.reference is None or study.reference in labels
        assert set(study.published.get(dataset, {})) <= labels


def test_published_figures_are_those_of_the_report():
    figures = {name: studies.load(name).published for name in ("table1", "table2", "table3", "table4")}
    assert figures["table1"]["mnist"]["base"] == {"psnr": 24.10, "ssim": 0.95, "loss": 0.040}
    assert figures["table2"]["cifar10"]["improved"] == {"psnr": 23.92, "ssim": 0.81, "loss": 0.004}
    assert figures["table3"]["cinic10"]["improved_skip"] == {"psnr": 31.24, "ssim": 0.97, "loss": 0.009}
    assert figures["table4"]["cifar10"]["BCE"] == {"psnr": 23.54, "ssim": 0.8120}
    for of_dataset in (one for table in figures.values() for one in table.values()):
        for label in [label for label in of_dataset if label.endswith(", authors' code")]:
            assert of_dataset[label] == of_dataset[label.removesuffix(", authors' code")]


@pytest.mark.slow
def test_budgets_never_share_a_run():
    for name in studies.names():
        full, quick = load(name), load(name, "quick")
        dataset = quick.datasets[0]
        trained = [
            {row.identity(0) for row in study.variants(dataset, no_score) if not row.floor}
            for study in (full, quick)
        ]
        assert not trained[0] & trained[1]
        assert full.seeds >= 3
        assert quick.seeds == 1


def test_only_the_seed_tells_the_runs_of_a_row_apart():
    row = studies.load("table2").variants("cifar10", no_score)[0]
    assert len({row.identity(seed) for seed in range(3)}) == 3
    assert row.at(2) == (*row.overrides, "seed=2")


def test_a_grid_becomes_a_row_a_point():
    rows = studies.load("latent").variants("cifar10", no_score)
    base = [row for row in rows if row.label.startswith("base")]
    assert [row.settings for row in base] == [{"model.latent": n} for n in (16, 64, 256, 1024)]
    assert base[1].label == "base, model.latent=64"
    assert "model.latent=64" in base[1].overrides


def test_a_row_may_have_epochs_of_its_own():
    study = studies.load("bypass", overrides=["dataset.batch_size=64"])
    rows = {row.label: row.config for row in study.variants("mnist", no_score)}
    assert rows["improved_skip"]["trainer"]["max_epochs"] == study.epochs == 10
    assert rows["improved_skip, 1 epoch"]["trainer"]["max_epochs"] == 1
    with pytest.raises(UserError, match="trainer.max_epochs=3: study=bypass varies this key"):
        studies.load("bypass", overrides=["trainer.max_epochs=3"])


def test_the_batch_of_a_study_holds_for_rows_that_do_not_say_theirs():
    def batches(budget):
        rows = studies.load("rate", budget).variants("cifar10", no_score)
        return {row.label: row.config["dataset"]["batch_size"] for row in rows}

    full, quick = batches("full"), batches("quick")
    assert (full["base"], full["residual"], full["PCA 256"]) == (256, 64, 256)
    assert (quick["base"], quick["PCA 256"]) == (32, 32)
    rows = studies.load("table2", overrides=["dataset.batch_size=128"]).variants("cifar10", no_score)
    assert rows[0].config["dataset"]["batch_size"] == 128


@pytest.mark.parametrize("name", studies.names())
def test_a_study_says_its_batch_so_that_a_new_default_loses_none_of_its_runs(name):
    study = studies.load(name)
    few = study.train_size == 10_000  # images, in batches that make about as many steps
    assert study.batch_size == (32 if few else 256)
    unchanged = name in ("residual_large", "search_residual")  # whose quick runs are on record
    assert studies.load(name, "quick").batch_size == (256 if unchanged else 32)


def test_floors_of_the_bypass_study_have_the_sizes_of_its_codes():
    study = studies.load("bypass")
    for dataset, shape in {"cifar10": (3, 32, 32), "mnist": (1, 28, 28)}.items():
        rows = study.variants(dataset, no_score)
        assert sum(not row.floor for row in rows) == 16
        nets = [instantiate(row.config["model"], "model", shape=shape) for row in rows if not row.floor]
        codes = {net.encode(torch.zeros(2, *shape)).numbers for net in nets}
        below = {numbers for numbers in codes if numbers < math.prod(shape)}
        assert {row.config["model"]["latent"] for row in rows if row.floor} == below


def test_an_entry_may_be_for_some_datasets_only():
    study = studies.load("ablation")
    floors = [
        [row.label for row in study.variants(dataset, no_score) if row.floor]
        for dataset in ("mnist", "cifar10")
    ]
    assert [len(labels) for labels in floors] == [1, 3]


def test_the_best_trial_on_validation_becomes_the_row():
    study = studies.load("optimizers")
    scores = {"0.3": 20.0, "0.001": 19.0}

    def score(trial):
        rate = next(o for o in trial.overrides if o.startswith("optimizer.lr=")).partition("=")[2]
        return scores.get(rate, 10.0)

    rows = {row.label: row for row in study.variants("cifar10", score)}
    assert rows["sgd"].settings == {"optimizer.lr": 0.3}
    assert rows["adam"].settings == {"optimizer.lr": 0.001}
    assert "trainer.max_epochs=10" in rows["sgd"].overrides
    trial = study.trials("cifar10")["sgd"][0]
    assert "trainer.max_epochs=3" in trial.overrides


def test_a_search_with_a_missing_trial_has_no_row_yet():
    study = studies.load("optimizers")
    missing = study.trials("cifar10")["sgd"][2]
    rows = study.variants("cifar10", lambda trial: None if trial == missing else 1.0)
    assert "sgd" not in [row.label for row in rows]
    assert "adam" in [row.label for row in rows]


def test_a_random_search_draws_the_same_points_each_time():
    first, second = (studies.load("architecture").trials("cifar10")["found"] for _ in range(2))
    assert first == second
    assert len(first) == 12
    assert len({trial.overrides for trial in first}) == 12


def test_the_users_words_hold_for_every_run():
    study = studies.load("table2", "full", 5, ["trainer.max_epochs=7", "dataset=mnist,shapes"])
    assert (study.seeds, list(study.datasets)) == (5, ["mnist", "shapes"])
    for row in study.variants("shapes", no_score):
        assert row.config["trainer"]["max_epochs"] == 7


def test_what_a_run_logs_to_is_no_part_of_what_it_is():
    plain, logged = (studies.load("table2", overrides=more) for more in ([], ["logger=[csv,wandb]"]))
    for one, other in zip(
        plain.variants("cifar10", no_score), logged.variants("cifar10", no_score), strict=True
    ):
        assert one.identity(0) == other.identity(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tabel2",), "study=tabel2: there is no such study; did you mean 'table2'?"),
        (("table2", "quik"), "budget=quik: there is no such budget; did you mean 'quick'?"),
        (("table2", "full", 0), "seeds=0: must be a whole number, 1 or more"),
        (("table2", "full", "many"), "seeds=many: must be a whole number, 1 or more"),
        (
            ("table2", "full", None, ["model=base"]),
            "model=base: study=table2 varies this key; leave it out",
        ),
        (
            ("table2", "full", None, ["seed=3"]),
            "seed=3: study=table2 varies this key; --seeds N sets how many",
        ),
        (("table2", "full", None, ["optimizer=adam,sgd"]), "optimizer=adam,sgd: a study is a sweep already"),
        (("table2", "full", None, ["a=[3"]), "a=[3: not an override; give KEY=VALUE"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message):
    with pytest.raises(UserError, match=re.escape(message)):
        studies.load(*arguments)


def test_a_study_has_not_the_name_of_the_tables_of_loose_runs(tmp_path, monkeypatch):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "runs.yaml").write_text("title: t\ntext: x\ndatasets: []\nepochs: 3\n")
    monkeypatch.setattr(config, "CONF", str(tmp_path))
    with pytest.raises(
        UserError, match="^study=runs: is reserved for tables of runs without a study; rename"
    ):
        studies.load("runs")


def test_a_misspelt_key_of_a_study_is_named(tmp_path, monkeypatch):
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "mine.yaml").write_text("title: t\ntext: x\ndatasets: [shapes]\nepoch: 3\n")
    monkeypatch.setattr(config, "CONF", str(tmp_path))
    with pytest.raises(UserError, match="study=mine: a study has no key 'epoch'; did you mean 'epochs'?"):
        studies.load("mine")
    (folder / "mine.yaml").write_text("title: t\ntext: x\ndatasets: [shapes]\n")
    with pytest.raises(UserError, match="study=mine: epochs is missing; give epochs: VALUE"):
        studies.load("mine")


def test_a_search_is_another_one_under_other_words():
    study = studies.load("search_residual")
    (search,) = study.searches("cifar10")
    assert search.name.startswith("search_residual-cifar10-")
    point = {"model.blocks": 2, "model.encoder_blocks": 0, "optimizer.lr": 0.0012}
    trial = search.trial(point)
    cfg, choices = compose.config([*trial.at(study.tune.seed), "logger=none"])
    check(compose.plain(cfg), choices)
    assert (cfg.model.blocks, cfg.model.encoder_blocks, cfg.optimizer.lr) == (2, 0, 0.0012)
    assert cfg.trainer.max_epochs == study.tune.epochs < study.epochs
    (other,) = studies.load("search_residual", overrides=["dataset.train_size=6000"]).searches("cifar10")
    (quick,) = studies.load("search_residual", "quick").searches("cifar10")
    assert len({search.name, other.name, quick.name}) == 3


def trial(state):
    return TrialRecord(number=0, state=state, point={}, value=None, epochs=0)


def test_the_best_of_a_search_becomes_a_row():
    study = studies.load("search_residual")
    (search,) = study.searches("cifar10")
    assert "found" not in [row.label for row in study.variants("cifar10", no_score)]
    done = [trial("finished"), trial("pruned")] * (study.tune.trials // 2)
    space = study.tune.entries["found"].space
    point = {key: values[0] if isinstance(values, list) else values["low"] for key, values in space.items()}
    point["model.blocks"] = 4
    searched = {search.name: SimpleNamespace(best={"point": point}, history=done)}
    found = study.variants("cifar10", no_score, searched)[0]
    assert (found.label, found.settings) == ("found", point)
    assert found.config["model"]["blocks"] == 4
    assert found.config["trainer"]["max_epochs"] == study.epochs
    for fewer in (
        SimpleNamespace(best=None, history=[]),
        SimpleNamespace(best={"point": point}, history=done[1:]),
        SimpleNamespace(best={"point": point}, history=[*done[1:], trial("failed")]),
    ):
        assert "found" not in [r.label for r in study.variants("cifar10", no_score, {search.name: fewer})]
    with pytest.raises(UserError, match="model.blocks=2: study=search_residual varies this key"):
        studies.load("search_residual", overrides=["model.blocks=2"])


SPACE = "runs: {}\ntitle: t\ntext: x\ndatasets: [shapes]\nepochs: 3\ntune: "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trials: 3, entries: {a: {space: {b.c: {low: 1}}}}", "tune.a: space.b.c={'low': 1}: give a list"),
        ("trials: 3, entries: {a: {space: {b.c: {low: 2, high: 1}}}}", "with low < high"),
        ("trials: 3, entries: {a: {space: {b.c: {low: 0, high: 1, log: true}}}}", "for a positive range"),
        ("trials: 3, entries: {a: {space: {b.c: []}}}", "space.b.c=[]: give a list of choices"),
        ("entries: {a: {space: {b.c: [1]}}}", "tune.a: a space needs trials, a whole number, 1 or more"),
        ("trials: 3, entries: {a: {space: {b.c: [1]}, grid: {d.e: [1]}}}", "give a grid or a space"),
        ("trials: 3, pruner: medium, entries: {}", "pruner=medium: must be median or hyperband, or null"),
        ("entries: {a: {spaces: {b.c: [1]}}}", "a study has no key 'spaces'; did you mean 'space'?"),
    ],
)
def test_a_space_that_cannot_be_searched_is_named(tmp_path, monkeypatch, text, message):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "mine.yaml").write_text(f"{SPACE}{{epochs: 1, {text}}}")
    monkeypatch.setattr(config, "CONF", str(tmp_path))
    with pytest.raises(UserError, match=re.escape(message)):
        studies.load("mine")


def test_only_tuned_rows_have_a_space(tmp_path, monkeypatch):
    (tmp_path / "study").mkdir()
    text = "title: t\ntext: x\ndatasets: [shapes]\nepochs: 3\nruns: {a: {space: {b.c: [1]}}}\n"
    (tmp_path / "study" / "mine.yaml").write_text(text)
    monkeypatch.setattr(config, "CONF", str(tmp_path))
    with pytest.raises(UserError, match="a: only rows of tune have a space; give a grid"):
        studies.load("mine")


def test_a_recipe_holds_for_trained_rows_and_a_row_may_differ():
    rows = {row.label: row.config for row in studies.load("residual").variants("cifar10", no_score)}
    assert rows["residual"]["optimizer"]["_target_"] == "torch.optim.AdamW"
    assert rows["residual"]["optimizer"]["lr"] == 0.0015
    assert rows["residual"]["scheduler"]["_target_"] == "caelab.schedulers.Cosine"
    assert (rows["residual"]["flip"], rows["residual"]["ema"]) == (True, 0.99)
    assert rows["constant rate"]["scheduler"]["_target_"] == "caelab.schedulers.Constant"
    assert rows["Adam"]["optimizer"]["_target_"] == "torch.optim.Adam"
    assert (rows["PCA 256"]["flip"], rows["PCA 256"]["ema"]) == (False, None)
    floors = [
        {row.label: row for row in studies.load(name).variants("cifar10", no_score)}["PCA 256"]
        for name in ("residual", "table2")
    ]
    assert floors[0].config["model"] == floors[1].config["model"]
    assert floors[0].identity(0) == floors[1].identity(0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tune: {epochs: 1}", "tune: entries is missing; give entries: VALUE"),
        ("tune: 3", "tune is 3; it must be keys with values"),
        ("runs: [base]", "runs is ['base']; it must be labels with their rows, such as {base: [model=base]}"),
        ("runs: {a: }", "runs.a: overrides is empty; it must be a list of words"),
        ("runs: {a: model=base}", "runs.a: overrides is 'model=base'; it must be a list of words"),
        ("runs: {a: {grid: {b.c: 64}}}", "runs.a: grid is {'b.c': 64}; it must be keys with lists"),
        ("claims: [a beats b]", "claims is ['a beats b']; it must be a list of maps"),
        ("quick: [1]", "quick is [1]; it must be keys with values"),
        ("datasets: shapes", "datasets is 'shapes'; it must be a list of datasets"),
        ("datasets: []", "datasets is []; it must be a list of datasets, such as [mnist, shapes]"),
        ("tune: {}", "tune: entries is missing; give entries: VALUE"),
        ("name: other", "a study has no key 'name'"),
        ("common: [seed=1]", "a study has no key 'common'"),
        ("quick: {epoch: 2}", "quick: a study has no key 'epoch'; did you mean 'epochs'?"),
        (
            "{runs: {base: []}, published: {shapes: {bsae: {psnr: 3}}}}",
            "published: shapes: there is no 'bsae'; did you mean 'base'?",
        ),
        ("published: {shapse: {}}", "published: there is no 'shapse'; did you mean 'shapes'?"),
        ("seeds: two", "seeds is 'two'; it must be a whole number, 1 or more"),
        ("seeds: 0", "seeds is 0; it must be a whole number, 1 or more"),
        ("epochs: ten", "epochs is 'ten'; it must be a whole number, 1 or more"),
        ("published: {shapes: {a: 3}}", "published is {'shapes': {'a': 3}}; it must be figures of rows"),
        ("apart: 1", "apart is 1; it must be true or false"),
        ("datasets: [shapse]", "datasets: there is no 'shapse'; did you mean 'shapes'?"),
        ("runs: {a: {datasets: [mnits]}}", "a: datasets: there is no 'mnits'; did you mean 'mnist'?"),
        (
            "claims: [{text: t, where: [cifar]}]",
            "claim 't': where: there is no 'cifar'; did you mean 'cifar10'?",
        ),
        ("claims: [{text: t, where: cifar10}]", "claim 't': where is 'cifar10'; it must be a list of words"),
        ("{runs: {abc: []}, reference: ab}", "reference: there is no 'ab'; did you mean 'abc'?"),
        ("{runs: {a: {grid: {b.c: [1]}}}, axis: b.d}", "axis: there is no 'b.d'; did you mean 'b.c'?"),
        (
            "{runs: {a: {grid: {b.c: [1, [8, 16]]}}}, axis: b.c}",
            "axis: b.c has the value [8, 16]; an axis takes numbers",
        ),
        (
            "{tune: {epochs: 1, trials: 2, entries: {a: {space: {b.c: [add, 1]}}}}, axis: b.c}",
            "axis: b.c has the value 'add'; an axis takes numbers",
        ),
        ("{runs: {a: []}, floors: {a: []}}", "2 rows are called 'a'; give each a label of its own"),
        ("{runs: {a: []}, tune: {epochs: 1, entries: {a: []}}}", "2 rows are called 'a'"),
    ],
)
def test_a_mistake_in_a_file_is_told_in_one_line(tmp_path, monkeypatch, text, message):
    for group in ("study", "dataset"):
        (tmp_path / group).mkdir()
    for name in ("shapes", "mnist", "cifar10"):
        (tmp_path / "dataset" / f"{name}.yaml").touch()
    plain = {"title": "t", "text": "x", "datasets": ["shapes"], "epochs": 3}
    own = OmegaConf.to_container(OmegaConf.create(text))
    (tmp_path / "study" / "mine.yaml").write_text(OmegaConf.to_yaml(plain | own))
    monkeypatch.setattr(config, "CONF", str(tmp_path))
    with pytest.raises(UserError, match=f"^study=mine: {re.escape(message)}") as caught:
        studies.load("mine")
    assert "\n" not in str(caught.value)


def test_defaults_may_be_said_and_quick_may_lack_what_the_study_compares_with(tmp_path, monkeypatch):
    (tmp_path / "study").mkdir()
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "shapes.yaml").touch()
    said = "title: t\ntext: x\ndatasets: [shapes]\nepochs: 3\n"
    nothing = "tune: null\nreference: null\naxis: null\ntrain_size: null\n"
    (tmp_path / "study" / "nothing.yaml").write_text(f"{said}{nothing}")
    compared = "reference: base\naxis: b.c\nruns: {base: [], a: {grid: {b.c: [1]}}}\nquick: {runs: {a: []}}\n"
    (tmp_path / "study" / "compared.yaml").write_text(f"{said}{compared}")
    monkeypatch.setattr(config, "CONF", str(tmp_path))
    assert studies.load("nothing").tune is None
    assert [*studies.load("compared").runs] == ["base", "a"]
    assert [*studies.load("compared", "quick").runs] == ["a"]


def test_a_tuned_row_may_be_for_some_datasets_only():
    entries = {
        "grid": studies.Entry(grid={"b.c": [1, 2]}, datasets=["mnist"]),
        "space": studies.Entry(space={"b.c": [1, 2]}, datasets=["mnist"]),
    }
    study = studies.Study("s", "t", "x", ["mnist", "shapes"], 3, tune=studies.Tuning(entries, 1, trials=2))
    assert [*study.trials("mnist")] == ["grid"]
    assert [one.label for one in study.searches("mnist")] == ["space"]
    assert study.labels("mnist") == ["grid", "space"]
    assert (study.trials("shapes"), study.searches("shapes"), study.labels("shapes")) == ({}, [], [])
    assert study.variants("shapes", lambda trial: 1.0) == []
