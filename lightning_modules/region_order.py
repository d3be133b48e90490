"""Layer index of illustrations from the order of their colour regions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal, cast

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
from formats.errors import InputError
from formats.images import resize_rgb
from formats.ranges import AT_LEAST_0, check_ranges
from lightning_modules.evaluation_steps import EvaluationSteps
from lightning_modules.schedules import warmup_cosine
from losses.layer_ranking import adjacent_pair_loss, ranking_loss, region_pair_weights
from losses.processes import Processes
from metrics.layer_order import LayerOrder
from metrics.region_order import RegionOrder
from networks.config import config_from
from networks.region_order import RegionOrderConfig, RegionOrderNet
from networks.shipped_weights import load_shipped

MAX_SIDE = 512  # pixels at which regions are found
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


class RegionOrderModule(EvaluationSteps):
    """Trains a `networks.region_order.RegionOrderNet` on region graphs, and predicts the layer index of images.

    An image is divided into regions of near-flat colour, whose shapes and contacts are measured; the network orders
    the regions, and the index of a pixel is that of its region. ``test`` reports simple rules next to the network.

    Without ``--ckpt_path``, evaluation and prediction use weights from the repository: a network, boosted trees on
    pairs of regions (`decomposition.region_pair_model`), or both, whose heights are then averaged.

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
    """

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
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_ranges("--model", self.hparams, RANGES)
        self.network_config = config_from(RegionOrderConfig, network)
        self.hparams["network"] = asdict(self.network_config)  # plain values, which weights_only=True reads
        self.network = RegionOrderNet(self.network_config)
        self.order, self.region_order = LayerOrder(), RegionOrder()
        self.rule_orders = torch.nn.ModuleDict({rule: LayerOrder() for rule in RULES})
        self.trees: BoostedTrees | None = None
        self.has_network = self._has_weights = False

    # --- life cycle ---

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note that the weights come from training."""
        super().on_load_checkpoint(checkpoint)
        self.has_network = self._has_weights = True

    def on_fit_start(self) -> None:
        """Normalise measurements by their mean and spread in the training data."""
        if not self._has_weights:
            batches: list[RegionBatch] = list(datamodule_of(self.trainer, LightningDataModule).train_dataloader())
            regions = torch.cat([batch["regions"][batch["mask"]] for batch in batches])
            pairs = [features for batch in batches for features in (batch["pair_features"], batch["swapped_features"])]
            self.network.set_statistics(regions, torch.cat(pairs))
        self.has_network = self._has_weights = True

    def use_shipped_weights(self) -> None:
        """Load the weights from the repository, unless the network has others.

        Raises:
            InputError: The weights are missing or damaged, or do not fit the network.
        """
        if self._has_weights:
            return
        shipped = load_shipped(self.hparams["weights"])
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "trees": {}}
        for name, tensor in shipped.tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        if parts["network"]:
            try:
                self.network.load_state_dict(parts["network"])
            except RuntimeError as error:
                fault = "does not fit the sizes of the network"
                raise InputError(f"weights '{shipped.name}'", fault, "Leave --model.network as it is.") from error
        if parts["trees"]:
            self.trees = BoostedTrees.from_arrays({name: value.numpy() for name, value in parts["trees"].items()})
        self.has_network, self._has_weights = bool(parts["network"]), True
        say = print if trainer_of(self) is None else self.print
        say(shipped.summary())

    def on_validation_start(self) -> None:
        """Use weights from the repository where no others were given."""
        self.use_shipped_weights()

    def on_test_start(self) -> None:
        """Use weights from the repository where no others were given."""
        self.use_shipped_weights()

    def configure_optimizers(self) -> Any:
        """AdamW with decay for matrices only; linear warm-up and cosine decay per step."""
        h: Any = self.hparams
        matrices = [value for value in self.network.parameters() if value.ndim > 1]
        others = [value for value in self.network.parameters() if value.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": h.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimizer = AdamW(groups, lr=h.learning_rate, betas=(0.9, 0.98))
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
        return self.ranking_losses(batch, *self.network(*(batch[name] for name in _INPUTS)), processes)

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
            indices = {"": self.graph_heights(region_graph(pixels, labels)), **rule_heights(pixels, labels)}
            for name, heights in indices.items():
                metric = cast(LayerOrder, self.rule_orders[name] if name else self.order)
                metric.update(paint(heights, labels)[None].to(self.device), *truth)

    def metrics(self) -> tuple[LayerOrder | RegionOrder, ...]:
        """Metrics of the order of layers."""
        trainer = trainer_of(self)
        return (self.order,) if trainer is not None and trainer.testing else (self.region_order,)

    def on_test_epoch_end(self) -> None:
        """Log the measures of the network as ``test/…``, and those of each rule as ``test/<rule>/…``."""
        super().on_test_epoch_end()
        for rule, metric in self.rule_orders.items():
            assert isinstance(metric, LayerOrder)
            values = metric.compute()
            for name in ("foreground_order_accuracy", "order_accuracy", "neighbour_order_accuracy", "boundary_f1"):
                self.log(f"test/{rule}/{name}", values[name].float(), rank_zero_only=False, sync_dist=False)
            metric.reset()

    # --- prediction ---

    @torch.no_grad()
    def graph_heights(self, graph: RegionGraph) -> NDArray[np.float64]:
        """Order the regions of an image; heights (N,), larger in front."""
        heights = []
        if self.trees is not None:
            heights.append(pair_model_heights(graph, self.trees))
        if self.has_network or self.trees is None:
            heights.append(self._network_heights(graph))
        total = heights[0]
        if len(heights) > 1:
            total = np.asarray(sum((values - values.mean()) / max(float(values.std()), 1e-6) for values in heights))
        return join_background(graph, total)

    def _network_heights(self, graph: RegionGraph) -> NDArray[np.float64]:
        values = (graph.regions[None], np.ones((1, len(graph.regions)), np.bool_), graph.pairs.astype(np.int64))
        tensors = [torch.from_numpy(value) for value in (*values, graph.pair_features, graph.swapped_features)]
        heights, _ = self.network(*(tensor.to(self.device) for tensor in tensors))
        return np.asarray(heights[0].double().cpu().numpy())

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
            heights = self.graph_heights(region_graph(pixels, labels)) if labels.any() else np.zeros(1)
            index = paint(heights, labels)[None, None]
            result.append(F.interpolate(index, image.shape[1:], mode="nearest")[0, 0])
        self.train(was_training)
        return torch.stack(result)

    def predict_step(self, batch: IllustrationBatch, batch_idx: int) -> Tensor:
        """Estimate the layer index (H, W) of an image on white; that of an SVG file is exact."""
        if "orders" in batch:
            return batch["orders"] / batch["orders"].max().clamp(min=1)
        return self.predict_index(batch["rgb"][None])[0]


def paint(heights: NDArray[np.float64], labels: NDArray[np.int32]) -> Tensor:
    """Give every pixel the height of its region, stretched to 0…1; (H, W) float32."""
    low, high = float(heights.min()), float(heights.max())
    return torch.from_numpy(((heights - low) / max(high - low, 1e-12)).astype(np.float32)[labels])
