"""How small, fast and frugal TFLite files are, measured so that the figures can be compared."""

from models.benchmark.timing import Samples, Timing, benchmark, measure

__all__ = ["Samples", "Timing", "benchmark", "measure"]
