"""Each corruption against another way to compute it, and that its randomness belongs to the image alone."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats
from tiny import TINY

from caelab import draws
from caelab.analysis.rate import distortion
from caelab.analysis.sample import sample
from caelab.corruptions import TEST, Blur, Downsample, GaussianNoise, Masking, SaltPepper
from caelab.draws import keys, uniform
from caelab.inference.restore import corruption, datamodule, load
from caelab.models.contract import encoded, evaluating
from caelab.runs.record import made

NOISE = ("corruption=gaussian_noise", "corruption.std=0.2")


def images(n=64, channels=3, height=20, width=28):
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(1))


def splitmix(state: int, n: int) -> list[int]:
    """SplitMix64 as its authors wrote it, with unsigned integers."""
    word, numbers = (1 << 64) - 1, []
    for _ in range(n):
        state = (state + 0x9E3779B97F4A7C15) & word
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & word
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & word
        numbers.append(z ^ (z >> 31))
    return numbers


def test_numbers_are_splitmix64():
    for state in (0, 1234567, (1 << 64) - 3):
        key = torch.tensor([state - (1 << 64) if state >> 63 else state])
        expected = [number >> 40 for number in splitmix(state, 50)]
        assert (uniform(key, 50)[0].double() * (1 << 24)).tolist() == expected


def test_numbers_are_uniform_and_of_no_image_like_those_of_another():
    drawn = uniform(keys(torch.arange(300), 0, 0), 1000).double()
    assert stats.kstest(drawn.flatten().numpy(), "uniform").pvalue > 1e-3
    between = np.corrcoef(drawn.numpy())[~np.eye(300, dtype=bool)]
    assert abs(between).max() < 6 / np.sqrt(1000)
    assert abs(np.corrcoef(drawn[:, :-1].flatten(), drawn[:, 1:].flatten())[0, 1]) < 5 / np.sqrt(300_000)


def test_keys_differ_by_image_seed_and_epoch():
    found = torch.cat([keys(torch.arange(100), seed, epoch) for seed in range(5) for epoch in range(5)])
    assert len(found.unique()) == 2500
    assert torch.equal(keys(torch.tensor([7, 3]), 1, 2), keys(torch.arange(10), 1, 2)[[7, 3]])


def test_gaussian_noise_has_the_distribution_that_it_names():
    x = torch.full((200, 3, 20, 20), 0.5)
    noise = (GaussianNoise(0.05)(x, keys(torch.arange(200), 0)) - 0.5).flatten().double().numpy()
    assert stats.kstest(noise / 0.05, "norm").pvalue > 1e-3
    wild = GaussianNoise(3.0)(x, keys(torch.arange(200), 0))
    assert (wild.min(), wild.max()) == (0, 1)


def test_salt_and_pepper_take_whole_pixels_in_equal_shares():
    x = images(400) * 0.8 + 0.1
    found = SaltPepper(0.3)(x, keys(torch.arange(400), 0))
    salt, pepper = (found == 1).all(1), (found == 0).all(1)
    assert torch.equal(found != x, (salt | pepper)[:, None].expand_as(x))
    n = salt.numel()
    for share in (salt, pepper):
        assert stats.binomtest(int(share.sum()), n, 0.15).pvalue > 1e-3


def test_masking_takes_whole_patches_also_at_the_edges():
    x = images(500, 3, 10, 14) * 0.8 + 0.1
    found = Masking(0.4, 4)(x, keys(torch.arange(500), 0))
    count = 0
    for top in range(0, 10, 4):
        for left in range(0, 14, 4):
            part = np.s_[:, :, top : top + 4, left : left + 4]
            gone = (found[part] == 0).flatten(1).all(1)
            assert torch.equal(found[part][~gone], x[part][~gone])
            count += int(gone.sum())
    assert stats.binomtest(count, 500 * 3 * 4, 0.4).pvalue > 1e-3


def test_downsample_keeps_the_mean_of_each_square_to_start_from():
    x = images(2, 1, 8, 8)
    small = x.numpy().reshape(2, 1, 4, 2, 4, 2).mean((3, 5))
    expected = torch.nn.functional.interpolate(torch.from_numpy(small), scale_factor=2, mode="bicubic")
    torch.testing.assert_close(Downsample(2)(x, None), expected.clamp(0, 1))
    constant = torch.full((1, 3, 8, 12), 0.3)
    torch.testing.assert_close(Downsample(4)(constant, None), constant)


@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.5])
def test_blur_is_that_of_scipy(sigma):
    x = images(3)
    half = int(np.ceil(3 * sigma))
    expected = ndimage.gaussian_filter(x.double().numpy(), sigma, mode="mirror", axes=(2, 3), radius=half)
    torch.testing.assert_close(Blur(sigma)(x, None).double(), torch.from_numpy(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("kind", "values", "line"),
    [
        (GaussianNoise, [0.0], "std must be above 0"),
        (GaussianNoise, ["a"], "std must be a number"),
        (SaltPepper, [1.5], "amount must be above 0 and at most 1"),
        (Masking, [0.5, 0], "patch must be a whole number"),
        (Downsample, [1], "factor must be a whole number, at least 2"),
        (Blur, [-1.0], "sigma must be above 0"),
    ],
)
def test_values_that_cannot_be(kind, values, line):
    with pytest.raises(ValueError, match=line):
        kind(*values)


def test_a_run_is_given_the_corrupted_and_scored_against_the_clean(train):
    answer = train(*NOISE)
    assert answer.status == 0, answer.err
    net, data = load(answer.run_dir), datamodule(made(answer.record))
    data.setup()
    x = data.splits["test"][:].float() / 255
    corrupted = corruption(made(answer.record))(x, keys(torch.arange(50), TEST))
    mse = (net.reconstruct(corrupted) - x).square().flatten(1).mean(1).double()
    assert answer.record["metrics"]["test/psnr"] == pytest.approx(float((-10 * mse.log10()).mean()), abs=1e-4)
    assert answer.record["choices"]["corruption"] == "gaussian_noise"


def test_the_trivial_answer_is_the_corrupted_image_whatever_the_batches(train):
    plain = [o for o in TINY if o.startswith(("dataset", "trainer"))]
    nothing = ("model=classical", *plain, *NOISE)
    one = train(*nothing, tiny=False).record
    kept = {(record["metrics"]["test/psnr"], record["metrics"]["val/psnr"]) for record in [one]}
    more = train(*nothing, "dataset.batch_size=7", "seed=3", tiny=False)
    kept |= {(record["metrics"]["test/psnr"], record["metrics"]["val/psnr"]) for record in more.records}
    assert len(kept) == 1
    clamped = 10 * np.log10(1 / 0.2**2)  # dB, of noise that no clamping makes smaller
    assert clamped < one["metrics"]["test/psnr"] < clamped + 3
    median = train("model=classical", "model.filter=median", *plain, *NOISE, tiny=False)
    better = [r for r in median.records if r["config"]["model"].get("filter") == "median"]
    assert better[0]["metrics"]["test/psnr"] > one["metrics"]["test/psnr"] + 1


def test_training_noise_changes_with_the_epoch_and_survives_a_resume(train, monkeypatch, killed):
    seen, draw = [], draws.uniform
    monkeypatch.setattr(draws, "uniform", lambda key, n: (seen.append(key.clone()), draw(key, n))[1])
    whole = train(*NOISE, "trainer.max_epochs=3", "hydra.run.dir=multirun/whole").record["metrics"]
    trained = [key for key in seen if len(key) == 32]
    assert len(torch.cat(trained).unique()) == 3 * 96
    killed(*NOISE, "trainer.max_epochs=3", after=1)
    again = train(*NOISE, "trainer.max_epochs=3")
    assert "going on after epoch 1" in again.out
    assert [record["metrics"] for record in again.records] == [whole, whole]


@pytest.fixture
def pairs(tmp_path):
    """A folder of pairs of noisy and clean pictures, and the words of a run on them."""
    rng = np.random.default_rng(0)
    lines = ["file,target"]
    for i in range(40):
        clean = rng.integers(64, 192, (4, 4, 1)).repeat(4, 0).repeat(4, 1)[..., 0]
        noisy = (clean + rng.normal(0, 20, clean.shape)).clip(0, 255)
        for name, pixels in {"noisy": noisy, "clean": clean}.items():
            (tmp_path / "pairs" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "pairs" / name / f"{i:02}.png")
        lines.append(f"noisy/{i:02}.png,clean/{i:02}.png")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    return (
        *("dataset=folder", "dataset.path=pairs", "dataset.index=pairs.csv"),
        *("dataset.channels=1", "dataset.image_size=16", "dataset.batch_size=8"),
        *("trainer.max_epochs=2", "trainer.accelerator=cpu"),
    )


def test_pairs_of_pictures_are_measured_as_corruptions_are(train, lab, pairs, tmp_path):
    small = ("model=base", "model.channels=[4,8]", "model.hidden=[]", "model.latent=8", "flip=true")
    answers = [train(*pairs, *words, tiny=False) for words in (small, ["model=classical"], ["model=linear"])]
    assert [answer.status for answer in answers] == [0, 0, 0], [answer.err for answer in answers]
    runs = zip(answers[-1].run_dirs, answers[-1].records, strict=True)
    by_model = {record["choices"]["model"]: (directory, record) for directory, record in runs}
    directory, record = by_model["base"]
    assert record["data"]["paired"] is True
    net, data = load(directory), datamodule(made(record))
    data.setup()
    test = data.splits["test"]
    noisy, clean = ((x[:].float() / 255) for x in (test.given, test))

    def decibels(x):
        return float((-10 * (x - clean).square().flatten(1).mean(1).double().log10()).mean())

    psnr = {name: one["metrics"]["test/psnr"] for name, (_, one) in by_model.items()}
    assert psnr["base"] == pytest.approx(decibels(net.reconstruct(test.given[:])), abs=1e-3)
    assert psnr["classical"] == pytest.approx(decibels(noisy), abs=1e-4)
    assert psnr["linear"] > psnr["classical"] + 1
    kept = np.load(directory / "reconstructions.npz")
    assert np.array_equal(kept["corrupted"], test.given[: len(kept["corrupted"])])
    status, out, err = lab("evaluate", directory)
    assert f"{psnr['base']:.2f}" in out
    coded = distortion.measure(net, data.splits["train"], test, [8])
    assert coded.psnr == pytest.approx(psnr["base"], abs=1e-3)
    with evaluating(net):
        codes = encoded(net, data.splits["train"].given[:]).z
    assert torch.equal(sample._codes(net, data.splits["train"]), codes)
    for words, line in (
        (["evaluate", directory, "corruption=blur"], "the index has a column 'target'"),
        (["refine", directory], "trained on pairs of pictures"),
        (["look", directory, "--interactive"], "trained on pairs of pictures"),
    ):
        status, _, err = lab(*words)
        assert status == 1
        assert line in err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["corruption=blur"], "corruption: the index has a column 'target'"),
        (["augment=colour"], "augment: the two pictures of a pair would be changed differently"),
        (["model=auto_decoder"], "model: AutoDecoder fits its codes to the images to reconstruct"),
    ],
)
def test_what_is_not_done_to_pairs(train, pairs, words, line):
    answer = train(*pairs, *words, tiny=False)
    assert answer.status == 1
    assert line in answer.err
    assert answer.err.count("caelab: ") == 1


def test_mistakes(train):
    for overrides, line in (
        (["corruption=gausian_noise"], "did you mean 'gaussian_noise'?"),
        (["corruption=gaussian_noise", "corruption.std=much"], "corruption.std=much: expected a number"),
        (["corruption=downsample", "corruption.factor=5"], "corruption.factor must divide 32 and 32, got 5"),
        (
            ["corruption=blur", "corruption.sigma=20.0"],
            "corruption.sigma must be smaller for images of 32x32",
        ),
    ):
        answer = train(*overrides)
        assert answer.status == 1
        assert line in answer.err
        assert answer.err.count("\n") == 1
