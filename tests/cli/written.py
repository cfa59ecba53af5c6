"""Parts of a config.toml."""


def database(url: str) -> str:
    return f'[database]\nurl = "{url}"\n\n[server]\nlisten = ""\n'


def model(provider: str, base_url: str, *, slugs: tuple[str, ...] = ("one",), more: str = "") -> str:
    """Endpoints of a language model; `more` stands in each of them."""
    lines = [f'[provider.{provider}]\nprotocol = "openai-chat"\nbase_url = "{base_url}"\n']
    lines += [
        f'[[provider.{provider}.endpoints]]\nmodel = "sim-model"\nslug = "{slug}"\n'
        f'price = {{ input = "0.10", output = "0.40" }}\n{more}\n'
        for slug in slugs
    ]
    return "\n".join(lines)


NOWHERE = "http://127.0.0.1:9/v1"
"""Nobody listens there; for what asks no provider."""
