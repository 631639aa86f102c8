"""The tables that monitoring is measured on, with a day per row and faults that matter."""

from __future__ import annotations

import numpy as np
import pandas as pd

from custom_components.example_gen.demo import find_demo
from monitoring import replay
from monitoring.measure import LABEL

TAXI_NUMERIC = (
    "trip_miles", "fare", "trip_seconds", "pickup_latitude", "pickup_longitude",
    "dropoff_latitude", "dropoff_longitude",
)  # fmt: skip
TAXI_CATEGORICAL = (
    "payment_type", "company", "trip_start_month", "trip_start_day", "trip_start_hour",
    "pickup_community_area", "dropoff_community_area", "dropoff_census_tract",
)  # fmt: skip
FLIGHTS_NUMERIC = ("sched_dep_time", "sched_arr_time", "distance", "dep_delay", "air_time")
FLIGHTS_CATEGORICAL = ("carrier", "origin", "dest", "hour", "minute", "weekday")
WEATHER = (
    "temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib",
)  # fmt: skip


def taxi() -> tuple[pd.DataFrame, np.ndarray]:
    """Trips of 2013 to 2016 with `(label)`: a tip above a fifth of the fare."""
    table = pd.read_csv(find_demo("demo:chicago-taxi"))
    table[LABEL] = np.where(table.tips > 0.2 * table.fare, "1", "0")
    table["company"] = table.company.astype(object).where(table.company.notna(), None)
    return table, pd.to_datetime(table.trip_start_timestamp, unit="s").to_numpy()


def flights() -> tuple[pd.DataFrame, np.ndarray]:
    """Flights of 2013 with the hour's weather and `(label)`: more than 15 minutes late."""
    path = find_demo("demo:nyc-flights")
    table = pd.read_csv(path)
    weather = pd.read_csv(path.replace("flights.csv.zip", "weather.csv"))
    weather = weather.drop_duplicates(["origin", "time_hour"])
    table = table.merge(weather[["origin", "time_hour", *WEATHER]], "left", ["origin", "time_hour"])
    moments = pd.to_datetime(table[["year", "month", "day"]])
    table["weekday"] = moments.dt.dayofweek
    table[LABEL] = np.where(table.dep_delay > 15, "1", "0")
    return table, moments.to_numpy()


def load(name: str) -> tuple[pd.DataFrame, dict[str, str], np.ndarray, list[replay.Fault]]:
    """Rows, feature kinds, a time per row, and the faults to put in."""
    if name == "taxi":
        table, times = taxi()
        numeric, categorical = TAXI_NUMERIC, (*TAXI_CATEGORICAL, LABEL)
        faults = [
            replay.scaled("fare"),
            replay.new_category("payment_type"),
            replay.missing("trip_miles"),
        ]
    else:
        table, times = flights()
        numeric, categorical = (*FLIGHTS_NUMERIC, *WEATHER), (*FLIGHTS_CATEGORICAL, LABEL)
        faults = [
            replay.scaled("distance"),
            replay.new_category("carrier"),
            replay.missing("sched_dep_time"),
        ]
    for feature in numeric:
        table[feature] = table[feature].astype(float)
    kinds = {n: "numeric" for n in numeric} | {n: "categorical" for n in categorical}
    return table, kinds, times, [*faults, replay.more_often(LABEL, "1", "0")]
