"""Depth Pro with a layer index head, and the mapping of its tensors to published checkpoints.

Source: Bochkovskii et al., "Depth Pro: Sharp Monocular Metric Depth in Less Than a Second", 2024 (arXiv 2410.02073);
layer index in place of depth: Maruani et al., "Illustrator's Depth", CVPR 2026 (arXiv 2511.17454). Tensor names
are the published ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from networks.checkpoints import PublishedTensor, same_names
from networks.depth_pro.config import DepthProConfig
from networks.depth_pro.decoder import Decoder
from networks.depth_pro.encoder import Encoder

_VITS = ("encoder.patch_encoder.", "encoder.image_encoder.")


class LayerIndexNet(nn.Module):
    """Estimates the layer index of an illustration: the relative paint order of the topmost layer at every pixel.

    35 overlapping windows of the image at three resolutions pass through one ViT as a batch
    (``encoder.patch_encoder``), and the downsampled image passes through another (``encoder.image_encoder``). A
    convolutional decoder joins five levels of their features. Depth Pro's field-of-view branch is left out.

    With random weights the last bias is 0, so the index starts around 0.5. A published checkpoint has the bias of an
    inverse depth; training that starts from one calls :meth:`reset_last_bias` after loading.

    The network follows autocast, except for the sigmoid, which is computed in float32. ``network.compile()`` compiles
    it in one graph.

    Args:
        config: Sizes.
        gradient_checkpointing: Recompute ViT blocks, fusions of the decoder and the head in the backward pass, to save
            memory.
        window_chunk_size: Number of windows that pass through the patch encoder at a time, to save memory; None takes
            all 35 per image together. The result is the same. At the published size the decoder needs most memory,
            so chunks save nothing.

    Raises:
        ValueError: The sizes do not fit together, or the ViT is unknown.

    Example:
        >>> import torch
        >>> from networks.depth_pro import PRESETS
        >>> network = LayerIndexNet(PRESETS["tiny"])
        >>> network(torch.zeros(1, 3, 384, 384)).shape
        torch.Size([1, 1, 384, 384])
    """

    published_computed: ClassVar[tuple[str, ...]] = ()
    published_restartable: ClassVar[tuple[str, ...]] = ()
    published_dropped: ClassVar[Mapping[str, str]] = {
        r"fov\..*": "a layer index has no field of view",
        r"decoder\.fusions\.4\.resnet1\..*": "never used, since the coarsest level has no skip connection",
    }

    def __init__(
        self,
        config: DepthProConfig = DepthProConfig(),
        *,
        gradient_checkpointing: bool = False,
        window_chunk_size: int | None = None,
    ) -> None:
        super().__init__()
        config.check()
        if window_chunk_size is not None and window_chunk_size < 1:
            raise ValueError(f"window_chunk_size must be at least 1, not {window_chunk_size}")
        self.config, self.image_size = config, 4 * config.window
        self.gradient_checkpointing = gradient_checkpointing
        self.encoder = Encoder(config, gradient_checkpointing, window_chunk_size)
        features = config.decoder_features
        self.decoder = Decoder((features, *config.encoder_dims), features, gradient_checkpointing)
        narrow = features // 2
        self.head = nn.Sequential(
            nn.Conv2d(features, narrow, 3, padding=1),
            nn.ConvTranspose2d(narrow, narrow, 2, stride=2),
            nn.Conv2d(narrow, 32, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 1, 1),
        )
        self.reset_last_bias()

    def reset_last_bias(self) -> None:
        """Set the last bias to 0, after loading a Depth Pro checkpoint to train from."""
        nn.init.zeros_(self.head.get_parameter("4.bias"))

    def forward(self, image: Tensor) -> Tensor:
        """Estimate the layer index.

        Args:
            image: (B, 3, 4·window, 4·window), RGB in −1…1 (mean 0.5, standard deviation 0.5).

        Returns:
            (B, 1, 4·window, 4·window) in 0…1, float32; 0 is the background, 1 the foremost layer.

        Raises:
            ValueError: The images have another shape, or the batch is empty.
        """
        features = self.decode(self.encode(image))
        if self.gradient_checkpointing:
            logits: Tensor = checkpoint(self.head, features, use_reentrant=False, preserve_rng_state=False)
        else:
            logits = self.head(features)
        return logits.float().sigmoid()

    def encode(self, image: Tensor) -> list[Tensor]:
        """Compute five levels of features of images.

        Args:
            image: As for :meth:`forward`.

        Returns:
            Levels with sides of 2, 1, 1/2, 1/4 and 1/8 windows, the finest first; channels ``decoder_features``, then
            ``encoder_dims``.

        Raises:
            ValueError: The images have another shape, or the batch is empty.
        """
        if image.ndim != 4 or image.shape[1:] != (3, self.image_size, self.image_size) or not len(image):
            raise ValueError(
                f"images have shape {tuple(image.shape)}; this network takes (batch, 3, {self.image_size}, "
                f"{self.image_size}), batch at least 1; resize them"
            )
        levels: list[Tensor] = self.encoder(image.to(self.encoder.fuse_lowres.weight.dtype))
        return levels

    def decode(self, levels: Sequence[Tensor]) -> Tensor:
        """Join the levels of :meth:`encode` → (B, decoder_features, 2·window, 2·window), the input of ``head``."""
        features: Tensor = self.decoder(levels)
        return features

    def transformer_blocks(self) -> Iterator[nn.Module]:
        """Blocks of the two ViTs."""
        for encoder in (self.encoder.patch_encoder, self.encoder.image_encoder):
            yield from encoder.blocks

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the two ViTs."""
        yield from self.encoder.patch_encoder.parameters()
        yield from self.encoder.image_encoder.parameters()

    def decoder_parameters(self) -> Iterator[nn.Parameter]:
        """All other parameters: upsampling, decoder and head."""
        yield from (parameter for name, parameter in self.named_parameters() if not name.startswith(_VITS))

    def published_tensors(self) -> Iterable[PublishedTensor]:
        """The network's tensors; names are the published ones."""
        return same_names(self)
