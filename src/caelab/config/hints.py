"""What a key that does not exist was meant to be."""

import difflib
from collections.abc import Mapping
from inspect import Parameter
from pkgutil import resolve_name
from types import MappingProxyType
from typing import Any

from caelab.config import options, refusals
from caelab.terminal import NEAR, nearest

WISHES = {
    "trainer.max_epochs": "epochs epoch max_epochs num_epochs n_epochs",
    "trainer.accelerator": "gpu gpus cuda device accelerator",
    "trainer.devices": "num_gpus n_gpus devices",
    "trainer.precision": "amp fp16 bf16 half precision",
    "trainer.gradient_clip_val": "grad_clip clip_grad max_grad_norm",
    "trainer.accumulate_grad_batches": "accumulate gradient_accumulation_steps grad_accum",
    "debug=fast": "fast_dev_run",
    "debug=overfit": "overfit",
    "optimizer.lr": "lr learning_rate",
    "optimizer.weight_decay": "wd decay weight_decay",
    "dataset": "data dataset_name",
    "dataset.batch_size": "batch_size batchsize batch bs",
    "dataset.train_size": "train_size n_train samples",
    "dataset.image_size": "image_size img_size resolution",
    "dataset.path": "path folder images image_dir",
    "model": "arch architecture network net",
    "model.latent": "latent latent_dim latent_size z_dim code_size",
    "bottleneck=variational": "vae",
    "bottleneck.beta": "beta kl_weight kld_weight",
    "bottleneck.entries": "codebook_size num_embeddings n_embed",
    "model.channels": "channels filters",
    "loss": "criterion loss_fn",
    "loss.alpha": "alpha loss_weight",
    "scheduler": "lr_scheduler schedule",
    "corruption": "noise",
    "augment": "augmentation aug augmentations transform",
    "metrics": "metric measures",
    "select": "monitor",
    "paths.data": "data_dir data_path root",
    "from": "init_from pretrained finetune checkpoint ckpt ckpt_path",
    "paths.output": "output out out_dir output_dir save_dir log_dir runs",
    "seed": "random_seed manual_seed random_state",
    "logger=wandb": "wandb use_wandb",
    "logger=tensorboard": "tensorboard use_tensorboard",
}
"""Right name of a key -> the names that other programs have for it."""

FROM_PYTHON = "in_memory"
"""The option of the group dataset that no command line can give what it needs."""

_BY_NAME = {name: key for key, names in WISHES.items() for name in names.split()}


def unknown(key: str) -> str:
    """One line about a key that no choice of options has: what it was meant to be, or what there is."""
    group = key.rpartition(".")[0]
    if group == "trainer" and key.removeprefix("trainer.") in refusals.REFUSED:
        return refusals.told(key.removeprefix("trainer."))
    if wish := wished(key):
        return f"{key}: there is no such key; did you mean '{wish}'?"
    keys = options.every_key()
    taken = {f"{group}.{argument}": target for argument, target in _arguments(group).items()}
    if key in taken:
        return f"{key}: needs a + in front, +{key}=VALUE; {taken[key]} takes it"
    if near := difflib.get_close_matches(key, [*keys, *taken], n=1, cutoff=NEAR):
        return f"{key}: there is no such key; did you mean '{'' if near[0] in keys else '+'}{near[0]}'?"
    beside = [other for other in keys if other.rpartition(".")[0] == group]
    return f"{key}: there is no such key{nearest(key, beside or [k for k in keys if '.' not in k])}"


def required(key: str, choices: Mapping[str, Any]) -> str:
    """One line about a key without a value."""
    group = key.partition(".")[0]
    if choices.get(group) == FROM_PYTHON:
        return (
            f"{group}={FROM_PYTHON}: takes images from a Python program only, caelab.run(dataset=images); "
            "dataset=array reads them from a file"
        )
    return f"{key} is required: give {key}=VALUE"


def wished(key: str) -> str | None:
    """Right name of what other programs call ``key``; None where that is not known."""
    group, _, name = key.rpartition(".")
    wish = _BY_NAME.get(name.lower().replace("-", "_"))
    return wish if wish and (not group or wish.startswith(f"{group}.")) else None


def elsewhere(key: str, chosen: Mapping[str, str] = MappingProxyType({})) -> str:
    """One line about a key that other options of its group have, but not the chosen one.

    Args:
        key: as it was typed.
        chosen: group -> option, as far as that is known.
    """
    group = next(one for one in (*options.groups(), "hydra.launcher") if key.startswith(f"{one}."))
    having = ", ".join(name for name, leaf in options.options(group).items() if key in leaf)
    name = group.replace(".", "/")
    which = f"{name}={chosen[name]}" if name in chosen else f"the chosen {name}"
    return f"{key}: {which} has no such key, only {having}"


def _arguments(group: str) -> dict[str, str]:
    """Argument -> the class of one of the group's options that takes it."""
    taken: dict[str, str] = {}
    first = group.partition(".")[0]
    for leaf in options.options(first).values() if first in (*options.groups(), "trainer") else ():
        target: Any = leaf.get(f"{group}._target_")
        if target:
            for argument in _arguments_of(target):
                if not (group == "trainer" and argument in refusals.REFUSED):
                    taken.setdefault(argument, target)
    return taken


def takes_list(key: str, target: Any) -> bool:
    """Whether a class takes a list, too, for the argument that a key sets, as its annotation tells."""
    parameter = _arguments_of(target).get(key.rpartition(".")[2])
    known = "" if parameter is None else str(parameter.annotation)
    return any(word in known for word in ("Sequence", "list", "tuple"))


def _arguments_of(target: Any) -> dict[str, Parameter]:
    """Arguments of a class; none of one that cannot be imported, which a user's option may name."""
    try:
        return options.arguments(resolve_name(target))[0]
    except Exception:  # of any kind, by code that is not the lab's
        return {}
