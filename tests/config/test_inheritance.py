"""`[alert]` and `[defaults]`, then the provider, then the endpoint: the nearest wins."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config.inherit import merged, shape_of
from monitor.config.load import ConfigError
from tests.config.files import CHAT, ENDPOINT, loaded
from tests.config.protocols import ChatSettings

SHAPE = shape_of(ChatSettings)


def only(config):
    assert len(config.endpoints) == 1
    return config.endpoints[0]


@pytest.mark.parametrize(
    ("defaults", "provider", "endpoint", "seconds"),
    [
        ("", "", "", 10),
        ("11s", "", "", 11),
        ("11s", "12s", "", 12),
        ("11s", "12s", "13s", 13),
        ("11s", "", "13s", 13),
        ("", "12s", "", 12),
    ],
)
def test_the_nearest_value_wins(tmp_path, defaults, provider, endpoint, seconds):
    def key(value):
        return f'stall_timeout = "{value}"\n' if value else ""

    config = loaded(
        tmp_path, f"[defaults]\n{key(defaults)}" + CHAT + key(provider) + ENDPOINT + key(endpoint)
    )
    assert only(config).stall_timeout == timedelta(seconds=seconds)


def test_tables_merge_key_by_key(tmp_path):
    config = loaded(
        tmp_path,
        '[defaults]\nheaders = { A = "1", B = "1" }\nexpect = { answer = "pong", ttft = "9s" }\n'
        'price = { input = "1" }\nlabels = { tier = "gold" }\n'
        + CHAT
        + 'headers = { B = "2", C = "2" }\nbody = { seed = 1, temperature = 0 }\nprice = { output = "2" }'
        + ENDPOINT
        + 'headers = { C = "3" }\nexpect = { ttft = "5s" }\nbody = { temperature = 1 }\n'
        'labels = { team = "x" }',
    )
    endpoint = only(config)
    assert {name: text.template for name, text in endpoint.headers.items()} == {"A": "1", "B": "2", "C": "3"}
    assert (endpoint.expect.answer, endpoint.expect.ttft) == ("pong", timedelta(seconds=5))
    assert endpoint.body == {"seed": 1, "temperature": 1}
    assert (endpoint.price.input, endpoint.price.output) == (1, 2)
    assert endpoint.labels == {"tier": "gold", "team": "x"}


def test_headers_have_no_case(tmp_path):
    config = loaded(
        tmp_path, '[defaults]\nheaders = { X-Title = "1" }' + CHAT + ENDPOINT + 'headers = { x-title = "2" }'
    )
    assert {name: text.template for name, text in only(config).headers.items()} == {"x-title": "2"}


def test_lists_are_replaced_whole(tmp_path):
    config = loaded(tmp_path, CHAT + 'omit = ["a", "b"]' + ENDPOINT + 'omit = ["c"]')
    assert only(config).omit == ("c",)


def test_false_switches_an_inherited_value_off(tmp_path):
    config = loaded(
        tmp_path,
        CHAT
        + 'api_key = "${env:KEY}"\nprice = { input = "1", output = "2" }\ndegraded = { ttft_p50 = "1s" }\n'
        'headers = { A = "1", B = "1" }\nexpect = { answer = "pong", ttft = "5s" }\nlabels = { a = "1" }\n'
        'status_page = "https://s.example"\nalert = { reminder = "1h" }\n'
        + ENDPOINT
        + "api_key = false\nprice = false\ndegraded = false\nheaders = { A = false }\n"
        "expect = { ttft = false }\nlabels = false\nstatus_page = false\nalert = { reminder = false }\n",
    )
    endpoint = only(config)
    assert (endpoint.api_key, endpoint.price, endpoint.degraded, endpoint.status_page) == (None,) * 4
    assert list(endpoint.headers) == ["B"]
    assert (endpoint.expect.answer, endpoint.expect.ttft) == ("pong", None)
    assert endpoint.labels == {}
    assert endpoint.alert.reminder is None


def test_what_was_switched_off_can_be_set_again(tmp_path):
    config = loaded(
        tmp_path,
        '[defaults]\ndegraded = { ttft_p50 = "1s" }'
        + CHAT
        + "degraded = false"
        + ENDPOINT
        + 'degraded = { total_p50 = "9s" }',
    )
    assert (only(config).degraded.ttft_p50, only(config).degraded.total_p50) == (None, timedelta(seconds=9))


def test_false_stays_a_value_where_it_is_one(tmp_path):
    config = loaded(
        tmp_path,
        CHAT
        + "body = { store = true, n = 1 }\ndata_policy = { prompt_training = true }\npublic = true"
        + ENDPOINT
        + "body = { store = false }\ndata_policy = { prompt_training = false }\npublic = false",
    )
    endpoint = only(config)
    assert endpoint.body == {"store": False, "n": 1}
    assert endpoint.data_policy.prompt_training is False
    assert endpoint.public is False


def test_an_endpoint_without_alerts_tells_nobody(tmp_path):
    config = loaded(
        tmp_path,
        '[channel.ops]\nurl = "console://"\n[alert]\ndown_after = 5' + CHAT + ENDPOINT + "alert = false",
    )
    assert only(config).alert.channels == ()
    assert only(config).alert.down_after == 5
    assert config.alert.channels is None


def test_alert_is_inherited_through_all_levels(tmp_path):
    config = loaded(
        tmp_path,
        "[alert]\ndown_after = 5\nup_after = 5\nreminder = false\n[defaults]\nalert = { up_after = 4 }"
        + CHAT
        + 'alert = { confirm_every = "0s" }'
        + ENDPOINT,
    )
    alert = only(config).alert
    assert (alert.down_after, alert.up_after, alert.confirm_every, alert.reminder) == (
        5,
        4,
        timedelta(0),
        None,
    )
    assert config.alert.up_after == 5


def test_a_default_of_one_protocol_does_not_disturb_another(tmp_path):
    config = loaded(
        tmp_path,
        '[defaults]\nmax_tokens = 32\nexpect = { answer = "pong", elapsed = "3s" }'
        + CHAT
        + ENDPOINT
        + '[provider.web]\nprotocol = "http"\n[[provider.web.endpoints]]\nname = "a"\nurl = "https://a.example"',
    )
    chat, web = config.endpoints
    assert chat.max_tokens == 32
    assert chat.expect.elapsed == web.expect.elapsed == timedelta(seconds=3)


def test_an_endpoint_may_choose_its_own_protocol(tmp_path):
    config = loaded(
        tmp_path,
        CHAT
        + ENDPOINT
        + '[[provider.openai.endpoints]]\nprotocol = "http"\nname = "x"\nurl = "https://a.example"',
    )
    assert [endpoint.protocol for endpoint in config.endpoints] == ["openai-chat", "http"]


def test_a_budget_and_a_name_are_not_inherited(tmp_path):
    config = loaded(tmp_path, CHAT + 'name = "OpenAI"\nbudget = { daily_usd = "1" }' + ENDPOINT)
    assert (only(config).budget, only(config).name) == (None, "nano")
    assert config.providers["openai"].budget.daily_usd == 1


@pytest.mark.parametrize(
    ("defaults", "provider", "endpoint", "seconds"),
    [
        ("", "", 'interval = "10s"', 9),
        ('timeout = "20s"', "", 'interval = "20s"', 18),
        ('timeout = "20s"', "", 'interval = "21s"', 20),
        ('interval = "90s"\ntimeout = "80s"', 'interval = "40s"', "", 36),
        ('interval = "90s"\ntimeout = "80s"', 'timeout = "50s"', 'interval = "30s"', 27),
        ('interval = "5s"', "", "", 4.5),
    ],
)
def test_an_inherited_timeout_shrinks_to_a_shorter_interval(tmp_path, defaults, provider, endpoint, seconds):
    config = loaded(tmp_path, f"[defaults]\n{defaults}" + CHAT + provider + ENDPOINT + endpoint)
    assert only(config).timeout == timedelta(seconds=seconds)


def test_a_wrong_default_is_told_once_however_many_inherit_it(tmp_path):
    many = "".join(ENDPOINT.replace("nano", f"m{number}") for number in range(50))
    with pytest.raises(ConfigError) as refusal:
        loaded(tmp_path, '[defaults]\nheaders = { A = 1 }\ntimeout = "soon"' + CHAT + many)
    assert [problem.key for problem in refusal.value.problems] == ["defaults.headers.A", "defaults.timeout"]


VALUES = st.integers() | st.text(max_size=3) | st.booleans()
TREES = st.fixed_dictionaries(
    {},
    optional={
        "prompt": VALUES,
        "max_tokens": VALUES,
        "labels": st.dictionaries(st.sampled_from("abc"), VALUES) | st.just(False),
        "body": st.dictionaries(st.sampled_from("abc"), VALUES) | st.just(False),
        "expect": st.fixed_dictionaries({}, optional={"answer": VALUES, "ttft": VALUES}) | st.just(False),
        "degraded": st.fixed_dictionaries({}, optional={"over": VALUES}) | st.just(False),
    },
)


@given(TREES)
def test_nothing_upon_a_tree_leaves_it_as_it_is(tree):
    assert merged(tree, {}, SHAPE) == tree


@given(TREES, TREES)
def test_the_same_twice_is_the_same_once(base, over):
    once = merged(merged({}, base, SHAPE), over, SHAPE)
    assert merged(once, over, SHAPE) == once


@given(TREES, TREES, TREES)
def test_levels_may_be_merged_in_any_grouping_where_nothing_is_switched_off(one, two, three):
    def without_false(tree):
        return {
            name: without_false(value) if isinstance(value, dict) else value
            for name, value in tree.items()
            if value is not False
        }

    one, two, three = map(without_false, (one, two, three))
    left = merged(merged(one, two, SHAPE), three, SHAPE)
    assert left == merged(one, merged(two, three, SHAPE), SHAPE)
