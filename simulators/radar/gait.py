"""Kinematics of a walking body.

After R. Boulic, N. Magnenat-Thalmann, D. Thalmann, "A global human walking model with real-time kinematic
personification", The Visual Computer 6, 1990, used for radar by V. C. Chen, "The Micro-Doppler Effect in
Radar", 2nd ed., 2019, chapter 4. Taken from the model: the cycle's length and times as functions of relative
speed, the pelvis's translations, the torsion of pelvis and thorax, joint flexion by periodic curves through
control points. Changed: the paper corrects sliding feet afterwards by inverse kinematics; here the ankle's
path along the ground is prescribed, still during stance, and the hip's flexion follows from it, so feet do
not slide. The control points of knee, ankle and elbow are our own, close to published gait measurements.

Axes: x the walking direction, y to the walker's left, z up. Metres, seconds, radians. Phase 0 of the cycle is
left heel strike.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, PchipInterpolator

from formats.errors import InputError

Array = NDArray[np.float64]

PARTS = (
    "head", "torso", "pelvis",
    "upper_arm_left", "forearm_left", "hand_left", "thigh_left", "shank_left", "foot_left",
    "upper_arm_right", "forearm_right", "hand_right", "thigh_right", "shank_right", "foot_right",
)  # fmt: skip

# Part lengths as fractions of height, after Drillis and Contini in D. A. Winter, "Biomechanics and Motor
# Control of Human Movement", 4th ed., 2009, fig. 4.1. The legs' fraction is a parameter of the walker.
HEAD, TORSO, PELVIS = 0.130, 0.300, 0.110
UPPER_ARM, FOREARM, HAND = 0.186, 0.146, 0.090
FOOT, ANKLE_HEIGHT = 0.115, 0.039  # the foot from ankle to toe
SHOULDER_HALF_WIDTH, HIP_HALF_WIDTH = 0.120, 0.060
THIGH_OF_LEG = 0.50  # of the leg from hip to ankle


@dataclass(frozen=True)
class Walker:
    """A person and their gait: the parameters shared by all samples of a user.

    Args:
        height: Body height in metres, 1.4…2.1.
        leg_ratio: Height of the hip above the ground over body height, 0.46…0.56.
        speed: Mean walking speed in m/s, 0.5…2.0.
        cadence: Step rate relative to the model's for this speed and leg, 0.8…1.25.
        arm_swing: Swing of the arms relative to the model's, 0…2.5.
        knee_lift: Flexion of the knee in swing relative to the model's, 0.6…1.4.
        asymmetry: Difference between left and right, −0.4…0.4: if positive, the left arm swings wider
            and the left foot later and faster. 0 makes both sides equal, half a cycle apart.
        limb_girth: Thickness of the limbs relative to the average, 0.6…1.6; thicker limbs reflect more.
    """

    height: float = 1.75
    leg_ratio: float = 0.51
    speed: float = 1.3
    cadence: float = 1.0
    arm_swing: float = 1.0
    knee_lift: float = 1.0
    asymmetry: float = 0.0
    limb_girth: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = WALKER_LIMITS[field.name]
            value = getattr(self, field.name)
            if not low <= value <= high:
                remedy = f"Give a value from {low:g} to {high:g}, within which the walking model holds."
                raise InputError(f"Walker.{field.name}", f"{value!r} is out of range", remedy)
        if self.cycle_length > 2.6 * self.leg:
            fault = f"steps of {self.cycle_length / 2:.2f} m are too long for a leg of {self.leg:.2f} m"
            raise InputError("Walker", fault, "Lower speed, or raise cadence, height or leg_ratio.")

    @staticmethod
    def draw(rng: np.random.Generator) -> Walker:
        """Draw a walker uniformly over ordinary adults, a smaller range than the class accepts."""
        return Walker(**{name: float(rng.uniform(*limits)) for name, limits in WALKER_DRAWS.items()})

    @property
    def leg(self) -> float:
        """Height of the hip above the ground in metres, the model's unit of length."""
        return self.height * self.leg_ratio

    @property
    def relative_speed(self) -> float:
        """The speed RV in legs per second (Boulic et al., sec. 3)."""
        return self.speed / self.leg

    @property
    def cycle_length(self) -> float:
        """Metres walked in one cycle of two steps: 1.346 √RV legs at cadence 1."""
        return float(1.346 * np.sqrt(self.relative_speed) * self.leg / self.cadence)

    @property
    def cycle_duration(self) -> float:
        """Duration of one cycle of two steps in seconds."""
        return self.cycle_length / self.speed

    @property
    def step_rate(self) -> float:
        """Steps per second, two to a cycle."""
        return 2 / self.cycle_duration

    @property
    def support(self) -> float:
        """Fraction of the cycle in which a foot is on the ground: (0.752 T − 0.143 s) / T, within 0.52…0.68."""
        return float(np.clip(0.752 - 0.143 / self.cycle_duration, 0.52, 0.68))


