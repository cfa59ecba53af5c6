"""Real gateways, for whoever has them: `make test-litellm`. Elsewhere these files are not collected, for
here nothing is skipped."""

import os

LITELLM = "UPTOKEN_LITELLM"
"""Names the program `litellm` of an environment with `litellm[proxy]` in it."""

collect_ignore = [] if os.environ.get(LITELLM) else ["test_litellm.py"]
