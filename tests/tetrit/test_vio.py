"""The example of a position from camera and IMU: its physics is consistent, its seed decides, and it runs."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "vio"


@pytest.fixture
def room(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import room

    yield room
    sys.modules.pop("room", None)


def exponential(vector):
    """The rotation by a vector, by Rodrigues' formula."""
    angle = np.linalg.norm(vector)
    x, y, z = vector / angle
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew


def test_the_seed_and_the_number_decide(room):
    one, same, other = (room.record(3, number, seconds=2.0) for number in (5, 5, 6))
    assert (one.features == same.features).all()
    assert (one.position_m == same.position_m).all()
    assert (one.position_m != other.position_m).all()
    assert one.features.shape == (39, room.N_FEATURES)
    assert one.features.dtype == np.float32
    assert (one.position_m > 0).all()
    assert (one.position_m < room.ROOM_M).all()


def test_acceleration_is_that_of_the_path_and_rates_turn_the_device(room):
    t = np.arange(400) / room.IMU_HZ
    position, acceleration = room._path(t, np.random.default_rng(0))
    numeric = (position[2:] - 2 * position[1:-1] + position[:-2]) * room.IMU_HZ**2
    assert np.allclose(numeric, acceleration[1:-1], atol=1e-2)
    rotation = room._attitude(t, np.random.default_rng(1))
    assert np.allclose(rotation @ rotation.transpose(0, 2, 1), np.eye(3))
    turned = rotation[0]
    for rate in room._rate(rotation)[:-1]:
        turned = turned @ exponential(rate / room.IMU_HZ)
    assert np.allclose(turned, rotation[-1], atol=1e-9)


def test_a_perfect_imu_leads_along_the_path(room, monkeypatch):
    """Its specific force, turned into the room and with gravity added, is the acceleration, frame by frame."""
    for name in ("ACCEL_BIAS", "ACCEL_WALK", "ACCEL_NOISE", "GYRO_BIAS", "GYRO_WALK", "GYRO_NOISE"):
        monkeypatch.setattr(room, name, 0.0)
    monkeypatch.setattr(room, "_attitude", lambda t, rng: np.broadcast_to(np.eye(3), (len(t), 3, 3)))
    walk = room.record(0, 0, seconds=20.0)
    force = walk.features[:, -6:-3].astype(np.float64) * 9.81
    assert (walk.features[:, -3:] == 0).all()
    numeric = np.diff(walk.position_m, 2, axis=0) * room.CAMERA_HZ**2
    assert np.abs(force[1:-1] + room.GRAVITY - numeric).max() < 0.3  # means over a frame, half a frame earlier
    assert np.abs(force[:, 2] - 9.81).mean() < 1.0


def test_the_camera_sees_what_is_ahead_of_it(room):
    points = np.array([[5.0, 0.0, 0.0], [5.0, 1.0, 0.5], [-5.0, 0.0, 0.0], [1.0, 9.0, 0.0]])
    seen = room._project(points, np.zeros((1, 3)), np.eye(3)[np.newaxis], np.random.default_rng(0))[0]
    assert seen[8:].tolist() == [1, 1, 0, 0]
    assert np.abs(seen[:2]).max() < 0.01
    assert np.allclose(seen[2:4], [-240 / 5 / 320, -120 / 5 / 320], atol=0.01)  # to the left and up
    assert seen[4:8].tolist() == [0, 0, 0, 0]


def test_the_example_runs(room, monkeypatch, tmp_path, capsys):
    import vio

    monkeypatch.setattr(vio, "record", lambda seed, number: room.record(seed, number, seconds=4.0))
    arguments = [
        "vio.py",
        "--walks",
        "6",
        "--epochs",
        "2",
        "--trained-epochs",
        "1",
        "--out",
        str(tmp_path / "out.json"),
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    vio.main()
    sys.modules.pop("vio")
    rows = json.loads((tmp_path / "out.json").read_text())
    assert [row["formats"] for row in rows[1:-1]] == [f"{name} everywhere" for name in vio.FORMATS]
    assert rows[-1]["bits"] <= 6.0
    wide = rows[4]
    assert wide["rounded_m"] == pytest.approx(rows[0]["trained_m"], rel=0.02)
    assert wide["cycles_per_frame"] > rows[1]["cycles_per_frame"]
    assert "mixed:" in capsys.readouterr().out
