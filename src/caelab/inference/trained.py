"""A trained network without the lab around it: what ``caelab.load`` returns.

Needs torch and NumPy only: neither Hydra nor Lightning nor the data that the network was trained on.
"""

import hashlib
import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.module import register_module_parameter_registration_hook

from caelab.bottlenecks.bottleneck import Bottleneck, Discrete
from caelab.config import source
from caelab.config.fingerprint import network_node
from caelab.errors import UserError
from caelab.inference import images as kinds
from caelab.inference.fitting import WHOLE, Fit
from caelab.inference.images import Values
from caelab.models.autoencoder import Autoencoder, Code
from caelab.models.outside import network as of_the_lab
from caelab.models.refinement import fit
from caelab.runs import results
from caelab.runs.record import Complete
from caelab.runs.trust import check, granted, named

EXPORT = ".safetensors"
SCHEMA = 1
"""Version of what an exported file says about itself."""
LARGEST = 1 << 28
"""Numbers of one image that a file may claim: a gigabyte as float32."""

_ABOUT = ("model", "shape", "fingerprint", "metrics")
_LAB = "caelab."
_SPARE = 100  # tensors that a network may set up beside those that it keeps
_BATCH = 256
_NUMBERS = 1 << 20  # of the images of a batch, so that those of large images need no more memory


