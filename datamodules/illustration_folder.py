"""Images to decompose into layers."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from batches.layers import IllustrationBatch
from batches.trainer import process_of, trainer_of
from datamodules.loading import PrebatchedDataset
from formats.errors import InputError
from formats.images import distinct_names, find_images, on_white, read_rgba


class IllustrationFolderDataModule(LightningDataModule):
    """Images of any size, possibly transparent, each as one :class:`batches.layers.IllustrationBatch`.

    Args:
        images: A file, several files, or a folder, of which all images are used.
        num_layers: Number of layers per image; None chooses it from the index map.
        num_workers: Number of processes that read files.
        output_dir: Folder of the results; each image gets a folder in it.
    """

    def __init__(
        self,
        images: list[str] | str,
        num_layers: int | None = None,
        num_workers: int = 0,
        output_dir: str = "runs/layer_index/layers",
    ) -> None:
        super().__init__()
        if num_layers is not None and num_layers < 1:
            raise InputError("--data.num_layers", f"must be at least 1, not {num_layers}", "Give 1 or more, or null.")
        self.images, self.num_layers = images, num_layers
        self.num_workers, self.output_dir = num_workers, output_dir
        self.files: list[tuple[Path, str]] = []

    def setup(self, stage: str) -> None:
        """List the images.

        Raises:
            InputError: A file or the folder is missing, or there are no images.
        """
        paths = find_images(self.images, "--data.images")
        file_names = distinct_names(paths)
        names = [Path(name).stem for name in file_names]
        names = file_names if len(set(names)) < len(names) else names  # a.png and a.jpg
        _, processes = process_of(trainer_of(self))
        if len(paths) < processes:
            fault = f"names {len(paths)} images for {processes} processes, which leaves some without work"
            raise InputError("--data.images", fault, f"Pass --trainer.devices {len(paths)} or fewer.")
        self.files = list(zip(paths, names, strict=True))

    def predict_dataloader(self) -> DataLoader[IllustrationBatch]:
        """Return this process's images, one per batch."""
        rank, processes = process_of(trainer_of(self))
        batches = PrebatchedDataset(self.files[rank::processes], _read)
        return DataLoader(batches, batch_size=None, num_workers=self.num_workers)


def _read(file: tuple[Path, str]) -> IllustrationBatch:
    path, name = file
    image = read_rgba(path)
    rgb = torch.from_numpy(on_white(image)).permute(2, 0, 1)
    return {"image": torch.from_numpy(image.copy()), "rgb": rgb, "name": name}
