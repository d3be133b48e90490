"""Networks as graphs for other programs: ONNX, and torch.export for C++ and mobile runtimes.

A graph has fixed sizes, except the batch of LightningDiT. It is compared with the network after writing.
"""

from __future__ import annotations

import importlib.util
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from formats.disk_faults import disk_fault
from formats.errors import InputError
from networks.depth_pro import LayerIndexNet
from networks.lightning_dit import LightningDiT
from networks.tokenizers import Tokenizer
from networks.vggt import VGGT

TOLERANCE = 1e-4
ONNX, PT2 = ".onnx", ".pt2"
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
ONE_FILE = 1_900_000_000  # bytes; ONNX files are limited to 2 GB, and larger weights go to a second file

Inputs = dict[str, Tensor]
Runner = Callable[[Inputs], Sequence[Tensor]]


@dataclass(frozen=True)
class NetworkGraph:
    """A network as a function of tensors.

    Attributes:
        module: Takes the inputs in their order and returns the outputs in theirs.
        draw: Makes random inputs from a batch size and a generator, by name.
        outputs: Names of the outputs.
        batch_size: Batch size of the graph.
        any_batch: Whether the graph takes other batch sizes too.
    """

    module: nn.Module
    draw: Callable[[int, torch.Generator], Inputs]
    outputs: tuple[str, ...]
    batch_size: int = 1
    any_batch: bool = False


class _Velocity(nn.Module):
    def __init__(self, network: LightningDiT) -> None:
        super().__init__()
        self.network = network

    def forward(self, latents: Tensor, times: Tensor, classes: Tensor) -> tuple[Tensor]:
        return (self.network(latents, times, classes),)


class _Scene(nn.Module):
    def __init__(self, network: VGGT) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output = self.network(images)
        return output["pose_enc_list"][-1], output["depth"][..., 0], output["depth_conf"]


class _LayerIndex(nn.Module):
    def __init__(self, network: LayerIndexNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.network(images),)


class _Decoder(nn.Module):
    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def forward(self, latents: Tensor) -> tuple[Tensor]:
        return (self.tokenizer.decode(latents),)


def velocity_graph(network: LightningDiT) -> NetworkGraph:
    """Describe LightningDiT: ``latents`` (B, C, H, W), ``times`` (B,) in 0…1, ``classes`` (B,) int64 → ``velocity``."""
    config = network.config
    rows = network.y_embedder.embedding_table.num_embeddings

    def draw(batch_size: int, rng: torch.Generator) -> Inputs:
        return {
            "latents": torch.randn(batch_size, config.in_channels, *config.grid, generator=rng),
            "times": torch.rand(batch_size, generator=rng),
            "classes": torch.randint(rows, (batch_size,), generator=rng),
        }

    # Sizes of 0 and 1 would be taken as fixed.
    return NetworkGraph(_Velocity(network), draw, ("velocity",), batch_size=2, any_batch=True)


def scene_graph(network: VGGT, height: int, width: int, views: int = 2, batch_size: int = 1) -> NetworkGraph:
    """Describe VGGT.

    Inputs: ``images`` (B, V, 3, H, W) in 0…1. Outputs: ``pose_encoding`` (B, V, 9), ``depth`` and ``confidence``
    (B, V, H, W).

    Raises:
        ValueError: The network lacks the camera head or the depth head.
    """
    if network.camera_head is None or network.depth_head is None:
        raise ValueError("the camera head and the depth head are needed")

    def draw(count: int, rng: torch.Generator) -> Inputs:
        return {"images": torch.rand(count, views, 3, height, width, generator=rng)}

    return NetworkGraph(_Scene(network), draw, ("pose_encoding", "depth", "confidence"), batch_size)


def layer_index_graph(network: LayerIndexNet, batch_size: int = 1) -> NetworkGraph:
    """Describe the layer index network: ``images`` (B, 3, S, S) in −1…1 → ``index`` (B, 1, S, S) in 0…1."""

    def draw(count: int, rng: torch.Generator) -> Inputs:
        return {"images": 2 * torch.rand(count, 3, network.image_size, network.image_size, generator=rng) - 1}

    return NetworkGraph(_LayerIndex(network), draw, ("index",), batch_size)


def decoder_graph(tokenizer: Tokenizer, height: int = 256, width: int = 256, batch_size: int = 1) -> NetworkGraph:
    """Describe the decoder of a KL autoencoder: ``latents`` (B, C, h, w) → ``images`` (B, 3, H, W) in −1…1."""
    shape = tokenizer.latent_shape(height, width)

    def draw(count: int, rng: torch.Generator) -> Inputs:
        return {"latents": torch.randn(count, *shape, generator=rng)}

    return NetworkGraph(_Decoder(tokenizer), draw, ("images",), batch_size)


