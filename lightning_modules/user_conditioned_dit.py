"""Generator of micro-Doppler spectrograms of a chosen person: LightningDiT trained by flow matching."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Self, cast

import torch
from torch import Tensor
from torch.optim import AdamW
from torchmetrics import MeanMetric

from batches.microdoppler import LatentBatch, NoisedLatentBatch, SampleRequestBatch
from batches.trainer import trainer_of
from formats.errors import InputError
from formats.latent_space import CHECKPOINT_KEY, LatentSpace
from formats.ranges import ABOVE_0, AT_LEAST_0, AT_LEAST_1, DECAY, FINITE, SHARE, Range, check_ranges, or_none
from lightning_modules.known_users import TrainedGenerator
from lightning_modules.microdoppler_evaluation import MicroDopplerEvaluation
from lightning_modules.microdoppler_measures import Results
from lightning_modules.schedules import warmup_cosine
from lightning_modules.sharing import SharingMixin
from lightning_modules.shipped_generator import MIXTURE, SAMPLING, generator_parts, restore_generator
from lightning_modules.training_steps import GradientNorms, TrainingSteps
from losses.flow_matching import direction_loss, velocity_loss
from losses.processes import Processes
from networks.checkpoints import load_published
from networks.config import config_from
from networks.lightning_dit import LightningDiT, LightningDiTConfig
from networks.shipped_weights import ShippedWeights, load_shipped
from networks.tokenizers import Tokenizer, load_tokenizer, to_uint8
from networks.transport import (
    GaussianMixtureVelocity,
    GuidedVelocity,
    Sampler,
    TimeDistribution,
    Velocity,
    choose_sampling,
    draw_times,
    evaluation_times,
    linear_path,
    sample,
    seeded_noise,
)

RANGES = {
    "learning_rate": AT_LEAST_0,
    "final_learning_rate_ratio": SHARE,
    "warmup_steps": AT_LEAST_0,
    "betas": DECAY,
    "weight_decay": AT_LEAST_0,
    "time_logit_mean": FINITE,
    "time_logit_deviation": ABOVE_0,
    "mixture_components": AT_LEAST_0,
    "mixture_until": SHARE,
    "mixture_rank": AT_LEAST_1,
    "mixture_neighbours": Range(2),
    "direction_loss_weight": AT_LEAST_0,
    "noise_seed": AT_LEAST_0,
    "num_steps": or_none(AT_LEAST_1),
    "time_shift": AT_LEAST_0,
    "guidance_scale": AT_LEAST_0,
    "guidance_interval_start": SHARE,
    "guidance_interval_end": SHARE,
    "guided_channels": or_none(AT_LEAST_1),
    "sample_seed": AT_LEAST_0,
    "zero_doppler_row": or_none(SHARE),
}

SIMULATED_ZERO_DOPPLER = 0.8
SHARED_SAMPLING = (*SAMPLING, "guided_channels")  # settings that are shared with the weights


class UserConditionedDiTModule(SharingMixin, TrainingSteps):
    """Train LightningDiT on latents with the user as class; generate spectrograms of chosen users.

    The statistics of the latents and the list of users are stored in the checkpoint; generation uses only those.

    Example::

        module = UserConditionedDiTModule.load_from_checkpoint("last.ckpt")
        images = module.generate(user_ids=torch.tensor([1, 4]), indices=torch.tensor([0, 0]))

    Args:
        network: Sizes and parts of the network. With ``num_classes`` None, the number of users is taken from the
            data and stored in the checkpoint.
        published_checkpoint: A published LightningDiT file to start training from; the label table is initialised
            from scratch if the number of classes differs.
        init_from: A training checkpoint to start from with more users, of the same network and tokenizer. Known users
            keep their rows of the label table and their mixtures, and stay users even if the data holds none of their
            latents; new users are added. Statistics stay those of the checkpoint.
        tokenizer_path: Tokenizer that decodes latents (see ``networks.tokenizers.load_tokenizer``); None uses the
            tokenizer of the training latents.
        learning_rate: Peak learning rate of AdamW.
        final_learning_rate_ratio: Learning rate at the end of the cosine, as a fraction of ``learning_rate``.
        warmup_steps: Steps of linear warm-up before the cosine.
        betas: Coefficients of AdamW's running averages.
        weight_decay: Weight decay of AdamW.
        time_distribution: Distribution of the training times.
        time_logit_mean: Mean of the logit of the times where they are logit-normal; below 0 trains more near the
            noise, where layout (speed, phase and rate of the steps) is decided.
        time_logit_deviation: Standard deviation of that logit.
        mixture_components: Gaussians per user of a mixture that leads the first part of sampling, see
            ``networks.transport.gaussian_mixture``. 0, as published: none.
        mixture_until: Time up to which the mixture leads; the network is trained and used for later times only.
        mixture_rank: Directions of each of these Gaussians.
        mixture_neighbours: Latents that each is fitted to; more than ``mixture_rank``.
        direction_loss_weight: Weight of the cosine term added to the mean squared error; published 1, 0 = off.
        noise_seed: Seed of noise, times and dropped labels in training.
        sampler: ``auto``, which is ``multistep`` (second order), the published ``euler``, ``heun``, or ``dopri5``
            (adaptive; one sample at a time, so that a sample does not depend on the others).
        num_steps: Evaluations of the network per sample: one per interval of the grid, by heun two. None is 25 for
            multistep, and 250 for euler and heun; the published 250 grid points are 249 evaluations. While guidance is
            active, an evaluation has twice the batch.
        time_shift: Shift of the grid of euler and heun towards the noise; published 0.3, 0 = none.
        guidance_scale: Scale of classifier-free guidance; 1 = none. About 1.5…4 with all channels guided;
            published 6.7 or 10 with 3.
        guidance_interval_start: Time from which guidance acts; published 0.125.
        guidance_interval_end: Time from which it no longer acts; published 1, to the end.
        guided_channels: Number of leading channels to guide; None guides all, 3 is the published recipe.
        sample_seed: Seed of the samples.
        compile: Compile the network with torch.compile.
        gradient_checkpointing: Recompute blocks in the backward pass: less memory, a third more time.
        zero_doppler_row: Place of zero Doppler in the images as a share of their height from the top, for the torso
            speed that ``test`` measures, 0.5 where the axis is symmetric; None takes it from the ``axes.json`` of the
            training images, or 0.8, as in simulated images, where there is none.
        shipped_weights: Name of a generator in the repository's ``weights`` to predict with where no training
            checkpoint is named; its sampling settings are those on its card.
        inception_weights: File of torch-fidelity's Inception weights for ``test``; None looks in torch's cache.
        log_gradients: Gradient norms to log, before clipping: ``none``, those of the ``parts`` of the network, or
            ``full``, those of each parameter too, with the ten largest at the end.
    """

    TAGS = ("spectrogram", "radar", "micro-doppler", "diffusion")

    latent_space: LatentSpace | None = None
    test_results: Results | None = None

    def __init__(
        self,
        network: LightningDiTConfig = LightningDiTConfig(),
        published_checkpoint: str | None = None,
        init_from: str | None = None,
        tokenizer_path: str | None = None,
        learning_rate: float = 1e-4,
        final_learning_rate_ratio: float = 0.1,
        warmup_steps: int = 0,
        betas: tuple[float, float] = (0.9, 0.95),
        weight_decay: float = 0.0,
        time_distribution: TimeDistribution = "logit_normal",
        time_logit_mean: float = 0.0,
        time_logit_deviation: float = 1.0,
        mixture_components: int = 0,
        mixture_until: float = 0.35,
        mixture_rank: int = 4,
        mixture_neighbours: int = 8,
        direction_loss_weight: float = 0.0,
        noise_seed: int = 0,
        sampler: Sampler = "auto",
        num_steps: int | None = None,
        time_shift: float = 0.3,
        guidance_scale: float = 4.0,
        guidance_interval_start: float = 0.125,
        guidance_interval_end: float = 1.0,
        guided_channels: int | None = None,
        sample_seed: int = 0,
        compile: bool = False,
        gradient_checkpointing: bool = False,
        zero_doppler_row: float | None = None,
        shipped_weights: str | None = None,
        inception_weights: str | None = None,
        log_gradients: GradientNorms = "parts",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_ranges("--model", self.hparams, RANGES)
        self.hparams["sampler"], self.hparams["num_steps"] = choose_sampling(sampler, num_steps)
        self.network_config = config_from(LightningDiTConfig, network)
        self.hparams["network"] = asdict(self.network_config)  # plain values, so that checkpoints hold no classes
        self.network: LightningDiT | None = None
        self.mixture: GaussianMixtureVelocity | None = None
        self.val_loss = MeanMetric(nan_strategy="disable")  # by default it leaves NaN out
        self._configured = self._has_weights = False
        self._tokenizer: list[Tokenizer] = []  # in a list, to keep it out of checkpoint, weight average and optimiser
        if self.network_config.num_classes is not None:
            self._build(self.network_config.num_classes)

    # --- life cycle -------------------------------------------------------------------------------------------

    def _build(self, num_classes: int) -> None:
        self.network_config = replace(self.network_config, num_classes=num_classes)
        self.hparams["network"] = asdict(self.network_config)
        try:
            self.network = LightningDiT(self.network_config, self.hparams["gradient_checkpointing"])
            if self.hparams["mixture_components"]:
                shape = self.network_config.in_channels, *self.network_config.grid
                sizes = (self.hparams[f"mixture_{name}"] for name in ("components", "rank", "neighbours"))
                self.mixture = GaussianMixtureVelocity(num_classes, shape, *sizes)
        except ValueError as error:
            raise InputError("--model.network", str(error), "Choose sizes that fit together.") from error

    def configure_model(self) -> None:
        """Take users and statistics from the data, and build the network for them.

        Raises:
            InputError: The data has other users or another latent shape than the model; or the strategy shards weights.
        """
        if self.device_mesh is not None:
            fault = "shards the network, but its weight average is kept whole on every device"
            raise InputError("--trainer.strategy", fault, "Use configs/overlays/ddp.yaml for this task.")
        trainer = trainer_of(self)
        if trainer is None:  # load_from_checkpoint; on_load_checkpoint builds the network
            return
        datamodule: Any = getattr(trainer, "datamodule", None)
        if self.latent_space is None and self.hparams["shipped_weights"] and not trainer.ckpt_path:
            self.print(self.use_shipped(self.hparams["shipped_weights"]))
        # The network of a checkpoint that was trained with init_from is built; its users come with its weights.
        is_restored = self.hparams["init_from"] is not None and self.network is not None
        if self.latent_space is None and hasattr(datamodule, "latent_space") and not is_restored:
            self.latent_space = datamodule.latent_space
            if self.hparams["init_from"]:
                self._add_users(datamodule, TrainedGenerator.read(self.hparams["init_from"]).space)
            self._check_against(self.require_latent_space(), datamodule.latent_shape)
        if self.network is None:
            if self.latent_space is None:
                fault = "is not set, and the data does not say how many users there are"
                raise InputError("--model.network.num_classes", fault, "Name a training checkpoint with --ckpt_path.")
            self._build(len(self.latent_space.user_ids))
        if self._configured:  # Lightning calls this twice if weights are averaged
            return
        self._configured = True
        network = self.require_network()
        if self.hparams["published_checkpoint"] and trainer.state.fn == "fit":
            # Here rather than when training starts, so that the weight average starts from it too.
            self.print(load_published(network, self.hparams["published_checkpoint"]))
        if trainer.state.fn == "fit" and not is_restored:
            new = self._load_known_users(self.hparams["init_from"]) if self.hparams["init_from"] else None
            if self.mixture is not None and not trainer.ckpt_path:
                latents, classes = datamodule.train_latents()
                self.mixture.fit(self.require_latent_space().normalise(latents), classes, new)
        if self.hparams["compile"]:
            network.compile()

    def use_shipped(self, name: str) -> str:
        """Take network, tokenizer and sampling settings of weights in the repository; return what they are."""
        weights = load_shipped(name)
        self._use(weights)
        return weights.summary()

    def _use(self, weights: ShippedWeights) -> None:
        self.network_config, state, self.latent_space, tokenizer = restore_generator(weights)
        card = weights.card
        self.hparams.update({name: card["mixture"][name] for name in MIXTURE if name in card["mixture"]})
        self.hparams.update({name: card["sampling"][name] for name in SHARED_SAMPLING if name in card["sampling"]})
        check_ranges("--model", self.hparams, RANGES)
        self._build(len(self.latent_space.user_ids))
        self.load_state_dict(state)
        self._tokenizer[:], self._has_weights = [tokenizer] if tokenizer is not None else [], True
        self.shipped = replace(weights, tensors={})

    def weights_to_share(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return network, mixtures, latent space and, if it is a LappedPCA, the tokenizer, with the sampling settings.

        Raises:
            InputError: The module has not been trained.
        """
        self.require_network()
        space = self.require_latent_space()
        try:
            tokenizer = self.tokenizer
        except InputError:  # without a tokenizer, or its file is not here
            tokenizer = None
        state = {key: value for key, value in self.state_dict().items() if key.startswith(("network.", "mixture."))}
        tensors, settings = generator_parts(state, self.network_config, space, tokenizer)
        settings["sampling"] = {name: self.hparams[name] for name in SHARED_SAMPLING}
        settings["mixture"] = {name: self.hparams[name] for name in MIXTURE}
        return tensors, settings

    @classmethod
    def from_weights(cls, weights: ShippedWeights) -> Self:
        """Build the module with the weights of a generator."""
        module = cls()
        try:
            module._use(weights)
        except (TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, InputError):
                raise
            reason = " ".join(str(error).split())[:200]
            raise InputError(weights.name, f"does not fit its own settings: {reason}", "Write it again.") from error
        return module

    def _add_users(self, datamodule: Any, known: LatentSpace) -> None:
        """Take the statistics of a checkpoint, and its users together with those of the data."""
        if self.hparams["published_checkpoint"]:
            remedy = "Leave one of them out."
            raise InputError("--model.init_from", "is set together with --model.published_checkpoint", remedy)
        self.latent_space = known.with_users_of(datamodule.latent_space)
        datamodule.number_users(self.latent_space.user_ids)

    def _load_known_users(self, path: str) -> list[int]:
        """Load a trained generator, and return the classes of users that it does not know."""
        start, space = TrainedGenerator.read(path), self.require_latent_space()
        start.check_same(self.network_config, self.hparams)
        self.load_state_dict(start.state_for(self.state_dict(), space.user_ids))
        new = start.new_classes(space.user_ids)
        added = ", ".join(str(user) for user in space.user_ids[new].tolist()) or "none"
        known = ", ".join(str(user) for user in start.space.user_ids.tolist())
        self.print(f"{path}: users {known} are known; new users: {added}. Its latent statistics are kept.")
        return new

    def _check_against(self, space: LatentSpace, shape: tuple[int, ...]) -> None:
        config = self.network_config
        expected = (config.in_channels, *config.grid)
        if shape != expected:
            remedy = (
                "Add --config configs/overlays/linear_latents.yaml for latents of LappedPCA; for others set "
                "--model.network.in_channels, input_size (height) and input_width to the latents' shape."
            )
            raise InputError("latents", f"have shape {shape}, but the model expects {expected}", remedy)
        if config.num_classes is not None and config.num_classes != len(space.user_ids):
            fault = f"is {config.num_classes}, but the data has {len(space.user_ids)} users"
            raise InputError("--model.network.num_classes", fault, "Leave it out to take it from the data.")

    def require_network(self) -> LightningDiT:
        """Return the network.

        Raises:
            InputError: It is not built yet, since neither data nor a checkpoint has named the users.
        """
        if self.network is None:
            fault = "has no network yet, since the number of users is not known"
            raise InputError("model", fault, "Train it, or load a training checkpoint with --ckpt_path.")
        return self.network

    def require_latent_space(self) -> LatentSpace:
        """Return statistics and users of the training.

        Raises:
            InputError: Neither data nor a checkpoint has provided them.
        """
        if self.latent_space is None:
            fault = "has no users and latent statistics yet"
            raise InputError("model", fault, "Train it, or load a training checkpoint with --ckpt_path.")
        return self.latent_space

    def on_fit_start(self) -> None:
        """Move the statistics to the device."""
        if self.latent_space is None and self.hparams["init_from"]:
            fault = "is set together with --model.init_from"
            raise InputError("--model.network.num_classes", fault, "Leave it out; known and new users are counted.")
        self._has_weights = True
        self.latent_space = self.require_latent_space().to(self.device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put users, statistics and the tokenizer's name into the checkpoint."""
        super().on_save_checkpoint(checkpoint)
        if self.latent_space is not None:
            checkpoint[CHECKPOINT_KEY] = self.latent_space.to_checkpoint()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take users and statistics from the checkpoint.

        Raises:
            InputError: It holds none, or training continues with different ones; or weights are not finite.
        """
        super().on_load_checkpoint(checkpoint)
        if CHECKPOINT_KEY not in checkpoint:
            remedy = "Use a checkpoint that `fit` of UserConditionedDiTModule wrote."
            raise InputError("checkpoint", "holds no users and latent statistics", remedy)
        stored, trainer = LatentSpace.from_checkpoint(checkpoint[CHECKPOINT_KEY]), trainer_of(self)
        datamodule: Any = getattr(trainer, "datamodule", None)
        if self.latent_space is None and hasattr(datamodule, "latent_space"):  # trained with init_from
            self._add_users(datamodule, stored)
            self._check_against(stored, datamodule.latent_shape)
        differences = [] if self.latent_space is None else stored.differences(self.latent_space)
        if differences:
            fault = f"was trained with other data: {', '.join(differences)} differ"
            remedy = "Continue with the latents it was trained on, or train from scratch."
            raise InputError("checkpoint", fault, remedy)
        self.latent_space, self._has_weights = stored, True
        if self.network is None:
            self._build(len(stored.user_ids))

    def configure_optimizers(self) -> Any:
        """Return AdamW with linear warm-up and cosine decay per step."""
        h: Any = self.hparams
        parameters = self.require_network().parameters()
        options = {"betas": tuple(h.betas), "weight_decay": h.weight_decay, "fused": self.fused_optimizer}
        optimizer = AdamW(parameters, h.learning_rate, **options)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = warmup_cosine(optimizer, steps, h.warmup_steps, h.final_learning_rate_ratio)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # --- training and validation ------------------------------------------------------------------------------

    def sample_losses(self, batch: NoisedLatentBatch) -> Tensor:
        """Compute the loss of each sample, (B,), in float32."""
        latents, t = self.require_latent_space().normalise(batch["latents"]), batch["times"]
        point, target = linear_path(latents, batch["noise"], t)
        velocity = self.require_network()(point, t, batch["classes"], batch.get("label_draws")).float()
        loss = velocity_loss(velocity, target)
        if self.hparams["direction_loss_weight"]:
            loss = loss + self.hparams["direction_loss_weight"] * direction_loss(velocity, target)
        return loss

    def _times_of_network(self, t: Tensor) -> Tensor:
        """Map times in (0, 1) to those that the network is used for."""
        start = self.hparams["mixture_until"] if self.mixture is not None else 0.0
        return start + (1 - start) * t

    def with_random_numbers(self, batch: LatentBatch) -> NoisedLatentBatch:
        """Draw noise, time, label dropout and mirroring of each sample, see :meth:`sample_generators`."""
        latents, h = batch["latents"], cast(Any, self.hparams)
        generators = self.sample_generators(h.noise_seed, len(latents))
        distribution = (h.time_distribution, self.device, h.time_logit_mean, h.time_logit_deviation)
        shape, device, dtype = latents.shape[1:], self.device, latents.dtype
        times = torch.cat([draw_times(1, *distribution, rng) for rng in generators])
        times = self._times_of_network(times)
        noise = torch.stack([torch.randn(shape, generator=rng, device=device, dtype=dtype) for rng in generators])
        uniform = torch.stack([torch.rand(2, generator=rng, device=device, dtype=dtype) for rng in generators])
        if "latents_flip" in batch:
            latents = torch.where(uniform[:, 0].view(-1, 1, 1, 1) < 0.5, batch["latents_flip"], latents)
        return {**batch, "latents": latents, "noise": noise, "times": times, "label_draws": uniform[:, 1]}

    def losses(self, batch: NoisedLatentBatch, processes: Processes = Processes()) -> dict[str, Tensor]:
        """Compute the mean loss of a batch; every process has as many samples."""
        return {"loss": self.sample_losses(batch).mean()}

    def log_losses(self, terms: Mapping[str, Tensor], batch_size: int) -> None:
        """Log the loss of each step and of each epoch."""
        loss = terms["loss"]
        self.log("train/loss_step", loss, prog_bar=True, on_step=True, on_epoch=False, batch_size=batch_size)
        self.log("train/loss_epoch", loss, on_step=False, on_epoch=True, batch_size=batch_size, sync_dist=True)

    def validation_step(self, batch: LatentBatch, batch_idx: int) -> None:
        """Log the loss under noise and at times that depend only on each latent's index in the split."""
        latents, indices = batch["latents"], batch["indices"]
        noise = torch.stack([seeded_noise(tuple(latents.shape[1:]), 0, index) for index in indices.tolist()])
        h: Any = self.hparams
        t = evaluation_times(indices.cpu(), h.time_distribution, h.time_logit_mean, h.time_logit_deviation)
        self.step_batch = {**batch, "noise": noise.to(latents), "times": self._times_of_network(t).to(latents)}
        losses = self.sample_losses(self.step_batch)
        self.step_terms = {"loss": losses.mean()}
        self.val_loss.update(losses, batch["weights"])
        self.log("val/loss", self.val_loss, prog_bar=True, on_step=False, on_epoch=True)

    # --- generation -------------------------------------------------------------------------------------------

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that decodes, loaded on first use and moved to the module's device.

        Raises:
            InputError: No tokenizer is known, or it did not make the training latents.
        """
        if not self._tokenizer:
            space = self.latent_space
            path = self.hparams["tokenizer_path"] or (space.tokenizer if space else "")
            if not path:
                fault = "is not set, and the latents do not say which tokenizer made them"
                raise InputError("--model.tokenizer_path", fault, "Name the tokenizer's file.")
            tokenizer = load_tokenizer(path)
            made_by = space.tokenizer_fingerprint if space else ""
            if made_by and tokenizer.fingerprint() != made_by:
                fault = "is not the tokenizer that made the training latents"
                raise InputError(path, fault, "Name the right one with --model.tokenizer_path.")
            self._tokenizer.append(tokenizer)
        return self._tokenizer[0].to(self.device)

    def generate(self, user_ids: Tensor, indices: Tensor) -> Tensor:
        """Draw spectrograms; each depends on ``sample_seed``, its user and its index.

        The noise is exactly reproducible, the result up to rounding: matrix products with other batch sizes or thread
        counts round differently in the last digits.

        Args:
            user_ids: (B,) as in the folder names.
            indices: (B,) number of the sample among its user's, from 0.

        Returns:
            (B, 3, H, W) uint8 on the module's device.

        Raises:
            InputError: A user was not in the training data, or the tokenizer is missing.
        """
        latents, noise = self.generate_latents(user_ids, indices), None
        if self.tokenizer.uses_noise:
            height, width = self.tokenizer.image_size(latents)
            pairs = zip(user_ids.tolist(), indices.tolist(), strict=True)
            seed = self.hparams["sample_seed"]
            noise = torch.stack([seeded_noise((3, height, width), seed, user, index, 1) for user, index in pairs])
            noise = noise.to(latents)
        with torch.no_grad():
            return to_uint8(self.tokenizer.decode(latents, noise))

    @torch.no_grad()
    def generate_latents(self, user_ids: Tensor, indices: Tensor) -> Tensor:
        """Draw latents (B, C, H, W) for the tokenizer to decode; see :meth:`generate`."""
        h: Any = self.hparams
        space, network, config = self.require_latent_space(), self.require_network(), self.network_config
        classes = space.classes(user_ids.cpu()).to(self.device)
        shape = (config.in_channels, *config.grid)
        pairs = zip(user_ids.tolist(), indices.tolist(), strict=True)
        noise = torch.stack([seeded_noise(shape, h.sample_seed, user, index) for user, index in pairs])
        noise = noise.to(self.device)
        # An adaptive step follows the hardest sample of its batch, so dopri5 takes them one at a time.
        size = 1 if h.sampler == "dopri5" else len(noise)
        was_training, parts = network.training, []
        network.eval()
        for start in range(0, len(noise), size):
            field, breaks = self.velocity(classes[start : start + size])
            rows = noise[start : start + size]
            parts.append(sample(field, rows, h.sampler, h.num_steps, h.time_shift, breaks))
        network.train(was_training)
        return space.denormalise(torch.cat(parts).float())

    def velocity(
        self, classes: Tensor, guidance: type[GuidedVelocity] = GuidedVelocity
    ) -> tuple[Velocity, list[float]]:
        """Return the velocity field for samples of the classes (B,), and the times where it is discontinuous.

        It is the mixture's, if there is one, and then the guided network's.
        """
        h: Any = self.hparams
        network, mixture = self.require_network(), self.mixture
        no_label = network.no_label if h.guidance_scale != 1 else None
        interval = h.guidance_interval_start, h.guidance_interval_end
        guided = guidance(network, classes, no_label, h.guidance_scale, *interval, h.guided_channels)
        until = h.mixture_until if mixture is not None else 0.0

        def velocity(t: float, x: Tensor) -> Tensor:
            if mixture is not None and t < until:
                leading: Tensor = mixture(x, x.new_full((len(x),), t), classes)
                return leading
            return guided(t, x)

        return velocity, [until, *(time for time in guided.breaks if time > until)]

    def predict_step(self, batch: SampleRequestBatch, batch_idx: int) -> Tensor:
        """Return spectrograms (B, 3, H, W) uint8 of the requested users."""
        return self.generate(batch["user_ids"], batch["indices"])

    # --- test -------------------------------------------------------------------------------------------------

    @property
    def zero_doppler_row(self) -> float:
        """Place of zero Doppler in the images as a share of their height from the top."""
        row: float | None = self.hparams["zero_doppler_row"]
        axes = self.latent_space.axes if self.latent_space else None
        if row is None and axes is not None:
            return min(max(axes.zero_doppler_row, 0.0), 1.0)
        return SIMULATED_ZERO_DOPPLER if row is None else row

    def on_test_start(self) -> None:
        """Start an evaluation.

        Raises:
            InputError: No checkpoint was given; a test of random weights says nothing.
        """
        if not self._has_weights:
            raise InputError("model", "has random weights", "Name a training checkpoint with --ckpt_path.")
        num_users, h = len(self.require_latent_space().user_ids), self.hparams
        self.evaluation = MicroDopplerEvaluation(
            num_users, h["inception_weights"], zero_doppler_row=self.zero_doppler_row
        )

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int) -> dict[str, Tensor] | None:
        """Collect real training images, real validation images, then the requested generated ones.

        Args:
            batch: :class:`SpectrogramBatch` from the first two loaders, :class:`SampleRequestBatch` from the third.
            batch_idx: Unused.
            dataloader_idx: Index of the loader.

        Returns:
            ``generated``, images (B, 3, H, W) uint8, from the third loader.
        """
        classes = self.require_latent_space().classes(batch["user_ids"])
        if dataloader_idx == 0:
            self.evaluation.add_real(batch["images"], classes, "train", batch["weights"])
        elif dataloader_idx == 1:
            self.evaluation.add_real(batch["images"], classes, "val", batch["weights"])
        else:
            images = self.generate(batch["user_ids"], batch["indices"])
            self.evaluation.add_generated(images, classes)
            return {"generated": images}
        return None

    def on_test_epoch_end(self) -> None:
        """Compare, on every process, and log; ``test_results`` holds the comparison for callbacks."""
        self.test_results = self.evaluation.compute()
        results = self.test_results.items()
        numbers = {f"test/{name}": float(value) for name, value in results if not isinstance(value, str)}
        for logger in self.loggers:  # not self.log_dict, which would print them a second time
            logger.log_metrics(numbers, step=self.global_step)
