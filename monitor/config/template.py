"""The commented config.toml that `uptoken init` writes.

Its examples of providers are those of the shipped config.toml, which stand in one place only.
"""

from pathlib import Path

from monitor import shipped

_EXAMPLES_BEGIN = "# Real ones. "

_HEAD = """\
# Uptoken: what is watched, how often, and who is told.
#
# Take the # away from an example that fits, put in what is yours, and run
#   uptoken check     is it right, and what will it cost a month?
#   uptoken run       watch
# An editor that knows JSON Schema helps while you type: `uptoken schema > uptoken.schema.json`

[site]
name = "Status"
#url = "https://status.acme.example"       # links in alerts and feeds begin with it
timezone = "UTC"                # maintenance without an offset is meant here, e.g. "Europe/Berlin"

[database]
url = "sqlite:///uptoken.db"    # in the state folder; or "postgresql://user:${env:DB_PASSWORD}@host/db"

[server]
listen = "127.0.0.1:8480"       # the page with everything, for you; or "unix:/run/uptoken/web.sock"
public_listen = ""              # a page for everybody, e.g. "0.0.0.0:8482"

# What every endpoint inherits unless its provider, or it itself, says otherwise.
# Tables are merged key by key; false switches an inherited value off.
[defaults]
interval = "60s"                # one look a minute
timeout = "30s"                 # for the whole of it; shorter than the interval
connect_timeout = "10s"
first_token_timeout = "20s"
stall_timeout = "10s"           # silence in mid-answer
max_tokens = 64                 # longer answers measure speed better, and cost more

# Who is told. "console://" prints to this terminal or the log.
[channel.terminal]
url = "console://"

# Any Apprise URL will do; on = is what this channel hears of.
#[channel.ops]
#url = "${env:OPS_CHANNEL}"
#on = ["down", "degraded", "config", "monitor", "reminder"]

[alert]                         # also on a provider or endpoint
down_after = 3                  # bad looks in a row
up_after = 2                    # good ones in a row
confirm_every = "10s"           # how soon to look again after a failure; "0s" = only when due
reminder = "4h"                 # while it lasts; false = none

# Who is asked, when something fails, whether it is only our own network that is gone: a connection is
# opened and closed, nothing is sent. In peace nobody is asked; [] = never. Where a firewall lets only
# providers through, name what it lets through.
#[canary]
#addresses = ["1.1.1.1:443", "8.8.8.8:443", "9.9.9.9:443", "one.one.one.one:443", "dns.google:443"]

# Looks in these hours count nowhere, and nobody is woken.
#[[maintenance]]
#title = "weekly update"
#endpoints = ["openai/*"]
#cron = "0 2 * * sun"
#duration = "2h"

"""


def template() -> str:
    """The text. Taking away each `#` that touches its word switches every example on."""
    lines = shipped.path("config.toml").read_text(encoding="utf-8").splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.startswith(_EXAMPLES_BEGIN))
    ruler = first - 1
    return _HEAD + "".join(lines[ruler:])


def write_template(folder: Path) -> Path:
    """Write config.toml into the folder, which is made if need be; returns its path.

    Raises FileExistsError if there is one, and OSError if it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.toml"
    text = template()
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    return path
