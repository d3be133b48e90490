"""Comparison of generated micro-Doppler spectrograms with real ones: identity, distance, diversity, novelty.

Example::

    evaluation = MicroDopplerEvaluation(num_users=5)
    evaluation.add_real(train_images, train_users, "train")      # (N, 3, 256, 256) uint8, (N,) class indices
    evaluation.add_real(val_images, val_users, "val")
    evaluation.add_generated(images, users)
    results = evaluation.compute()                               # on every process
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from formats.errors import InputError
from lightning_modules.microdoppler_measures import Results, Samples, compare
from metrics.generation import InceptionStatistics, find_inception, inception_places
from metrics.spectrogram_physics import MEASURES, image_levels, measure
from networks.spectrogram_classifier import shrink


class MicroDopplerEvaluation:
    """Collect real and generated images over a test, in any number of processes, and compare them at the end.

    Images are kept at 64×64 (12 kB each). This is not an ``nn.Module``, so that Inception's weights never enter a
    checkpoint of the module that uses it.

    Args:
        num_users: Number of users (classes), at least 2.
        inception_weights: torch-fidelity's Inception file. By default it is looked up in torch.hub's download folder;
            if it is missing, the Inception measures are left out. Nothing is downloaded.
        seed: Seed of the classifiers that are trained for the comparison.
        zero_doppler_row: Place of zero Doppler in the images as a share of their height from the top.

    Raises:
        InputError: ``inception_weights`` is given and does not exist, or there are too few users.
    """

    def __init__(
        self, num_users: int, inception_weights: str | None = None, seed: int = 0, zero_doppler_row: float = 0.8
    ) -> None:
        if num_users < 2:
            raise InputError("num_users", f"{num_users} users cannot be classified", "Give at least 2.")
        self.num_users, self.seed, self.zero_doppler_row = num_users, seed, zero_doppler_row
        self._inception_file = find_inception(inception_weights)
        self.reset()

    def reset(self) -> None:
        """Remove all images."""
        self._added: dict[str, list[Samples]] = {"train": [], "val": [], "generated": []}
        self._inception: InceptionStatistics | None = None
        self._device: torch.device | None = None

    def add_real(
        self, images: Tensor, users: Tensor, split: Literal["train", "val"], weights: Tensor | None = None
    ) -> None:
        """Add real images that the generator was trained on (``train``) or was not (``val``).

        Args:
            images: (N, 3, H, W) uint8 RGB, rows Doppler, columns time.
            users: (N,) class indices 0 … ``num_users`` − 1.
            split: ``train`` or ``val``.
            weights: (N,), 0 for padding rows, which are ignored.

        Raises:
            InputError: Images are not uint8 RGB, or users do not fit.
        """
        images = self._add(split, images, users, weights)
        if split == "val":
            self._update_inception(images, real=True)

    def add_generated(self, images: Tensor, users: Tensor, weights: Tensor | None = None) -> None:
        """Add generated images and the users they were made for; arguments and errors as in `add_real`."""
        self._update_inception(self._add("generated", images, users, weights), real=False)

    def compute(self) -> Results:
        """Train the classifiers and compare; every process must call it, and each gets the same result.

        A name that ends in ``real`` is the same measure of real validation images, for comparison.
        Names with ``classifier`` are measured with the classifier trained on real training images: features
        (64,) in arbitrary units. Real images of users that were never generated are used to train that classifier, and
        are left out of every comparison but Inception's.

        - ``accuracy_real_to_real``, ``accuracy_real_to_generated`` (and ``…_user_<class index>``),
          ``accuracy_generated_to_real``: share of users recognised, by training images → tested images.
        - ``frechet_distance_classifier`` (generated to val); ``…_real``: as many training images of each
          user as were generated, to val. It rises with few images and with another mixture of users than in val.
        - ``inception_score_classifier``, ``…_real``: 1 … ``num_users``.
        - ``within_user_diversity_classifier``, ``…_real``, ``…_ratio``; ``users_without_pairs`` are left out.
        - ``nearest_train_distance_classifier``: median distance to the nearest training image; ``…_real``;
          ``…_ratio``, near 0 for copies. ``closer_than_real_share``: share of generated images nearer to a
          training image than any validation image is; it shows copies where there are few.
        - ``frechet_distance_inception``, ``inception_score``, ``inception_score_real``, where there are
          weights; ``inception`` says which, or what is missing.
        - Blocks, breaks, gait and noise, see ``metrics.spectrogram_quality.compare_measures``: every name of
          ``MEASURES`` with ``…_real``, shares, ratios, and all of them per user.
        - ``worst_measure``: name of the bar that is missed most or met with the least margin, with its
          ``worst_measure_score`` (up to 1 the bar is met); ``bars_met`` of ``num_bars``.
        - ``num_users``, ``num_users_generated``, ``num_train``, ``num_val``, ``num_generated``.

        Raises:
            InputError: There are fewer than 2 images of a kind for the users generated.
        """
        with torch.no_grad():
            train, val, generated = (self._gathered(kind) for kind in ("train", "val", "generated"))
            shown = generated.users.unique()
            for kind, samples in (("train", train), ("val", val), ("generated", generated)):
                if len(samples.of(shown).users) < 2:
                    fault = f"{len(samples.of(shown).users)} {kind} images of the users generated"
                    raise InputError("MicroDopplerEvaluation", fault, "Add at least 2 of each kind.")
            counts = {
                "num_users": self.num_users,
                "num_users_generated": len(shown),
                "num_train": len(train.users),
            }
            counts |= {"num_val": len(val.users), "num_generated": len(generated.users)}
            inception = self._inception_results()
            return _from_first_process(lambda: self._compare(train, val, generated) | counts | inception)

    def _compare(self, train: Samples, val: Samples, generated: Samples) -> Results:
        device = self._device or _communication_device()  # this process may have received no image
        return compare(train, val, generated, self.num_users, self.seed, device)

    def _add(self, kind: str, images: Tensor, users: Tensor, weights: Tensor | None) -> Tensor:
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
            fault = f"{images.dtype} images of shape {tuple(images.shape)}"
            raise InputError(f"{kind} images", fault, "Give uint8 RGB of shape (N, 3, H, W).")
        if weights is not None:
            images, users = images[(weights > 0).to(images.device)], users[(weights > 0).to(users.device)]
        users = users.cpu().long()
        if users.shape != images.shape[:1] or bool(((users < 0) | (users >= self.num_users)).any()):
            fault = f"users {users.tolist()} for {len(images)} images"
            remedy = f"Give each image a class index from 0 to {self.num_users - 1}."
            raise InputError(f"{kind} users", fault, remedy)
        self._device = images.device
        if len(images):
            measures = measure(image_levels(images), self.zero_doppler_row)
            self._added[kind].append(Samples(shrink(images).cpu(), users, measures))
        return images

    def _update_inception(self, images: Tensor, real: bool) -> None:
        if self._inception_file is None:
            return
        # tensors created in the inference mode of a test could not be changed outside of it
        with torch.inference_mode(False), torch.no_grad():
            if self._inception is None:
                self._inception = InceptionStatistics(self._inception_file)
            self._inception.to(images.device).update(images, real)

    def _inception_results(self) -> Results:
        found = _gather(torch.tensor([self._inception_file is not None]))
        if not found.all():  # on every machine or on none, or some would wait for others
            where = " or ".join(str(path) for path in inception_places())
            return {"inception": f"weights not found at {where}; classifier features used"}
        assert self._inception_file is not None
        if self._inception is None:  # this process received no image
            self._inception = InceptionStatistics(self._inception_file)
        values = self._inception.to(_communication_device() if _distributed() else self._device).compute()
        return {**values, "inception": f"weights from {self._inception_file}"}

    def _gathered(self, kind: str) -> Samples:
        nothing = Samples(
            torch.zeros(0, 3, 64, 64, dtype=torch.uint8),
            torch.zeros(0, dtype=torch.long),
            torch.zeros(0, len(MEASURES), dtype=torch.float64),
        )
        images, users, measures = map(_gather, map(torch.cat, zip(nothing, *self._added[kind], strict=True)))
        # an order that does not depend on how the images were spread over processes and batches
        keys = [hashlib.sha256(image.tobytes()).digest() for image in images.numpy()]
        order = sorted(range(len(keys)), key=lambda row: (int(users[row]), keys[row]))
        return Samples(images[order], users[order], measures[order])


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def _communication_device() -> torch.device:
    nccl = _distributed() and "nccl" in dist.get_backend()
    return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")


def _from_first_process(make: Callable[[], Results]) -> Results:
    if not _distributed():
        return make()
    box: list[Results | Exception | None] = [None]
    if dist.get_rank() == 0:
        try:
            box = [make()]
        except Exception as error:  # sent to the other processes, which would wait for ever
            box = [error]
    dist.broadcast_object_list(box, src=0, device=_communication_device())
    if isinstance(box[0], Exception):
        raise box[0]
    assert box[0] is not None
    return box[0]


def _gather(tensor: Tensor) -> Tensor:
    # By torchmetrics, as processes hold different numbers of images and Lightning gathers equal shapes only.
    if not _distributed():
        return tensor
    return torch.cat([part.cpu() for part in gather_all_tensors(tensor.to(_communication_device()))])