class Trained:
    """A trained network, for images of its own size.

    Images may be

    - NumPy arrays (H, W), (H, W, C) or (N, H, W, C), uint8 in [0, 255] or floating point in [0, 1];
    - a Pillow image of any mode: upright by its EXIF orientation, on white where it is transparent;
    - torch tensors (C, H, W) or (N, C, H, W), uint8 or floating point likewise;
    - a list of any of these.

    Colour is turned to grey (ITU-R 601-2) for a network of one channel, and grey to three equal channels for
    one of three. Any number of images is carried out in batches, without gradients.

    A network that was trained on other values than bytes also takes arrays and tensors of these, of its own
    type and within its range, and what it makes of them has that type and range.

    Args:
        network: is set to eval mode.
        fingerprint: of the run that trained it, hexadecimal.
        metrics: figures of that run, such as ``test/psnr`` in dB.
        values: type and range of what it was trained on; None is bytes.
    """

    def __init__(
        self,
        network: Autoencoder,
        fingerprint: str,
        metrics: dict[str, float],
        values: Values | None = None,
    ) -> None:
        self.network = network.eval()
        self.fingerprint = fingerprint
        self.metrics = metrics
        self.values = values

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images it takes."""
        return self.network.shape

    @property
    def latent(self) -> int:
        """Numbers in ``z`` of an image."""
        return self.network.latent

    @property
    def batch(self) -> int:
        """Images that are carried out at once."""
        channels, height, width = self.shape
        return min(_BATCH, max(1, _NUMBERS // (channels * height * width)))

    @cached_property
    def weights(self) -> str:
        """SHA-256 of all its numbers, hexadecimal: who has the same can decode its codes."""
        return digest(self.network.state_dict())

    @cached_property
    def skips(self) -> list[tuple[int, ...]]:
        """Shape of each tensor that goes around the latent, for one image."""
        return [tuple(skip.shape[1:]) for skip in self._encode(torch.zeros(1, *self.shape)).skips]

    def at(self, height: int, width: int) -> "Trained":
        """Return this network, with these very weights, for images of so many pixels.

        Raises:
            UserError: it takes images of one size only, or none of this one.
        """
        if (height, width) == self.shape[1:]:
            return self
        sized = getattr(self.network, "at", None)
        if sized is None:
            own = f"{self.shape[1]}x{self.shape[2]}"
            raise UserError(f"{type(self.network).__name__} takes images of {own} only")
        network = sized((self.shape[0], height, width))
        return Trained(network, self.fingerprint, self.metrics, self.values)

    def fit(self, way: str | None, pictures: bool = True) -> Fit:
        """Return how pictures, or arrays, become images of this network.

        Raises:
            UserError: there is no such way, or it is not one for this network, or that takes no pictures.
        """
        if way == WHOLE and not hasattr(self.network, "at"):
            name = type(self.network).__name__
            raise UserError(
                f"--fit {WHOLE}: {name} takes images of one size, unlike model=spatial; give tile"
            )
        if pictures and (self.values is not None or self.shape[0] not in (1, 3)):
            bands = f"{self.shape[0]} channel{'s'[: self.shape[0] != 1]}"
            kind = "bytes" if self.values is None else str(self.values.dtype).removeprefix("torch.")
            raise UserError(f"the network takes images of {bands} of {kind}, not pictures; give arrays")
        return Fit(self.shape, way)

    def encode(self, images: Any, refine: int = 0) -> Code:
        """Map images to their code: ``z`` (N, latent) and skips (N, ...), float32 on the CPU.

        That of a discrete bottleneck also has ``indices`` (N, tokens, codebooks), int64.

        Args:
            images: of the kinds above.
            refine: steps by which ``caelab.models.refinement.fit`` then fits each latent to its image:
                better codes for the same decoder, for more time.

        Raises:
            UserError: images that it cannot take, with what they are and what they must be, steps below 0, or
                steps for a discrete latent.
        """
        if refine < 0:
            raise UserError(f"refine={refine}: must be 0 or more steps")
        parts = [
            self._encode(x, refine) for x in self._batches(kinds.take(images, self.shape, self.values).x)
        ]
        skips = zip(*(part.skips for part in parts), strict=True)
        indices = [part.indices for part in parts if part.indices is not None]
        return Code(
            torch.cat([part.z for part in parts]).float(),
            tuple(torch.cat(skip).float() for skip in skips),
            indices=torch.cat(indices) if indices else None,
        )

    def decode(self, code: Code) -> Tensor:
        """Map a code of ``encode`` to images (N, C, H, W), float32 in [0, 1] on the CPU.

        Of a network that was trained on other values than bytes they have its type and range. Where the code
        has ``indices``, they say what its ``z`` is.

        Raises:
            UserError: the code is not one of this network, by its shapes or its indices.
        """
        if code.indices is not None:
            code = code._replace(z=self._looked_up(code.indices))
        whole = [torch.as_tensor(part).float() for part in (code.z, *code.skips)]
        self._check(whole)
        parts = zip(*(torch.split(part, self.batch) for part in whole), strict=True)
        x_hat = torch.cat([self._decode(Code(z, tuple(skips))).cpu() for z, *skips in parts])
        return x_hat if self.values is None else self.values.restored(x_hat)

    def reconstruct(self, images: Any) -> Any:
        """Encode and decode images.

        Returns:
            Reconstructions of the kind, layout and number type that were given (uint8 is rounded, floating
            point is float32), and of the network's channels: (H, W) in gives (H, W, 3) out of a network of
            colour images. Pillow images come back as 8 bits.

        Raises:
            UserError: images that it cannot take, with what they are and what they must be.
        """
        stack = kinds.take(images, self.shape, self.values)
        parts = [stack.finished(self._decode(self._encode(x))) for x in self._batches(stack.x)]
        return stack.back(torch.cat(parts))

    @torch.inference_mode()
    def _looked_up(self, indices: Tensor) -> Tensor:
        """``z`` of indices (N, tokens, codebooks)."""
        bottleneck = self.network.bottleneck
        if not isinstance(bottleneck, Discrete):
            raise UserError("a code with indices; the latent of this network is not discrete")
        places, entries = (bottleneck.tokens, bottleneck.codebooks), bottleneck.entries
        if indices.shape[1:] != places or not ((indices >= 0) & (indices < entries)).all():
            takes = f"(N, {', '.join(map(str, places))}), each at least 0 and below {entries:,}"
            raise UserError(f"indices of shape {tuple(indices.shape)}; this network takes {takes}")
        return bottleneck.lookup(indices.to(self.network.weight.device)).cpu()

    def _batches(self, x: Tensor) -> Iterator[Tensor]:
        for part in torch.split(x, self.batch):
            yield kinds.network_input(part, self.shape[0])

    @torch.inference_mode()
    def _encode(self, x: Tensor, refine: int = 0) -> Code:
        x = x.to(self.network.weight)
        code = self.network.encode(x)
        if refine:
            code = fit(self.network, x, code, refine).code
        known = isinstance(self.network.bottleneck, Discrete)  # else nothing here can look indices up
        indices = code.indices.cpu() if known and code.indices is not None else None
        return Code(code.z.cpu(), tuple(skip.cpu() for skip in code.skips), indices=indices)

    @torch.inference_mode()
    def _decode(self, code: Code) -> Tensor:
        weight = self.network.weight
        return self.network.decode(Code(code.z.to(weight), tuple(skip.to(weight) for skip in code.skips)))

    def _check(self, parts: Sequence[Tensor]) -> None:
        want = [(self.latent,), *self.skips]
        counts = {part.shape[:1] for part in parts}
        if [tuple(part.shape[1:]) for part in parts] != want or len(counts) > 1 or counts <= {(0,), ()}:
            got = ", ".join(str(tuple(part.shape)) for part in parts)
            takes = ", ".join(f"(N, {', '.join(map(str, shape))})" for shape in want)
            raise UserError(f"a code of shapes {got}; this network takes {takes}")


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of all numbers of a network's state, hexadecimal."""
    whole = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        whole.update(name.encode())
        whole.update(tensor.cpu().numpy().tobytes())
    return whole.hexdigest()


