"""A trained generator learns new users without losing those that it knows."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cli import main
from datamodules.latents import LatentDataModule
from datamodules.spectrograms import SpectrogramDataset, find_spectrograms
from formats.errors import InputError
from formats.latent_shards import LatentStatistics, open_shard, write_shard
from lightning_modules.classifier_training import fit_classifier
from lightning_modules.known_users import LABEL_TABLE, TrainedGenerator
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule
from networks.lightning_dit import LightningDiTConfig
from networks.spectrogram_classifier import shrink
from prepare.microdoppler_sample import microdoppler_sample
from prepare.trained_module import load_trained
from tests.support.commands import ROOT, load_checkpoint
from tests.support.tiny_tasks import tiny_trainer

NETWORK = LightningDiTConfig(input_size=2, in_channels=4, hidden_size=16, depth=1, num_heads=2)
MIXTURE: dict[str, Any] = {"mixture_components": 3, "mixture_rank": 2, "mixture_neighbours": 4}


def write_users(folder: Path, users: tuple[int, ...], each: int = 6, shift: float = 0.0) -> Path:
    """Write latents (4, 2, 2) of these users with their statistics."""
    generator = torch.Generator().manual_seed(0)
    for split in ("train", "val"):
        labels = torch.tensor(users).repeat(each)
        latents = torch.randn(len(labels), 4, 2, 2, generator=generator) + labels.view(-1, 1, 1, 1) + shift
        write_shard(folder / f"{split}.safetensors", latents, labels)
    LatentStatistics.measure([open_shard(folder / "train.safetensors")]).write(folder / "latents_stats.pt")
    return folder


def trained(
    data: Path, checkpoint: Path, resume: Path | None = None, rate: float = 0.0, **settings: Any
) -> UserConditionedDiTModule:
    """Train an epoch, by default at a learning rate of 0, and save a checkpoint."""
    module = UserConditionedDiTModule(settings.pop("network", NETWORK), learning_rate=rate, **settings)
    trainer = tiny_trainer(max_epochs=2 if resume else 1)
    trainer.fit(module, LatentDataModule(str(data), batch_size=6), ckpt_path=resume)
    trainer.save_checkpoint(checkpoint)
    return module


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of users 2, 5 and 9."""
    folder = tmp_path_factory.mktemp("known")
    trained(write_users(folder / "latents", (2, 5, 9)), folder / "known.ckpt", rate=1e-2, **MIXTURE)
    return folder / "known.ckpt"


@pytest.mark.parametrize("users", [(2, 4, 5, 9, 11), (4, 11)], ids=["with the known users", "without them"])
def test_rows_of_known_users_are_kept_bit_for_bit(known: Path, tmp_path: Path, users: tuple[int, ...]) -> None:
    module = trained(
        write_users(tmp_path / "data", users, shift=3.0), tmp_path / "new.ckpt", init_from=str(known), **MIXTURE
    )
    before, after = load_checkpoint(known)["state_dict"], load_checkpoint(tmp_path / "new.ckpt")["state_dict"]
    space = module.require_latent_space()
    assert space.user_ids.tolist() == [2, 4, 5, 9, 11]
    kept, new = [0, 2, 3], [1, 4]
    for name, value in before.items():
        if name.startswith("mixture."):
            assert torch.equal(after[name][kept], value), name
            assert after["mixture.weights"][new].sum(1).allclose(torch.ones(2))
        elif name != LABEL_TABLE:
            assert torch.equal(after[name], value), name
    table, old = after[LABEL_TABLE], before[LABEL_TABLE]
    assert torch.equal(table[kept], old[:3])
    assert torch.equal(table[-1], old[-1])  # "no label"
    assert (table[new] - old[:3].mean(0)).abs().mean() < 0.05
    assert not torch.equal(table[1], table[4])
    stored = load_checkpoint(known)["latent_space"]
    assert torch.equal(space.statistics.mean.cpu(), stored["mean"])
    # The mixture of a new user is that of the new latents.
    latents, classes = LatentDataModule(str(tmp_path / "data")), 4
    latents.setup("fit")
    own = latents.datasets["train"]
    rows = space.normalise(torch.stack([own.shards[0].latents[i] for i in range(len(own))]))
    mean = rows[own.shards[0].labels == 11].flatten(1).mean(0)
    parts = after["mixture.means"][classes] * after["mixture.weights"][classes][:, None]
    assert (parts.sum(0) - mean).abs().max() < 1.0


