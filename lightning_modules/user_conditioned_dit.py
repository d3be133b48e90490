"""A generator of micro-Doppler spectrograms of a chosen person: LightningDiT trained by flow matching."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from rich.console import Console
from torch import Tensor
from torch.optim import AdamW
from torchmetrics import MeanMetric

from batches.microdoppler import LatentBatch, SampleRequestBatch
from formats.atomic import write_json
from formats.errors import InputError
from lightning_modules.microdoppler_evaluation import MicroDopplerEvaluation, evaluation_table
from lightning_modules.schedules import warmup_cosine
from losses.flow_matching import direction_loss, velocity_loss
from networks.checkpoints import load_published
from networks.lightning_dit import LightningDiT
from networks.tokenizers import Tokenizer, load_tokenizer, to_uint8
from networks.tokenizers.latent_space import CHECKPOINT_KEY, LatentSpace
from networks.transport import GuidedVelocity, draw_times, linear_path, sample
from networks.transport.path import TimeDistribution
from networks.transport.samplers import Sampler


def seeded_noise(shape: tuple[int, ...], *key: int) -> Tensor:
    """Standard normal noise on the CPU that depends on the key's non-negative integers alone."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class UserConditionedDiTModule(LightningModule):
    """Train LightningDiT on latents with the user as class; generate spectrograms of chosen users.

    The statistics of the latents and the list of users travel in the checkpoint; generation uses those and no
    others.

    Example::

        module = UserConditionedDiTModule.load_from_checkpoint("last.ckpt")
        images = module.generate(user_ids=torch.tensor([1, 4]), indices=torch.tensor([0, 0]))

    Args:
        input_size: Side of the latent grid.
        patch_size: Side of a patch, in latents.
        in_channels: Channels of a latent.
        hidden_size: Width of a token.
        depth: Blocks.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over ``hidden_size``.
        num_classes: Number of users; None takes it from the data, and the checkpoint keeps it.
        class_dropout_prob: Share of labels replaced by "no label" in training; guidance needs some.
        learn_sigma: Twice the output channels, the second half discarded.
        use_qknorm: Normalise queries and keys; steadier at high learning rates.
        use_swiglu: Gated MLP.
        use_rope: Rotary positions.
        use_rmsnorm: RMSNorm in place of LayerNorm.
        wo_shift: No shifts in the blocks' modulation.
        published_checkpoint: A published LightningDiT file to start training from; the label table starts anew
            where the number of classes differs.
        tokenizer_path: What decodes latents (see ``networks.tokenizers.load_tokenizer``); None takes the one
            that made the training latents.
        learning_rate: Of AdamW, at its height.
        final_learning_rate_ratio: Where the cosine ends, as a share of ``learning_rate``.
        warmup_steps: Linear warm-up before the cosine.
        betas: Of AdamW.
        weight_decay: Of AdamW.
        time_distribution: Of the training times.
        direction_loss_weight: Weight of the cosine term beside the mean squared error; published 1, 0 = off.
        sampler: ``euler``, ``heun`` or ``dopri5`` (adaptive; one sample at a time, so that a sample does not
            depend on the others).
        num_points: Grid points of euler and heun; published 250.
        time_shift: Shift of that grid towards the noise; published 0.3, 0 = none.
        guidance_scale: 1 = none. About 1.5…4 with all channels guided; published 6.7 or 10 with 3.
        guidance_interval_start: Time from which guidance acts; published 0.125.
        guided_channels: Guide the first so many channels only; None guides all, 3 is the published recipe.
        sample_seed: Seed of the samples.
        compile: Compile the network with torch.compile.
        gradient_checkpointing: Recompute blocks in the backward pass: less memory, a third more time.
        inception_weights: File of torch-fidelity's Inception weights for ``test``; None looks in torch's cache.
    """

    # Settings that weights of another shape would not fit.
    ARCHITECTURE = (
        *("input_size", "patch_size", "in_channels", "hidden_size", "depth", "num_heads", "mlp_ratio", "num_classes"),
        *("learn_sigma", "use_qknorm", "use_swiglu", "use_rope", "use_rmsnorm", "wo_shift"),
    )

    latent_space: LatentSpace | None = None

    def __init__(
        self,
        input_size: int = 16,
        patch_size: int = 1,
        in_channels: int = 32,
        hidden_size: int = 1152,
        depth: int = 28,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
        num_classes: int | None = None,
        class_dropout_prob: float = 0.1,
        learn_sigma: bool = False,
        use_qknorm: bool = False,
        use_swiglu: bool = True,
        use_rope: bool = True,
        use_rmsnorm: bool = True,
        wo_shift: bool = False,
        published_checkpoint: str | None = None,
        tokenizer_path: str | None = None,
        learning_rate: float = 1e-4,
        final_learning_rate_ratio: float = 0.1,
        warmup_steps: int = 0,
        betas: tuple[float, float] = (0.9, 0.95),
        weight_decay: float = 0.0,
        time_distribution: TimeDistribution = "logit_normal",
        direction_loss_weight: float = 0.0,
        sampler: Sampler = "euler",
        num_points: int = 250,
        time_shift: float = 0.3,
        guidance_scale: float = 4.0,
        guidance_interval_start: float = 0.125,
        guided_channels: int | None = None,
        sample_seed: int = 0,
        compile: bool = False,
        gradient_checkpointing: bool = False,
        inception_weights: str | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network: LightningDiT | None = None
        self.val_loss = MeanMetric()
        self._started = self._has_weights = False
        self._tokenizer: list[Tokenizer] = []  # in a list, so that it is no part of checkpoint, EMA and optimiser
        if num_classes is not None:
            self._build(num_classes)

    # --- life cycle -------------------------------------------------------------------------------------------

    def _build(self, num_classes: int) -> None:
        h: Any = self.hparams
        try:
            self.network = LightningDiT(
                input_size=h.input_size,
                patch_size=h.patch_size,
                in_channels=h.in_channels,
                hidden_size=h.hidden_size,
                depth=h.depth,
                num_heads=h.num_heads,
                mlp_ratio=h.mlp_ratio,
                num_classes=num_classes,
                class_dropout_prob=h.class_dropout_prob,
                learn_sigma=h.learn_sigma,
                use_qknorm=h.use_qknorm,
                use_swiglu=h.use_swiglu,
                use_rope=h.use_rope,
                use_rmsnorm=h.use_rmsnorm,
                wo_shift=h.wo_shift,
                gradient_checkpointing=h.gradient_checkpointing,
            )
        except ValueError as fault:
            raise InputError("--model", str(fault), "Choose sizes that fit together.") from fault
        self.hparams["num_classes"] = num_classes

    def configure_model(self) -> None:
        """Settle users and statistics from the data, and build the network for them.

        Raises:
            InputError: The data has other users or another latent shape than the model.
        """
        if self._trainer is None:  # load_from_checkpoint; on_load_checkpoint builds the network
            return
        datamodule: Any = getattr(self.trainer, "datamodule", None)
        if self.latent_space is None and hasattr(datamodule, "latent_space"):
            self.latent_space = datamodule.latent_space
            self._check_against(self.latent_space, datamodule.latent_shape)
        if self.network is None:
            if self.latent_space is None:
                fault = "does not say how many users there are"
                raise InputError("--model.num_classes", fault, "Name a training checkpoint with --ckpt_path.")
            self._build(len(self.latent_space.user_ids))
        assert self.network is not None
        if self.hparams["published_checkpoint"] and self.trainer.state.fn == "fit" and not self._started:
            # Here rather than when training starts, so that the weight average starts from it too.
            self.print(load_published(self.network, self.hparams["published_checkpoint"]))
        self._started = True
        if self.hparams["compile"] and self.network._compiled_call_impl is None:
            self.network.compile()

    def _check_against(self, space: LatentSpace, shape: tuple[int, ...]) -> None:
        h: Any = self.hparams
        expected = (h.in_channels, h.input_size, h.input_size)
        if shape != expected:
            remedy = "Set --model.in_channels and --model.input_size to the latents' shape."
            raise InputError("latents", f"have shape {shape} where the model expects {expected}", remedy)
        if h.num_classes is not None and h.num_classes != len(space.user_ids):
            fault = f"is {h.num_classes} where the data holds {len(space.user_ids)} users"
            raise InputError("--model.num_classes", fault, "Leave it out to take it from the data.")

    def on_fit_start(self) -> None:
        """Bring the statistics to the device."""
        self._has_weights = True
        assert self.latent_space is not None
        self.latent_space = self.latent_space.to(self.device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put users, statistics and the tokenizer's name into the checkpoint."""
        if self.latent_space is not None:
            checkpoint[CHECKPOINT_KEY] = self.latent_space.to_checkpoint()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take users and statistics from the checkpoint.

        Raises:
            InputError: It holds none, or training goes on with other ones.
        """
        if CHECKPOINT_KEY not in checkpoint:
            remedy = "Use a checkpoint that `fit` of UserConditionedDiTModule wrote."
            raise InputError("checkpoint", "holds no users and latent statistics", remedy)
        stored = LatentSpace.from_checkpoint(checkpoint[CHECKPOINT_KEY])
        differences = [] if self.latent_space is None else stored.differences(self.latent_space)
        if differences:
            fault = f"was trained with other data: {', '.join(differences)} differ"
            raise InputError("checkpoint", fault, "Go on with the latents it was trained on, or start anew.")
        self.latent_space, self._has_weights = stored, True
        if self.network is None:
            self._build(len(stored.user_ids))

    def configure_optimizers(self) -> Any:
        """AdamW, linear warm-up and cosine, by step."""
        h: Any = self.hparams
        assert self.network is not None
        optimizer = AdamW(self.network.parameters(), h.learning_rate, betas=tuple(h.betas), weight_decay=h.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = warmup_cosine(optimizer, steps, h.warmup_steps, h.final_learning_rate_ratio)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # --- training and validation ------------------------------------------------------------------------------

    def _losses(self, latents: Tensor, noise: Tensor, t: Tensor, classes: Tensor) -> Tensor:
        """Loss of each sample, (B,), in float32."""
        assert self.network is not None
        assert self.latent_space is not None
        point, target = linear_path(self.latent_space.normalise(latents), noise, t)
        velocity = self.network(point, t, classes).float()
        loss = velocity_loss(velocity, target)
        if self.hparams["direction_loss_weight"]:
            loss = loss + self.hparams["direction_loss_weight"] * direction_loss(velocity, target)
        return loss

    def training_step(self, batch: LatentBatch, batch_idx: int) -> Tensor:
        """Mean loss at random times under random noise."""
        latents = batch["latents"]
        if "latents_flip" in batch:
            flipped = torch.rand(len(latents), 1, 1, 1, device=self.device) < 0.5
            latents = torch.where(flipped, batch["latents_flip"], latents)
        t = draw_times(len(latents), self.hparams["time_distribution"], self.device)
        loss = self._losses(latents, torch.randn_like(latents), t, batch["classes"]).mean()
        self.log("train/loss", loss, prog_bar=True, on_step=True, on_epoch=True, batch_size=len(latents))
        return loss

    def validation_step(self, batch: LatentBatch, batch_idx: int) -> None:
        """Loss under noise and at times fixed by each latent's place in the split."""
        latents, places = batch["latents"], batch["indices"].tolist()
        noise = torch.stack([seeded_noise(tuple(latents.shape[1:]), 0, place) for place in places])
        # Evenly spread over the split rather than drawn: the same for every run, with less variance.
        uniform = torch.tensor([(0.5 + place * 0.6180339887498949) % 1.0 for place in places])
        t = uniform if self.hparams["time_distribution"] == "uniform" else torch.special.ndtri(uniform).sigmoid()
        losses = self._losses(latents, noise.to(latents), t.to(latents), batch["classes"])
        self.val_loss.update(losses, batch["weights"])
        self.log("val/loss", self.val_loss, prog_bar=True, on_step=False, on_epoch=True)

    # --- generation -------------------------------------------------------------------------------------------

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that decodes, loaded on first use and moved to the module's device.

        Raises:
            InputError: None is known, or it is not the one that made the training latents.
        """
        if not self._tokenizer:
            space = self.latent_space
            path = self.hparams["tokenizer_path"] or (space.tokenizer if space else "")
            if not path:
                fault = "is not set, and the latents do not say what made them"
                raise InputError("--model.tokenizer_path", fault, "Name the tokenizer's file.")
            tokenizer = load_tokenizer(path)
            made_by = space.tokenizer_fingerprint if space else ""
            if made_by and tokenizer.fingerprint() != made_by:
                fault = "is another tokenizer than the one that made the training latents"
                raise InputError(path, fault, "Name that one with --model.tokenizer_path.")
            self._tokenizer.append(tokenizer)
        return self._tokenizer[0].to(self.device)

    @torch.no_grad()
    def generate(self, user_ids: Tensor, indices: Tensor) -> Tensor:
        """Draw spectrograms; each depends on ``sample_seed``, its user and its index alone.

        The noise does so exactly; the network's arithmetic to rounding, since matrix products of other batch
        sizes round differently in the last digits.

        Args:
            user_ids: (B,) as in the folder names.
            indices: (B,) number of the sample among its user's, from 0.

        Returns:
            (B, 3, H, W) uint8 on the module's device.

        Raises:
            InputError: Training did not see a user, or the tokenizer is missing.
        """
        latents = self.generate_latents(user_ids, indices)
        return to_uint8(self.tokenizer.decode(latents))

    @torch.no_grad()
    def generate_latents(self, user_ids: Tensor, indices: Tensor) -> Tensor:
        """Draw latents (B, C, H, W) as the tokenizer decodes them; see :meth:`generate`."""
        if self.latent_space is None or self.network is None:
            fault = "has no users and latent statistics yet"
            raise InputError("model", fault, "Train it, or load a training checkpoint with --ckpt_path.")
        h: Any = self.hparams
        network, was_training = self.network, self.network.training
        classes = self.latent_space.classes(user_ids.cpu()).to(self.device)
        shape = (h.in_channels, h.input_size, h.input_size)
        pairs = zip(user_ids.tolist(), indices.tolist(), strict=True)
        noise = torch.stack([seeded_noise(shape, h.sample_seed, user, index) for user, index in pairs])
        noise = noise.to(self.device)
        # An adaptive step follows the hardest sample of its batch, so dopri5 takes them one at a time.
        size = 1 if h.sampler == "dopri5" else len(noise)
        parts = []
        network.eval()
        for start in range(0, len(noise), size):
            field = GuidedVelocity(
                network,
                classes[start : start + size],
                network.no_label if h.guidance_scale != 1 else None,
                h.guidance_scale,
                h.guidance_interval_start,
                h.guided_channels,
            )
            parts.append(sample(field, noise[start : start + size], h.sampler, h.num_points, h.time_shift))
        network.train(was_training)
        return self.latent_space.denormalise(torch.cat(parts).float())

    def predict_step(self, batch: SampleRequestBatch, batch_idx: int) -> Tensor:
        """Spectrograms (B, 3, H, W) uint8 of the requested users."""
        return self.generate(batch["user_ids"], batch["indices"])

    # --- test -------------------------------------------------------------------------------------------------

    def on_test_start(self) -> None:
        """Start counting.

        Raises:
            InputError: No checkpoint was given; random weights are not worth a test.
        """
        assert self.latent_space is not None
        if not self._has_weights:
            raise InputError("model", "has random weights", "Name a training checkpoint with --ckpt_path.")
        num_users = len(self.latent_space.user_ids)
        self.evaluation = MicroDopplerEvaluation(num_users, self.hparams["inception_weights"])

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int) -> None:
        """Collect real training images, real validation images, then generate as many as are asked for.

        Args:
            batch: :class:`SpectrogramBatch` from the first two loaders, :class:`SampleRequestBatch` from the third.
            batch_idx: Unused.
            dataloader_idx: Which loader.
        """
        assert self.latent_space is not None
        classes = self.latent_space.classes(batch["user_ids"])
        if dataloader_idx == 0:
            self.evaluation.add_real(batch["images"], classes, "train", batch["weights"])
        elif dataloader_idx == 1:
            self.evaluation.add_real(batch["images"], classes, "val", batch["weights"])
        else:
            self.evaluation.add_generated(self.generate(batch["user_ids"], batch["indices"]), classes)

    def on_test_epoch_end(self) -> None:
        """Compare on every process, print and log, and write ``evaluation.json`` beside the logs."""
        results = self.evaluation.compute()
        numbers = {f"test/{name}": float(value) for name, value in results.items() if not isinstance(value, str)}
        for logger in self.loggers:  # not self.log_dict, which would print them a second time
            logger.log_metrics(numbers, step=self.global_step)
        if self.trainer.is_global_zero:
            Console().print(evaluation_table(results))
            path = Path(self.trainer.log_dir or self.trainer.default_root_dir) / "evaluation.json"
            write_json(path, results)
            self.print(f"written to {path}")
