"""Depth Pro, whole, ending in a layer index, and how its tensors are called in published checkpoints.

Source: Bochkovskii et al., "Depth Pro: Sharp Monocular Metric Depth in Less Than a Second", 2024 (arXiv 2410.02073);
with a layer index in place of depth: Maruani et al., "Illustrator's Depth", CVPR 2026 (arXiv 2511.17454). Tensor names
are the published ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from networks.checkpoints import PublishedTensor, same_names
from networks.depth_pro.decoder import Decoder
from networks.depth_pro.encoder import PATCH_SIZE, Encoder

_VITS = ("encoder.patch_encoder.", "encoder.image_encoder.")


class LayerIndexNet(nn.Module):
    """The layer index of an illustration: for every pixel how far up in the paint order its topmost layer is.

    The image is seen at three sizes through 35 overlapping windows, which all go through one ViT together
    (``encoder.patch_encoder``), and once as a whole through another (``encoder.image_encoder``). A convolutional
    decoder joins five levels of their features. Depth Pro's field-of-view branch is not here.

    With random weights the last bias starts at 0, so the index starts around 0.5. A published checkpoint brings
    Depth Pro's bias, that of an inverse depth, and gives Depth Pro's own numbers under a sigmoid; training that
    starts from one calls :meth:`restart_last_bias` after loading.

    Under autocast the network follows it; the sigmoid is taken in float32. ``network.compile()`` compiles it whole,
    in one graph.

    Args:
        vit: Name of a ViT in timm; patches become 16 pixels.
        embed_dim: Width of its tokens.
        depth: Its blocks.
        num_heads: Its attention heads.
        hook_blocks: Two blocks, counted from 0, rising, whose output over the windows of full resolution makes the
            finest level and the second finest.
        encoder_dims: Channels that tokens are reduced to for the levels: the two finest, then the third, fourth and
            fifth.
        decoder_features: Channels of the decoder, an even number.
        window: Side of a window in pixels, a multiple of 16 from 32; the images' side is four times that.
        init_values: Start of the ViTs' LayerScale; None takes the ViT's own, which for DINOv2 is 1e-5 and suits
            published weights. From random weights, strong branches (1.0) learn at once.
        gradient_checkpointing: Recompute each ViT block, each fusion of the decoder and the head in the backward
            pass, for memory.
        window_chunk_size: Windows, of any image of the batch, that go through the patch encoder at a time, for memory;
            None takes all 35 per image together. The result is the same. Helps where the ViT's temporaries are the
            peak; at the published sizes that is the decoder.

    Raises:
        ValueError: Sizes that do not fit together, or an unknown ViT.

    Example::

        network = LayerIndexNet()
        load_published(network, "depth_pro.pt")
        network.restart_last_bias()
        index = network((pictures - 0.5) / 0.5)
    """

    published_computed: ClassVar[tuple[str, ...]] = ()
    published_restartable: ClassVar[tuple[str, ...]] = ()
    published_dropped: ClassVar[Mapping[str, str]] = {
        r"fov\..*": "a layer index has no field of view",
        r"decoder\.fusions\.4\.resnet1\..*": "the coarsest level has none to join, so these weights are never used",
    }

    def __init__(
        self,
        vit: str = "vit_large_patch14_dinov2",
        embed_dim: int = 1024,
        depth: int = 24,
        num_heads: int = 16,
        hook_blocks: Sequence[int] = (5, 11),
        encoder_dims: Sequence[int] = (256, 512, 1024, 1024),
        decoder_features: int = 256,
        window: int = 384,
        *,
        init_values: float | None = None,
        gradient_checkpointing: bool = False,
        window_chunk_size: int | None = None,
    ) -> None:
        super().__init__()
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(f"num_heads {num_heads} does not divide embed_dim {embed_dim}")
        if len(hook_blocks) != 2 or not 0 <= hook_blocks[0] < hook_blocks[1] < depth:
            raise ValueError(f"hook_blocks {tuple(hook_blocks)} are not two rising blocks out of 0…{depth - 1}")
        if len(encoder_dims) != 4 or min(encoder_dims) < 1 or decoder_features < 2 or decoder_features % 2:
            raise ValueError(
                f"encoder_dims {tuple(encoder_dims)} must be four numbers of channels, and decoder_features "
                f"{decoder_features} an even one"
            )
        if window < 2 * PATCH_SIZE or window % PATCH_SIZE:
            raise ValueError(
                f"window {window} is no whole number of patches of {PATCH_SIZE} pixels, 2 at least; take 96, 128 or 384"
            )
        if window_chunk_size is not None and window_chunk_size < 1:
            raise ValueError(f"window_chunk_size {window_chunk_size} is below 1")
        self.image_size = 4 * window
        self.gradient_checkpointing = gradient_checkpointing
        hooks, full, half, low = encoder_dims
        self.encoder = Encoder(
            vit,
            embed_dim,
            depth,
            num_heads,
            (hook_blocks[0], hook_blocks[1]),
            (hooks, full, half, low),
            decoder_features,
            window,
            init_values,
            gradient_checkpointing,
            window_chunk_size,
        )
        self.decoder = Decoder((decoder_features, *encoder_dims), decoder_features, gradient_checkpointing)
        narrow = decoder_features // 2
        self.head = nn.Sequential(
            nn.Conv2d(decoder_features, narrow, 3, padding=1),
            nn.ConvTranspose2d(narrow, narrow, 2, stride=2),
            nn.Conv2d(narrow, 32, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 1, 1),
        )
        self.restart_last_bias()

    def restart_last_bias(self) -> None:
        """Set the last bias to 0: for training that starts from a Depth Pro checkpoint, after loading it."""
        nn.init.zeros_(self.head.get_parameter("4.bias"))

    def forward(self, image: Tensor) -> Tensor:
        """Estimate the layer index.

        Args:
            image: (B, 3, 4·window, 4·window), RGB normalised with mean 0.5 and standard deviation 0.5, so in −1…1.

        Returns:
            (B, 1, 4·window, 4·window) in 0…1, float32: 0 the background, 1 the foremost layer.

        Raises:
            ValueError: Images of another shape, or none.
        """
        features = self.decode(self.encode(image))
        if self.gradient_checkpointing:
            logits = checkpoint(self.head, features, use_reentrant=False, preserve_rng_state=False)
        else:
            logits = self.head(features)
        return logits.float().sigmoid()

    def encode(self, image: Tensor) -> list[Tensor]:
        """Five levels of features of images as :meth:`forward` takes them.

        Returns:
            The finest first, sides 2, 1, 1/2, 1/4 and 1/8 windows; channels ``decoder_features`` and
            ``encoder_dims``.

        Raises:
            ValueError: Images of another shape, or none.
        """
        if image.ndim != 4 or image.shape[1:] != (3, self.image_size, self.image_size) or not len(image):
            raise ValueError(
                f"images have shape {tuple(image.shape)}; this network takes (batch, 3, {self.image_size}, "
                f"{self.image_size}), batch at least 1; resize them"
            )
        return self.encoder(image.to(self.encoder.fuse_lowres.weight.dtype))

    def decode(self, levels: Sequence[Tensor]) -> Tensor:
        """Join the levels of :meth:`encode`: → (B, decoder_features, 2·window, 2·window), what ``head`` takes."""
        return self.decoder(levels)

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the two ViTs; with :meth:`decoder_parameters`, all, each once."""
        yield from self.encoder.patch_encoder.parameters()
        yield from self.encoder.image_encoder.parameters()

    def decoder_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of all that comes after the ViTs: upsampling, decoder and head."""
        yield from (parameter for name, parameter in self.named_parameters() if not name.startswith(_VITS))

    def published_tensors(self) -> Iterable[PublishedTensor]:
        """The network's tensors, all under their published names."""
        return same_names(self)
