"""Every figure of README.md and the pages of docs/ is what the records give, and what is wrong is named."""

import json

import pages
import pytest
import toys
from queries import Answers, _settings, _words

NAMES = {"shapes": "dataset=shapes", "small": "model=base model.latent=8", "floor": "model=pca"}
T = 4.302653  # 97.5 % of Student's t with two degrees of freedom


@pytest.fixture(scope="module")
def known():
    return pages.answers()


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: str(page.relative_to(pages.ROOT)))
def test_every_figure_of_a_page_is_that_of_the_records(page, known):
    assert pages.corrected(page.read_text(), known)[1] == []


def test_a_run_of_an_experiment_is_a_run_of_its_words(known):
    """So that a figure can be of either."""
    recipe = [*known.names["recipe"].split(), "model=residual"]
    small = [*recipe, "dataset=mnist", "trainer.max_epochs=5"]
    large = [*recipe, "dataset=cifar10", "trainer.max_epochs=30", "optimizer.lr=1e-3"]
    large += ["model.channels=96", "model.blocks=6", "model.steps=3"]
    skip = [*known.names["authors_skip"].split()[1:], "model=improved_skip", "dataset=cifar10"]
    for words, typed in {
        "trainer.max_epochs=5 experiment=residual dataset=mnist": small,
        "experiment=residual_large": large,
        "experiment=improved_skip_authors": [*skip, "trainer.max_epochs=10"],
    }.items():
        assert _settings(_words(words.split())) == _settings(_words(typed))


@pytest.fixture
def answers(tmp_path):
    def leave(name, seed, psnr, *words, epochs=4, fit_seconds=60.0):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        record = toys.record(
            seed=seed,
            overrides=["dataset=shapes", *words, f"seed={seed}"],
            metrics={"test/psnr": psnr, "published/psnr": 1000 * psnr},
            time={"epochs": epochs, "fit_seconds": fit_seconds},
        )
        (folder / "result.json").write_text(json.dumps(record))

    for seed, psnr in enumerate((20.0, 21.0, 22.0, 40.0)):
        leave(f"runs/small-{seed}", seed, psnr, "model=base", "model.latent=8.0")
        leave(f"runs/wide-{seed}", seed, psnr + 2, "model=base", "model.latent=64", fit_seconds=90.0)
    leave("others/small-0", 0, 30.0, "model=base", "model.latent=8")
    leave("runs/floor", 0, 24.5, "+trainer.enable_progress_bar=False", "model=pca", epochs=0)
    leave("runs/floor-64", 0, 26.5, "model=pca", "model.latent=64", epochs=0)
    (tmp_path / "rates.csv").write_text("bytes,psnr,best\n10,20.5,a\n171,29.3,b\n")
    (tmp_path / "bench.json").write_text('{"ways": [{"speed": 2.5}, {"speed": 3.5}]}')
    return Answers(tmp_path, NAMES)


