"""What is known about the demo data beyond a guess: their question, and what leaks the answer."""

from __future__ import annotations

from typing import Any

#: Demo to the parts of its config that a look at the data cannot tell.
DEMOS: dict[str, dict[str, Any]] = {
    "demo:chicago-taxi": {
        "name": "chicago-taxi",
        "question": "does the passenger tip more than 20 % of the fare?",
        "derive": {"big_tipper": "tips > 0.2 * fare"},
        "label": "big_tipper",
        "time": "trip_start_timestamp",
        "kinds": {
            "tips": ("ignore", "the label is computed from it"),
            "trip_start_timestamp": ("ignore", "a time: rows are split by it"),
            "trip_start_month": ("ignore", "the split by time leaves unseen months to test"),
            "pickup_census_tract": ("ignore", "empty"),
            "dropoff_census_tract": ("ignore", "says the same as dropoff_community_area"),
        },
        "slices": ("payment_type", "trip_start_day"),
    },
    "demo:nyc-flights": {
        "name": "nyc-flights",
        "question": "does the flight arrive more than 15 minutes late?",
        "derive": {"late": "arr_delay > 15"},
        "label": "late",
        "time": "time_hour",
        "kinds": {
            **{
                name: ("ignore", "known only after departure")
                for name in ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")
            },
            "year": ("ignore", "always 2013"),
            "month": ("ignore", "the split by time leaves unseen months to test"),
            "time_hour": ("ignore", "a time: rows are split by it"),
            "minute": ("numeric", ""),
            "flight": ("ignore", "an identifier"),
            "tailnum": ("ignore", "an identifier"),
            "hour": ("categorical", ""),
            "day": ("ignore", "the day of the month"),
            "carrier": ("categorical", ""),
            "origin": ("categorical", ""),
            "dest": ("categorical", ""),
        },
        "slices": ("origin", "carrier"),
    },
    "demo:digits": {
        "name": "digits",
        "question": "which digit was written?",
        "label": "label",
    },
}
