"""What responses say of rate limits, in every vendor's way of saying it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.headroom import Headroom, Kind, Limit, Period, duration_s, is_named, read, wait
from monitor.core.instant import DAY, SECOND, Instant, from_iso

AT = from_iso("2026-11-22T06:00:00Z")
DATE = "Sun, 22 Nov 2026 06:00:00 GMT"
DAY_S = 86_400.0

R, T, IN, OUT = Kind.REQUESTS, Kind.TOKENS, Kind.INPUT_TOKENS, Kind.OUTPUT_TOKENS
Row = tuple[Kind, Period | None, int | None, int | None, float | None]

VENDORS: dict[str, tuple[dict[str, str], list[Row]]] = {
    "OpenAI": (
        {
            "date": DATE,
            "x-ratelimit-limit-requests": "200", "x-ratelimit-limit-tokens": "40000",
            "x-ratelimit-limit-tokens_usage_based": "40000", "x-ratelimit-remaining-requests": "197",
            "x-ratelimit-remaining-tokens": "39929", "x-ratelimit-remaining-tokens_usage_based": "39929",
            "x-ratelimit-reset-requests": "16m17.764s", "x-ratelimit-reset-tokens": "106ms",
            "x-ratelimit-reset-tokens_usage_based": "106ms",
        },
        [(R, None, 200, 197, 977.764), (T, None, 40_000, 39_929, 0.106)],
    ),
    "Groq": (
        {
            "retry-after": "2", "x-ratelimit-limit-requests": "14400", "x-ratelimit-limit-tokens": "18000",
            "x-ratelimit-remaining-requests": "14370", "x-ratelimit-remaining-tokens": "17997",
            "x-ratelimit-reset-requests": "2m59.56s", "x-ratelimit-reset-tokens": "7.66s",
        },
        [(R, None, 14_400, 14_370, 179.56), (T, None, 18_000, 17_997, 7.66)],
    ),
    "Azure": (
        {
            "x-ratelimit-remaining-requests": "249", "x-ratelimit-remaining-tokens": "249968",
            "x-ratelimit-limit-requests": "250", "x-ratelimit-limit-tokens": "250000",
            "x-ratelimit-reset-requests": "10", "x-ratelimit-reset-tokens": "60",
        },
        [(R, None, 250, 249, 10.0), (T, None, 250_000, 249_968, 60.0)],
    ),
    "Azure that says only what is left": (
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-remaining-tokens": "1200"},
        [(R, None, None, 0, None), (T, None, None, 1_200, None)],
    ),
    "Azure's responses, which count nothing": (
        {
            "x-ratelimit-limit-tokens": "-1", "x-ratelimit-remaining-tokens": "-1",
            "x-ratelimit-reset-tokens": "0",
        },
        [],
    ),
    "Anthropic": (
        {
            "date": DATE,
            "anthropic-ratelimit-input-tokens-limit": "80000",
            "anthropic-ratelimit-input-tokens-remaining": "79000",
            "anthropic-ratelimit-input-tokens-reset": "2026-11-22T05:59:59Z",
            "anthropic-ratelimit-output-tokens-limit": "16000",
            "anthropic-ratelimit-output-tokens-remaining": "15000",
            "anthropic-ratelimit-output-tokens-reset": "2026-11-22T06:00:04Z",
            "anthropic-ratelimit-requests-limit": "1000", "anthropic-ratelimit-requests-remaining": "999",
            "anthropic-ratelimit-requests-reset": "2026-11-22T06:00:01Z",
            "anthropic-ratelimit-tokens-limit": "96000", "anthropic-ratelimit-tokens-remaining": "94000",
            "anthropic-ratelimit-tokens-reset": "2026-11-22T07:00:01+01:00",
            "anthropic-ratelimit-unified-5h-utilization": "0.2",
        },
        [
            (R, None, 1_000, 999, 1.0), (T, None, 96_000, 94_000, 1.0),
            (IN, None, 80_000, 79_000, 0.0), (OUT, None, 16_000, 15_000, 4.0),
        ],
    ),
    "Mistral": (
        {
            "x-ratelimit-limit-req-minute": "50", "x-ratelimit-remaining-req-minute": "49",
            "x-ratelimit-limit-tokens-minute": "50000", "x-ratelimit-remaining-tokens-minute": "47300",
            "x-ratelimit-tokens-query-cost": "1300",
        },
        [(R, Period.MINUTE, 50, 49, None), (T, Period.MINUTE, 50_000, 47_300, None)],
    ),
    "Mistral as it was": (
        {
            "ratelimitbysize-limit": "500000", "ratelimitbysize-remaining": "499900", "ratelimitbysize-reset": "38",
            "x-ratelimitbysize-limit-month": "1000000000", "x-ratelimitbysize-remaining-month": "999000000",
            "x-ratelimitbysize-limit-minute": "500000", "x-ratelimitbysize-remaining-minute": "499900",
        },
        [
            (T, None, 500_000, 499_900, 38.0), (T, Period.MINUTE, 500_000, 499_900, None),
            (T, Period.MONTH, 1_000_000_000, 999_000_000, None),
        ],
    ),
    "Together": (
        {
            "x-ratelimit-limit": "10", "x-ratelimit-remaining": "9", "x-ratelimit-reset": "1",
            "x-tokenlimit-limit": "3000", "x-tokenlimit-remaining": "2950",
        },
        [(R, None, 10, 9, 1.0), (T, None, 3_000, 2_950, None)],
    ),
    "Fireworks": (
        {
            "x-ratelimit-limit-requests": "600", "x-ratelimit-remaining-requests": "599",
            "x-ratelimit-limit-tokens-prompt": "7200000", "x-ratelimit-remaining-tokens-prompt": "7193993",
            "x-ratelimit-limit-tokens-cache-adjusted-prompt": "900000",
            "x-ratelimit-limit-tokens-generated": "72000", "x-ratelimit-remaining-tokens-generated": "69338",
            "x-ratelimit-over-limit": "no",
        },
        [
            (R, None, 600, 599, None), (IN, None, 7_200_000, 7_193_993, None),
            (OUT, None, 72_000, 69_338, None),
        ],
    ),
    "OpenRouter": (
        {
            "x-ratelimit-limit": "50", "x-ratelimit-remaining": "0",
            "x-ratelimit-reset": "1795392000000",
        },
        [(R, None, 50, 0, 64_800.0)],
    ),
    "Cerebras": (
        {
            "x-ratelimit-limit-requests-day": "1000000000",
            "x-ratelimit-limit-tokens-minute": "1000000000",
            "x-ratelimit-remaining-requests-day": "999997455",
            "x-ratelimit-remaining-tokens-minute": "999998298",
            "x-ratelimit-reset-requests-day": "33011.382867", "x-ratelimit-reset-tokens-minute": "11.38",
        },
        [
            (R, Period.DAY, 10**9, 999_997_455, 33_011.382867),
            (T, Period.MINUTE, 10**9, 999_998_298, 11.38),
        ],
    ),
    "DigitalOcean": (
        {
            "x-ratelimit-limit-tokens-per-minute": "100000", "x-ratelimit-remaining-tokens-per-minute": "5000",
            "x-ratelimit-reset-tokens-per-minute": "1795327230",
        },
        [(T, Period.MINUTE, 100_000, 5_000, 30.0)],
    ),
    "Kong": (
        {"x-ratelimit-limit-hour": "500", "x-ratelimit-remaining-hour": "499", "ratelimit-reset": "600"},
        [(R, Period.HOUR, 500, 499, None)],
    ),
    "the IETF's draft": (
        {
            "ratelimit-policy": '"burst";q=100;w=60,"daily";q=1000;w=86400, "bytes";q=65535;qu="content-bytes";w=10',
            "ratelimit": '"burst";r=40;t=12, "daily";r=350;t=36000,"bytes";r=1;t=2',
        },
        [(R, Period.MINUTE, 100, 40, 12.0), (R, Period.DAY, 1_000, 350, 36_000.0)],
    ),
    "the IETF's draft 7": (
        {"ratelimit-policy": "100;w=60", "ratelimit": "limit=100, remaining=50, reset=5"},
        [(R, None, 100, 50, 5.0)],
    ),
    "the IETF's draft 6": (
        {"ratelimit-limit": "100, 100;w=10", "ratelimit-remaining": "50", "ratelimit-reset": "50"},
        [(R, None, 100, 50, 50.0)],
    ),
    "nobody": ({"date": DATE, "server": "nginx", "x-limit": "3", "ratelimit-policy": "100;w=60"}, []),
}  # fmt: skip


def limit(row: Row) -> Limit:
    kind, period, most, remaining, resets = row
    return Limit(kind=kind, period=period, limit=most, remaining=remaining, resets_in_s=resets)


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_limits_of_each_vendor_are_read(vendor: str) -> None:
    headers, rows = VENDORS[vendor]
    found = read(headers, AT)
    assert [(one.kind, one.period, one.limit, one.remaining) for one in found] == [row[:4] for row in rows]
    for one, row in zip(found, rows, strict=True):
        assert one.resets_in_s == (None if row[4] is None else pytest.approx(row[4], abs=1e-6))


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_header_that_is_read_is_one_that_is_kept(vendor: str) -> None:
    headers, _ = VENDORS[vendor]
    kept = {name: value for name, value in headers.items() if name == "date" or is_named(name)}
    assert read(kept, AT) == read(headers, AT)


def test_a_clock_of_ours_that_is_wrong_does_not_matter() -> None:
    headers, _ = VENDORS["Anthropic"]
    for wrong in (-3 * DAY, -90 * SECOND, 90 * SECOND, 400 * DAY):
        assert read(headers, Instant(AT + wrong)) == read(headers, AT)


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Thu, 01 Jan 1970 00:00:00 GMT", "Mon, 1 Jan 99999999999 00:00:00 GMT"]
)
def test_a_server_whose_date_makes_no_sense_is_taken_by_our_own_clock(date: str) -> None:
    headers = {"date": date, "anthropic-ratelimit-requests-remaining": "0"}
    (one,) = read({**headers, "anthropic-ratelimit-requests-reset": "2026-11-22T06:00:20Z"}, AT)
    assert one.resets_in_s == 20.0


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("6m0s", 360.0), ("1s", 1.0), ("20ms", 0.02), ("1.2s", 1.2), ("1h2m3.5s", 3_723.5), ("250µs", 0.00025),
        ("2d", 2 * DAY_S), ("", None), ("s", None), ("1", None), ("1 s", None), ("-1s", None), ("1s-", None),
        ("1x", None), ("1s" * 200, None), ("9" * 10_000 + "s", None),
    ],
)  # fmt: skip
def test_durations_are_written_as_go_writes_them(said: str, seconds: float | None) -> None:
    assert duration_s(said) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "-1", "-0.5", "nan", "NaN", "inf", "1e3", "1_000", "0x10", "1,000", "12, 13", "[1]", "١٢",
        "9" * 16, "9" * 10_000, "1" + "0" * 400, "\x00", "null", "1;2",
    ],
)  # fmt: skip
def test_a_count_that_makes_no_sense_is_not_known(value: str) -> None:
    headers = {"x-ratelimit-limit-requests": value, "x-ratelimit-remaining-requests": "7"}
    assert read(headers, AT) == (Limit(kind=R, remaining=7),)
    headers = {"x-ratelimit-limit-requests": "7", "x-ratelimit-remaining-requests": value}
    assert read(headers, AT) == ()


@pytest.mark.parametrize(
    "value",
    [
        "", "-5", "nan", "soon", "5 s", "33d", "99999999", "2026-13-45T99:99:99Z", "2036-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-22", "9" * 15, "9" * 10_000,
        "1, 2", "946684800", "2026-11-22T06:00:00",
    ],
)  # fmt: skip
def test_a_reset_that_makes_no_sense_is_not_known(value: str) -> None:
    headers = {"x-ratelimit-remaining-requests": "7", "x-ratelimit-reset-requests": value}
    assert read(headers, AT) == (Limit(kind=R, remaining=7),)


NAMES = sorted({name for headers, _ in VENDORS.values() for name in headers})
VALUES = sorted({value for headers, _ in VENDORS.values() for value in headers.values()})


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=40), st.sampled_from(VALUES) | st.text()))
def test_whatever_a_server_sends_nothing_is_raised_and_what_is_read_makes_sense(
    headers: dict[str, str],
) -> None:
    found = read(headers, AT)
    assert len(found) <= 8
    assert len({(one.kind, one.period) for one in found}) == len(found)
    for one in found:
        assert one.limit is None or one.limit >= 1
        assert one.remaining is None or one.remaining >= 0
        assert one.resets_in_s is None or 0 <= one.resets_in_s <= 32 * DAY_S
        assert one.permille is None or 0 <= one.permille <= 1000


def test_the_order_of_the_headers_does_not_matter() -> None:
    for headers, _ in VENDORS.values():
        assert read(dict(reversed(headers.items())), AT) == read(headers, AT)


def test_headroom_is_what_is_left_of_the_limit_that_is_nearest_to_its_end() -> None:
    found = Headroom(
        AT, (Limit(kind=R, limit=500, remaining=499), Limit(kind=T, limit=3_000, remaining=2_497))
    )
    assert found.permille == 832
    assert Headroom(AT, (Limit(kind=R, remaining=3), Limit(kind=T, limit=10))).permille is None
    assert Headroom(AT, (Limit(kind=R, limit=10, remaining=12),)).permille == 1000
    assert (
        Headroom(AT, (Limit(kind=R, limit=3, remaining=0), Limit(kind=T, limit=3, remaining=3))).permille == 0
    )


def test_what_is_left_is_said_in_words() -> None:
    whole = Limit(kind=R, period=Period.DAY, limit=1000, remaining=999)
    assert Headroom(AT, (whole,)).words() == "99 % of requests per day left"
    some = (Limit(kind=R, remaining=0), Limit(kind=IN, limit=3_000, remaining=2_500))
    assert Headroom(AT, some).words() == "0 requests, 83 % of input tokens left"


def test_a_limit_is_whole_again_by_our_own_clock() -> None:
    one, other = Limit(kind=R, remaining=1, resets_in_s=1.5), Limit(kind=T, remaining=1)
    found = Headroom(AT, (one, other))
    assert found.resets_at(one) == AT + 1_500_000
    assert found.resets_at(other) is None


def test_only_what_is_used_up_is_waited_for() -> None:
    used_up = Limit(kind=R, limit=5, remaining=0, resets_in_s=20.0)
    later = Limit(kind=T, limit=5, remaining=0, resets_in_s=40.0)
    left = Limit(kind=OUT, limit=5, remaining=1, resets_in_s=90.0)
    assert wait([used_up, left]) == 20 * SECOND
    assert wait([used_up, later, left]) == 40 * SECOND
    assert wait([left]) is None
    assert wait([Limit(kind=R, remaining=0)]) is None
    assert wait([Limit(kind=R, remaining=0, resets_in_s=0.0)]) is None
