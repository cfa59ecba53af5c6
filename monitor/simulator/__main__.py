"""`python -m monitor.simulator`: the simulated providers as a program."""

import argparse
import asyncio
import gc
import os
import signal
import sys

from monitor.simulator.scenario import SCENARIOS, Step
from monitor.simulator.server import serve

LISTEN = "127.0.0.1:8490"


def main() -> int:
    """Serve until a signal. Exit 0, 1 if the address cannot be had, 2 for wrong usage."""
    options = _options()
    try:
        asyncio.run(_serve(options))
    except (OSError, ValueError) as problem:
        sys.stderr.write(f"simulator: cannot listen on {options.listen}: {problem}\n")
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m monitor.simulator",
        description="Simulated providers on loopback. Nothing behind them is real.",
    )
    parser.add_argument("--listen", default=LISTEN, metavar="HOST:PORT", help=f"default {LISTEN}")
    parser.add_argument("--scenario", default="demo", choices=SCENARIOS, help="the script to play")
    parser.add_argument("--speed", default=1.0, type=_speed, help="how much faster the script runs")
    parser.add_argument(
        "--until-eof", action="store_true", help="stop when standard input ends, as it does with a parent"
    )
    options = parser.parse_args()
    host, _, port = options.listen.rpartition(":")
    if not host or not port.isdecimal():
        parser.error(f"--listen {options.listen}: expected HOST:PORT such as {LISTEN}")
    options.host, options.port = host.strip("[]"), int(port)
    return options


def _speed(text: str) -> float:
    speed = float(text)
    if not speed > 0:
        raise ValueError
    return speed


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if options.until_eof:
        loop.add_reader(sys.stdin.fileno(), _drain, stop)
    scenario = SCENARIOS[options.scenario]
    async with serve(
        scenario, host=options.host, port=options.port, speed=options.speed, tell=_tell
    ) as simulator:
        gc.freeze()  # what exists by now stays; sweeping it again would only delay a chunk
        _say(f"simulated: {', '.join(scenario.profiles)} on {simulator.url}")
        await stop.wait()
        figures = simulator.figures()
    said = ", ".join(f"{name} {value}" for name, value in figures.items() if value is not None)
    _say(f"simulated: stopped; {said}")


def _drain(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        stop.set()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _tell(at_s: float, step: Step) -> None:
    minutes, seconds = divmod(int(at_s), 60)
    _say(f"simulated: {minutes}:{seconds:02d} {step.provider}: {step.note}")


if __name__ == "__main__":
    sys.exit(main())
