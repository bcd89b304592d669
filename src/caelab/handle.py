"""A run in Python: its directory, its record, and what can be asked of its trained network."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caelab import terminal
from caelab.composition import words
from caelab.composition.words import Overrides
from caelab.errors import UserError
from caelab.runs import results
from caelab.runs.record import Complete, Record, is_finished

if TYPE_CHECKING:  # they bring torch
    from PIL.Image import Image

    from caelab.export.check import Finding
    from caelab.inference.trained import Trained


class Run:
    """A run: its directory, what lies in it, and what can be asked of its network.

    >>> run = caelab.run(model="base", dataset="shapes", epochs=1)
    >>> caelab.Run(run.dir).metrics["test/psnr"] == run.metrics["test/psnr"]
    True

    Args:
        directory: of a finished run.
        record: of the run; None reads it.

    Attributes:
        dir: absolute directory.
        record: what ``result.json`` holds; its ``status`` is "finished", "failed" with an ``error``, or
            "trial": trained for a study's tuning, and not tested.

    Raises:
        UserError: there is no finished run in the directory.
    """

    def __init__(self, directory: str | Path, record: Record | None = None) -> None:
        self.dir = Path(directory).absolute()
        self.record = results.finished(directory) if record is None else record

    def __repr__(self) -> str:
        if not isinstance(self.record, Complete):
            return f"Run({terminal.shown(self.dir)}: {self.record.error})"
        if not is_finished(self.record):
            psnr = self.record.metrics["val/psnr"]
            return f"Run({terminal.shown(self.dir)}: a trial, validation PSNR {psnr:.2f} dB)"
        psnr, ssim = (self.record.metrics[f"test/{key}"] for key in ("psnr", "ssim"))
        return f"Run({terminal.shown(self.dir)}: test PSNR {psnr:.2f} dB, SSIM {ssim:.3f})"

    @property
    def metrics(self) -> dict[str, float]:
        """Key -> figure, such as ``test/psnr`` (dB): the record's, and those of analyses of the run.

        Raises:
            UserError: the run failed, or is a trial.
        """
        return results.figures(self.dir, self._finished())

    def load(
        self, device: str = "auto", trust: Sequence[str] = (), *, encoder_steps: int | None = None
    ) -> "Trained":
        """Load the trained network: see ``caelab.load``.

        >>> run.load().shape
        (3, 32, 32)
        """
        from caelab.inference.trained import load

        return load(self.dir, device, trust, encoder_steps=encoder_steps)

    def evaluate(
        self, overrides: Overrides = (), *, encoder_steps: int | None = None, **keys: Any
    ) -> dict[str, Any]:
        """Score the network again, also on other data or another corruption, as ``caelab evaluate`` does.

        >>> run.evaluate(corruption="gaussian_noise")["corruption"]["_target_"]
        'caelab.corruptions.GaussianNoise'

        Args:
            overrides: of dataset, corruption and ``paths.data``, as in ``caelab.run``.
            encoder_steps: as in ``load``.
            keys: ``dataset`` and ``corruption``, as in ``caelab.run``.

        Returns:
            ``dataset``, ``data``, ``corruption``, ``metrics``, ``choices``, and the ``file`` that holds them.
        """
        from caelab.training.evaluate import evaluate

        return evaluate(self.dir, words.from_python(overrides, keys, once=True), encoder_steps)

    def analyse(self, name: str, **options: Any) -> dict[str, Any]:
        """Carry out an analysis by its name, as the command ``caelab NAME`` does.

        >>> run.analyse("audit")["figures"]["audit/effective_code"]
        256

        Args:
            name: of an analysis, such as ``anomaly``.
            options: of the analysis, by the names that its command has for them.

        Returns:
            ``figures``, by key as in ``docs/definitions``, which ``run.metrics`` then holds too; ``seconds``;
            and details.

        Raises:
            UserError: no such analysis or option, or what the analysis refuses.
        """
        from caelab.runs import analyses as registry

        return registry.find(name, "run.analyse")(self.dir, **options)

    def audit(self) -> dict[str, Any]:
        """Measure how much of the picture comes through the latent, and how much around it.

        >>> figures = run.audit()["figures"]
        >>> abs(figures["audit/psnr_everything"] - run.metrics["test/psnr"]) < 1e-4
        True
        """
        return self.analyse("audit")

    def probe(self) -> dict[str, Any]:
        """Measure what a linear model and neighbours tell from the network's features.

        >>> 0 <= run.probe()["figures"]["probe/z/linear"] <= 1
        True
        """
        return self.analyse("probe")

    def rate(self, bits: Sequence[int] | None = None) -> dict[str, Any]:
        """Measure how many bits the code needs, beside PCA and codecs; it takes ``caelab[rate]``.

        >>> len(run.rate(bits=[2, 4])["points"])
        2

        Args:
            bits: of each quantiser, from 1 to 8; None is a range of them.
        """
        return self.analyse("rate", bits=bits)

    def refine(self, steps: int | None = None, images: int | None = None) -> dict[str, Any]:
        """Measure what is lost in the encoder by fitting each code to its image.

        >>> len(run.refine(steps=2, images=10)["psnr"])
        3

        Args:
            steps: of the fit.
            images: the first of the test split.
        """
        return self.analyse("refine", steps=steps, images=images)

    def look(
        self,
        *,
        map: str | None = None,
        images: int | None = None,
        seed: int | None = None,
        out: str | Path | None = None,
    ) -> dict[str, Any]:
        """Draw one offline page of what the network does: ``look/index.html`` in the run's directory.

        >>> run.look(map="pca")["seconds"] > 0
        True

        Args:
            map: of the codes to the plane: ``tsne``, ``pca`` or ``umap``.
            images: of the test split.
            seed: of the choice of the images, and of the map.
            out: folder of the page, in place of ``look/``.
        """
        return self.analyse("look", map=map, images=images, seed=seed, out=out)

    def export(self, format: str, out: str | Path | None = None, *, force: bool = False) -> "list[Finding]":
        """Write encoder, decoder and both as files for use elsewhere, each read back and compared.

        >>> [one.part for one in run.export("safetensors")]
        ['encoder', 'decoder', 'autoencoder']

        Args:
            format: ``onnx``, ``torch_export`` or ``safetensors``.
            out: folder of the files, in place of ``export/FORMAT`` in the run's directory.
            force: whether an earlier export there may be replaced.

        Raises:
            UserError: no such format, a network that it cannot hold, or an export that differs.
        """
        from caelab.export.export import export

        return export(self.dir, format, None if out is None else Path(out), force=force)

    def show(self) -> "Image":
        """Return the picture of originals over reconstructions, which a notebook shows."""
        return _image(self.dir / self._finished().artifacts["reconstructions"])

    def curves(self) -> "Image":
        """Return a picture of training loss and validation PSNR (dB) by epoch, which a notebook shows."""
        from caelab.report import figures, rows

        record = self._finished()
        choices = record.choices
        row = rows.Row(choices["model"], choices["dataset"], runs={0: rows.Run(self.dir, record)})
        title = ", ".join(f"{choices[group]}" for group in ("model", "loss", "optimizer"))
        picture = io.BytesIO()
        figures.curves(rows.Section("run", title, "", choices["dataset"], [row])).savefig(picture)
        return _image(picture)

    def _finished(self) -> Complete:
        if not is_finished(self.record):
            raise UserError(f"{terminal.shown(self.dir)}: {results.unfinished(self.record)}")
        return self.record


def _image(file: Path | io.BytesIO) -> "Image":
    from PIL import Image

    picture = Image.open(file)
    picture.load()  # and close the file
    return picture