@pytest.mark.parametrize(
    ("query", "mean", "half"),
    [
        ("test/psnr shapes small", 21.0, T / 3**0.5),
        ("test/psnr shapes small seeds=4", 25.75, None),
        ("test/psnr shapes small seed=3", 40.0, None),
        ("test/psnr shapes small from=others seed=0", 30.0, None),
        ("test/psnr shapes small model.latent=64", 23.0, T / 3**0.5),
        ("test/psnr shapes floor", 24.5, None),
        ("of=published shapes floor */psnr", 24500.0, None),
        ("test/psnr shapes small - floor", -3.5, T / 3**0.5),
        ("test/psnr shapes floor - small", 3.5, T / 3**0.5),
        ("test/psnr shapes small model.latent=64 - floor model.latent=", -3.5, T / 3**0.5),
        ("published/psnr shapes small / 1000", 21.0, T / 3**0.5),
        ("published/psnr shapes small - test/psnr", 20979.0, 999 * T / 3**0.5),
        ("time.fit_seconds shapes small / small model.latent=64 * 3", 2.0, None),
        ("test/psnr shapes small * -1", -21.0, T / 3**0.5),
        ("bench.json ways.1.speed * 2", 7.0, None),
        ("rates.csv 171.psnr", 29.3, None),
    ],
)
def test_what_a_query_gives(answers, query, mean, half):
    value = answers.answer(query)
    assert value.mean == pytest.approx(mean)
    if half:
        assert (value.low, value.high) == pytest.approx((mean - half, mean + half))


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("test/psnr shapes smal", "no name 'smal'; did you mean 'small'?"),
        ("test/psnr shapes model=base", "no such runs"),
        ("test/psnr shapes small seeds=5", "no run of seed 4"),
        ("test/pnsr shapes small", "0 of 3 runs have test/pnsr"),
        ("last/val/psnr shapes small", "0 of 3 runs have last/val/psnr"),
        ("time.hours shapes small", "no time.hours"),
        ("bench.json ways.2.speed", "no ways.2.speed"),
        ("rates.csv 12.psnr", "no 12.psnr"),
        ("rates.csv 10.psnr - shapes small", "a file has no rows to compare"),
    ],
)
def test_a_query_that_gives_nothing(answers, query, wrong):
    assert pages.corrected(f"\n1.0<!-- {query} -->\n", answers)[1] == [f"2: 1.0: {wrong} ({query})"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("by 20.9 dB<!-- Q -->", "by 21.0 dB<!-- Q -->"),
        ("by 20.9 dB\n[1, 2.00]<!-- Q -->", "by 21.0 dB\n[19, 23.48]<!-- Q -->"),
        ("**+20.94**<!-- Q -->, 7", "**+21.00**<!-- Q -->, 7"),
        ("-2,000<!-- Q * 1000 -->", "21,000<!-- Q * 1000 -->"),
        ("-1.5<!-- Q - small -->", "0.0<!-- Q - small -->"),
    ],
)
def test_a_figure_is_written_as_the_page_has_it(answers, before, after):
    before, after = (text.replace("Q", "test/psnr shapes small") for text in (before, after))
    right, faults = pages.corrected(before, answers)
    assert right == after
    assert len(faults) == 1
    assert pages.corrected(right, answers) == (right, [])


def test_a_table_puts_queries_together(answers):
    table = """
| | size | dB<!-- test/psnr --> | gain<!-- test/psnr - floor model.latent= --> | x<!-- not measured: it --> |
| --- | --- | ---: | ---: | ---: |
| one 7.5<!-- shapes small --> | 8 | 21.0 [18.5, 23.5] | | 9.9 |
| two<!-- shapes small model.latent=64 --> | 64 | **1.0**, 3 seeds | -3.5 | |
| seed 3<!-- shapes small --> | 8 | 1.0<!-- seed=3 --> | unknown | |
"""
    right, faults = pages.corrected(table, answers)
    assert right == table.replace("**1.0**", "**23.0**").replace("| 1.0<", "| 40.0<")
    assert [fault.split(" (")[0] for fault in faults] == [
        "4: 7.5 names no query",
        "5: 1.0 must be 23.0",
        "6: 1.0 must be 40.0",
    ]


def test_what_looks_measured_names_a_query(answers):
    page = """<!-- not measured: a definition -->
at 0.5, 10 dB
# Next, Python 3.11 or 3.12, Python 3.11 to 3.13, 1.2.3, [a](b-1.5.md), `0.1`, 95 % interval, 28x28, -1.25
```
1.5 dB
```
3 dB, 41 %, 7 seconds<!-- not measured: a guess -->, 12 numbers, 26.6.

| plain | table |
| --- | --- |
| 0.5 s<!-- not measured: a limit --> | 1.5 |
"""
    assert pages.corrected(page, answers) == (
        page,
        [
            "3: -1.25 names no query",
            *(f"7: {text} names no query" for text in ("3", "41", "26.6")),
            "11: 1.5 names no query",
        ],
    )


def test_a_single_run_has_no_interval(answers):
    query = "test/psnr shapes floor"
    faults = pages.corrected(f"24.5 [24.0, 25.0]<!-- {query} -->", answers)[1]
    assert faults == [f"1: 24.5 [24.0, 25.0]: a single run has no interval ({query})"]
