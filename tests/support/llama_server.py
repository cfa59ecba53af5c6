"""llama.cpp's own server, as a program.

    python -m tests.support.llama_server MODEL PORT

Prints one line, its address, when it answers. `LLAMA_KEY` turns on key checking.
"""

import os
import signal
import sys

import xllamacpp

from tests.support.llama_model import CONTEXT


def serve(model: str, port: int, key: str | None) -> None:
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.model_alias = ["tiny-random"]
    params.n_ctx = CONTEXT
    params.n_parallel = 2
    params.warmup = False
    params.ui = False
    params.use_jinja = True
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    if key is not None:
        params.api_keys = [key]
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    # The engine's threads have nothing to save, and joining them takes seconds.
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), os.environ.get("LLAMA_KEY"))
