"""`probe`: one look now, drawn, told as JSON, and answered with a monitoring plugin's exit code."""

import pytest

from monitor.core.outcome import Outcome
from monitor.core.verdict import Learnt
from tests.cli.command import on_terminal, probe, uptoken
from tests.cli.stored import daemon_was_here
from tests.cli.written import NOWHERE, database, model

KEY = "sk-probe-77ab01c93e"
LLM_ROWS = [
    "own time",
    "dns",
    "connect",
    "tls",
    "request sent",
    "headers",
    "first byte",
    "first answer token",
    "last token",
    "terminal event",
]


@pytest.fixture
def look(simulated, write, tmp_path):
    """Probe `acme/one` of the simulator while it behaves like that."""

    def look(behaviour="ok", *words, more=""):
        simulated.define("acme", ttft_ms=30, tokens_per_s=400)
        simulated.set("acme", behaviour)
        path = write(model("acme", simulated.base_url("acme"), more=more))
        return probe("acme/one", *words, "--config", path, cwd=tmp_path)

    return look


def rows(drawn):
    """The waterfall: label → took, at, bar."""
    lines = drawn.splitlines()
    first = next(place for place, line in enumerate(lines) if line.split() == ["took", "at"])
    block = lines[first + 1 : lines.index("", first)]
    return {line[2:23].strip(): (line[23:33].strip(), line[33:43].strip(), line[43:]) for line in block}


def test_a_good_look_is_drawn_row_by_row(look):
    seen = look()
    assert (seen.status, seen.err) == (0, "")
    assert seen.out.splitlines()[1] == "ok  works"
    drawn = rows(seen.out)
    assert list(drawn) == LLM_ROWS
    assert drawn["tls"][:2] == ("–", "–")
    assert all(len(line) <= 80 for line in seen.out.splitlines())


def test_bars_follow_each_other_and_are_as_long_as_what_they_stand_for(look):
    drawn = rows(look().out)
    first, last = drawn["first answer token"], drawn["last token"]
    begins = len(last[2]) - len(last[2].lstrip())
    ends = len(first[2].rstrip())
    assert abs(begins - ends) <= 1

    def length(bar):
        return len(bar.strip())

    took = {name: float(row[0].removesuffix(" ms").replace(",", "")) for name, row in drawn.items() if row[2]}
    scale = length(last[2]) / took["last token"]
    assert length(first[2]) == pytest.approx(took["first answer token"] * scale, abs=2)


def test_figures_tokens_cost_and_the_answer_are_beneath(look):
    said = look().out
    for word in ("ttft ", "ttfat ", "output_speed", "effective_throughput", "e2e_500", "max_stall", "total"):
        assert f"  {word}" in said
    assert "(counted by the server)" in said
    assert "  cost          $0.0000" in said
    assert "  served model  sim-model" in said
    assert "  request id    req_sim_" in said
    assert "  answer        pong" in said


def test_a_model_that_thinks_has_a_row_for_it(simulated, write, tmp_path):
    simulated.define("acme", ttft_ms=20, tokens_per_s=800, reasoning_tokens=30)
    path = write(model("acme", simulated.base_url("acme"), more="max_tokens = 100"))
    seen = probe("acme/one", "--config", path, cwd=tmp_path)
    assert seen.status == 0
    assert list(rows(seen.out))[7:9] == ["first reasoning token", "first answer token"]
    assert "30 reasoning" in seen.out


def test_a_plain_url_has_no_rows_for_tokens(simulated, write, tmp_path):
    simulated.define("acme")
    path = write(
        '[provider.site]\nprotocol = "http"\n'
        f'[[provider.site.endpoints]]\nname = "health"\nurl = "{simulated.health_url("acme")}"\n'
    )
    seen = probe("site/health", "--config", path, cwd=tmp_path)
    assert seen.status == 0
    assert "token" not in seen.out
    assert probe("site/health", "--json", "--config", path, cwd=tmp_path).json["answer"] is None


@pytest.mark.parametrize(
    ("behaviour", "more", "status", "outcome"),
    [
        ("ok", "", 0, "ok"),
        ("wrong_answer", 'expect = { answer = "pong" }', 1, "wrong_answer"),
        ("http_503", "", 2, "http_5xx"),
        ("truncated", "", 2, "truncated"),
        ("rate_limited", "", 3, "rate_limited"),
        ("auth_failed", "", 3, "auth_failed"),
        ("quota_exhausted", "", 3, "quota_exhausted"),
    ],
)
def test_the_exit_code_is_that_of_a_monitoring_plugin(look, behaviour, more, status, outcome):
    seen = look(behaviour, more=more)
    assert seen.status == status
    assert seen.out.splitlines()[1].startswith(f"{outcome}  ")
    assert seen.err == ""


def test_what_went_wrong_is_told_and_where_it_stopped_is_drawn(look):
    seen = look("stalled", more='stall_timeout = "300ms"')
    assert seen.status == 2
    assert seen.out.splitlines()[1] == "stalled  the provider is at fault"
    drawn = rows(seen.out)
    assert drawn["terminal event"][:2] == ("–", "–")
    assert list(drawn)[-1] == "end"
    assert float(drawn["end"][0].removesuffix(" ms")) >= 290


def test_json_has_everything_by_the_names_of_the_api(look):
    told = look("ok", "--json").json
    assert told["endpoint"] == "acme/one"
    assert (told["outcome"], told["blame"], told["detail"]) == ("ok", None, None)
    assert told["timeline"]["first_answer"] > told["timeline"]["request_sent"] > 0
    assert told["ttft_ms"] + told["timeline"]["own_ms"] == pytest.approx(
        told["timeline"]["first_answer"], abs=10
    )
    assert told["served_model"] == "sim-model"
    assert told["answer"].startswith("pong")
    assert told["cost_usd"].startswith("0.0000")
    assert told["token_source"] == "usage"
    assert "id" not in told  # it is stored nowhere


def test_an_id_is_found_in_any_case(simulated, write, tmp_path):
    simulated.define("acme")
    path = write(model("acme", simulated.base_url("acme")))
    seen = probe("ACME/One", "--json", "--config", path, cwd=tmp_path)
    assert (seen.status, seen.json["endpoint"]) == (0, "acme/one")


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("acme/oen", "did you mean acme/one?"),
        ("acm/two", "did you mean acme/two?"),
        ("two", "did you mean acme/two?"),
        ("acme", "did you mean acme/one?"),
        ("xyzzy/plugh", "there are acme/one, acme/two"),
    ],
)
def test_an_unknown_id_is_3_and_gets_a_suggestion(given, hint, write, tmp_path):
    path = write(model("acme", NOWHERE, slugs=("one", "two")))
    refused = uptoken("probe", given, "--config", path, cwd=tmp_path)
    assert refused.status == 3
    assert refused.error == f"no endpoint {given}; {hint}"


def test_where_nothing_is_watched_yet_that_is_said(write, tmp_path):
    refused = uptoken("probe", "acme/one", "--config", write("[site]"), cwd=tmp_path)
    assert refused.error == "no endpoint acme/one; no endpoint is configured: add [[provider.NAME.endpoints]]"


def test_a_wrong_config_and_a_missing_secret_are_3_too(write, tmp_path):
    path = write("[sit]")
    refused = uptoken("probe", "acme/one", "--config", path, cwd=tmp_path)
    assert (refused.status, refused.error) == (3, f'{path}:1: sit: unknown key; did you mean "site"?')
    path = write(model("acme", NOWHERE, more='api_key = "${env:KEY}"'))
    refused = uptoken("probe", "acme/one", "--config", path, cwd=tmp_path)
    assert refused.status == 3
    assert refused.error.endswith("the environment variable KEY is not set")


def test_only_its_own_secrets_are_needed(simulated, write, tmp_path):
    simulated.define("acme")
    path = write(
        model("acme", simulated.base_url("acme")),
        model("other", NOWHERE, more='api_key = "${env:NOT_SET}"'),
        '[channel.ops]\nurl = "${env:NOT_SET_EITHER}"\n',
        '[database]\nurl = "postgresql://u:${env:NOR_THIS}@127.0.0.1:1/x"\n',
    )
    assert probe("acme/one", "--config", path, cwd=tmp_path).status == 0


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_key_that_the_server_echoes_is_not_shown(words, simulated, write, tmp_path):
    # The simulator quotes the key that it refuses, as real servers do.
    simulated.define("acme", key="sk-another")
    path = write(model("acme", simulated.base_url("acme"), more='api_key = "${env:KEY}"'))
    seen = probe("acme/one", *words, "--config", path, cwd=tmp_path, env={"KEY": KEY})
    assert seen.status == 3
    assert "auth_failed" in seen.out
    assert KEY not in seen.out + seen.err


def test_it_needs_no_database_and_makes_none(look, tmp_path):
    assert look().status == 0
    assert [file.name for file in tmp_path.iterdir()] == ["config.toml"]


def test_it_knows_what_the_daemon_learnt(simulated, write, database_url, tmp_path):
    simulated.define("acme")
    base_url = simulated.base_url("acme")
    learnt = Learnt(identity=f"openai-chat {base_url} sim-model", worked=True, served_model="sim-model-v1")
    daemon_was_here(database_url, {"acme/one": [Outcome.OK]}, learnt={"acme/one": learnt})
    path = write(database(database_url), model("acme", base_url))
    seen = probe("acme/one", "--json", "--config", path, cwd=tmp_path)
    assert (seen.status, seen.json["outcome"]) == (1, "model_swapped")
    assert "sim-model-v1" in seen.json["detail"]


def test_nothing_is_stored(simulated, write, tmp_path):
    url = f"sqlite:///{tmp_path}/uptoken.db"
    simulated.define("acme")
    daemon_was_here(url, {"acme/one": [Outcome.OK] * 3})
    path = write(database(url), model("acme", simulated.base_url("acme")))
    before = (tmp_path / "uptoken.db").read_bytes()
    assert probe("acme/one", "--config", path, cwd=tmp_path).status == 0
    assert (tmp_path / "uptoken.db").read_bytes() == before


def test_a_terminal_shows_colours_and_no_color_none(simulated, write, tmp_path):
    simulated.define("acme", ttft_ms=20)
    path = write(model("acme", simulated.base_url("acme")))
    words = ("probe", "acme/one", "--config", path)
    coloured = on_terminal(*words, cwd=tmp_path)
    assert "\x1b[" in coloured.out
    assert all(len(line) <= 80 for line in coloured.plain.split("\r")[-1].splitlines())
    plain = on_terminal(*words, cwd=tmp_path, env={"NO_COLOR": "1"})
    assert "\x1b" not in plain.out
    assert "first answer token" in plain.out
    wide = on_terminal(*words, cwd=tmp_path, env={"NO_COLOR": "1"}, columns=130)
    assert max(map(len, wide.out.split("\r")[-1].splitlines())) > 100


def test_where_blocks_cannot_be_shown_there_are_signs(simulated, write, tmp_path):
    simulated.define("acme", ttft_ms=20)
    path = write(model("acme", simulated.base_url("acme")))
    env = {"PYTHONIOENCODING": "ascii"}
    seen = probe("acme/one", "--config", path, cwd=tmp_path, env=env)
    assert seen.status == 0
    assert "####" in seen.out


def test_each_protocol_of_a_model_is_probed_by_its_own_id(simulated, write, tmp_path):
    # So slow that a busy machine reads the first token before the second one is there.
    simulated.define("acme", ttft_ms=400, tokens_per_s=40, chunk_tokens=[2])
    door = simulated.base_url("acme").removesuffix("/v1")
    entries = {
        "anthropic": door,
        "gemini": f"{door}/v1beta",
        "openai-responses": f"{door}/v1",
        "azure-openai": door,
    }
    also = ", ".join(f'{{ protocol = "{name}", base_url = "{url}" }}' for name, url in entries.items())
    path = write(model("acme", simulated.base_url("acme"), more=f"max_tokens = 16\nalso = [{also}]"))
    for name in entries:
        seen = uptoken("probe", f"acme/one.{name}", "--json", "--config", path, cwd=tmp_path)
        assert (seen.status, seen.json["outcome"], seen.json["protocol"]) == (0, "ok", name)
        assert seen.json["model"] == seen.json["served_model"] == "sim-model"
        assert seen.json["answer"].startswith("pong")
        assert seen.json["output_tokens"] == 16
        assert seen.json["cost_usd"] is not None
    seen = uptoken("probe", "acme/one.gemini", "--config", path, cwd=tmp_path)
    assert "first answer token" in rows(seen.out)
    assert "acme/one.gemini  gemini" in seen.out


def test_who_reports_by_itself_cannot_be_asked_and_needs_no_token_for_that_to_be_said(write, tmp_path):
    push = '[provider.jobs]\nprotocol = "push"\n[[provider.jobs.endpoints]]\nname = "backup"\n'
    path = write(push + 'token = "${env:NOT_SET}"\n')
    asked = probe("jobs/backup", "--config", path, cwd=tmp_path)
    assert (asked.status, asked.out) == (3, "")
    assert asked.err == (
        "jobs/backup cannot be asked, for it reports by itself; `uptoken status jobs/backup` says what it said\n"
    )
