"""Numbers that others let expect: bits against SciPy, tables against whole numbers, and what comes back."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from caelab.bottlenecks.context import Context
from caelab.bottlenecks.context_coder import Expected
from caelab.models.spatial import Spatial

NUMBERS, GRID = 3, (4, 5)


def bottleneck(grid=GRID, numbers=NUMBERS, **options):
    made = Context(
        numbers * math.prod(grid), **{"price": 0.1, "step": 1.0, "channels": 6, "blocks": 2} | options
    )
    made.grid = grid
    made.at_places(numbers)
    return made


def latents(n, grid=GRID, seed=0):
    """Numbers that go on from place to place, (n, places * NUMBERS)."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(n, *grid, NUMBERS, generator=generator) * torch.tensor([3.0, 1.0, 0.3])
    return steps.cumsum(2).flatten(1)


def steps(made, h):
    with torch.no_grad():
        return made.whole(made.eval()(h).z).int().numpy()


@pytest.fixture
def started():
    """One that expects something, as if it had been trained."""
    torch.manual_seed(0)
    made = bottleneck()
    made.start_from(latents(200))
    nn.init.normal_(made.predictor.last.weight, 0, 0.3)
    nn.init.normal_(made.predictor.last.bias, 0, 0.3)
    return made.eval()


def expected(made, whole):
    """Means and spreads, (M, numbers) each, of whole steps (M, numbers)."""
    maps = whole.reshape(-1, *made.grid, NUMBERS).permute(0, 3, 1, 2)
    with torch.no_grad():
        mean, octaves = made.predictor(maps)
    return [one.permute(0, 2, 3, 1).reshape(-1, NUMBERS) for one in (mean, 2**octaves)]


def test_bits_are_those_of_the_means_and_spreads_that_whole_steps_let_expect(started):
    whole = torch.from_numpy(steps(started, latents(5))).float()
    mean, spread = (one.double().numpy() for one in expected(started, whole))
    y = whole + torch.rand(whole.shape) - 0.5
    logistic = stats.logistic(loc=mean, scale=spread * math.sqrt(3) / math.pi)
    shares = logistic.cdf(y.numpy() + 0.5) - logistic.cdf(y.numpy() - 0.5)
    with torch.no_grad():
        found = started.cost(y, whole, None)
    torch.testing.assert_close(found, torch.from_numpy(-np.log2(shares).sum(1)).float(), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(("row", "column", "number"), [(0, 0, 0), (1, 2, 1), (3, 4, 2)])
def test_a_number_tells_only_of_those_that_are_coded_after_it(started, row, column, number):
    whole = torch.from_numpy(steps(started, latents(2))).float()
    changed = whole.clone().reshape(2, *GRID, NUMBERS)
    changed[:, row, column, number] += 5
    told = [
        (after != before).reshape(2, -1)
        for after, before in zip(
            expected(started, changed.reshape(-1, NUMBERS)), expected(started, whole), strict=True
        )
    ]
    own = (row * GRID[1] + column) * NUMBERS + number
    assert not any(one[:, : own + 1].any() for one in told)
    assert own + 1 == told[0].shape[1] or all(one[:, own + 1 :].any() for one in told)


def test_the_pull_is_minus_half_the_gradient_of_the_price_of_each_number_by_itself(started):
    h = latents(5)
    y = h.reshape(-1, NUMBERS) - started.median.detach()
    mean, spread = (one.double().numpy() for one in expected(started, y.round()))
    logistic, y = stats.logistic(loc=mean, scale=spread * math.sqrt(3) / math.pi), y.double().numpy()
    bits = [-np.log2(logistic.cdf(at + 0.5) - logistic.cdf(at - 0.5)) for at in (y + 1e-4, y - 1e-4)]
    slopes = torch.from_numpy(-0.1 / 2 * (bits[0] - bits[1]) / 2e-4).float().reshape(h.shape)
    torch.testing.assert_close(started.pull(h).detach(), slopes, rtol=1e-2, atol=1e-3)


def whole_numbers(predictor, whole):
    """Means and octaves in parts of 2^-10, (n, h, w, numbers, 2), by whole maps of int64 at once."""

    def parts(weight):
        return np.rint(weight.detach().double().numpy() * 2**14).astype(np.int64)

    def through(maps, conv, mask=1):
        weight = parts(conv.weight * mask)
        reach = weight.shape[2] // 2
        padded = np.pad(maps, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], (1, 2))
        total = np.einsum("nhwcij,ocij->nhwo", windows, weight)
        return total + (0 if conv.bias is None else parts(conv.bias) * 2**10)

    def rounded(total):
        return np.rint(total / 2**14).astype(np.int64)

    spread = predictor.spread.double().numpy()
    shares = np.rint(2**22 / spread).astype(np.int64)
    sizes = np.rint(np.log2(1.0 + np.abs(whole)) * 2**10).astype(np.int64)
    features = np.concatenate([np.rint(whole * shares / 2**12).astype(np.int64), sizes], -1)
    shown = np.concatenate([features, np.full_like(whole[..., :1], 2**10)], -1)
    h = rounded(through(shown, predictor.first, predictor.first.mask))
    for block in predictor.blocks:
        inner = rounded(through(h.clip(0), block.masked, block.masked.mask))
        h = h + rounded(through(inner.clip(0), block.own))
    before = through(features, predictor.before, predictor.earlier)
    hidden = rounded(through(h.clip(0), predictor.told) + before).clip(0)
    hidden = hidden.reshape(*whole.shape, -1)
    weight = parts(predictor.last.weight).reshape(whole.shape[-1], 2, -1)
    bias = parts(predictor.last.bias).reshape(-1, 2) * 2**10
    return rounded(np.einsum("nhwki,koi->nhwko", hidden, weight) + bias)