def test_training_is_continued_and_evaluated_without_the_first_checkpoint(known: Path, tmp_path: Path) -> None:
    start, data = shutil.copy(known, tmp_path / "start.ckpt"), write_users(tmp_path / "data", (4, 11))
    settings: dict[str, Any] = {"init_from": str(start), "rate": 1e-3, **MIXTURE}
    trained(data, tmp_path / "new.ckpt", **settings)
    Path(start).unlink()
    network = replace(NETWORK, num_classes=5)  # as the command line takes it from the checkpoint
    module = trained(data, tmp_path / "more.ckpt", tmp_path / "new.ckpt", network=network, **settings)
    assert module.require_latent_space().user_ids.tolist() == [2, 4, 5, 9, 11]
    before, after = (load_checkpoint(tmp_path / name)["state_dict"][LABEL_TABLE] for name in ("new.ckpt", "more.ckpt"))
    assert not torch.equal(before[[1, 4]], after[[1, 4]])
    loaded = load_trained(UserConditionedDiTModule, tmp_path / "more.ckpt")
    assert loaded.generate_latents(torch.tensor([9, 11]), torch.zeros(2, dtype=torch.long)).shape == (2, 4, 2, 2)
    others = write_users(tmp_path / "others", (4, 12))
    with pytest.raises(InputError, match="trained with other data: users differ"):
        trained(others, tmp_path / "none.ckpt", tmp_path / "more.ckpt", network=network, **settings)
    with pytest.raises(InputError, match="num_classes: is set together with --model.init_from"):
        trained(data, tmp_path / "none.ckpt", network=network, **settings)


def test_a_new_user_starts_as_the_mean_of_the_known_ones(known: Path) -> None:
    start, users = TrainedGenerator.read(known), torch.tensor([2, 4, 5, 9])
    own = {name: torch.zeros_like(value) for name, value in start.state.items() if not name.startswith("mixture.")}
    own[LABEL_TABLE] = torch.zeros(5, own[LABEL_TABLE].shape[1])
    state, table = start.state_for(own, users), start.state[LABEL_TABLE]
    assert torch.equal(state[LABEL_TABLE], torch.stack([table[0], table[:3].mean(0), *table[1:]]))


def test_other_models_are_refused(known: Path, tmp_path: Path) -> None:
    data = write_users(tmp_path / "data", (2, 4, 5, 9))
    wide = LightningDiTConfig(input_size=2, in_channels=4, hidden_size=32, depth=1, num_heads=2)
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({**MIXTURE, "network": wide}, "network.hidden_size is 16 there and 32 here"),
        ({}, "mixture_components is 3 there and 0 here"),
        ({**MIXTURE, "published_checkpoint": "a.pt"}, "--model.init_from: is set together with"),
        ({**MIXTURE, "init_from": str(tmp_path / "none.ckpt")}, "no such checkpoint"),
    )
    for settings, fault in cases:
        with pytest.raises(InputError, match=fault):
            trained(data, tmp_path / "new.ckpt", **{"init_from": str(known), **settings})


def images_of(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    dataset = SpectrogramDataset(find_spectrograms(folder, split))
    batch = dataset.__getitems__(list(range(len(dataset))))
    return shrink(batch["images"]), batch["user_ids"]


@pytest.mark.slow
def test_a_new_person_is_recognised_after_a_short_fine_tuning(tmp_path: Path) -> None:
    """Twelve images of the new person, and none are forgotten."""
    four, three = tmp_path / "four", tmp_path / "three"
    microdoppler_sample(four, num_users=4, train_per_user=24, val_per_user=4)
    for path in sorted((four / "train/ID_5").iterdir())[12:]:
        path.unlink()
    shutil.copytree(four, three, ignore=shutil.ignore_patterns("ID_5"))
    extraction = [
        f"--config={ROOT}/configs/microdoppler_extract_latents.yaml",
        "--trainer.devices=1",
        "--trainer.accelerator=cpu",
    ]
    training = [f"--config={ROOT}/configs/dit_microdoppler.yaml"]
    training += [f"--config={ROOT}/configs/overlays/tiny_microdoppler.yaml", "--model.num_steps=20"]
    training += [f"--config={ROOT}/configs/overlays/linear_latents.yaml", "--trainer.logger=CSVLogger"]
    training += ["--model.network.hidden_size=64", "--model.network.depth=2", "--model.network.num_heads=2"]
    training += ["--model.mixture_components=8", "--trainer.limit_val_batches=0", "--trainer.callbacks=LastCheckpoint"]
    main(["predict", *extraction, f"--data.data_dir={three}", "--data.output_dir=latents3"])
    main(["fit", *training, "--data.data_dir=latents3", "--trainer.logger.save_dir=three", "--trainer.max_epochs=12"])
    first = next((tmp_path / "three").rglob("last.ckpt"))
    tokenizer = "--model.tokenizer_path=latents3/tokenizer.safetensors"
    main(["predict", *extraction, f"--data.data_dir={four}", "--data.output_dir=latents4", tokenizer])
    more = [f"--model.init_from={first}", "--trainer.logger.save_dir=more", "--trainer.max_epochs=4"]
    main(["fit", *training, "--data.data_dir=latents4", *more])

    module = load_trained(UserConditionedDiTModule, next((tmp_path / "more").rglob("last.ckpt")))
    images, user_ids = images_of(four, "train")
    space = module.require_latent_space()
    classifier = fit_classifier(images, space.classes(user_ids), 4)
    held_out, held_out_ids = images_of(four, "val")
    assert (classifier(held_out).argmax(1) == space.classes(held_out_ids)).double().mean() > 0.9
    users = torch.tensor([1, 2, 4, 5])
    for user in users.tolist():
        generated = module.generate(torch.full((8,), user), torch.arange(8))
        recognised = classifier(shrink(generated)).argmax(1) == space.classes(torch.tensor([user]))
        assert recognised.double().mean() >= 0.75, user
