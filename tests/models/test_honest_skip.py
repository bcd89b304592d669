"""What is HonestSkip's own: how little crosses, what training takes away, and how a budget is shared."""

import pytest
import torch

from caelab.models.honest_skip import HonestSkip
from caelab.models.improved_skip import ImprovedSkip
from caelab.training.module import AutoencoderModule

PIXELS = {1: 16 * 16, 2: 8 * 8, 3: 4 * 4, 4: 4 * 4}  # of each level on 3x32x32
CHANNELS = {1: 16, 2: 32, 3: 64, 4: 128}


def build(model=HonestSkip, shape=(3, 32, 32), **options):
    torch.manual_seed(0)
    return model(shape, **options)


def images(count=6):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("width", [1, 2, 16])
def test_narrow_skips_and_what_they_cost(width):
    code = build(skip_channels=width).encode(images())
    assert [skip.shape[1] for skip in code.skips] == [width] * 4
    assert code.numbers == 256 + width * sum(PIXELS.values())
    more = sum(2 * width * channels + width + channels for channels in CHANNELS.values())
    assert build(skip_channels=width).size == 1_246_083 + more


def test_without_its_options_it_is_improved_skip():
    plain = build(skip_channels=None, skip_dropout=0).train()
    torch.testing.assert_close(plain(images()), build(ImprovedSkip).train()(images()), rtol=0, atol=0)


def test_only_the_narrow_skip_reaches_the_decoder():
    net = build(skip_levels=[2], skip_channels=3).eval()
    wide = build(ImprovedSkip, skip_levels=[2]).eval()
    wide.load_state_dict({k: v for k, v in net.state_dict().items() if k in wide.state_dict()})
    x = images()
    with torch.no_grad():
        skip = wide.encode(x).skips[0]  # (N, 32, 8, 8)
        down, up = net.narrow["2"], net.widen["2"]
        crossing = torch.einsum("oc,nchw->nohw", down.weight[:, :, 0, 0], skip) + down.bias[:, None, None]
        torch.testing.assert_close(net.encode(x).skips[0], crossing)
        added = torch.einsum("oc,nchw->nohw", up.weight[:, :, 0, 0], crossing) + up.bias[:, None, None]
        expected = wide.decode(wide.encode(x)._replace(skips=(added,)))
        torch.testing.assert_close(net(x), expected)


def test_dropout_takes_all_skips_of_an_image_or_none_and_only_in_training():
    net, x = build(shape=(3, 16, 16), skip_dropout=0.3), images(400)[:, :, :16, :16]
    with torch.no_grad():
        kept = torch.stack([skip.flatten(1).abs().sum(1) > 0 for skip in net.train().encode(x).skips])
        assert (kept == kept[0]).all()
        assert abs(kept[0].float().mean().item() - 0.7) < 3 * (0.7 * 0.3 / 400) ** 0.5
        skips = net.eval().encode(x).skips
    assert all((skip.flatten(1).abs().sum(1) > 0).all() for skip in skips)


def test_dropout_changes_the_latent_of_no_image():
    dropped, kept = build(skip_dropout=0.9).train(), build(skip_dropout=0).train()
    torch.testing.assert_close(dropped.encode(images()).z, kept.encode(images()).z, rtol=0, atol=0)


def test_what_is_dropped_is_a_function_of_seed_and_epoch(monkeypatch):
    def draw(seed, epoch):
        net = build(skip_levels=[4]).train()
        monkeypatch.setattr(AutoencoderModule, "current_epoch", epoch)
        torch.manual_seed(12345)
        AutoencoderModule(net, torch.nn.MSELoss(), torch.optim.Adam, seed).on_train_epoch_start()
        return net.encode(images(64)).skips[0].flatten(1).abs().sum(1) > 0

    assert torch.equal(draw(0, 3), draw(0, 3))
    assert not torch.equal(draw(0, 3), draw(0, 4))
    assert not torch.equal(draw(0, 3), draw(1, 3))


TRAINED = (
    *("model=honest_skip", "model.channels=[4,8]", "model.skip_levels=[1,2]", "trainer.max_epochs=3"),
    "model.skip_dropout=0.5",
)


def test_a_run_that_stopped_goes_on_to_the_same_weights(train, killed):
    metrics = train(*TRAINED, "hydra.run.dir=multirun/whole").record["metrics"]
    killed(*TRAINED, after=2)
    both = train(*TRAINED)
    assert "going on after epoch 2" in both.out
    assert [record["metrics"] for record in both.records] == [metrics, metrics]
    one, other = (
        torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for path in both.run_dirs
    )
    assert all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize(
    ("shape", "options", "skips"),
    [
        ((3, 32, 32), {"skip_channels": 1}, 352),
        ((3, 32, 32), {"skip_channels": 2, "skip_levels": [2, 4]}, 160),
        ((1, 28, 28), {"skip_channels": 1}, 14 * 14 + 7 * 7 + 2 * 4 * 4),
        ((3, 32, 32), {"skip_channels": None, "skip_levels": [4]}, 2048),
        ((3, 37, 29), {"skip_channels": 1, "skip_levels": [1]}, 19 * 15),
    ],
)
def test_the_latent_gets_what_the_skips_leave_of_a_budget(shape, options, skips):
    net = build(shape=shape, budget=skips + 40, **options)
    code = net.encode(torch.rand(2, *shape))
    assert (net.latent, code.z.shape[1], code.numbers) == (40, 40, skips + 40)
    assert sum(skip[0].numel() for skip in code.skips) == skips
    with pytest.raises(ValueError, match=rf"^budget must be at least {skips + 1}, .* got {skips}; fewer"):
        build(shape=shape, budget=skips, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"skip_dropout": 1}, "skip_dropout must be a number, 0 or more and below 1, got 1"),
        ({"skip_dropout": -0.1}, "skip_dropout must be a number, .*, got -0.1"),
        ({"skip_dropout": True}, "skip_dropout must be a number, .*, got True"),
        ({"skip_channels": 0}, "skip_channels must be at least 1, got 0"),
        ({"skip_channels": 17}, "skip_channels must be at most 16, the channels of level 1, got 17"),
        ({"budget": 0}, "budget must be at least 1, got 0"),
        ({"budget": 2.5}, "budget must be a whole number, got 2.5"),
        ({"skip_levels": [5]}, r"skip_levels must be within 1\.\.4, got 5"),
    ],
)
def test_a_value_that_cannot_be_is_named(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        build(**options)
