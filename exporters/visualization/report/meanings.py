"""What the logged metrics mean, in one sentence each."""

from __future__ import annotations

import re

_COUNTS = re.compile(
    r"(^|/)(images|pairs|num_\w+|nonfinite|skipped_steps|images_w\w+|pairs_without\w+|users_without_pairs)$"
)

# Pattern of the name without its stage → meaning. The first match counts.
_MEANINGS = (
    (
        "loss_objective",
        "Objective of training, the weighted sum of all terms; below 0 where confidence is rewarded.",
    ),
    ("loss_camera", "Camera loss: errors of translation, rotation and field of view, in VGGT's pose encoding."),
    ("loss_T", "Error of the cameras' translations, in units of the normalised scene."),
    ("loss_R", "Error of the cameras' rotations, as quaternions."),
    ("loss_FL", "Error of the cameras' fields of view, in radians."),
    (r"loss_reg_(depth|point)", "Mean absolute error of the {0}, in units of the normalised scene; 0 is perfect."),
    (
        r"loss_conf_(depth|point)",
        "Error of the {0} weighted by the confidence, less a reward for confidence.",
    ),
    (
        r"loss_grad_(depth|point)",
        "Error of differences between neighbouring pixels of the {0}: edges, fine parts.",
    ),
    ("loss(_step|_epoch)?", "Objective of training, the sum of its terms; lower is better."),
    ("foreground|all|contact", "Ranking loss over these pairs of regions, a term of the objective; lower is better."),
    ("edge", "Error at the edges of layers, a term of the objective; lower is better."),
    (
        "scale_invariant",
        "Error of the layer index after fitting shift and scale, a term of the objective; 0 is perfect.",
    ),
    ("loss_.*", "A term of the objective; lower is better."),
    ("abs_rel(_scaled)?", "Mean error of depth as a share of the true depth{scaled}; 0.1 is 10 %."),
    ("rmse(_scaled)?", "Root mean square error of depth in units of the normalised scene{scaled}."),
    (r"delta_1\.25(_scaled)?", "Share of pixels whose depth is within 25 % of the truth{scaled}; 1 is perfect."),
    (r"rotation_accuracy_(\d+)", "Share of view pairs whose relative rotation is right within {0}°."),
    (r"translation_accuracy_(\d+)", "Share of view pairs whose direction of translation is right within {0}°."),
    ("auc_30", "Accuracy of relative poses, averaged over limits from 1° to 30°; 1 is perfect."),
    ("rotation_error", "Mean error of the relative rotation of two views, in degrees."),
    ("translation_error", "Mean error of the direction from one camera to the other, in degrees; 45° is chance."),
    ("focal_error", "Mean error of the focal length as a share of the true one."),
    ("scale_invariant_error", "Error of the layer index after fitting shift and scale; 0 is perfect, 2 the worst."),
    (
        ".*foreground_order_accuracy",
        "Share of pixel pairs of foreground layers in the right order; chance is 0.5.",
    ),
    (".*neighbour_order_accuracy", "Share of outlines with the right side in front; chance is 0.5."),
    (".*order_accuracy", "Share of pixel pairs of different layers in the right order; chance is 0.5."),
    ("rank_correlation", "Agreement of the order of whole layers with the truth (Spearman); 1 is perfect, 0 chance."),
    (".*boundary_f1", "Agreement of predicted layer boundaries with the true ones; 1 is perfect."),
    ("boundary_precision", "Share of predicted boundary pixels that are near a true boundary."),
    ("boundary_recall", "Share of true boundary pixels that are near a predicted boundary."),
    (
        "accuracy_real_to_generated.*",
        "Share of generated images that a classifier of real ones recognises.",
    ),
    ("accuracy_real_to_real.*", "The same classifier's accuracy on real images: what is possible at best."),
    (
        "accuracy_generated_to_real.*",
        "Share of real images recognised by a classifier of generated ones.",
    ),
    ("frechet_distance.*", "Distance between the distributions of generated and real images; lower is better."),
    ("inception_score.*", "How clear and varied the images are to a classifier; at most the number of users."),
    (".*diversity.*", "How different one user's images are from each other; as a ratio to real images 1 is right."),
    (
        "nearest_train.*",
        "Distance to the nearest training image; far below that of real ones means copies.",
    ),
    ("closer_than_real_share.*", "Share of generated images nearer to a training image than any real one: copies."),
    ("border_ratio_.*", "Steps across block borders against steps elsewhere; 1 means that no blocks are visible."),
    ("ridge_breaks.*", "Jumps in the line of the torso per image; a walking person has none."),
    ("step_rate.*", "Steps per image, or the share of images within 5 % of the user's own rate."),
    ("step_regularity.*", "How regular the steps are; as a ratio to real images 1 is right."),
    ("torso_speed.*", "Speed of the torso, or the share of images within 5 % of the user's own speed."),
    ("noise_floor.*", "Level of the background; as a ratio to real images 1 is right."),
    ("speckle.*", "Grain of the background; as a ratio to real images 1 is right."),
    ("worst_measure_score", "The bar that is missed most, in units of the bar; up to 1 every bar is met."),
    ("bars_met", "Number of quality bars that are met."),
    ("grad_norm/.*", "Norm of the gradient of this part before clipping; jumps mean an unstable training."),
    ("ema_decay", "Decay of the averaged weights."),
    ("lr.*", "Learning rate."),
    ("(error|accuracy)", "The {0} on these data."),
)


def is_count(name: str) -> bool:
    """Return whether a logged value is a count, which is no curve.

    Example:
        >>> is_count("val/images_without_depth"), is_count("val/abs_rel")
        (True, False)
    """
    return _COUNTS.search(name) is not None


def meaning(name: str) -> str:
    """Return one sentence on a metric; "" for an unknown one.

    Args:
        name: Name in the logs, such as ``val/abs_rel_scaled``.

    Example:
        >>> meaning("test/rotation_accuracy_15")
        'Share of view pairs whose relative rotation is right within 15°.'
    """
    split, _, rest = name.partition("/")
    stem = rest if split in ("train", "val", "test") else name
    for pattern, text in _MEANINGS:
        if found := re.fullmatch(pattern, stem):
            groups = [group or "" for group in found.groups()]
            scaled = ", after scaling each image to the truth" if "_scaled" in groups else ""
            return text.format(*groups, scaled=scaled)
    return ""