@pytest.mark.parametrize("grid", [GRID, (3, 1), (1, 6), (2, 2)])
def test_what_is_coded_by_is_exact_whatever_is_coded_with_it(started, grid):
    whole = steps(bottleneck(grid), latents(7, grid)).reshape(7, *grid, NUMBERS).astype(np.int64)
    octaves = np.rint(np.log2(started.predictor.spread.double().numpy()) * 2**10)
    spread = np.rint(started.predictor.spread.double().numpy() * 2**10)
    found = whole_numbers(started.predictor, whole)
    fine = np.rint(found[..., 0] * spread / 2**17).astype(int)
    level = np.rint(8 * (((found[..., 1] + octaves) / 2**10).clip(-5, 8) + 5)).astype(int)
    shift = (fine + 4) // 8
    tables = np.where(level < 56, 8 * level + fine - 8 * shift + 4, 56 * 7 + level)

    met = np.zeros(whole.shape, bool)

    def meet(rows, columns, number, table, taken):
        met[:, rows, columns, number] = True
        assert np.array_equal(table, tables[:, rows, columns, number].ravel())
        assert np.array_equal(taken, shift[:, rows, columns, number].ravel())
        return whole[:, rows, columns, number].ravel()

    Expected(started.predictor).walk(7, grid, meet)
    assert met.all()


def test_what_was_coded_comes_back_in_as_many_bits_as_the_densities_say(started):
    whole = steps(started, latents(400))
    stream = started.coder().encode(whole)
    assert np.array_equal(started.coder().decode(stream, len(whole)), whole)
    with torch.no_grad():
        y = torch.from_numpy(whole).float()
        bits = float(started.cost(y, y, None).sum())
    assert 0.99 * bits < 8 * stream.nbytes < 1.01 * bits + 64


@pytest.mark.parametrize("images", [0, 1, 9])
def test_numbers_beyond_the_tables_and_few_images(started, images):
    whole = steps(started, latents(max(images, 1)))[: images * math.prod(GRID)]
    whole[:1, :2] = [10**6, -(2**31)]
    coder = started.coder()
    assert np.array_equal(coder.decode(coder.encode(whole), len(whole)), whole)


