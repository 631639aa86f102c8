"""What chance alone does to a statistic when rows are independent: p-values and limits.

With n rows in the window and m in the reference:

  PSI         PSI / (1/n + 1/m) follows chi-square with cells - 1 degrees of freedom
              (Yurdakul, Statistical Properties of Population Stability Index, 2018).
  KS          The two-sample statistic's limit: the one-sample law at n m / (n + m) rows (Smirnov,
              1948; as `scipy.stats.ks_2samp`). Binned values make it smaller, never larger.
  proportion  Of x rows of the window and y of the reference that have a property, x is binomial
              (x + y, n / (n + m)) given x + y: Fisher's test (1922) without its finite-population
              factor, so a little cautious.
  mean        Normal, by the reference's standard deviation (Welch's test, 1947, in the limit).
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special, stats

#: P-values above this are those of the limit's law alone.
_UNREMARKABLE = 0.2


def psi_limit(alpha: float, cells: int, n: float, m: float) -> float:
    """PSI that chance exceeds with probability alpha."""
    if cells < 2 or n <= 0 or m <= 0:
        return math.inf
    return float(special.chdtri(cells - 1, alpha) * (1 / n + 1 / m))


def ks_p_value(distance: float, n: float, m: float) -> float:
    """Of a KS distance this large or larger."""
    rows = round(n * m / (n + m)) if n + m else 0
    if rows < 1:
        return 1.0
    limiting = float(special.kolmogorov(math.sqrt(rows) * distance))
    # Nobody acts on a large one, and the limit's law is a hundred times as fast.
    return limiting if limiting > _UNREMARKABLE else float(stats.kstwo.sf(distance, rows))


def ks_limit(alpha: float, n: float, m: float) -> float:
    """KS distance that chance exceeds with probability alpha."""
    rows = round(n * m / (n + m)) if n + m else 0
    return float(stats.kstwo.isf(alpha, rows)) if rows >= 1 else math.inf


def proportion_p_value(rate: float, n: float, reference: float, m: float) -> float:
    """Two-sided p-value of a share that differs this much from the reference's."""
    if n <= 0 or m <= 0:
        return 1.0
    hits, total = round(rate * n), round(rate * n) + round(reference * m)
    if total == 0:
        return 1.0
    share = n / (n + m)
    above = special.bdtrc(hits - 1, total, share) if hits > 0 else 1.0
    below = special.bdtr(hits, total, share)
    return float(min(1.0, 2 * min(above, below)))


def proportion_limit(alpha: float, n: float, reference: float, m: float) -> float:
    """Smallest increase of a share that has a p-value below alpha."""
    if n <= 0 or m <= 0:
        return math.inf
    low, high = round(reference * n), int(n) + 1
    while high - low > 1:
        middle = (low + high) // 2
        if proportion_p_value(middle / n, n, reference, m) < alpha:
            high = middle
        else:
            low = middle
    return high / n - reference if high <= n else math.inf


def mean_limit(alpha: float, spread: float, n: float, m: float) -> float:
    """Change of a mean that chance exceeds with probability alpha, two-sided."""
    if n <= 0 or m <= 0:
        return math.inf
    return float(-special.ndtri(alpha / 2) * spread * math.sqrt(1 / n + 1 / m))


def detectable_psi(limit: float, cells: int, n: float, m: float, power: float) -> float:
    """True PSI whose estimate exceeds a limit with this probability (non-central chi-square)."""
    if not math.isfinite(limit) or cells < 2:
        return math.inf
    noise = 1 / n + 1 / m
    return float(max(special.chndtrinc(limit / noise, cells - 1, 1 - power), 0.0) * noise)


def detectable_ks(limit: float, n: float, m: float, power: float) -> float:
    """True KS distance found with this probability, for the worst case of its variance."""
    if not math.isfinite(limit):
        return math.inf
    return limit + float(special.ndtri(power)) * math.sqrt((1 / n + 1 / m) / 4)


def detectable_rate(limit: float, reference: float, n: float, m: float, power: float) -> float:
    """True increase of a share found with this probability."""
    if not math.isfinite(limit):
        return math.inf
    change = limit
    for _ in range(20):  # the variance grows with the share: a fixed point
        share = min(reference + change, 1.0)
        spread = math.sqrt(share * (1 - share) / n + reference * (1 - reference) / m)
        change = limit + float(special.ndtri(power)) * spread
    return float(np.clip(change, 0.0, 1.0))
