"""What probing will cost."""

from decimal import Decimal

import pytest

from monitor.config.cost import price_of, projected
from monitor.config.load import ConfigError, load
from monitor.protocols import settings_registry
from tests.config.files import CHAT, ENDPOINT, NOW, loaded, written

PRICE = 'price = { input = "0.10", output = "0.40", cache_read = "0.025" }\n'


def test_a_month_is_thirty_days_of_probes_at_their_longest(tmp_path):
    prompt = "x" * (4 * 100 - 34)
    text = CHAT + ENDPOINT + PRICE + f'max_tokens = 64\ninterval = "60s"\nprompt = "{prompt}"\n'
    (one,) = projected(loaded(tmp_path, text).endpoints).projections
    assert one.probes == 30 * 24 * 60
    assert one.usd == 43_200 * (100 * Decimal("0.10") + 64 * Decimal("0.40")) / 1_000_000
    assert str(one.usd.normalize()) == "1.53792"


def test_a_part_of_a_token_is_paid_as_a_whole_one(tmp_path):
    text = CHAT + ENDPOINT + 'price = { input = 1_000_000, output = 0 }\nprompt = "abc"\ninterval = "1d"\n'
    (one,) = projected(loaded(tmp_path, text.replace("1_000_000", '"1000000"')).endpoints).projections
    assert one.usd == 30 * 10


def test_where_our_limit_is_not_sent_the_models_own_is_reckoned_with(tmp_path):
    text = CHAT + ENDPOINT + PRICE + 'max_tokens = 64\nomit = ["max_tokens"]\nprompt = "x"\n'
    (one,) = projected(loaded(tmp_path, text + "limits = { max_output = 32_770 }\n").endpoints).projections
    assert one.usd == 43_200 * (9 * Decimal("0.10") + 32_770 * Decimal("0.40")) / 1_000_000
    bill = projected(loaded(tmp_path, text).endpoints)
    assert (bill.projections[0].usd, bill.unlimited, bill.unpriced) == (None, ("openai/nano",), ())


def test_a_character_that_is_not_latin_is_a_token(tmp_path):
    text = CHAT + ENDPOINT + 'price = { input = "1000000", output = 0 }\nprompt = "写" \ninterval = "1d"\n'
    (one,) = projected(loaded(tmp_path, text).endpoints).projections
    assert one.usd == 30 * (1 + 9)


def test_the_sum_lacks_models_without_a_price_and_says_so(tmp_path):
    text = (
        CHAT
        + ENDPOINT
        + PRICE
        + ENDPOINT.replace("nano", "micro")
        + ENDPOINT.replace("nano", "milli")
        + PRICE
        + "enabled = false\n"
        + '[provider.web]\nprotocol = "http"\n[[provider.web.endpoints]]\nname = "a"\nurl = "https://a.example"\n'
    )
    bill = projected(loaded(tmp_path, text).endpoints)
    assert [each.endpoint for each in bill.projections] == ["openai/nano", "openai/micro", "web/a"]
    assert bill.unpriced == ("openai/micro",)
    assert bill.usd == bill.projections[0].usd
    assert bill.projections[2].usd == 0


def test_nothing_costs_nothing():
    assert projected([]).usd == 0


def test_prices_stay_exact(tmp_path):
    price = price_of(loaded(tmp_path, CHAT + ENDPOINT + PRICE).endpoints[0])
    assert str(price.cache_read) == "0.025"
    assert price.blended == Decimal("0.175")


@pytest.mark.parametrize("budget", ["", '[budget]\ndaily_usd = "5.00"\n'])
def test_where_a_limit_cannot_be_left_out_nobody_is_told_how_to_do_without_it(tmp_path, budget):
    text = budget + CHAT.replace("openai-chat", "anthropic").replace("/v1", "")
    path = written(tmp_path, text + ENDPOINT + PRICE + 'omit = ["max_tokens"]')
    with pytest.raises(ConfigError) as refusal:
        load(path, settings_registry(), NOW)
    (told,) = refusal.value.problems
    assert told.text == '"max_tokens" cannot be left out: there is no probe without it'


def test_what_else_is_left_out_wrongly_hides_no_answer_without_a_limit(tmp_path):
    text = '[budget]\ndaily_usd = "5.00"\n' + CHAT + ENDPOINT + PRICE
    with pytest.raises(ConfigError) as refusal:
        load(
            written(tmp_path, text + 'max_tokens_field = "max_tokens"\nomit = ["max_tokens", "stream"]'),
            settings_registry(),
            NOW,
        )
    assert [problem.text.partition(" ")[0] for problem in refusal.value.problems] == ["with", '"stream"']
