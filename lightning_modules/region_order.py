"""Layer index of illustrations from the order of their colour regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.optim import AdamW

from batches.layers import IllustrationBatch, LayerBatch
from batches.regions import RegionBatch
from batches.trainer import datamodule_of, trainer_of
from decomposition.colour_regions import colour_regions
from decomposition.region_graph import RegionGraph, region_graph
from decomposition.region_pair_model import BoostedTrees, join_background, pair_model_heights
from decomposition.region_rules import RULES, rule_heights
from decomposition.repeated_parts import join_repeated_parts
from formats.errors import InputError
from formats.images import resize_rgb
from formats.ranges import AT_LEAST_0, check_ranges
from lightning_modules.evaluation_steps import EvaluationSteps
from lightning_modules.schedules import warmup_cosine
from lightning_modules.sharing import SharingMixin
from lightning_modules.training_steps import GradientNorms
from losses.layer_ranking import adjacent_pair_loss, ranking_loss, region_pair_weights
from losses.processes import Processes
from metrics.layer_order import LayerOrder
from metrics.region_order import RegionOrder
from networks.config import config_from
from networks.region_order import RegionOrderConfig, RegionOrderNet
from networks.shipped_weights import ShippedWeights, available, load_shipped

MAX_SIDE = 512  # pixels at which regions are found
PAIR_MODEL = "pair_model"  # baseline in the weights: the region-pair model on adjacent pairs
_INPUTS: tuple[Literal["regions", "mask", "pairs", "pair_features", "swapped_features"], ...] = (
    "regions",
    "mask",
    "pairs",
    "pair_features",
    "swapped_features",
)
_PAIR_INPUTS: tuple[Literal["pair_features", "swapped_features"], ...] = ("pair_features", "swapped_features")

RANGES = {
    "learning_rate": AT_LEAST_0,
    "weight_decay": AT_LEAST_0,
    "warmup_steps": AT_LEAST_0,
    "area_power": AT_LEAST_0,
    "background_weight": AT_LEAST_0,
    "contact_weight": AT_LEAST_0,
    "noise": AT_LEAST_0,
}


class RegionOrderModule(SharingMixin, EvaluationSteps):
    """Trains a `networks.region_order.RegionOrderNet` on region graphs, and predicts the layer index of images.

    An image is divided into regions of near-flat colour, whose shapes and contacts are measured; the network orders
    the regions, and the index of a pixel is that of its region. ``test`` reports simple rules and the region-pair model
    on adjacent pairs, which is part of the weights, next to the network.

    Without ``--ckpt_path``, evaluation and prediction use weights from the repository: networks of several seeds and
    the region-pair model, whose normalised heights are averaged.

    Args:
        network: Sizes of the network.
        weights: Weights from the repository, used where no training checkpoint is given.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Weight decay of AdamW, for matrices.
        warmup_steps: Steps in which the learning rate rises linearly.
        area_power: Pairs of regions count by the product of their areas to this power.
        background_weight: Weight of the ranking loss that includes pairs with the background.
        contact_weight: Weight of the loss over adjacent regions, by the root of their common boundary.
        noise: Standard deviation of noise on the measurements in training, in units of their spread.
        log_gradients: Gradient norms to log, before clipping: ``none``, those of the ``parts`` of the network, or
            ``full``, those of each parameter too, with the ten largest at the end.
    """

    TAGS = ("image-segmentation", "layer-order")

    def __init__(
        self,
        network: RegionOrderConfig = RegionOrderConfig(),
        weights: str = "region_order",
        learning_rate: float = 1.5e-3,
        weight_decay: float = 0.02,
        warmup_steps: int = 100,
        area_power: float = 0.7,
        background_weight: float = 0.4,
        contact_weight: float = 0.4,
        noise: float = 0.05,
        log_gradients: GradientNorms = "parts",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_ranges("--model", self.hparams, RANGES)
        self.network_config = config_from(RegionOrderConfig, network)
        self.hparams["network"] = asdict(self.network_config)  # plain values, which weights_only=True reads
        self.network = RegionOrderNet(self.network_config)
        self.order, self.region_order = LayerOrder(), RegionOrder()
        self.baseline_orders = torch.nn.ModuleDict({name: LayerOrder() for name in (*RULES, PAIR_MODEL)})
        self.other_networks = torch.nn.ModuleList()  # of the weights from the repository
        self.pair_model: BoostedTrees | None = None
        self._has_weights = self._averages_pair_model = False

    # --- life cycle ---

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note that the weights come from training."""
        super().on_load_checkpoint(checkpoint)
        self._has_weights = True

    def on_fit_start(self) -> None:
        """Normalise measurements by their mean and spread in the training data."""
        if not self._has_weights:
            batches: list[RegionBatch] = list(datamodule_of(self.trainer, LightningDataModule).train_dataloader())
            regions = torch.cat([batch["regions"][batch["mask"]] for batch in batches])
            pairs = [features for batch in batches for features in (batch["pair_features"], batch["swapped_features"])]
            self.network.set_statistics(regions, torch.cat(pairs))
        self._has_weights = True

    def use_shipped_weights(self) -> None:
        """Load the weights from the repository, unless the network has others.

        Raises:
            InputError: The weights are missing or damaged, or do not fit the network.
        """
        if self._has_weights:
            return
        shipped = load_shipped(self.hparams["weights"])
        self.use_parts(shipped.tensors, f"weights '{shipped.name}'")
        self.shipped = replace(shipped, tensors={})
        say = print if trainer_of(self) is None else self.print
        say(shipped.summary())

    def use_parts(self, tensors: Mapping[str, Tensor], where: str) -> None:
        """Take networks in place of the network's own weights, and the region-pair model next to them.

        Args:
            tensors: ``networks.<n>.…``, state dicts; ``pair_model.…``, arrays of `BoostedTrees`.
            where: Source of the tensors, for messages.

        Raises:
            InputError: A network does not have the sizes of this one.
        """
        networks = numbered_parts(tensors, "networks")
        self.other_networks = torch.nn.ModuleList(RegionOrderNet(self.network_config) for _ in networks[1:])
        try:
            for network, state in zip(self._networks(), networks, strict=False):
                network.load_state_dict(state)
        except RuntimeError as error:
            remedy = "Leave --model.network as it is."
            raise InputError(where, "does not fit the sizes of the network", remedy) from error
        self._use_pair_model(tensors)
        self._has_weights = self._averages_pair_model = True
        self.other_networks.train(self.training).to(self.device)

    def _use_pair_model(self, tensors: Mapping[str, Tensor]) -> None:
        part = prefixed(tensors, f"{PAIR_MODEL}.")
        arrays = {name: value.numpy() for name, value in part.items()}
        self.pair_model = BoostedTrees.from_arrays(arrays) if part else None

    def weights_to_share(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the networks, and the region-pair model if its heights are averaged with theirs."""
        tensors = {
            f"networks.{number}.{name}": value
            for number, network in enumerate(self._networks())
            for name, value in network.state_dict().items()
        }
        if self._averages_pair_model and self.pair_model is not None:
            arrays: dict[str, NDArray[np.generic]] = vars(self.pair_model)
            tensors |= {f"{PAIR_MODEL}.{name}": torch.from_numpy(value) for name, value in arrays.items()}
        return tensors, {"network": self.hparams["network"]}

    @classmethod
    def from_weights(cls, weights: ShippedWeights) -> Self:
        """Build the module with such networks."""
        module = cls(config_from(RegionOrderConfig, weights.card["network"]))
        module.use_parts(weights.tensors, f"weights '{weights.name}'")
        return module

    def _networks(self) -> list[RegionOrderNet]:
        return [self.network, *(cast(RegionOrderNet, network) for network in self.other_networks)]

    def on_validation_start(self) -> None:
        """Use weights from the repository where no others were given."""
        self.use_shipped_weights()

    def on_test_start(self) -> None:
        """Use weights from the repository where no others were given, and always their region-pair model."""
        self.use_shipped_weights()
        if self.pair_model is None and self.hparams["weights"] in available():
            self._use_pair_model(load_shipped(self.hparams["weights"]).tensors)

    def configure_optimizers(self) -> Any:
        """AdamW with decay for matrices only; linear warm-up and cosine decay per step."""
        h: Any = self.hparams
        matrices = [value for value in self.network.parameters() if value.ndim > 1]
        others = [value for value in self.network.parameters() if value.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": h.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimizer = AdamW(groups, lr=h.learning_rate, betas=(0.9, 0.98), fused=self.fused_optimizer)
        schedule = warmup_cosine(optimizer, int(self.trainer.estimated_stepping_batches), h.warmup_steps, 0.0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # --- steps ---

    def with_random_numbers(self, batch: RegionBatch) -> RegionBatch:
        """Add noise to the measurements."""
        noisy, noise = batch.copy(), self.hparams["noise"]
        noisy["regions"] = batch["regions"] + noise * torch.randn_like(batch["regions"]) * self.network.region_scale
        for name in _PAIR_INPUTS:
            noisy[name] = batch[name] + noise * torch.randn_like(batch[name]) * self.network.pair_scale
        return noisy

    def losses(self, batch: RegionBatch, processes: Processes = Processes()) -> dict[str, Tensor]:
        """Compute the ranking losses of a batch."""
        heights, logits = self.network(*(batch[name] for name in _INPUTS))
        return self.ranking_losses(batch, heights, logits, processes)

    def rows(self, batch: RegionBatch) -> list[RegionBatch]:
        """Return nothing, since the pairs of a batch cannot be told apart by row."""
        return []

    def ranking_losses(
        self, batch: RegionBatch, heights: Tensor, logits: Tensor, processes: Processes = Processes()
    ) -> dict[str, Tensor]:
        """Ranking losses of predicted heights (B, N) and pair logits (P,), by name."""
        h: Any = self.hparams
        areas = batch["areas"] ** h.area_power
        foreground, everything = (
            ranking_loss(
                heights, region_pair_weights(batch["orders"], areas, batch["mask"], with_background), processes
            )
            for with_background in (False, True)
        )
        first, second = batch["pairs"].T
        orders, flat, weights = batch["orders"].flatten(), heights.flatten(), batch["contacts"].sqrt()
        contact = sum(
            adjacent_pair_loss(values, orders[first], orders[second], weights, processes)
            for values in (flat[first] - flat[second], logits)
        )
        total = foreground + h.background_weight * everything + h.contact_weight * contact
        return {"loss": total, "foreground": foreground, "all": everything, "contact": torch.as_tensor(contact)}

    def evaluate(self, batch: RegionBatch | LayerBatch) -> None:
        """Add a batch to the losses and metrics: of regions in validation, of images in test."""
        if "images" in batch:
            self._evaluate_images(cast(LayerBatch, batch))
        else:
            heights, logits = self.network(*(batch[name] for name in _INPUTS))
            terms = self.ranking_losses(batch, heights, logits)
            self.add_losses(terms, batch["mask"].any(1).sum())
            self.region_order.update(heights, batch["orders"], batch["areas"], batch["mask"])

    def _evaluate_images(self, batch: LayerBatch) -> None:
        for row in torch.nonzero(batch["weights"] > 0)[:, 0].tolist():
            pixels = batch["images"][row].permute(1, 2, 0).cpu().numpy()
            labels = colour_regions(pixels)
            truth = [
                part[row, None] for part in (batch["orders"], batch["layer_counts"], batch["masks"], batch["weights"])
            ]
            graph = region_graph(pixels, labels)
            for name, heights in {"": self.graph_heights(graph), **self.baseline_heights(graph)}.items():
                metric = cast(LayerOrder, self.baseline_orders[name] if name else self.order)
                metric.update(paint(heights, labels)[None].to(self.device), *truth)

    def metrics(self) -> tuple[LayerOrder | RegionOrder, ...]:
        """Metrics of the order of layers."""
        trainer = trainer_of(self)
        return (self.order,) if trainer is not None and trainer.testing else (self.region_order,)

    def on_test_epoch_end(self) -> None:
        """Log the measures of the network as ``test/…``, and those of each baseline as ``test/<baseline>/…``."""
        super().on_test_epoch_end()
        for baseline, metric in self.baseline_orders.items():
            assert isinstance(metric, LayerOrder)
            if baseline == PAIR_MODEL and self.pair_model is None:
                continue
            values = metric.compute()
            for name in ("foreground_order_accuracy", "order_accuracy", "neighbour_order_accuracy", "boundary_f1"):
                self.log(f"test/{baseline}/{name}", values[name].float(), rank_zero_only=False, sync_dist=False)
            metric.reset()

    # --- prediction ---

    @torch.no_grad()
    def graph_heights(self, graph: RegionGraph) -> NDArray[np.float64]:
        """Order the regions of an image; heights (N,), larger in front."""
        return join_background(graph, np.sum(self.member_heights(graph), 0))

    def member_heights(self, graph: RegionGraph) -> list[NDArray[np.float64]]:
        """Heights (N,) by each network, and by the region-pair model of the weights, normalised."""
        heights = self.network_heights(graph)
        if self._averages_pair_model and self.pair_model is not None:
            heights.append(normalised(pair_model_heights(graph, self.pair_model)))
        return heights

    @torch.no_grad()
    def network_heights(self, graph: RegionGraph) -> list[NDArray[np.float64]]:
        """Heights (N,) by each network, normalised to mean 0 and standard deviation 1."""
        values = (graph.regions[None], np.ones((1, len(graph.regions)), np.bool_), graph.pairs.astype(np.int64))
        tensors = [torch.from_numpy(value) for value in (*values, graph.pair_features, graph.swapped_features)]
        inputs = [tensor.to(self.device) for tensor in tensors]
        return [normalised(network(*inputs)[0][0].double().cpu().numpy()) for network in self._networks()]

    def baseline_heights(self, graph: RegionGraph) -> dict[str, NDArray[np.float64]]:
        """Heights (N,) by the rules, and by the region-pair model if the weights hold it."""
        heights = rule_heights(graph)
        if self.pair_model is not None:
            heights[PAIR_MODEL] = pair_model_heights(graph, self.pair_model)
        return heights

    @torch.no_grad()
    def predict_index(self, images: Tensor) -> Tensor:
        """Estimate the layer index in 0…1, (B, H, W) float32, of images (B, 3, H, W) uint8 of any size."""
        self.use_shipped_weights()
        was_training = self.training
        self.eval()
        result = []
        for image in images:
            pixels = image.permute(1, 2, 0).cpu().numpy()
            scale = MAX_SIDE / max(pixels.shape[:2])
            if scale < 1:
                pixels = resize_rgb(pixels, *(max(1, round(side * scale)) for side in pixels.shape[:2]))
            labels = colour_regions(pixels)
            index = paint(self._layer_heights(pixels, labels), labels)[None, None]
            result.append(F.interpolate(index, image.shape[1:], mode="nearest")[0, 0])
        self.train(was_training)
        return torch.stack(result)

    def _layer_heights(self, pixels: NDArray[np.uint8], labels: NDArray[np.int32]) -> NDArray[np.float64]:
        if not labels.any():
            return np.zeros(1)
        graph = region_graph(pixels, labels)
        return join_repeated_parts(graph, self.graph_heights(graph))

    def predict_step(self, batch: IllustrationBatch, batch_idx: int) -> Tensor:
        """Estimate the layer index (H, W) of an image on white; that of an SVG file is exact."""
        if "orders" in batch:
            return batch["orders"] / batch["orders"].max().clamp(min=1)
        return self.predict_index(batch["rgb"][None])[0]


def paint(heights: NDArray[np.float64], labels: NDArray[np.int32]) -> Tensor:
    """Give every pixel the height of its region, stretched to 0…1; (H, W) float32."""
    low, high = float(heights.min()), float(heights.max())
    return torch.from_numpy(((heights - low) / max(high - low, 1e-12)).astype(np.float32)[labels])


def normalised(heights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shift and scale heights to mean 0 and standard deviation 1."""
    return np.asarray((heights - heights.mean()) / max(float(heights.std()), 1e-6))


def prefixed(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def numbered_parts(tensors: Mapping[str, Tensor], name: str) -> list[dict[str, Tensor]]:
    """Return the parts ``<name>.0.…``, ``<name>.1.…`` of tensors, without these prefixes."""
    parts: list[dict[str, Tensor]] = []
    while part := prefixed(tensors, f"{name}.{len(parts)}."):
        parts.append(part)
    return parts
