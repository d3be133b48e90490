from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from geometry.rotations import matrix_product, matrix_to_quaternion, quaternion_to_matrix, rotation_angle

HALF_TURNS = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0.6, 0.8, 0, 0]])
IDENTITY = torch.tensor([[0.0, 0, 0, 1]])


def quaternions(count: int = 200) -> Tensor:
    q = torch.randn(count, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    q = q / q.norm(dim=-1, keepdim=True)
    return torch.where(q[:, 3:] < 0, -q, q)


def turn(degrees: float, axis: tuple[float, float, float] = (0.0, 0.6, 0.8)) -> Tensor:
    rotation = Rotation.from_rotvec([degrees * x for x in axis], degrees=True)
    return torch.from_numpy(rotation.as_matrix())


def test_matrices_agree_with_scipy() -> None:
    q = quaternions()
    matrix = quaternion_to_matrix(q)
    torch.testing.assert_close(matrix, torch.from_numpy(Rotation.from_quat(q.numpy()).as_matrix()))
    torch.testing.assert_close(matrix_to_quaternion(matrix), q)
    torch.testing.assert_close(quaternion_to_matrix(-3 * q), matrix)


def test_quaternions_are_unit_with_w_at_least_zero_near_half_turns_too() -> None:
    for offset in (0.0, 1e-7, -1e-7, 1e-3, -1e-3):
        q = HALF_TURNS.double() + torch.tensor([0, 0, 0, offset]).double()
        matrix = quaternion_to_matrix(q)
        found = matrix_to_quaternion(matrix)
        assert (found[:, 3] >= 0).all()
        torch.testing.assert_close(found.norm(dim=-1), torch.ones(4).double())
        torch.testing.assert_close(quaternion_to_matrix(found), matrix)


def test_leading_dimensions_are_free() -> None:
    q = quaternions(6)
    assert matrix_to_quaternion(quaternion_to_matrix(q[0])).shape == (4,)
    torch.testing.assert_close(matrix_to_quaternion(quaternion_to_matrix(q.view(2, 3, 4))), q.view(2, 3, 4))


@pytest.mark.slow
def test_gradients_agree_with_finite_differences() -> None:
    q = torch.cat([quaternions(5), torch.nn.functional.normalize(HALF_TURNS.double() + 0.01)])
    assert torch.autograd.gradcheck(quaternion_to_matrix, 1.7 * q.clone().requires_grad_())
    matrix = quaternion_to_matrix(q).requires_grad_()
    assert torch.autograd.gradcheck(matrix_to_quaternion, matrix)
    assert torch.autograd.gradcheck(rotation_angle, (matrix, matrix.detach().flip(0).requires_grad_()))


@pytest.mark.parametrize("q", [*HALF_TURNS, IDENTITY[0], torch.zeros(4)])
def test_gradients_are_finite_where_formulas_divide_by_zero(q: Tensor) -> None:
    q = q.clone().requires_grad_()
    matrix = quaternion_to_matrix(q)
    (matrix_to_quaternion(matrix).sum() + rotation_angle(matrix, torch.eye(3))).backward()
    assert q.grad is not None
    assert q.grad.isfinite().all()


def test_a_zero_quaternion_is_the_identity() -> None:
    assert torch.equal(quaternion_to_matrix(torch.zeros(2, 4)), torch.eye(3).expand(2, 3, 3))


@pytest.mark.parametrize("degrees", [0.0, 1e-6, 1e-3, 0.02, 1.0, 45.0, 90.0, 179.0, 179.999, 180.0])
def test_known_angles(degrees: float) -> None:
    a, b = turn(33, (1, 0, 0)), turn(33, (1, 0, 0)) @ turn(degrees)
    assert float(rotation_angle(a, b)) == pytest.approx(degrees, rel=1e-9, abs=1e-9)
    assert float(rotation_angle(b, a)) == pytest.approx(degrees, rel=1e-9, abs=1e-9)


def test_small_angles_in_single_precision() -> None:
    a, b = turn(70), turn(70) @ turn(1e-3, (1, 0, 0))
    # entries are rounded to 6e-8, which is 3e-6 degrees; the arc cosine would give 0 or 0.02
    assert float(rotation_angle(a.float(), b.float())) == pytest.approx(1e-3, abs=1e-5)
    for q in quaternions(20):
        matrix = quaternion_to_matrix(q).float()
        assert float(rotation_angle(matrix, matrix)) == 0
    assert not math.isnan(float(rotation_angle(1.0001 * torch.eye(3), torch.eye(3))))


def test_products_keep_their_precision_under_autocast() -> None:
    a, b = torch.randn(2, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        product = matrix_product(a, b)
    torch.testing.assert_close(product, a @ b)