def load(
    path: str | Path,
    device: str = "auto",
    trust: Sequence[str] = (),
    *,
    encoder_steps: int | None = None,
) -> Trained:
    """Load a trained network, in eval mode, in float32, or in float64 where it was trained so.

    Args:
        path: the directory of a finished run, whose best checkpoint it is, or an exported ``.safetensors``.
        device: where it computes: ``cpu``, ``cuda``, or ``auto``, a GPU where there is one.
        trust: modules whose code the run or export may name, beside what ``caelab.runs.trust`` says.
        encoder_steps: that its encoder takes towards the code of an image, such as that of ``auto_decoder``;
            None is as many as in training.

    Raises:
        UserError: there is no finished run or export, its weights are missing or damaged, its network is none
            that may be built, there is no such device, or its encoder takes no steps.
    """
    with granted(trust):
        found = _load(Path(path), device)
    if encoder_steps is not None:
        _take_steps(found.network, encoder_steps)
    return found


def _take_steps(network: Autoencoder, steps: int) -> None:
    if steps < 0:
        raise UserError(f"encoder_steps={steps}: must be 0 or more")
    if network.steps is None:
        name = type(network).__name__
        raise UserError(
            f"encoder_steps={steps}: the encoder of this {name} takes no steps, unlike that of "
            "model=auto_decoder, or of residual with model.steps above 0"
        )
    network.steps = steps


def _load(path: Path, device: str) -> Trained:
    if path.suffix == EXPORT:
        about, weights = _exported(path)
        model, shape, fingerprint, metrics = (about[key] for key in _ABOUT)
        sources, data = about.get("sources", {}), about.get("data", {})
    elif path.is_file():
        raise UserError(f"{path}: give the directory of a finished run, or an exported {EXPORT} file")
    else:
        record = results.finished(path)
        model, shape = record.model, record.data.shape
        fingerprint, metrics = record.fingerprint, record.metrics
        sources, data = record.sources, record.data.plain()
        path, weights = state(path, record)
    _require_fit(model, shape, weights, path)
    network = build(model, shape, path)
    source.check(model, sources, str(path))
    if any(one.dtype == torch.float64 for one in weights.values()):
        network.double()
    _fill(network, weights, path)
    return Trained(network.to(_device(device)), fingerprint, metrics, _values(data, path))


def _values(data: Any, path: Path) -> Values | None:
    """Type and range of the images that a record or an export names; None of bytes and of [0, 1]."""
    kinds = {"uint16": torch.uint16, "float32": torch.float32}
    try:
        if not data.get("dtype"):
            return None
        low, high = map(float, data["between"])
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError
        found = Values(kinds[data["dtype"]], (low, high))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"{path}: its data do not say what type and range of values it takes") from None
    return None if found == Values(torch.float32, (0, 1)) else found


def checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        UserError: the file is missing, damaged, or may not be read.
        MemoryError: it is too large for this machine.
    """
    try:
        with zipfile.ZipFile(path) as file:
            if any(member.compress_type != zipfile.ZIP_STORED for member in file.infolist()):
                raise ValueError("it is compressed, and could be of any size")
        # mapped, so that a tensor has no more memory than the file
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise UserError(f"{path} is missing; train the run again with force=true") from None
    except PermissionError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except MemoryError:
        raise
    except Exception as error:
        if path.is_file() and not path.stat().st_size:
            raise UserError(
                f"{path} is empty: the machine went down before it was written; the command that trained "
                "the run trains it again"
            ) from None
        reason = type(error).__name__
        raise UserError(
            f"{path} is damaged ({reason}); remove it, or train the run again with force=true"
        ) from None


def state(run: Path, record: Complete) -> tuple[Path, dict[str, Tensor]]:
    """Path and network's state of a run's best checkpoint.

    Raises:
        UserError: the file is missing or damaged, or no checkpoint of the lab's.
    """
    path = run / record.artifacts.get("best", "checkpoints/best.ckpt")
    whole = checkpoint(path).get("state_dict")
    if not isinstance(whole, dict) or not all(isinstance(value, Tensor) for value in whole.values()):
        raise UserError(f"{path} is not a checkpoint of caelab; train the run again with force=true")
    if (claimed := sum(value.nbytes for value in whole.values())) > (size := path.stat().st_size):
        raise UserError(f"{path} is damaged: tensors of {claimed:,} bytes in a file of {size:,}")
    return path, {k.removeprefix("net."): v for k, v in whole.items() if k.startswith("net.")}


def _exported(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What an exported file says about itself, and its network's state."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("caelab", "null"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (SafetensorError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); export it again") from None
    if not isinstance(about, dict):
        raise UserError(f"{path} is not an export of caelab: its metadata has no 'caelab'")
    if about.get("schema") != SCHEMA:
        raise UserError(f"{path} has schema {about.get('schema')}, this caelab reads {SCHEMA}")
    if missing := [key for key in _ABOUT if key not in about]:
        raise UserError(f"{path} is damaged: its metadata has no {missing[0]!r}; export it again")
    if not isinstance(about.get("sources", {}), dict):
        raise UserError(f"{path} is damaged: its sources are not digests of classes; export it again")
    return about, state


def build(model: Any, shape: Sequence[int], path: Path) -> Autoencoder:
    """Build the network that a record or an export describes, with the weights that it starts from.

    Args:
        model: ``_target_`` and its arguments.
        shape: (C, H, W) of its images.
        path: whose it is, for messages.

    Raises:
        UserError: code that nobody here has vouched for, no network, or arguments that it refuses.
    """
    if not isinstance(model, dict) or "_target_" not in model:
        raise UserError(f"{path}: its record has no model._target_")
    check({key: value for key, value in model.items() if key != "bottleneck"}, "model", str(path))
    kind = named(model["_target_"], "model", str(path))
    if not str(model["_target_"]).startswith(_LAB):
        from caelab.config.build import instantiate  # Hydra, which the lab's own networks are built without

        return of_the_lab(instantiate(model, "model", shape=tuple(shape)), shape)
    if not (isinstance(kind, type) and issubclass(kind, Autoencoder)):
        raise UserError(f"{path}: {model['_target_']} is not a network")
    arguments = {key: value for key, value in model.items() if not key.startswith("_")}
    try:
        if "bottleneck" in arguments:
            arguments["bottleneck"] = _bottleneck(arguments["bottleneck"], path)
        return kind(shape=tuple(shape), **arguments)
    except (TypeError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: {model['_target_']} refuses its arguments: {reason}") from None


def _bottleneck(node: Any, path: Path) -> Callable[[int], Bottleneck]:
    """Return what builds the bottleneck that a record or an export describes."""
    if not isinstance(node, dict):
        raise ValueError(f"bottleneck must be a mapping, got {node!r}")
    check(node, "bottleneck", str(path))
    kind = named(node.get("_target_"), "bottleneck", str(path))
    return partial(kind, **{key: value for key, value in node.items() if not key.startswith("_")})


def as_started(run: Path, record: Complete) -> Autoencoder:
    """Build the network of a run with the weights that the run started from, before any fit to data.

    Raises:
        UserError: as of ``build``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(record.seed)  # as the run did
        return build(network_node(record.config), record.data.shape, run)


def _require_fit(model: Any, shape: Sequence[int], state: dict[str, Tensor], path: Path) -> None:
    """Compare the network with the weights in the file before anything of the size that it claims is made."""
    if not _is_shape(shape):
        raise UserError(f"{path}: images of shape {shape}; at most {LARGEST:,} numbers an image")
    if not str(model.get("_target_") if isinstance(model, dict) else "").startswith(_LAB):
        return  # a user's own class, which need not be one that can be built without memory
    most, tensors = _SPARE + len(state), count(1)

    def limited(*_: Any) -> None:
        if next(tensors) > most:
            raise ValueError(f"more than {most} tensors, and the file holds {len(state)}")

    hook = register_module_parameter_registration_hook(limited)
    try:
        with torch.device("meta"):
            network = build(model, shape, path)
    finally:
        hook.remove()
    _fill(network, state, path, assign=True)


def _is_shape(shape: Any) -> bool:
    whole = isinstance(shape, list | tuple) and all(type(side) is int and side > 0 for side in shape)
    return whole and math.prod(shape) <= LARGEST


def _fill(network: Autoencoder, state: dict[str, Tensor], path: Path, *, assign: bool = False) -> None:
    try:
        network.load_state_dict(state, assign=assign)
    except RuntimeError as error:
        reason = " ".join(str(error).split("\n\t")[1:2]) or str(error)
        raise UserError(f"{path} does not fit its model: {reason}") from None


def _device(name: str) -> torch.device:
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"device={name!r}: must be 'auto', 'cpu' or 'cuda'")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise UserError("device='cuda': torch finds no GPU here; 'cpu' and 'auto' work")
    return torch.device("cuda" if there and name != "cpu" else "cpu")