def write_graph(path: str | Path, graph: NetworkGraph, tolerance: float = TOLERANCE) -> dict[str, float]:
    """Write a network and compare the file with it, on inputs that it was not traced with.

    The network is put into evaluation mode. Weights over 1.9 GB go to a second file, ``<path>.data`` for ONNX.

    Args:
        path: File that ends in ``.onnx`` (read by onnxruntime) or ``.pt2`` (read by ``torch.export.load``).
        graph: The network, on the CPU, in float32.
        tolerance: Largest error allowed.

    Returns:
        Error of each output: the largest difference from the network's, over the largest absolute value of that output.

    Raises:
        InputError: The suffix is another one, packages for ONNX are missing, the disk is full, or an error is above the
            tolerance; no file is left then.
    """
    path = Path(path)
    if path.suffix not in (ONNX, PT2):
        raise InputError(path, f"ends in '{path.suffix}'", f"Name a file that ends in {ONNX} or {PT2}.")
    if path.suffix == ONNX:
        _require_onnx()
    graph.module.eval()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A folder, since the first file names the second one.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
            temporary = Path(folder) / path.name
            with _without_library_warnings():
                program = traced(graph)
                _save_onnx(temporary, program, graph) if path.suffix == ONNX else torch.export.save(program, temporary)
                del program
                errors = graph_errors(graph, onnx_runner(temporary) if path.suffix == ONNX else pt2_runner(temporary))
            _refuse(path, errors, tolerance)
            for file in sorted(Path(folder).iterdir(), key=lambda file: file.name == path.name):
                file.replace(path.parent / file.name)
    except OSError as fault:
        explained = disk_fault(fault, path)
        if explained is None:
            raise
        raise explained from fault
    return errors


def traced(graph: NetworkGraph) -> ExportedProgram:
    """Trace a network with torch.export."""
    inputs = tuple(graph.draw(graph.batch_size, torch.Generator().manual_seed(0)).values())
    with torch.no_grad():
        graph.module(*inputs)  # fills caches of tables, which are then constants of the graph
        shapes = tuple({0: Dim("batch")} for _ in inputs) if graph.any_batch else None
        return torch.export.export(graph.module, inputs, dynamic_shapes=shapes)


@torch.no_grad()
def graph_errors(graph: NetworkGraph, run: Runner) -> dict[str, float]:
    """Compare a written graph with its network; see :func:`write_graph`."""
    errors = dict.fromkeys(graph.outputs, 0.0)
    for seed, batch_size in enumerate((1, 3) if graph.any_batch else (graph.batch_size,), start=1):
        inputs = graph.draw(batch_size, torch.Generator().manual_seed(seed))
        expected = graph.module(*inputs.values())
        for name, true, found in zip(graph.outputs, expected, run(inputs), strict=True):
            largest = max(float(true.abs().max()), torch.finfo(true.dtype).tiny)
            error = float((found - true).abs().max()) / largest if found.shape == true.shape else math.inf
            errors[name] = max(errors[name], math.inf if math.isnan(error) else error)
    return errors


def pt2_runner(path: Path) -> Runner:
    """Load a file of torch.export."""
    module = torch.export.load(path).module()

    def run(inputs: Inputs) -> Sequence[Tensor]:
        with torch.no_grad():
            return cast(Sequence[Tensor], module(*inputs.values()))

    return run


class _Session(Protocol):
    def run(self, outputs: None, inputs: Mapping[str, Any]) -> Sequence[Any]: ...


def onnx_runner(path: Path) -> Runner:
    """Load an ONNX file in onnxruntime, on the CPU."""
    import onnxruntime

    session: _Session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(inputs: Inputs) -> Sequence[Tensor]:
        arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
        return [torch.from_numpy(array) for array in session.run(None, arrays)]

    return run


def _save_onnx(path: Path, program: ExportedProgram, graph: NetworkGraph) -> None:
    names = list(graph.draw(graph.batch_size, torch.Generator()))
    made = torch.onnx.export(
        program,
        dynamo=True,
        input_names=names,
        output_names=list(graph.outputs),
        verbose=False,
    )
    assert made is not None
    size = sum(tensor.numel() * tensor.element_size() for tensor in graph.module.state_dict().values())
    made.save(path, external_data=size > ONE_FILE)


def _require_onnx() -> None:
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        fault = f"needs packages that are not installed: {', '.join(missing)}"
        raise InputError("ONNX", fault, "Install them with `pip install 'trilight[export]'`, or write a .pt2 file.")


def _refuse(path: Path, errors: Mapping[str, float], tolerance: float) -> None:
    worst = max(errors, key=lambda name: errors[name])
    if errors[worst] > tolerance:
        fault = f"its {worst} differs from the network's by {errors[worst]:.1e} of its largest value"
        raise InputError(path, f"{fault}, more than {tolerance:.1e}", "Allow more with --tolerance, or use float32.")


@contextmanager
def _without_library_warnings() -> Iterator[None]:
    """Hide warnings that PyTorch's exporters give about their own code."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield
