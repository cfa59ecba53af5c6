"""No more is spent in a day than was allowed, and what is not probed for it is on record."""

from decimal import Decimal

from tests.support.both import on_both_databases
from tests.support.daemon import Home
from tests.support.postgres import Cluster
from tests.support.records import BUSY
from tests.support.simulated import Simulated


def poor(home: Home, simulated: Simulated) -> None:
    # 20 tokens at 1 USD per million tokens, with a prompt of hardly a hundred: some 100 µUSD a probe.
    home.configure(
        '[budget]\ndaily_usd = "0.0005"\n',
        f'[provider.acme]\nprotocol = "openai-chat"\nbase_url = "{simulated.base_url("acme")}"\n'
        'interval = "1s"\ntimeout = "900ms"\n',
        '[[provider.acme.endpoints]]\nmodel = "gpt-x"\nmax_tokens = 20\n'
        'price = { input = "1.00", output = "1.00" }\n',
    )


@on_both_databases
def test_a_probe_beyond_the_daily_budget_is_not_sent_but_stored(home: Home, simulated: Simulated) -> None:
    poor(home, simulated)
    daemon = home.ready()
    line = daemon.wait("probe.stored", outcome="budget_exhausted", count=2)
    assert "the daily budget of all endpoints together is 0.0005 USD" in line["detail"]
    assert daemon.stop()[0] == 0
    records = home.records()
    probes = records.probes("acme/gpt-x")
    sent = [probe for probe in probes if probe.sent]
    assert {probe.outcome for probe in sent} <= {"ok", BUSY}
    assert 1 <= len(sent) == len(simulated.log("acme"))
    assert all(not probe.sent for probe in probes if probe.outcome == "budget_exhausted")
    spent = records.rows("SELECT cost_usd FROM uptoken_probe WHERE cost_usd IS NOT NULL")
    assert 0 < sum(Decimal(row.cost_usd) for row in spent) <= Decimal("0.0005")
    records.check_slots("acme/gpt-x")

    # A restart opens no second budget.
    second = home.ready()
    second.wait("probe.stored", outcome="budget_exhausted")
    assert {line["outcome"] for line in second.heard("probe.stored")} == {"budget_exhausted"}
    assert len(simulated.log("acme")) == len(sent)


def test_a_start_without_the_database_opens_no_second_budget(
    postgres_home: Home, postgres: Cluster, simulated: Simulated
) -> None:
    home = postgres_home
    poor(home, simulated)
    first = home.ready()
    first.wait("probe.stored", outcome="budget_exhausted")
    assert first.stop()[0] == 0
    sent = len(simulated.log("acme"))
    assert sent > 0
    with postgres.stopped():
        second = home.ready()
        second.wait("probe.stored", outcome="budget_exhausted", count=2)
    second.wait("database.back")
    second.wait("probe.stored", outcome="budget_exhausted", count=4)
    assert {line["outcome"] for line in second.heard("probe.stored")} == {"budget_exhausted"}
    assert len(simulated.log("acme")) == sent
