from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from geometry.pose_encoding import decode_pose, encode_pose

FIXTURE = Path(__file__).parents[1] / "parity" / "vggt_losses.safetensors"
HEIGHT, WIDTH = 48, 56


def test_published_encodings_are_reproduced() -> None:
    fixture = load_file(FIXTURE)
    encoding = encode_pose(fixture["norm_extrinsics"], fixture["intrinsics"], HEIGHT, WIDTH)
    torch.testing.assert_close(encoding, fixture["pose_encoding_gt"], rtol=1e-4, atol=1e-5)
    extrinsics, intrinsics = decode_pose(fixture["pred_pose_enc_list"][-1], HEIGHT, WIDTH)
    torch.testing.assert_close(extrinsics, fixture["decoded_extrinsics"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(intrinsics, fixture["decoded_intrinsics"], rtol=1e-4, atol=1e-5)


def test_decoding_gives_the_camera_back() -> None:
    fixture = load_file(FIXTURE)
    extrinsics, intrinsics = decode_pose(
        encode_pose(fixture["extrinsics"], fixture["intrinsics"], HEIGHT, WIDTH), HEIGHT, WIDTH
    )
    torch.testing.assert_close(extrinsics, fixture["extrinsics"])
    torch.testing.assert_close(intrinsics, fixture["intrinsics"])


def test_a_known_camera() -> None:
    extrinsics = torch.tensor([[0.0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7]])  # a quarter turn about z
    intrinsics = torch.tensor([[100.0, 0, 100], [0, 50, 50], [0, 0, 1]])
    encoding = encode_pose(extrinsics, intrinsics, height=100, width=200)
    root, right_angle = math.sqrt(0.5), math.pi / 2
    assert encoding.tolist() == pytest.approx([5, 6, 7, 0, 0, root, root, right_angle, right_angle])
    taller = encode_pose(extrinsics, intrinsics, height=200, width=200)
    assert taller[7:].tolist() == pytest.approx([2 * math.atan(2), right_angle])  # vertical, then horizontal


def test_outputs_of_an_untrained_network_decode_to_finite_cameras() -> None:
    encoding = torch.zeros(2, 9, requires_grad=True)
    with torch.no_grad():
        encoding[1, 7:] = 10.0  # radians
    extrinsics, intrinsics = decode_pose(encoding, HEIGHT, WIDTH)
    assert intrinsics.isfinite().all()
    assert (intrinsics[:, 0, 0] > 0).all()
    (extrinsics.sum() + intrinsics.sum()).backward()
    assert encoding.grad is not None
    assert encoding.grad.isfinite().all()


def test_gradients_agree_with_finite_differences() -> None:
    fixture = load_file(FIXTURE)
    encoding = fixture["pred_pose_enc_list"][-1].double().requires_grad_()

    def there_and_back(encoding: torch.Tensor) -> torch.Tensor:
        return encode_pose(*decode_pose(encoding, HEIGHT, WIDTH), HEIGHT, WIDTH)

    assert torch.autograd.gradcheck(there_and_back, encoding)
