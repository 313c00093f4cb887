"""A head-mounted camera and IMU that move through a room of landmarks: physics and sensors, from a seed.

Everything here is synthetic. Motion is a sum of sines, so that velocity and acceleration are exact; the IMU measures
specific force and angular rate in its own axes, with noise and a bias that walks; the camera projects landmarks through
a pinhole. Sizes and noises are our assumption, of the order of a headset in a living room and of a MEMS IMU.
"""

__all__ = ["CAMERA_HZ", "IMU_HZ", "N_FEATURES", "Walk", "landmarks", "record"]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GRAVITY = np.array([0.0, 0.0, -9.81])
"""m/s^2, z is up."""
ROOM_M = np.array([6.0, 5.0, 2.6])
IMU_HZ, CAMERA_HZ = 200, 20
ACCEL_NOISE, GYRO_NOISE = 2e-3, 2e-4
"""Densities: m/s^2 and rad/s per square root of Hz."""
ACCEL_WALK, GYRO_WALK = 3e-3, 2e-5
"""How biases walk: m/s^2 and rad/s per square root of second."""
ACCEL_BIAS, GYRO_BIAS = 0.05, 5e-3
"""Standard deviations of biases at the start: m/s^2 and rad/s."""
FOCAL_PX, WIDTH_PX, HEIGHT_PX, PIXEL_NOISE = 240.0, 640.0, 480.0, 0.5
N_LANDMARKS = 48
N_FEATURES = 3 * N_LANDMARKS + 6


@dataclass(frozen=True, kw_only=True)
class Walk:
    """One recording.

    Attributes
    ----------
    features : ndarray of float32, shape (frames, N_FEATURES)
        Of each camera frame: for every landmark its place in the image in units of half the width, and 1 if it is seen,
        else zeros; mean specific force since the last frame in units of gravity, and mean angular rate in rad/s.
    position_m : ndarray of float64, shape (frames, 3)
        True place of the device.
    """

    features: NDArray[np.float32]
    position_m: Floats


def landmarks(seed: int) -> Floats:
    """Return points on the walls, the floor and the ceiling of the room, shape (N_LANDMARKS, 3), in metres."""
    rng = np.random.default_rng([seed, 0])
    points = rng.uniform(size=(N_LANDMARKS, 3)) * ROOM_M
    face = rng.choice(6, size=N_LANDMARKS, p=[0.2, 0.2, 0.2, 0.2, 0.1, 0.1])
    points[np.arange(N_LANDMARKS), face // 2] = (face % 2) * ROOM_M[face // 2]
    return points


def record(seed: int, number: int, seconds: float = 40.0) -> Walk:
    """Simulate one walk through the room of `seed`, seen and felt by the sensors; walks of other numbers differ."""
    rng = np.random.default_rng([seed, 1, number])
    n = int(seconds * IMU_HZ)
    t = np.arange(n) / IMU_HZ
    position, acceleration = _path(t, rng)
    rotation = _attitude(t, rng)
    force = np.einsum("tji,tj->ti", rotation, acceleration - GRAVITY)
    rate = _rate(rotation)
    force += _imu_error(rng, n, ACCEL_BIAS, ACCEL_WALK, ACCEL_NOISE)
    rate += _imu_error(rng, n, GYRO_BIAS, GYRO_WALK, GYRO_NOISE)
    step = IMU_HZ // CAMERA_HZ
    frames = np.arange(step, n, step)
    image = _project(landmarks(seed), position[frames], rotation[frames], rng)
    felt = [np.stack([signal[f - step : f].mean(axis=0) for f in frames]) for signal in (force / 9.81, rate)]
    features = np.concatenate([image, *felt], axis=1).astype(np.float32)
    return Walk(features=features, position_m=position[frames])


def _waves(t: Floats, rng: np.random.Generator, size: float, slowest_s: float) -> tuple[Floats, Floats]:
    """Return a smooth signal within +-`size`, and its second derivative."""
    share = rng.dirichlet(np.ones(4)) * size
    omega = 2 * np.pi / (slowest_s * np.array([1.0, 0.61, 0.37, 0.23]) * rng.uniform(0.8, 1.25, size=4))
    phase = rng.uniform(0, 2 * np.pi, size=4)
    angle = np.outer(t, omega) + phase
    return np.sin(angle) @ share, -np.sin(angle) @ (share * omega**2)


def _path(t: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return position and acceleration: across the room, and the height of a head that stands, sits and looks."""
    axes = [_waves(t, rng, size, slowest) for size, slowest in ((2.3, 14.0), (1.8, 11.0), (0.35, 6.0))]
    centre = np.array([ROOM_M[0] / 2, ROOM_M[1] / 2, 1.45])
    return centre + np.stack([x for x, _ in axes], axis=1), np.stack([a for _, a in axes], axis=1)


def _attitude(t: Floats, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return rotations from the device's axes (forward, left, up) to the room's, shape (n, 3, 3)."""
    yaw = rng.uniform(0, 2 * np.pi) + _waves(t, rng, 2 * np.pi, 17.0)[0]
    pitch, roll = _waves(t, rng, 0.3, 5.0)[0], _waves(t, rng, 0.15, 4.0)[0]
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(angle), np.sin(angle)) for angle in (yaw, pitch, roll))
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def _rate(rotation: NDArray[np.float64]) -> Floats:
    """Return the angular rate in the device's axes, from one sample to the next; the last one twice."""
    turn = np.einsum("tji,tjk->tik", rotation[:-1], rotation[1:])
    skew = (turn - turn.transpose(0, 2, 1)) / 2
    vector = np.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], axis=1)
    sine = np.linalg.norm(vector, axis=1, keepdims=True)
    angle = np.arcsin(np.minimum(sine, 1.0))
    rate = np.where(sine > 0, vector * angle / np.where(sine > 0, sine, 1.0), 0.0) * IMU_HZ
    return np.concatenate([rate, rate[-1:]])


def _imu_error(rng: np.random.Generator, n: int, bias: float, walk: float, noise: float) -> Floats:
    start = rng.normal(0, bias, size=3)
    steps = rng.normal(0, walk / np.sqrt(IMU_HZ), size=(n, 3))
    white = rng.normal(0, noise * np.sqrt(IMU_HZ), size=(n, 3))
    error: Floats = start + np.cumsum(steps, axis=0) + white
    return error


def _project(points: Floats, position: Floats, rotation: NDArray[np.float64], rng: np.random.Generator) -> Floats:
    """Return what the camera sees of the landmarks, shape (frames, 3 * N_LANDMARKS)."""
    seen_from = np.einsum("tji,tnj->tni", rotation, points[np.newaxis] - position[:, np.newaxis])
    depth = seen_from[..., 0]
    ahead = depth > 0.2
    safe = np.where(ahead, depth, 1.0)
    pixel = FOCAL_PX * -seen_from[..., 1:] / safe[..., np.newaxis] + rng.normal(0, PIXEL_NOISE, size=(*depth.shape, 2))
    visible = ahead & (abs(pixel[..., 0]) < WIDTH_PX / 2) & (abs(pixel[..., 1]) < HEIGHT_PX / 2)
    scaled = np.where(visible[..., np.newaxis], pixel / (WIDTH_PX / 2), 0.0)
    return np.concatenate([scaled.reshape(len(depth), -1), visible.astype(np.float64)], axis=1)
