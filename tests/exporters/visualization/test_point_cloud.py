import numpy as np

from exporters.visualization.point_cloud import draw_point_cloud, viewpoint


def test_near_points_hide_far_ones() -> None:
    looking_ahead = np.eye(3, 4)
    points = np.array([[0, 0, 2], [0, 0, 1], [0, 0, -1]], np.float32)
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    for order in ([0, 1, 2], [2, 1, 0]):
        image = draw_point_cloud(points[order], colours[order], looking_ahead, side=20)
        assert image[10, 10].tolist() == [0, 255, 0]


def test_viewpoint_looks_at_the_cloud_from_the_right_and_above() -> None:
    points = np.random.default_rng(0).normal((0, 0, 5), 1, (500, 3)).astype(np.float32)
    pose = viewpoint(points)
    assert np.allclose(pose[:, :3] @ pose[:, :3].T, np.eye(3))
    assert np.linalg.det(pose[:, :3]) > 0
    seen = pose[:, :3] @ np.median(points, axis=0) + pose[:, 3]
    assert np.allclose(seen[:2], 0, atol=1e-6)
    assert seen[2] > 0
    eye = -pose[:, :3].T @ pose[:, 3]
    assert eye[0] > 0
    assert eye[1] < 0
