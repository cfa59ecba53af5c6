"""`python -m monitor.simulator` as `make run`, tests and benchmarks start it."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests.support.child import end, start

PROGRAM = [sys.executable, "-m", "monitor.simulator"]


def started(*options):
    """The program on a free port, and its address."""
    process = start([*PROGRAM, "--listen", "127.0.0.1:0", *options], stdout=subprocess.PIPE)
    line = process.stdout.readline().decode()
    return process, line.split()[-1], line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_what_it_is_serves_and_stops_cleanly(number):
    process, url, line = started("--scenario", "calm")
    with urllib.request.urlopen(f"{url}/website/health", timeout=5) as reply:
        assert reply.read() == b"ok\n"
        assert reply.headers["x-simulated"] == "true"
    process.send_signal(number)
    last = process.stdout.read().decode()
    assert end(process, number) == 0
    assert line.startswith("simulated: ")
    assert "stopped" in last
    assert "requests 1" in last


def test_the_script_is_told_as_it_happens():
    process, _, _ = started("--speed", "200")
    lines = [process.stdout.readline().decode() for _ in range(3)]
    end(process, signal.SIGTERM)
    assert lines[0] == "simulated: 0:20 steady: the first token comes late\n"
    assert lines[1] == "simulated: 0:30 shaky: answers 503\n"


def test_a_taken_port_is_one_line_and_exit_1():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*PROGRAM, "--listen", f"127.0.0.1:{port}"], capture_output=True, timeout=20, check=False
        )
    assert done.returncode == 1
    assert done.stderr.decode().count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr.decode()


@pytest.mark.parametrize("options", [["--listen", "8490"], ["--scenario", "x"], ["--speed", "0"]])
def test_wrong_usage_is_exit_2(options):
    done = subprocess.run([*PROGRAM, *options], capture_output=True, timeout=20, check=False)
    assert done.returncode == 2


def test_it_ends_with_its_parent_if_told_to():
    process = subprocess.Popen(
        [*PROGRAM, "--listen", "127.0.0.1:0", "--until-eof"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        process.stdout.readline()
        process.stdin.close()
        assert process.wait(10) == 0


def test_it_imports_nothing_of_ours():
    code = "import monitor.simulator.__main__, sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=20, check=True)
    ours = {name for name in json.loads(done.stdout) if name.split(".")[0] == "monitor"}
    assert {name for name in ours if not name.startswith("monitor.simulator")} == {"monitor"}
