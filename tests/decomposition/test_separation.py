"""Separation of drawn illustrations with known layers, and their composition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from decomposition.compositing import compose
from decomposition.layer import Layer
from decomposition.separation import MAX_LAYERS, Separation, separate_layers
from formats.errors import InputError

FINE = 4  # samples per pixel and axis


Drawing = tuple[NDArray[np.uint8], NDArray[np.float32]]


def painted(shapes: Sequence[tuple[Any, ...]], height: int = 192, width: int = 192) -> Drawing:
    """Draw (index, kind, corners, colour) in order, antialiased; return RGBA and the true index."""
    size = (width * FINE, height * FINE)
    y, x = np.mgrid[: size[1], : size[0]] / FINE
    colours, index = np.zeros((*y.shape, 4)), np.zeros(y.shape, np.float32)
    for value, kind, corners, colour in shapes:
        mask = Image.new("1", size)
        getattr(ImageDraw.Draw(mask), kind)([FINE * corner for corner in corners], fill=1)
        where = np.asarray(mask)
        colours[where, :3] = np.broadcast_to(colour(y, x) if callable(colour) else colour, (*y.shape, 3))[where]
        colours[where, 3] = 255
        index[where] = value
    colours[..., :3] *= colours[..., 3:] / 255
    mean = colours.reshape(height, FINE, width, FINE, 4).mean((1, 3))
    mean[..., :3] *= 255 / np.maximum(mean[..., 3:], 1e-9)
    return np.rint(mean).astype(np.uint8), index[FINE // 2 :: FINE, FINE // 2 :: FINE].copy()


def sky(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([80 + 0.6 * y, 140 + 0.3 * y, 230 - 0.2 * y], -1)


def skin(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([240 - 0.2 * x, 200 - 0.25 * x, 150 - 0.15 * x], -1)


def face() -> Drawing:
    return painted(
        [
            (0.0, "rectangle", (0, 0, 192, 192), sky),
            (0.25, "ellipse", (36, 34, 156, 176), skin),
            (0.5, "ellipse", (56, 80, 86, 100), (255, 255, 255)),
            (0.5, "ellipse", (101, 80, 131, 100), (255, 255, 255)),
            (0.5, "ellipse", (74, 138, 118, 153), (180, 40, 40)),
            (0.75, "ellipse", (66, 83, 79, 97), (20, 20, 30)),
            (0.75, "ellipse", (112, 83, 125, 97), (20, 20, 30)),
            (1.0, "polygon", (45, 60, 150, 52, 98, 6), (120, 30, 140)),
        ]
    )


def discs() -> Drawing:
    return painted(
        [
            (0.0, "rectangle", (0, 0, 192, 160), (250, 245, 235)),
            (1 / 3, "ellipse", (22, 25, 112, 115), (220, 60, 50)),
            (2 / 3, "ellipse", (67, 40, 157, 130), (240, 190, 40)),
            (1.0, "ellipse", (41, 68, 124, 151), (50, 110, 200)),
        ],
        height=160,
    )


def sticker() -> Drawing:
    """A badge with a soft outline on a transparent canvas, partly translucent."""
    image, index = painted(
        [
            (0.2, "ellipse", (10, 10, 180, 180), (30, 120, 60)),
            (0.6, "rectangle", (50, 60, 140, 130), (230, 230, 220)),
            (1.0, "ellipse", (70, 70, 120, 120), (200, 30, 30)),
        ]
    )
    x = np.arange(192)
    image[..., 3] = image[..., 3] * np.clip(1.4 - x / 192, 0, 1)
    return image, index


SCENES = {"face": face, "discs": discs, "sticker": sticker}


@pytest.fixture(scope="module", params=SCENES)
def scene(request: pytest.FixtureRequest) -> Drawing:
    return SCENES[request.param]()


def degraded(index: NDArray[np.float32], blur: float = 2.0, noise: float = 0.03) -> NDArray[np.float32]:
    """Imitate a network's output: blurred, nonlinear, with coarse and fine noise."""
    random = np.random.default_rng(0)
    result = 0.05 + 0.85 * ndimage.gaussian_filter(index, blur) ** 1.3
    result += noise * random.normal(size=index.shape)
    result += noise * 5 * ndimage.gaussian_filter(random.normal(size=index.shape), 3)
    clipped: NDArray[np.float32] = np.clip(result, 0, 1).astype(np.float32)
    return clipped