WALKER_LIMITS = {
    "height": (1.4, 2.1), "leg_ratio": (0.46, 0.56), "speed": (0.5, 2.0), "cadence": (0.8, 1.25),
    "arm_swing": (0.0, 2.5), "knee_lift": (0.6, 1.4), "asymmetry": (-0.4, 0.4), "limb_girth": (0.6, 1.6),
}  # fmt: skip
WALKER_DRAWS = {
    "height": (1.55, 1.95), "leg_ratio": (0.49, 0.54), "speed": (0.8, 1.65), "cadence": (0.87, 1.18),
    "arm_swing": (0.3, 1.4), "knee_lift": (0.8, 1.2), "asymmetry": (-0.3, 0.3), "limb_girth": (0.8, 1.3),
}  # fmt: skip


@dataclass(frozen=True)
class Body:
    """The K = 15 body parts of ``PARTS`` as ellipsoids at T points in time.

    Attributes:
        centres: (K, T, 3) positions in metres.
        along: (K, T, 3) unit vectors of the long axes; those of limbs point away from the trunk.
        front: (K, T, 3) unit vectors perpendicular to ``along``, to the walker's front.
        semi_axes: (K, 3) half lengths in metres along front, sideways and long axis.
    """

    centres: Array
    along: Array
    front: Array
    semi_axes: Array

    def ends(self) -> tuple[Array, Array]:
        """Return both tips of every part's long axis, (K, T, 3) each: near and far end of a limb."""
        reach = self.along * self.semi_axes[:, None, 2:]
        return self.centres - reach, self.centres + reach


def walk(walker: Walker, times: Array, start_phase: float = 0.0) -> Body:
    """Compute the body of ``walker``, who walks along x, at ``times`` (T,) in seconds.

    ``start_phase`` is the phase of the cycle at time 0, in cycles; at time 0 the body is near x = 0.
    """
    phase = times / walker.cycle_duration + start_phase
    rv, leg, height = walker.relative_speed, walker.leg, walker.height
    turn = 2 * np.pi * phase

    # Translations of the pelvis (Boulic et al., table 1), lengths in legs.
    sway, surge = (0.128 * rv - 0.128 * rv**2, 0.084 * rv - 0.084 * rv**2) if rv < 0.5 else (0.032, 0.021)
    pelvis_x = walker.speed * times + surge * leg * np.sin(2 * turn + 4 * np.pi * (0.625 - walker.support))
    pelvis_y = -sway * leg * np.sin(turn - 0.2 * np.pi)
    pelvis_z = leg * (1 - 0.03 + 0.015 * rv * (np.sin(2 * turn - 0.7 * np.pi) - 1))
    pelvis = np.stack([pelvis_x, pelvis_y, pelvis_z], axis=-1)
    pelvis_yaw = np.radians(-4 * rv * np.cos(turn))  # the left hip is in front at left heel strike
    thorax_yaw = np.radians(5 * rv * np.cos(turn - 0.1 * np.pi))  # the shoulders rotate the other way

    up = np.zeros_like(pelvis)
    up[:, 2] = 1.0
    chest = pelvis + up * (PELVIS / 2 + TORSO / 2) * height
    head = pelvis + up * (PELVIS / 2 + TORSO + 0.02 + HEAD / 2) * height
    pelvis_front, chest_front = _facing(pelvis_yaw), _facing(thorax_yaw)
    centres, along, front = [head, chest, pelvis], [up, up, up], [chest_front, chest_front, pelvis_front]

    for side in (1.0, -1.0):  # left, right
        own_phase = phase if side > 0 else phase + 0.5
        shoulder = chest + up * 0.4 * TORSO * height + side * SHOULDER_HALF_WIDTH * height * _left_of(chest_front)
        hip = pelvis + side * HIP_HALF_WIDTH * height * _left_of(pelvis_front)
        ankle_x = _ankle_path(walker, own_phase, side) - walker.cycle_length * (start_phase + (side < 0) * 0.5)
        for root, lengths, angles in (
            (shoulder, _arm_lengths(walker), _arm_angles(walker, own_phase, side)),
            (hip, _leg_lengths(walker), _leg_angles(walker, own_phase, ankle_x - hip[:, 0])),
        ):
            for length, angle in zip(lengths, angles, strict=True):
                axis = np.stack([np.sin(angle), np.zeros_like(angle), -np.cos(angle)], axis=-1)
                centres.append(root + axis * length / 2)
                along.append(axis)
                front.append(np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], axis=-1))
                root = root + axis * length
    return Body(np.stack(centres), np.stack(along), np.stack(front), _semi_axes(walker))


def _facing(yaw: Array) -> Array:
    return np.stack([np.cos(yaw), np.sin(yaw), np.zeros_like(yaw)], axis=-1)


def _left_of(front: Array) -> Array:
    return np.stack([-front[:, 1], front[:, 0], front[:, 2]], axis=-1)


def _arm_lengths(walker: Walker) -> tuple[float, float, float]:
    return UPPER_ARM * walker.height, FOREARM * walker.height, HAND * walker.height


def _leg_lengths(walker: Walker) -> tuple[float, float, float]:
    leg = walker.leg - ANKLE_HEIGHT * walker.height
    return THIGH_OF_LEG * leg, (1 - THIGH_OF_LEG) * leg, FOOT * walker.height


def _semi_axes(walker: Walker) -> Array:
    """Half lengths of the ellipsoids along front, side and long axis, (K, 3) in metres."""
    scale = walker.height / 1.75
    trunk = [(0.095, 0.075, HEAD), (0.115, 0.165, TORSO), (0.105, 0.150, PELVIS)]
    radii = (0.047, 0.038, 0.030, 0.075, 0.052, 0.036)  # upper arm, forearm, hand, thigh, shank, foot
    lengths = (*_arm_lengths(walker), *_leg_lengths(walker))
    limbs = [(r * scale * walker.limb_girth,) * 2 + (b / 2,) for r, b in zip(radii, lengths, strict=True)]
    return np.array([(a * scale, b * scale, c * walker.height / 2) for a, b, c in trunk] + 2 * limbs)


def _periodic(points: list[tuple[float, float]], phase: Array) -> Array:
    """Evaluate the smooth (twice differentiable) curve of period 1 through ``points`` of (phase, value)."""
    x, y = np.array([*points, (points[0][0] + 1, points[0][1])]).T
    curve: Array = CubicSpline(x, y, bc_type="periodic")((phase - x[0]) % 1 + x[0])
    return curve


def _ankle_path(walker: Walker, phase: Array, side: float) -> Array:
    """Position of an ankle along the ground, (T,) metres: still in stance, moving one cycle length in each swing.

    The curve through control points is the ankle's speed, monotone between them so that it is exactly 0 in
    stance; its integral over a cycle is normalised to 1. The ankle leaves before the toe does, while the foot rolls.
    """
    support, swing = walker.support, 1 - walker.support
    late = 0.3 * side * walker.asymmetry
    points = [
        (0.00, 0.18), (0.05, 0.0), (support - 0.20, 0.0), (support - 0.08, 0.25), (support, 0.95),
        (support + (0.35 + late) * swing, 2.35), (support + (0.65 + late) * swing, 2.75),
        (support + 0.88 * swing, 1.55),
    ]  # fmt: skip
    x, y = np.array(points).T
    speed = PchipInterpolator(np.concatenate([x - 1, x, x + 1]), np.tile(y, 3))
    travelled = speed.antiderivative()
    cycles = np.floor(phase)
    # At the stance's middle the ankle is a little behind the pelvis, which is over phase · cycle length.
    middle = 0.5 * support - 0.02
    share = (travelled(phase - cycles) - travelled(0.0)) / (travelled(1.0) - travelled(0.0))
    landed = (travelled(0.1) - travelled(0.0)) / (travelled(1.0) - travelled(0.0))
    path: Array = walker.cycle_length * (cycles + share - landed + middle)
    return path


def _leg_angles(walker: Walker, phase: Array, ankle_x: Array) -> tuple[Array, Array, Array]:
    """Angles of thigh, shank and foot from straight down, forward positive, (T,) radians each.

    ``ankle_x`` (T,) is the position of the ankle along x relative to the hip, in metres. The knee's flexion is a
    curve; the thigh's angle follows from the position of the ankle.
    """
    support, swing = walker.support, 1 - walker.support
    rv = min(walker.relative_speed, 2.0)
    points = [
        (0.00, 7.0), (0.13, 9.0 + 6.0 * rv), (0.38, 9.0), (support, 38.0),
        (support + 0.33 * swing, walker.knee_lift * (48.0 + 10.0 * rv)), (support + 0.85 * swing, 10.0),
    ]  # fmt: skip
    knee = np.radians(_periodic(points, phase))
    thigh_length, shank_length, _ = _leg_lengths(walker)
    ahead, below = shank_length * np.sin(knee), thigh_length + shank_length * np.cos(knee)
    thigh = np.arcsin(ankle_x / np.hypot(ahead, below)) + np.arctan2(ahead, below)
    toes = [
        (0.00, 14.0), (0.07, 1.0), (0.20, 0.0), (support - 0.20, -3.0), (support - 0.02, -46.0),
        (support + 0.30 * swing, -32.0), (support + 0.70 * swing, 8.0),
    ]  # fmt: skip
    foot = np.pi / 2 + np.radians(_periodic(toes, phase))
    return thigh, thigh - knee, foot


def _arm_angles(walker: Walker, phase: Array, side: float) -> tuple[Array, Array, Array]:
    """Angles of upper arm, forearm and hand from straight down, forward positive, (T,) radians each."""
    rv = min(walker.relative_speed, 2.0)
    swing = walker.arm_swing * (1 + 0.8 * side * walker.asymmetry)
    upper = np.radians(3.0 - 9.88 * rv * swing * np.cos(2 * np.pi * phase))  # behind when the same foot lands
    bend = [(0.05, 6.0), (0.50, 22.0), (0.90, 10.0)]
    elbow = np.radians(10.0) + 0.5 * rv * swing * np.radians(_periodic(bend, phase))
    return upper, upper + elbow, upper + 1.1 * elbow
