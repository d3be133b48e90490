"""Plain pictures, for taking them apart into layers."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from batches.layers import IllustrationBatch
from datamodules.loading import PrebatchedDataset
from formats.errors import InputError
from formats.images import distinct_names, find_images, read_rgba


class IllustrationFolderDataModule(LightningDataModule):
    """A picture, several, or a folder of them, each a :class:`batches.layers.IllustrationBatch` of its own.

    Pictures may have any size and may be transparent.

    Args:
        images: A file, files, or a folder, of which all images are taken.
        num_layers: Layers to take each picture apart into; None lets its index map decide.
        num_workers: Processes that read files.
        output_dir: Folder for the layers; each picture has a folder of its own in it.
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
            raise InputError("--data.num_layers", f"{num_layers} layers cannot be", "Give 1 or more, or null.")
        self.images, self.num_layers = images, num_layers
        self.num_workers, self.output_dir = num_workers, output_dir
        self.pictures: list[tuple[Path, str]] = []

    def setup(self, stage: str) -> None:
        """List the pictures.

        Raises:
            InputError: A file or the folder is missing, or there are no images.
        """
        paths = find_images(self.images, "--data.images")
        files = distinct_names(paths)
        names = [Path(file).stem for file in files]
        names = files if len(set(names)) < len(names) else names  # a.png beside a.jpg
        processes = self.trainer.world_size if self.trainer else 1
        if len(paths) < processes:
            fault = f"names {len(paths)} for {processes} processes, so that one would have nothing to do"
            raise InputError("--data.images", fault, f"Pass --trainer.devices {len(paths)} or less.")
        self.pictures = list(zip(paths, names, strict=True))

    def predict_dataloader(self) -> DataLoader:
        """This process's pictures, one to a batch."""
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        pictures = PrebatchedDataset(self.pictures[rank::world_size], _read)
        return DataLoader(pictures, batch_size=None, num_workers=self.num_workers)


def _read(picture: tuple[Path, str]) -> IllustrationBatch:
    path, name = picture
    return {"image": torch.from_numpy(read_rgba(path).copy()), "name": name}
