"""The trained run whose weights another one starts from: ``from=RUN``."""

import shlex
from pathlib import Path

from torch import Tensor, nn

from caelab.errors import UserError
from caelab.inference import trained
from caelab.runs import results

_OF_A_NETWORK = ("model", "bottleneck", "experiment")


def describe(run: str) -> dict[str, str]:
    """Return what a record says of the run that its own starts from.

    Raises:
        UserError: that run is not finished, or its checkpoint is missing or damaged.
    """
    record = results.finished(run)
    weights = trained.digest(_state(run))  # as caelab.load(run).weights
    return {"run": Path(run).name, "fingerprint": record.fingerprint, "weights": weights}


def fill(network: nn.Module, run: str) -> None:
    """Give a network the weights of a finished run's best checkpoint.

    Raises:
        UserError: as ``describe`` does, or they are those of another network, or it has none to learn.
    """
    if not any(one.requires_grad for one in network.parameters()):
        raise UserError(f"from={run}: this model has no weights to train further; omit it")
    state, own = _state(run), network.state_dict()
    if odd := sorted(state.keys() ^ own.keys()):
        where = "there" if odd[0] in state else "here"
        raise UserError(f"from={run}: another network: {odd[0]} exists only {where}; {_mend(run)}")
    for name, tensor in own.items():
        if state[name].shape != tensor.shape:
            there, here = (tuple(one.shape) for one in (state[name], tensor))
            raise UserError(f"from={run}: {name} is {there} there, {here} here; {_mend(run)}")
    network.load_state_dict(state)


def _mend(run: str) -> str:
    """What to type for the network of that run, as far as its record tells."""
    record = results.finished(run)
    words = [word for word in record.overrides if word.lstrip("+").startswith(_OF_A_NETWORK)]
    model = record.choices.get("model")
    if model and f"model={model}" not in words:
        words.insert(0, f"model={model}")
    return ": ".join(["give the model of that run", *([shlex.join(words)] if words else [])])


def _state(run: str) -> dict[str, Tensor]:
    return trained.state(Path(run), results.finished(run))[1]
