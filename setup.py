"""Compute the package list: every room at the top level becomes `tetrit.<room>`."""

from setuptools import find_packages, setup

ROOMS = ("formats", "hardware", "estimators", "sim", "rtl", "verify", "hls", "train", "report")

packages = ["tetrit", *(f"tetrit.{name}" for name in find_packages("tetrit"))]
package_dir = {"tetrit": "tetrit"}
for room in ROOMS:
    package_dir[f"tetrit.{room}"] = room
    packages += [f"tetrit.{room}", *(f"tetrit.{room}.{name}" for name in find_packages(room))]

setup(packages=packages, package_dir=package_dir)