def test_images_of_several_sizes_share_a_stream(started):
    grids = [GRID, (2, 7), (2, 7), (6, 1), GRID]
    whole = np.concatenate(
        [steps(bottleneck(grid), latents(1, grid, seed)) for seed, grid in enumerate(grids)]
    )
    coder = started.coder()
    stream = coder.encode(whole, grids)
    assert np.array_equal(coder.decode(stream, len(whole), grids), whole)
    with pytest.raises(ValueError, match="not those that were coded"):
        coder.decode(stream, len(whole), grids[::-1])


def test_damage_is_no_result(started):
    coder, whole = started.coder(), steps(started, latents(40))
    stream = coder.encode(whole)
    words = stream.words.copy()
    words[1] ^= 1
    for damaged in (stream._replace(words=words), stream._replace(check=stream.check ^ 1)):
        with pytest.raises(ValueError, match="not those that were coded|invalid|compressed"):
            coder.decode(damaged, len(whole))


def test_the_digest_is_of_the_form_and_of_all_weights(started):
    found = {started.coder().digest}
    predictor = started.predictor
    some = [
        predictor.first.weight,
        predictor.told.bias,
        predictor.blocks[1].own.weight,
        predictor.last.weight,
    ]
    for weight in (*some, predictor.spread, predictor.before.weight, started.density.weights[0]):
        weight.data[-1:].view(-1)[0] += 0.5
        found.add(started.coder().digest)
    assert len(found) == 8


def test_it_learns_what_numbers_let_expect():
    """Each goes on from its left neighbour by a normal step of 2: ``log2(2 sqrt(2 pi e))`` bits."""
    torch.manual_seed(0)
    made = bottleneck((3, 6))
    generator = torch.Generator().manual_seed(0)
    walk = (2 * torch.randn(600, 3, 6, NUMBERS, generator=generator)).cumsum(2).round()
    made.start_from(walk.flatten(1))
    optimizer = torch.optim.Adam(made.parameters(), 5e-3)
    for step in range(150):
        rows = walk[step * 64 % 512 : step * 64 % 512 + 64].reshape(-1, NUMBERS)
        loss = made.cost(rows, rows, None).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    rows = walk[576:].reshape(-1, NUMBERS)
    with torch.no_grad():
        bits = float(made.cost(rows, rows, None).mean()) / NUMBERS
    assert bits == pytest.approx(math.log2(2 * math.sqrt(2 * math.pi * math.e)), abs=0.1)


def test_what_is_refused():
    with pytest.raises(ValueError, match="channels must be a whole number, at least 1, got 0"):
        Context(4, channels=0)
    with pytest.raises(ValueError, match="blocks must be a whole number, at least 0, got -1"):
        Context(4, blocks=-1)


def test_pictures_of_another_size_have_other_places():
    network = Spatial((3, 32, 32), bottleneck=lambda latent: Context(latent, channels=4, blocks=1))
    assert network.bottleneck.grid == (4, 4)
    other = network.at((3, 60, 25))
    assert (other.bottleneck.grid, other.bottleneck.latent) == ((8, 4), 8 * 4 * 12)
    assert other.bottleneck.predictor is network.bottleneck.predictor
    assert network.bottleneck.grid == (4, 4)


def test_what_it_asks_of_steps_hangs_on_nothing_that_was_computed_before(started):
    h = latents(5)
    before = started.pull(h), started(h).penalty
    with torch.autocast("cpu", torch.bfloat16):
        assert not torch.equal(started(h).penalty, before[1])
    assert torch.equal(started.pull(h), before[0])
    bits = started.bits_of(started(h).z).float()
    torch.testing.assert_close(bits, before[1] / 0.1, rtol=1e-6, atol=0)