def overlaps(labels: NDArray[np.int32], index: NDArray[np.float32], visible: NDArray[np.bool_]) -> list[float]:
    """Intersection over union of every true layer with the layer of the same rank."""
    pairs = [((labels == rank) & visible, (index == value) & visible) for rank, value in enumerate(np.unique(index))]
    return [float((a & b).sum() / (a | b).sum()) for a, b in pairs]


def error(separation: Separation, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Absolute differences of premultiplied colours and alpha in levels of 255."""
    both = [pixels.astype(np.float64) for pixels in (compose(separation.layers), image)]
    for pixels in both:
        pixels[..., :3] *= pixels[..., 3:] / 255
    return np.abs(both[0] - both[1])


def test_an_exact_index_gives_its_own_layers() -> None:
    image, index = face()
    result = separate_layers(image, index)
    assert [layer.name for layer in result.layers] == ["background", "layer 1", "layer 2", "layer 3", "layer 4"]
    assert [layer.index for layer in result.layers] == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=1e-6)
    assert np.array_equal(result.labels, np.searchsorted([0, 0.25, 0.5, 0.75, 1], index))
    assert result.note == ""


@pytest.mark.parametrize("blur", [2.0, 4.0])
@pytest.mark.parametrize("draw", [face, discs])
def test_a_predicted_index_gives_the_true_layers(draw: Callable[[], Drawing], blur: float) -> None:
    image, index = draw()
    result = separate_layers(image, degraded(index, blur))
    assert len(result.layers) == np.unique(index).size
    assert min(overlaps(result.labels, index, image[..., 3] > 0)) >= 0.95
    heights = [layer.index for layer in result.layers]
    assert heights == sorted(heights)


def test_layers_of_one_colour_are_separated_by_the_index() -> None:
    image, index = painted(
        [
            (0.0, "rectangle", (0, 0, 192, 192), (255, 255, 255)),
            (0.4, "rectangle", (20, 50, 120, 140), (200, 40, 40)),
            (1.0, "rectangle", (90, 30, 170, 110), (200, 40, 40)),
        ]
    )
    result = separate_layers(image, degraded(index, noise=0.01))
    assert min(overlaps(result.labels, index, image[..., 3] > 0)) >= 0.9


def test_textured_images_fall_back_on_the_index() -> None:
    _, index = discs()
    image = np.random.default_rng(1).integers(0, 256, (*index.shape, 4), dtype=np.uint8)
    image[..., 3] = 255
    blurred = ndimage.gaussian_filter(index, 1.5)
    result = separate_layers(image, blurred)
    assert len(result.layers) == 4
    assert min(overlaps(result.labels, index, image[..., 3] > 0)) >= 0.8
    assert error(result, image).max() <= 1


def test_gradients_stay_whole() -> None:
    image, index = painted(
        [
            (0.0, "rectangle", (0, 0, 192, 192), lambda y, x: np.stack([1.3 * y, 1.3 * x, 255 - 0.6 * y], -1)),
            (1.0, "ellipse", (50, 50, 140, 140), lambda y, x: np.stack([255 - y, 0 * y, x], -1)),
        ]
    )
    result = separate_layers(image, degraded(index))
    assert len(result.layers) == 2
    assert min(overlaps(result.labels, index, image[..., 3] > 0)) >= 0.95


@pytest.mark.parametrize("quality", ["exact", "degraded"])
def test_the_layers_recompose_to_the_image(scene: Drawing, quality: str) -> None:
    image, index = scene
    result = separate_layers(image, index if quality == "exact" else degraded(index))
    differences = error(result, image)
    assert differences.max() <= 1
    assert differences.mean() <= 0.2


@pytest.mark.parametrize("quality", ["exact", "degraded"])
def test_no_layer_leaves_a_hole(scene: Drawing, quality: str) -> None:
    image, index = scene
    result = separate_layers(image, index if quality == "exact" else degraded(index))
    opaque = image[..., 3] == 255
    for remaining in range(1, len(result.layers) + 1):
        assert (compose(result.layers[:remaining])[opaque, 3] == 255).all()
    assert (result.layers[0].pixels[opaque, 3] == 255).all()
    for number in range(1, len(result.layers)):
        others = result.layers[:number] + result.layers[number + 1 :]
        assert (compose(others)[opaque, 3] == 255).all()
    # Nothing shows through what is see-through.
    through = (image[..., 3] > 0) & ~opaque
    covering = np.sum([layer.pixels[..., 3] > 0 for layer in result.layers], axis=0)
    assert (covering[through] == 1).all()


def test_hidden_parts_continue_their_surroundings() -> None:
    image, index = face()
    background, head = (layer.pixels for layer in separate_layers(image, index).layers[:2])
    y, x = np.mgrid[:192, :192] + 0.5
    away = np.abs(background[..., :3] - sky(y, x)).max(2)
    assert away.mean() < 1
    assert (away > 4).sum() <= 5  # where three layers meet
    eyes = np.zeros(index.shape, np.bool_)
    eyes[78:102, 54:133] = True
    assert (head[eyes, 3] == 255).all()
    assert np.abs(head[eyes, :3] - skin(y, x)[eyes]).max() <= 3


def test_antialiased_edges_have_no_fringe() -> None:
    image, index = discs()
    red, yellow, blue = (layer.pixels for layer in separate_layers(image, index).layers[1:])
    for pixels, colour in ((red, (220, 60, 50)), (yellow, (240, 190, 40)), (blue, (50, 110, 200))):
        painted_on = pixels[..., 3] > 25
        assert (painted_on & (pixels[..., 3] < 255)).sum() > 200
        away = np.abs(pixels[painted_on][:, :3].astype(int) - colour).max(1)
        assert (away > 8).sum() <= 5  # where three layers meet


def test_the_alpha_of_an_edge_is_its_coverage() -> None:
    image, index = painted(
        [(0.0, "rectangle", (0, 0, 64, 64), (0, 0, 0)), (1.0, "ellipse", (12, 12, 52, 52), (255, 255, 255))], 64, 64
    )
    top = separate_layers(image, index).layers[1].pixels
    assert np.abs(top[..., 3].astype(int) - image[..., 0]).max() <= 8  # white on black: coverage is brightness


def test_the_number_of_layers_can_be_given() -> None:
    image, index = face()
    for quality in (index, degraded(index)):
        result = separate_layers(image, quality, num_layers=3)
        assert len(result.layers) == 3
        assert result.note == ""
        assert error(result, image).max() <= 1
    more = separate_layers(image, index, num_layers=9)
    assert len(more.layers) == 5
    assert "9 layers were requested" in more.note


@pytest.mark.slow
def test_no_more_layers_than_allowed() -> None:
    index = np.repeat(np.linspace(0, 1, 40, dtype=np.float32), 20)[None].repeat(60, 0)
    image = np.zeros((*index.shape, 4), np.uint8)
    image[..., 0] = np.repeat(np.arange(40) % 2 * 200, 20)
    image[..., 3] = 255
    assert len(separate_layers(image, index, max_layers=32).layers) == 32
    assert 2 <= len(separate_layers(image, index).layers) <= MAX_LAYERS
    assert 2 <= len(separate_layers(image, index, max_layers=6).layers) <= 6


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 3), (1500, 90)])
def test_any_size(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(2)
    image = random.integers(0, 256, (*shape, 4), dtype=np.uint8)
    image[..., 3] = random.choice([0, 100, 255], shape, p=[0.1, 0.1, 0.8])
    result = separate_layers(image, random.random(shape, np.float32))
    assert error(result, image).max() <= 1
    assert np.array_equal(result.labels < 0, image[..., 3] == 0)
    used = np.unique(result.labels[result.labels >= 0])
    assert not used.size or used.tolist() == list(range(len(result.layers)))


def test_an_empty_image_gives_one_empty_layer() -> None:
    result = separate_layers(np.zeros((5, 7, 4), np.uint8), np.zeros((5, 7), np.float32))
    assert len(result.layers) == 1
    assert not result.layers[0].pixels.any()
    assert (result.labels == -1).all()


def test_a_lowest_layer_of_high_index_is_not_named_background() -> None:
    image = np.full((8, 8, 4), 255, np.uint8)
    index = np.full((8, 8), 0.4, np.float32)
    index[2:6, 2:6] = 0.9
    assert [layer.name for layer in separate_layers(image, index).layers] == ["layer 1", "layer 2"]


def test_wrong_arguments_are_refused() -> None:
    image, index = np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4), np.float32)
    with pytest.raises(InputError, match="num_layers"):
        separate_layers(image, index, num_layers=0)
    with pytest.raises(InputError, match="finite"):
        separate_layers(image, np.full_like(index, np.nan))
    with pytest.raises(ValueError, match="shape"):
        separate_layers(image, np.zeros((4, 5), np.float32))


def test_composing_is_source_over() -> None:
    random = np.random.default_rng(3)
    stack = random.integers(0, 256, (3, 6, 5, 4), dtype=np.uint8)
    layers = [Layer(str(number), pixels, 0.0) for number, pixels in enumerate(stack)]
    colour, alpha = np.zeros((6, 5, 3)), np.zeros((6, 5, 1))
    for pixels in stack:  # Porter and Duff's equation, not premultiplied
        share = pixels[..., 3:] / 255
        total = share + alpha * (1 - share)
        colour = (pixels[..., :3] * share + colour * alpha * (1 - share)) / np.maximum(total, 1e-12)
        alpha = total
    assert np.abs(compose(layers) - np.concatenate([colour, 255 * alpha], 2)).max() <= 0.51
    with pytest.raises(ValueError, match="at least one layer"):
        compose([])
    with pytest.raises(ValueError, match="shape"):
        compose([layers[0], Layer("small", stack[0][:2], 0.0)])


def test_a_thin_outline_stays_one_layer_with_a_blurred_index() -> None:
    """Blur gives a line different indices along its two sides; its colour keeps it in one layer."""
    canvas = Image.new("RGB", (800, 800), (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    orders = Image.new("L", (800, 800), 0)
    truth = ImageDraw.Draw(orders)
    for box, colour, order in (((100, 100, 500, 500), (240, 200, 60), 60), ((300, 300, 700, 700), (60, 120, 220), 140)):
        draw.rectangle(box, fill=colour)
        truth.rectangle(box, fill=order)
    line = [(60, 400), (400, 60), (740, 400), (400, 740), (60, 400)]
    draw.line(line, fill=(20, 20, 20), width=12)
    truth.line(line, fill=255, width=12)
    image = np.asarray(canvas.resize((400, 400), Image.Resampling.LANCZOS).convert("RGBA"))
    exact = np.asarray(orders.resize((400, 400), Image.Resampling.NEAREST)).astype(np.float32) / 255
    blurred = ndimage.gaussian_filter(exact, 6)
    labels = separate_layers(image, blurred).labels
    inside = ndimage.binary_erosion(exact == 1)
    counts = np.bincount(labels[inside])
    assert counts.max() > 0.97 * counts.sum()
