"""From the config to what a reader may know of it."""

from monitor.config.cost import price_of
from monitor.config.settings import Config, DataPolicy, EndpointSettings
from monitor.core.instant import span
from monitor.core.snapshot import Listing, Site


def site(config: Config) -> Site:
    url = config.site.url
    return Site(
        name=config.site.name,
        url=None if url is None else url.rstrip("/"),
        timezone=config.site.timezone,
    )


def listings(config: Config) -> tuple[Listing, ...]:
    """The endpoints that are watched, in the config's order."""
    return tuple(_listing(endpoint) for endpoint in config.endpoints if endpoint.enabled)


def _listing(endpoint: EndpointSettings) -> Listing:
    limits = endpoint.limits
    return Listing(
        id=endpoint.id,
        provider=endpoint.provider,
        provider_name=endpoint.provider_name,
        name=endpoint.name,
        called=endpoint.called,
        model=endpoint.model_name,
        model_id=endpoint.model_id,
        protocol=endpoint.protocol,
        interval=span(endpoint.interval),
        public=endpoint.public,
        labels=dict(endpoint.labels),
        context=None if limits is None else limits.context,
        max_output=None if limits is None else limits.max_output,
        data_policy=None if endpoint.data_policy is None else _policy(endpoint.data_policy),
        status_page=endpoint.status_page,
        price=price_of(endpoint),
    )


def _policy(policy: DataPolicy) -> dict[str, bool | str | None]:
    return {
        "prompt_training": policy.prompt_training,
        "prompt_logging": policy.prompt_logging,
        "moderation": policy.moderation,
    }
